package lines

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Say puts the week's hours into a sentence for residents, in Chinese and in English. Days that are otherwise (holidays) are not in it.
func (h Hours) Say() (zh, en string) {
	always := func(s []Span) bool { return len(s) == 1 && s[0] == Span{0, 1440} }
	week := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday, time.Sunday}
	if h.Week == nil || !slices.ContainsFunc(week, func(d time.Weekday) bool { return !always(h.Week[d]) }) {
		return "白天晚上都有人接", "Somebody answers day and night"
	}
	var partsZH, partsEN []string
	for i := 0; i < len(week); {
		j := i
		for j+1 < len(week) && slices.Equal(h.Week[week[j+1]], h.Week[week[i]]) {
			j++
		}
		if spans := h.Week[week[i]]; len(spans) > 0 {
			zh, en := sayDays(week[i], week[j])
			partsZH = append(partsZH, zh+saySpans(spans, "全天", "第二天 ", " 到 ", "、"))
			partsEN = append(partsEN, en+" "+saySpans(spans, "all day", "", "–", ", "))
		}
		i = j + 1
	}
	if len(partsZH) == 0 {
		return "现在没有人接", "Nobody answers at present"
	}
	return strings.Join(partsZH, "，") + " 有人接", "Somebody answers " + strings.Join(partsEN, "; ")
}

func sayDays(from, to time.Weekday) (zh, en string) {
	names := []string{"周日", "周一", "周二", "周三", "周四", "周五", "周六"}
	switch {
	case from == time.Monday && to == time.Sunday:
		return "每天 ", "every day"
	case from == to:
		return names[from] + " ", from.String()
	}
	return names[from] + "到" + names[to] + " ", from.String() + " to " + to.String()
}

func saySpans(spans []Span, all, next, to, and string) string {
	var list []string
	for _, s := range spans {
		if s == (Span{0, 1440}) {
			list = append(list, all)
			continue
		}
		end := sayClock(s.To)
		if s.To > 1440 {
			end = next + sayClock(s.To-1440)
		}
		list = append(list, sayClock(s.From)+to+end)
	}
	return strings.Join(list, and)
}

func sayClock(minutes int) string { return fmt.Sprintf("%d:%02d", minutes/60, minutes%60) }
