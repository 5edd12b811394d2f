package grid

import (
	"fmt"
	"strings"
)

// Refused is one row, or one shape, that an import did not take, and what to do about it.
type Refused struct {
	File   string // name of the file as it was handed in
	Row    int    // line of a CSV, number of the feature in a GeoJSON, from 1; 0: the file as a whole
	Column string // heading of the column, "geometry"; "" : the row as a whole
	Reason string
	Do     string // what to do
}

// String is one line for a terminal.
func (r Refused) String() string {
	where := r.File
	if r.Row > 0 {
		where += fmt.Sprintf(" 第 %d 行", r.Row)
	}
	if r.Column != "" {
		where += "（" + r.Column + "）"
	}
	s := where + "：" + r.Reason
	if r.Do != "" {
		s += "。" + r.Do
	}
	return s
}

// Report says what an import took and what not.
type Report struct {
	Rows      int       // rows and shapes read
	Areas     int       // areas taken
	Shapes    int       // borders taken
	Entries   int       // names of the gazetteer taken
	Refused   []Refused // in the order of files and rows
	Noted     []Refused // taken, but worth a look: a grid without a border or a worker's number
	truncated bool
}

// limit of what is listed; a file of the wrong kind would otherwise give a line each.
const reportLimit = 5000

func (r *Report) refuse(file string, row int, column, do, reason string, args ...any) {
	if len(r.Refused) >= reportLimit {
		if !r.truncated {
			r.truncated = true
			r.Refused = append(r.Refused, Refused{File: file, Row: row, Reason: fmt.Sprintf("问题超过 %d 条，后面的不再列出", reportLimit), Do: "先改好前面的再试"})
		}
		return
	}
	r.Refused = append(r.Refused, Refused{file, row, column, clip(fmt.Sprintf(reason, args...)), do})
}

func (r *Report) note(file string, row int, column, do, reason string, args ...any) {
	if len(r.Noted) < reportLimit {
		r.Noted = append(r.Noted, Refused{file, row, column, clip(fmt.Sprintf(reason, args...)), do})
	}
}

// clip keeps a reason readable when a cell holds a whole book.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if r := []rune(s); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return s
}
