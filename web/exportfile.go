package web

import (
	"archive/zip"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"
)

// writeCSV writes a sheet as RFC 4180 has it, in UTF-8 with the mark that office programs need to see it. A time is one of the office; a length of
// time is in seconds.
func writeCSV(out io.Writer, v *visit, s sheet) error {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	line := make([]string, len(s.columns))
	begun := false
	begin := func() error {
		begun = true
		if _, err := io.WriteString(out, "\ufeff"); err != nil {
			return err
		}
		for i, c := range s.columns {
			line[i] = harmless(v.T("export.col." + c))
		}
		return w.Write(line)
	}
	for row, err := range s.rows {
		if err == nil && !begun { // an error of the first row is still a page of its own
			err = begin()
		}
		if err != nil {
			return err
		}
		for i := range line {
			line[i] = ""
			if i < len(row) {
				line[i] = v.csvCell(row[i])
			}
		}
		if err := w.Write(line); err != nil {
			return err
		}
	}
	if !begun {
		if err := begin(); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func (v *visit) csvCell(x any) string {
	switch x := x.(type) {
	case nil:
		return ""
	case string:
		return harmless(sheetText(x))
	case int64:
		return strconv.FormatInt(x, 10)
	case time.Duration:
		return strconv.FormatInt(int64(x/time.Second), 10)
	case time.Time:
		if x.IsZero() {
			return ""
		}
		return v.at(x).Format("2006-01-02 15:04:05")
	}
	panic(fmt.Sprintf("a cell of %T", x))
}

// harmless keeps an office program from taking a text for a formula: one that begins as formulas do, in half or full width, gets a ' before it. What
// is a number to us goes out as a number and does not pass here.
func harmless(s string) string {
	first, _ := utf8.DecodeRuneInString(s)
	if s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}

const mostCell = 32767 // UTF-16 units that a cell of a sheet holds

// sheetText is text as a sheet can hold it: without what XML may not have, and not too long.
func sheetText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return -1
		}
		return r
	}, s)
	if len(s) > mostCell {
		s = cut(s, mostCell/2) // no character takes more than two units
	}
	return s
}

const mostSheetRows = 1_000_000 // of a list in one sheet; the file format ends at 1,048,576

// writeXLSX writes all sheets and one of explanations. Rows go to a temporary file when there are many; the file itself is packed straight into
// out, so little is in memory at any time.
func writeXLSX(out io.Writer, v *visit, x export) (err error) {
	f := excelize.NewFile()
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	var book workbook
	if err := book.styles(f); err != nil {
		return err
	}
	if err := f.SetDocProps(&excelize.DocProperties{Creator: v.T("app"), Title: v.T("export.list." + x.list), Created: v.now.UTC().Format(time.RFC3339)}); err != nil {
		return err
	}
	first := true
	var counts []int64
	for _, s := range x.sheets {
		n, err := book.sheet(f, v, s, first)
		if err != nil {
			return err
		}
		first = false
		counts = append(counts, n)
	}
	if err := book.explain(f, v, x, counts); err != nil {
		return err
	}
	f.SetActiveSheet(0)
	f.ZipWriter = func(io.Writer) excelize.ZipWriter { return zip.NewWriter(out) }
	_, err = f.WriteToBuffer() // into out: the buffer stays empty
	return err
}

// workbook holds the styles of one.
type workbook struct{ head, time, wrap, bold int }

