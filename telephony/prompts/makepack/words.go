package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// words is the script's vocabulary in pinyin, tones as digits (5: none). The tones of 一 and 不 are written as they are spoken; two third tones are left
// to the voice. Longer words are found first, so that a character that is read in two ways is read right inside its word.
var words = map[string]string{
	"您": "nin2", "好": "hao3", "您好": "nin2 hao3", "马上": "ma3 shang4", "为您": "wei4 nin2", "接通": "jie1 tong1", "为了": "wei4 le5", "服务": "fu2 wu4",
	"通话": "tong1 hua4", "会": "hui4", "录音": "lu4 yin1", "请": "qing3", "请您": "qing3 nin2", "稍等": "shao1 deng3", "我们": "wo3 men5", "正在": "zheng4 zai4",
	"不要": "bu2 yao4", "挂机": "gua4 ji1", "让您": "rang4 nin2", "久等了": "jiu3 deng3 le5", "坐席": "zuo4 xi2", "接听": "jie1 ting1", "其他": "qi2 ta1",
	"来电": "lai2 dian4", "您的": "nin2 de5", "还在": "hai2 zai4", "队伍里": "dui4 wu5 li3", "再": "zai4", "等一等": "deng3 yi5 deng3", "没有": "mei2 you3",
	"忘记": "wang4 ji4", "有": "you3", "空下来": "kong4 xia4 lai2", "就": "jiu4", "下一位": "xia4 yi2 wei4", "就是": "jiu4 shi4", "前面": "qian2 mian4",
	"还有": "hai2 you3", "一位": "yi2 wei4", "位": "wei4", "估计": "gu1 ji4", "一分钟": "yi4 fen1 zhong1", "分钟": "fen1 zhong1", "之内": "zhi1 nei4",
	"就能": "jiu4 neng2", "还要": "hai2 yao4", "等": "deng3", "到": "dao4", "不想": "bu4 xiang3", "的话": "de5 hua4", "按": "an4", "任意": "ren4 yi4",
	"一个": "yi2 ge4", "键": "jian4", "或者": "huo4 zhe3", "直接": "zhi2 jie1", "给您": "gei3 nin2", "打回来": "da3 hui2 lai2", "也": "ye3", "可以": "ke3 yi3",
	"继续": "ji4 xu4", "好的": "hao3 de5", "尽快": "jin3 kuai4", "放心": "fang4 xin1", "再见": "zai4 jian4", "现在": "xian4 zai4", "是": "shi4",
	"下班": "xia4 ban1", "时间": "shi2 jian1", "在": "zai4", "嘀": "di1", "一声": "yi4 sheng1", "之后": "zhi1 hou4", "讲话": "jiang3 hua4", "讲完": "jiang3 wan2",
	"不讲": "bu4 jiang3", "没关系": "mei2 guan1 xi5", "上班": "shang4 ban1", "后": "hou4", "打来": "da3 lai2", "话": "hua4", "记下了": "ji4 xia4 le5",
	"非常": "fei1 chang2", "抱歉": "bao4 qian4", "打进来": "da3 jin4 lai2", "的人": "de5 ren2", "很多": "hen3 duo1", "过": "guo4", "一会儿": "yi2 hui4 er5",
	"等了": "deng3 le5", "这么": "zhe4 me5", "久": "jiu3", "刚才": "gang1 cai2", "断线了": "duan4 xian4 le5", "重新": "chong2 xin1", "听": "ting1",
	"这里是": "zhe4 li3 shi4", "热线": "re4 xian4", "回电": "hui2 dian4", "不按键": "bu2 an4 jian4", "人工": "ren2 gong1", "请按": "qing3 an4",
	"零": "ling2", "幺": "yao1", "一": "yi1", "二": "er4", "两": "liang3", "三": "san1", "四": "si4", "五": "wu3", "六": "liu4", "七": "qi1", "八": "ba1",
	"九": "jiu3", "十": "shi2", "二十": "er4 shi2", "十一位": "shi2 yi1 wei4", "一到": "yi1 dao4",
	"，": ",", "。": ".",
}

// longest is the number of characters of the longest word.
const longest = 4

// spell writes a sentence in pinyin. It refuses a sentence with a word that it has not been taught.
func spell(text string) (string, error) {
	var out []string
	for rest := text; rest != ""; {
		found := false
		runes := []rune(rest)
		for n := min(longest, len(runes)); n > 0 && !found; n-- {
			word := string(runes[:n])
			if p, ok := words[word]; ok {
				if utf8.RuneCountInString(word) == 1 && (p == "," || p == ".") && len(out) > 0 {
					out[len(out)-1] += p
				} else {
					out = append(out, p)
				}
				rest = rest[len(word):]
				found = true
			}
		}
		if !found {
			return "", fmt.Errorf("no pinyin is written for %q in %q", string(runes[0]), text)
		}
	}
	return strings.Join(out, " "), nil
}
