package config

import (
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// The TOML library knows keys and values but keeps their positions to itself, so this file finds
// them. It is no parser: it is only given documents that the library has accepted, and so needs to
// know where things begin and end, not whether they are right. Its list of keys equals the
// library's own (MetaData.Keys), which the tests and a fuzz target check. On a document that the
// library would refuse it stops early; it never panics and never loops.

// segment is one word of a key where it stands.
type segment struct {
	name string
	at   int // byte offset of the word, or of its quote
}

// mark is a key where it stands. Its path is the whole one: segments that come from a table's header
// point there. A header has no value: start and end are both zero.
type mark struct {
	path       []segment
	start, end int // byte offsets of the value
}

type locator struct {
	doc   string
	at    int
	table []segment
	marks []mark
}

// locate lists the keys of a document in their order.
func locate(doc string) []mark {
	l := locator{doc: doc}
	if strings.HasPrefix(doc, byteOrderMark) {
		l.at = len(byteOrderMark)
	}
	for l.skipBlank(); l.at < len(l.doc); l.skipBlank() {
		before := l.at
		if l.doc[l.at] == '[' {
			l.header()
		} else {
			l.pair(l.table)
		}
		if l.at == before {
			break
		}
	}
	return l.marks
}

const byteOrderMark = "\ufeff"

func (l *locator) header() {
	for l.at < len(l.doc) && l.doc[l.at] == '[' {
		l.at++
	}
	l.skipSpace()
	l.table = l.key(nil)
	l.marks = append(l.marks, mark{path: l.table})
	l.skipSpace()
	for l.at < len(l.doc) && l.doc[l.at] == ']' {
		l.at++
	}
}

// pair reads key = value, the key relative to prefix.
func (l *locator) pair(prefix []segment) {
	path := l.key(prefix)
	l.skipSpace()
	if l.at >= len(l.doc) || l.doc[l.at] != '=' {
		return
	}
	l.at++
	l.skipSpace()
	i := len(l.marks)
	l.marks = append(l.marks, mark{path: path, start: l.at})
	l.value(path)
	l.marks[i].end = l.at
}

// key reads a dotted key behind prefix, which it leaves alone.
func (l *locator) key(prefix []segment) []segment {
	path := prefix[:len(prefix):len(prefix)]
	for l.at < len(l.doc) {
		start := l.at
		name, ok := l.word()
		if !ok {
			return path
		}
		path = append(path, segment{name, start})
		after := l.at
		l.skipSpace()
		if l.at >= len(l.doc) || l.doc[l.at] != '.' {
			l.at = after
			return path
		}
		l.at++
		l.skipSpace()
	}
	return path
}

// word reads one bare or quoted word of a key.
func (l *locator) word() (string, bool) {
	start := l.at
	if start < len(l.doc) && (l.doc[start] == '"' || l.doc[start] == '\'') {
		l.quoted()
		return unquote(l.doc[start:l.at]), true
	}
	for l.at < len(l.doc) && !strings.ContainsRune(" \t\r\n.=[]{},#\"'", rune(l.doc[l.at])) {
		l.at++
	}
	return l.doc[start:l.at], l.at > start
}

// unquote leaves the reading of escapes to the library.
func unquote(literal string) string {
	var v struct{ K string }
	if _, err := toml.Decode("K = "+literal, &v); err != nil {
		return literal
	}
	return v.K
}

// value skips a value; the keys of an inline table are listed behind prefix.
func (l *locator) value(prefix []segment) {
	if l.at >= len(l.doc) {
		return
	}
	switch l.doc[l.at] {
	case '"', '\'':
		l.quoted()
	case '[':
		l.list(']', func() { l.value(prefix) })
	case '{':
		l.list('}', func() { l.pair(prefix) })
	default:
		l.bare()
	}
}

// list skips an array or an inline table, calling item at each of its items.
func (l *locator) list(end byte, item func()) {
	l.at++
	for l.skipBlank(); l.at < len(l.doc) && l.doc[l.at] != end; l.skipBlank() {
		before := l.at
		item()
		l.skipBlank()
		if l.at < len(l.doc) && l.doc[l.at] == ',' {
			l.at++
		}
		if l.at == before {
			return
		}
	}
	l.at = min(l.at+1, len(l.doc))
}

// bare skips a number, a boolean, a date or a time; dates may have a blank inside.
func (l *locator) bare() {
	start := l.at
	for l.at < len(l.doc) && !strings.ContainsRune(",]}#\r\n", rune(l.doc[l.at])) {
		l.at++
	}
	l.at = start + len(strings.TrimRight(l.doc[start:l.at], " \t"))
}

// quoted skips a string of any of the four kinds. Only those in double quotes have escapes; those in
// triple quotes may end with up to two more quotes that belong to the string.
func (l *locator) quoted() {
	q := l.doc[l.at : l.at+1]
	close, escapes := q, q == `"`
	if triple := strings.Repeat(q, 3); strings.HasPrefix(l.doc[l.at:], triple) {
		close = triple
	}
	for l.at += len(close); l.at < len(l.doc); l.at++ {
		if escapes && l.doc[l.at] == '\\' {
			l.at++
			continue
		}
		if strings.HasPrefix(l.doc[l.at:], close) {
			l.at += len(close)
			for n := 0; len(close) == 3 && n < 2 && strings.HasPrefix(l.doc[l.at:], q); n++ {
				l.at++
			}
			return
		}
	}
	l.at = len(l.doc)
}

func (l *locator) skipSpace() {
	for l.at < len(l.doc) && (l.doc[l.at] == ' ' || l.doc[l.at] == '\t') {
		l.at++
	}
}

// skipBlank skips spaces, ends of lines and comments.
func (l *locator) skipBlank() {
	for l.at < len(l.doc) {
		switch l.doc[l.at] {
		case ' ', '\t', '\r', '\n':
			l.at++
		case '#':
			if n := strings.IndexByte(l.doc[l.at:], '\n'); n >= 0 {
				l.at += n
			} else {
				l.at = len(l.doc)
			}
		default:
			return
		}
	}
}

// position is the line and the column (in characters) of a byte offset, both from 1.
func position(doc string, at int) (line, col int) {
	at = min(at, len(doc))
	start := strings.LastIndexByte(doc[:at], '\n') + 1
	text := strings.TrimPrefix(doc[start:at], byteOrderMark)
	return strings.Count(doc[:at], "\n") + 1, utf8.RuneCountInString(text) + 1
}