func (b *workbook) styles(f *excelize.File) error {
	layout := "yyyy-mm-dd hh:mm:ss"
	for _, s := range []struct {
		into  *int
		style excelize.Style
	}{
		{&b.head, excelize.Style{Font: &excelize.Font{Bold: true}, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"E3ECF6"}}, Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"}}},
		{&b.time, excelize.Style{CustomNumFmt: &layout}},
		{&b.wrap, excelize.Style{Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"}}},
		{&b.bold, excelize.Style{Font: &excelize.Font{Bold: true}, Alignment: &excelize.Alignment{Vertical: "top", WrapText: true}}},
	} {
		id, err := f.NewStyle(&s.style)
		if err != nil {
			return err
		}
		*s.into = id
	}
	return nil
}

// sheet writes one table, in further sheets when it is longer than one, and says how many rows it has.
func (b *workbook) sheet(f *excelize.File, v *visit, s sheet, first bool) (total int64, err error) {
	var w *excelize.StreamWriter
	part, at := 0, 0
	open := func() error {
		part++
		name := s.name
		if part > 1 {
			name += " " + strconv.Itoa(part)
		}
		if first && part == 1 {
			if err := f.SetSheetName("Sheet1", name); err != nil {
				return err
			}
		} else if _, err := f.NewSheet(name); err != nil {
			return err
		}
		if w, err = f.NewStreamWriter(name); err != nil {
			return err
		}
		if err := w.SetColWidth(1, len(s.columns), 18); err != nil {
			return err
		}
		if err := w.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
			return err
		}
		head := make([]any, len(s.columns))
		for i, c := range s.columns {
			head[i] = excelize.Cell{StyleID: b.head, Value: v.T("export.col." + c)}
		}
		at = 1
		return w.SetRow("A1", head)
	}
	if err := open(); err != nil {
		return 0, err
	}
	cells := make([]any, len(s.columns))
	for row, err := range s.rows {
		if err != nil {
			return total, err
		}
		if at > mostSheetRows {
			if err := w.Flush(); err != nil {
				return total, err
			}
			if err := open(); err != nil {
				return total, err
			}
		}
		for i := range cells {
			cells[i] = nil
			if i < len(row) {
				cells[i] = b.cell(v, row[i])
			}
		}
		at++
		total++
		if err := w.SetRow("A"+strconv.Itoa(at), cells); err != nil {
			return total, err
		}
	}
	return total, w.Flush()
}

// cell is a value as a sheet has it: texts are texts there, whatever they begin with, and never formulas.
func (b *workbook) cell(v *visit, x any) any {
	switch x := x.(type) {
	case nil:
		return nil
	case string:
		return sheetText(x)
	case int64:
		return x
	case time.Duration:
		return int64(x / time.Second)
	case time.Time:
		if x.IsZero() {
			return nil
		}
		return excelize.Cell{StyleID: b.time, Value: v.at(x)}
	}
	panic(fmt.Sprintf("a cell of %T", x))
}

// explain writes the sheet that says what the list is: which, how narrowed, by whom, when, as of when, and what each column and figure means.
func (b *workbook) explain(f *excelize.File, v *visit, x export, counts []int64) error {
	name := v.T("export.explain")
	if _, err := f.NewSheet(name); err != nil {
		return err
	}
	w, err := f.NewStreamWriter(name)
	if err != nil {
		return err
	}
	if err := w.SetColWidth(1, 1, 24); err != nil {
		return err
	}
	if err := w.SetColWidth(2, 2, 96); err != nil {
		return err
	}
	at := 0
	say := func(left, right string, style int) error {
		at++
		return w.SetRow("A"+strconv.Itoa(at), []any{excelize.Cell{StyleID: style, Value: sheetText(left)}, excelize.Cell{StyleID: b.wrap, Value: sheetText(right)}})
	}
	zone := v.at(v.now)
	facts := [][2]string{
		{"export.note.list", v.T("export.list." + x.list)}, {"export.note.what", v.T("export.what." + x.list)}, {"export.note.filter", v.filterWords(v.exportFilter())},
		{"export.note.office", v.srv.c.Office}, {"export.note.who", v.s.Name + v.T("comma") + v.T("role."+string(v.s.Role))},
		{"export.note.when", zone.Format("2006-01-02 15:04:05")}, {"export.note.zone", zone.Format("MST -07:00")}, {"export.note.masked", v.T("export.masked")},
	}
	for i, s := range x.sheets {
		facts = append(facts, [2]string{"export.note.rows", s.name + v.T("colon") + strconv.FormatInt(counts[i], 10)})
	}
	for _, n := range facts {
		if err := say(v.T(n[0]), n[1], b.bold); err != nil {
			return err
		}
	}
	for _, n := range x.notes {
		if err := say(n[0], n[1], b.bold); err != nil {
			return err
		}
	}
	for _, s := range x.sheets {
		at++
		if err := say(v.T("export.note.columns", s.name), "", b.head); err != nil {
			return err
		}
		for _, c := range s.columns {
			if err := say(v.T("export.col."+c), v.T("export.def."+c), b.bold); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}
