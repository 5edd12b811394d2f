package ivr

import (
	"strconv"
	"time"
)

// Prompt ids: what a prompt pack must hold. Numbered ones have a function below (Waiting, Ahead, Press, Digit).
const (
	Greeting        = "greeting"
	RecordingNotice = "recording_notice" // played after the greeting where the line has it
	CallbackOffer   = "callback_offer"
	CallbackThanks  = "callback_thanks"
	AfterHours      = "after_hours"       // the line is closed; a message can be left
	AfterHoursOnly  = "after_hours_only"  // the line is closed; no message can be left
	AfterHoursAgain = "after_hours_again" // the line is closed, no message, and we don't know where to call back
	VoicemailBeep   = "voicemail_beep"    // the tone after which a message is recorded
	VoicemailThanks = "voicemail_thanks"  // the message has reached its longest
	QueueFull       = "queue_full"        // too many wait; we will call back
	QueueFullAgain  = "queue_full_again"  // too many wait and we don't know where to call back
	SorryClosing    = "sorry_closing"     // nobody could take it in time; we will call back
	SorryAgain      = "sorry_again"       // nobody could take it, and we don't know where to call back
	SorryLost       = "sorry_lost"        // the operator's phone dropped the call; the caller is next
	SpeakPlease     = "speak_please"      // connected and nothing heard
	ConnectTone     = "connect_tone"      // to the operator: the resident has picked up
	Ringback        = "ringback"          // to the operator: the resident's phone rings
	CallbackWho     = "callback_who"      // who calls back; the digits of the line follow
	CallbackWhoEnd  = "callback_who_end"  // what stands after the digits
	MenuPerson      = "menu_person"       // last words of a menu: waiting leads to a person
	Estimate1       = "estimate_1"        // within a minute
	Estimate3       = "estimate_3"        // one to three minutes
	Estimate5       = "estimate_5"        // three to five minutes
	Estimate10      = "estimate_10"       // five to ten minutes
	Music           = "music"             // hold music, at a low level
	silence         = "silence:"          // pseudo prompt: milliseconds of nothing follow
	waitings        = 4                   // number of waiting sentences
	aheadMost       = 20                  // highest position that is spoken
	keysMost        = 6                   // most options of a menu
	menuGap         = 600                 // ms between two options
	maxGreeting     = 4 * time.Second     //
	maxShort        = 6 * time.Second     //
	maxWho          = 1500 * time.Millisecond
)

// Waiting is the id of the n-th waiting sentence, from 0; they take turns.
func Waiting(n int) string { return "waiting_" + strconv.Itoa(n%waitings+1) }

// Ahead is the id of the sentence that says how many are before the caller, "" when that number is not spoken (over 20).
func Ahead(n int) string {
	if n < 0 || n > aheadMost {
		return ""
	}
	return "ahead_" + strconv.Itoa(n)
}

// Estimate is the id of the sentence for a wait that is expected to take d, "" when it is unknown (0) or too long to be told.
func Estimate(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d <= time.Minute:
		return Estimate1
	case d <= 3*time.Minute:
		return Estimate3
	case d <= 5*time.Minute:
		return Estimate5
	case d <= 10*time.Minute:
		return Estimate10
	}
	return ""
}

// Press is the id of "press key n", 1 … 6.
func Press(n int) string { return "press_" + strconv.Itoa(n) }

// Digits are the ids that speak a number digit by digit, as hotline numbers are read (12345 is 幺二三四五). What is no digit is passed over.
func Digits(number string) []string {
	var ids []string
	for _, r := range number {
		if r >= '0' && r <= '9' {
			ids = append(ids, "digit_"+string(r))
		}
	}
	return ids
}

// Silence is a pause of that many milliseconds in a list of prompts.
func Silence(ms int) string { return silence + strconv.Itoa(ms) }

// Sentence is one row of the recording script: one prompt of a pack.
type Sentence struct {
	ID   string
	Text string        // the words, as they are to be read; "" for a sound
	When string        // when a caller hears it: for whoever records it
	Max  time.Duration // how long it may last, 0: as long as it takes
	Tone *Tone         // what a sound is made of, nil for words and for music, which is chosen
}

// Tone is a sound: these frequencies together, On long and Off silent, so many times.
type Tone struct {
	Hertz   []int
	On, Off time.Duration
	Times   int
}

