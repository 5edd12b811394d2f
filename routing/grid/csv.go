package grid

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// decode gives the text of a file in UTF-8 (with or without a byte order mark) or GB18030, of which GBK and GB2312 are parts.
func decode(body []byte) (string, error) {
	if rest, ok := bytes.CutPrefix(body, []byte("\xef\xbb\xbf")); ok {
		body = rest
		if !utf8.Valid(body) {
			return "", errors.New("文件开头说是 UTF-8，里面却有别的编码的字")
		}
		return string(body), nil
	}
	if bytes.HasPrefix(body, []byte("\xff\xfe")) || bytes.HasPrefix(body, []byte("\xfe\xff")) {
		return "", errors.New("文件是 UTF-16 编码")
	}
	if bytes.HasPrefix(body, []byte("PK\x03\x04")) || bytes.HasPrefix(body, []byte("\xd0\xcf\x11\xe0")) {
		return "", errors.New("这是 Excel 文件，不是 CSV")
	}
	if utf8.Valid(body) {
		return string(body), nil
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(body)
	if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return "", errors.New("文件既不是 UTF-8 也不是 GBK/GB18030 编码")
	}
	return string(text), nil
}

// headings maps what offices write above a column to our name of it. Compared without spaces, case and brackets' contents.
var headings = map[string]string{
	"code": "code", "编码": "code", "代码": "code", "网格编码": "code", "网格代码": "code", "区划代码": "code", "编号": "code",
	"name": "name", "名称": "name", "网格名称": "name", "地名": "name",
	"level": "level", "层级": "level", "级别": "level", "类型": "level",
	"aliases": "aliases", "alias": "aliases", "别名": "aliases", "又名": "aliases", "俗称": "aliases",
	"parent": "parent", "上级": "parent", "上级编码": "parent", "所属": "parent", "上级代码": "parent",
	"worker": "worker", "网格员": "worker", "网格员姓名": "worker", "负责人": "worker",
	"workerphone": "worker_phone", "worker_phone": "worker_phone", "phone": "worker_phone", "电话": "worker_phone", "网格员电话": "worker_phone", "联系电话": "worker_phone", "手机": "worker_phone",
	"workeruser": "worker_user", "worker_user": "worker_user", "账号": "worker_user", "网格员账号": "worker_user",
	"households": "households", "户数": "households", "住户数": "households",
	"kind": "kind", "类别": "kind", "种类": "kind",
	"grid": "grid", "网格": "grid", "所属网格": "grid",
	"from": "from", "起": "from", "起号": "from", "起始号": "from",
	"to": "to", "止": "to", "止号": "to", "终止号": "to",
	"parity": "parity", "单双号": "parity", "单双": "parity",
}

// record is one row of a CSV by our names of the columns.
type record struct {
	row   int // line in the file
	cells map[string]string
}

func (r record) get(column string) string { return r.cells[column] }

// table is a CSV.
type table struct {
	file    string
	columns map[string]string // our name → the heading as it stands in the file
	records []record
}

// readCSV reads a table; nil when the file as a whole could not be read. Rows that could not be are in the report.
func readCSV(file string, body []byte, report *Report) *table {
	text, err := decode(body)
	if err != nil {
		report.refuse(file, 0, "", "用 Excel“另存为”里的“CSV UTF-8（逗号分隔）”", "%s", err)
		return nil
	}
	if strings.ContainsRune(text, 0) {
		report.refuse(file, 0, "", "用 Excel“另存为”里的“CSV UTF-8（逗号分隔）”", "文件里有空字节，不是文本")
		return nil
	}
	first, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n"), "\n")
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	for _, other := range []rune{';', '\t'} {
		if !strings.ContainsRune(first, ',') && strings.ContainsRune(first, other) {
			r.Comma = other
		}
	}
	t := &table{file: file, columns: map[string]string{}}
	var names []string
	for {
		cells, err := r.Read()
		if err == io.EOF {
			break
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			report.Rows++
			report.refuse(file, bad.StartLine, "", "检查这一行的引号是否成对", "这一行的引号不成对")
			if names == nil {
				return nil
			}
			continue
		}
		if err != nil {
			report.refuse(file, 0, "", "", "读不下去：%s", err)
			return nil
		}
		row, _ := r.FieldPos(0)
		if names == nil {
			if names = heads(cells, t); names == nil || len(t.columns) == 0 {
				report.refuse(file, row, "", "第一行要写列名，如：编码,名称,上级,网格员,电话,户数", "没有认得的列名")
				return nil
			}
			continue
		}
		if strings.TrimSpace(strings.Join(cells, "")) == "" {
			continue
		}
		report.Rows++
		rec := record{row: row, cells: map[string]string{}}
		for i, c := range cells {
			if i >= len(names) {
				if strings.TrimSpace(c) != "" {
					report.note(file, row, "", "检查这一行是否多了逗号", "这一行比列名多出一格")
				}
				break
			}
			if names[i] != "" {
				rec.cells[names[i]] = strings.TrimSpace(c)
			}
		}
		t.records = append(t.records, rec)
	}
	if names == nil {
		report.refuse(file, 0, "", "第一行要写列名，如：编码,名称,上级,网格员,电话,户数", "文件是空的")
		return nil
	}
	return t
}

func heads(cells []string, t *table) []string {
	names := make([]string, len(cells))
	for i, c := range cells {
		head := strings.TrimSpace(c)
		key, _, _ := strings.Cut(strings.NewReplacer("（", "(", " ", "", "\u3000", "").Replace(strings.ToLower(head)), "(")
		if name, ok := headings[key]; ok {
			if _, twice := t.columns[name]; !twice {
				names[i] = name
				t.columns[name] = head
			}
		}
	}
	return names
}

// narrow turns full-width digits and letters into narrow ones, drops spaces and the apostrophe before which Excel keeps a number as text.
func narrow(s string) string {
	return strings.TrimPrefix(strings.Map(func(r rune) rune {
		switch {
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case r == ' ' || r == '\u3000' || r == '\u00a0':
			return -1
		}
		return r
	}, s), "'")
}

// list splits a cell with several names.
func list(s string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("、，,;；|/", r) }) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
