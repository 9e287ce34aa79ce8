package config

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// The TOML library knows keys and values but keeps their positions to itself, so this file finds
// them. It is no parser: it is only given documents that the library has accepted, and so needs to
// know where things begin and end, not whether they are right. Its list of keys equals the
// library's own (MetaData.Keys), and its paths lead to everything that the library decoded, which the
// tests and a fuzz target check. On a document that the library would refuse it stops early; it never
// panics and never loops.

// segment is one step of a path: a word of a key where it stands, or an element of an array where it
// begins. Elements of [[x]] begin where x stands.
type segment struct {
	name string
	item int // number of the element, from 1; 0: a word
	at   int // byte offset of the word, or of its quote
}

// mark is a key where it stands, or a table in an array: of those the path ends in an element. The path
// is the whole one: segments that come from a table's header point there. A header has no value: start
// and end are both zero.
type mark struct {
	path       []segment
	start, end int // byte offsets of the value
}

func isElement(path []segment) bool { return len(path) > 0 && path[len(path)-1].item > 0 }

type locator struct {
	doc   string
	at    int
	root  scope
	table scope // of the last header
	marks []mark
}

// scope is a table that keys are written into.
type scope struct {
	path   []segment
	arrays *arrays // those below it; nil: none
}

// arrays counts the elements of arrays of tables ([[x]]). It is a tree along the words of keys; below an
// array are the arrays of its last element, which is the one that later keys mean.
type arrays struct {
	elements int
	below    map[string]*arrays
}

// locate lists the keys of a document in their order, and the tables in its arrays.
func locate(doc string) []mark {
	l := locator{doc: doc, at: byteOrderMark(doc), root: scope{arrays: &arrays{}}}
	l.table = l.root
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

// byteOrderMark is how many bytes the library skips at the beginning of a document.
func byteOrderMark(doc string) int {
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(doc, mark) {
			return len(mark)
		}
	}
	return 0
}

func (l *locator) header() {
	array := strings.HasPrefix(l.doc[l.at:], "[[")
	for l.at < len(l.doc) && l.doc[l.at] == '[' {
		l.at++
	}
	l.skipSpace()
	words := l.words()
	if array {
		l.root.arrays.add(words)
	}
	l.table = l.root.enter(words)
	l.marks = append(l.marks, mark{path: l.table.path})
	l.skipSpace()
	for l.at < len(l.doc) && l.doc[l.at] == ']' {
		l.at++
	}
}

// add counts a new element of the array at the end of the words; nothing is below it yet.
func (a *arrays) add(words []segment) {
	for _, w := range words {
		next := a.below[w.name]
		if next == nil {
			next = &arrays{}
			if a.below == nil {
				a.below = map[string]*arrays{}
			}
			a.below[w.name] = next
		}
		a = next
	}
	a.elements++
	a.below = nil
}

// enter follows words from a table to another. Words that name an array lead to its last element.
func (s scope) enter(words []segment) scope {
	s.path = slices.Clip(s.path) // what is appended is our own
	for _, w := range words {
		s.path = append(s.path, w)
		if s.arrays = s.arrays.under(w.name); s.arrays != nil && s.arrays.elements > 0 {
			s.path = append(s.path, segment{item: s.arrays.elements, at: w.at})
		}
	}
	return s
}

func (a *arrays) under(word string) *arrays {
	if a == nil {
		return nil
	}
	return a.below[word]
}

// pair reads key = value, the key relative to a table.
func (l *locator) pair(table scope) {
	path := table.enter(l.words()).path
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

// words reads a dotted key.
func (l *locator) words() []segment {
	var words []segment
	for l.at < len(l.doc) {
		start := l.at
		name, ok := l.word()
		if !ok {
			return words
		}
		words = append(words, segment{name: name, at: start})
		after := l.at
		l.skipSpace()
		if l.at >= len(l.doc) || l.doc[l.at] != '.' {
			l.at = after
			return words
		}
		l.at++
		l.skipSpace()
	}
	return words
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

// value skips a value; the keys of its tables are listed behind prefix. What is appended to prefix is
// only lent: a mark copies it.
func (l *locator) value(prefix []segment) {
	if l.at >= len(l.doc) {
		return
	}
	switch l.doc[l.at] {
	case '"', '\'':
		l.quoted()
	case '[':
		items := 0
		l.list(']', func() {
			items++
			l.value(append(prefix, segment{item: items, at: l.at}))
		})
	case '{':
		l.inlineTable(prefix)
	default:
		l.bare()
	}
}

func (l *locator) inlineTable(path []segment) {
	i, listed := len(l.marks), isElement(path)
	if listed {
		l.marks = append(l.marks, mark{path: slices.Clone(path), start: l.at})
	}
	l.list('}', func() { l.pair(scope{path: path}) })
	if listed {
		l.marks[i].end = l.at
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
	if start == 0 {
		start = min(byteOrderMark(doc), at)
	}
	return strings.Count(doc[:at], "\n") + 1, utf8.RuneCountInString(doc[start:at]) + 1
}