// Sentences is the recording script: every prompt that the spoken path can ask for, menus' own options aside, which an office adds to
// its pack under ids of its choice. A pack that lacks one of these is not whole.
func Sentences() []Sentence {
	list := []Sentence{
		{ID: Greeting, Text: "您好，马上为您接通。", When: "一接通就播，同时坐席已在振铃。不超过四秒", Max: maxGreeting},
		{ID: RecordingNotice, Text: "为了服务好您，通话会录音。", When: "问候之后，需要告知录音的线路", Max: maxShort},
		{ID: Waiting(0), Text: "请您稍等，我们正在为您接通，请不要挂机。", When: "等待二十秒时"},
		{ID: Waiting(1), Text: "让您久等了，坐席正在接听其他来电，马上为您接通。", When: "等待中，轮流播放"},
		{ID: Waiting(2), Text: "您的来电还在队伍里，请您再等一等。", When: "等待中，轮流播放"},
		{ID: Waiting(3), Text: "我们没有忘记您，有坐席空下来就为您接通。", When: "等待中，轮流播放"},
		{ID: Ahead(0), Text: "下一位就是您，请您稍等。", When: "前面没有人了，只在比上次少时才播"},
	}
	for n := 1; n <= aheadMost; n++ {
		list = append(list, Sentence{ID: Ahead(n), Text: "您前面还有" + count(n) + "位，请您稍等。", When: "前面还有" + count(n) + "位，只在比上次少时才播"})
	}
	list = append(list,
		Sentence{ID: Estimate1, Text: "估计一分钟之内就能接通。", When: "预计等待一分钟以内，只在比上次短时才播"},
		Sentence{ID: Estimate3, Text: "估计还要等一到三分钟。", When: "预计等待一到三分钟"},
		Sentence{ID: Estimate5, Text: "估计还要等三到五分钟。", When: "预计等待三到五分钟"},
		Sentence{ID: Estimate10, Text: "估计还要等五到十分钟。", When: "预计等待五到十分钟"},
		Sentence{ID: CallbackOffer, Text: "不想等的话，请按任意一个键，或者直接挂机，我们会给您打回来。您也可以继续等。", When: "等待六十秒时，以后每九十秒一次"},
		Sentence{ID: CallbackThanks, Text: "好的，我们会尽快给您打回来，请您放心。再见。", When: "按键选择回电之后"},
		Sentence{ID: AfterHours, Text: "您好，现在是下班时间。请在嘀一声之后讲话，讲完直接挂机。不讲也没关系，上班后我们会给您打回来。", When: "下班时间，可以留言"},
		Sentence{ID: AfterHoursOnly, Text: "您好，现在是下班时间。上班后我们会给您打回来，请您放心。再见。", When: "下班时间，不能留言"},
		Sentence{ID: AfterHoursAgain, Text: "您好，现在是下班时间。请您上班时间再打来。再见。", When: "下班时间，不能留言，也不知道来电号码"},
		Sentence{ID: VoicemailThanks, Text: "您的话我们记下了，上班后会给您打回来。再见。", When: "留言到了最长时间"},
		Sentence{ID: QueueFull, Text: "非常抱歉，现在打进来的人很多。我们会尽快给您打回来，请您放心。再见。", When: "排队的人太多"},
		Sentence{ID: QueueFullAgain, Text: "非常抱歉，现在打进来的人很多。请您过一会儿再打来。再见。", When: "排队的人太多，也不知道来电号码"},
		Sentence{ID: SorryClosing, Text: "非常抱歉，让您等了这么久。我们会尽快给您打回来，请您放心。再见。", When: "等到了最长时间还没有人接，或者系统要停机"},
		Sentence{ID: SorryAgain, Text: "非常抱歉，让您等了这么久。请您过一会儿再打来。再见。", When: "等到了最长时间，也不知道来电号码"},
		Sentence{ID: SorryLost, Text: "非常抱歉，刚才断线了。请不要挂机，马上为您重新接通。", When: "坐席的电话中途断了"},
		Sentence{ID: SpeakPlease, Text: "您好，我们在听，请您讲话。", When: "接通后八秒没有听到声音", Max: maxShort},
		Sentence{ID: CallbackWho, Text: "您好，这里是", When: "回电，居民一拿起电话就播，后面是线路号码", Max: maxWho},
		Sentence{ID: CallbackWhoEnd, Text: "热线，给您回电。", When: "回电，线路号码之后", Max: 2 * maxWho},
		Sentence{ID: MenuPerson, Text: "不按键也可以，马上为您接通人工。", When: "菜单的最后一句"},
	)
	for n := 1; n <= keysMost; n++ {
		list = append(list, Sentence{ID: Press(n), Text: "请按" + numerals[n] + "。", When: "菜单里每个选项之后", Max: 2 * maxWho})
	}
	for d, text := range []string{"零", "幺", "二", "三", "四", "五", "六", "七", "八", "九"} {
		list = append(list, Sentence{ID: "digit_" + strconv.Itoa(d), Text: text, When: "逐位读号码", Max: maxWho})
	}
	return append(list,
		Sentence{ID: VoicemailBeep, When: "留言开始", Tone: &Tone{Hertz: []int{1000}, On: 400 * time.Millisecond, Times: 1}},
		Sentence{ID: ConnectTone, When: "坐席听：居民接起来了", Tone: &Tone{Hertz: []int{620}, On: 120 * time.Millisecond, Off: 80 * time.Millisecond, Times: 2}},
		Sentence{ID: Ringback, When: "坐席听：居民的电话在响（450 Hz，响一秒停四秒）", Tone: &Tone{Hertz: []int{450}, On: time.Second, Off: 4 * time.Second, Times: 1}},
		Sentence{ID: Music, When: "等待时的音乐，轻"},
	)
}

var numerals = []string{"零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十"}

// count is n before a measure word, 1 … 20: 两位, not 二位.
func count(n int) string {
	switch {
	case n == 2:
		return "两"
	case n <= 10:
		return numerals[n]
	case n < 20:
		return "十" + numerals[n-10]
	default:
		return "二十"
	}
}
