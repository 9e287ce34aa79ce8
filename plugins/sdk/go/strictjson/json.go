// Package strictjson reads JSON (RFC 8259) and nothing that only resembles it: a member that is there
// twice, half a surrogate, bytes that aren't UTF-8 and anything behind the end are faults. What one
// program reads so, no other reads differently; that matters where somebody else has judged the text
// before, as with signed tokens.
//
// It is small and starts fast, as modules for plugins should. Parse is for texts of others. Read is for
// configurations, which plugins get as JSON: its faults say where they are in the words of TOML, in which
// people write them.
package strictjson

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what kind of value a Value is.
type Kind uint8

// The kinds. Lists and tables are JSON's arrays and objects.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Table
)

// Value is a value with all that is in it. The zero value is null.
type Value struct {
	kind  Kind
	text  string   // decoded, if it is a string; else as it stands there
	names []string // of the members, if it is a table
	items []Value  // of a list, or of a table in the order of names
}

// Kind is what kind of value it is.
func (v Value) Kind() Kind { return v.kind }

// Text is a string's; "" if it is none.
func (v Value) Text() string {
	if v.kind != String {
		return ""
	}
	return v.text
}

// True says whether it is true.
func (v Value) True() bool { return v.kind == Bool && v.text == "true" }

// integerMax is the largest number that all programs read as the same one, 2^53-1.
const integerMax = 1<<53 - 1

// Integer is a number's that is written as an integer, and that no program would round.
func (v Value) Integer() (n int64, ok bool) {
	if v.kind != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	return n, err == nil && -integerMax <= n && n <= integerMax
}

// Floor is the integer of a number that is written with or without a fraction, but without exponent:
// the largest that isn't above.
func (v Value) Floor() (n int64, ok bool) {
	whole, fraction, _ := strings.Cut(v.text, ".")
	if n, ok = (Value{kind: v.kind, text: whole}).Integer(); !ok || strings.ContainsAny(fraction, "eE") {
		return 0, false
	}
	if strings.HasPrefix(whole, "-") && strings.Trim(fraction, "0") != "" {
		n--
	}
	return n, true
}

// Items are a list's; nil if it is none. They are the Value's own.
func (v Value) Items() []Value {
	if v.kind != List {
		return nil
	}
	return v.items
}

// Member is the value of a table's member.
func (v Value) Member(name string) (member Value, found bool) {
	for i, n := range v.names {
		if n == name {
			return v.items[i], true
		}
	}
	return Value{}, false
}

// Names are those of a table's members, in their order; nil if it is none. They are the Value's own.
func (v Value) Names() []string { return v.names }

// depthMax is how deep lists and tables may be in each other.
const depthMax = 64

// Error says what is wrong with a text. It shows nothing of it.
type Error string

func (e Error) Error() string { return string(e) }

// Parse reads a text, which it copies. It takes time and memory in proportion to its length.
func Parse(text []byte) (Value, error) {
	p := parser{text: string(text)}
	if !utf8.ValidString(p.text) {
		return Value{}, Error("it isn't UTF-8")
	}
	v := p.value(0)
	p.space()
	if p.fault == "" && p.at < len(p.text) {
		p.fail("there is something behind its end")
	}
	if p.fault != "" {
		return Value{}, Error(p.fault)
	}
	return v, nil
}

// parser reads from at on. After a fault it is at the end.
type parser struct {
	text  string
	at    int
	fault string // the first
}

func (p *parser) fail(what string) {
	if p.fault == "" {
		p.fault = what
	}
	p.at = len(p.text)
}

func (p *parser) malformed(what string) { p.fail("it isn't JSON: " + what) }

func (p *parser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take takes this byte, behind blanks, if it is there.
func (p *parser) take(c byte) bool {
	p.space()
	if p.at == len(p.text) || p.text[p.at] != c {
		return false
	}
	p.at++
	return true
}

func (p *parser) value(depth int) Value {
	p.space()
	if depth > depthMax {
		p.fail("it is nested more than 64 deep")
	}
	if p.at == len(p.text) {
		p.malformed("a value is missing")
		return Value{}
	}
	switch c := p.text[p.at]; {
	case c == '{':
		return p.table(depth)
	case c == '[':
		return p.list(depth)
	case c == '"':
		return Value{kind: String, text: p.string()}
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	return p.word()
}

func (p *parser) word() Value {
	for _, w := range [...]Value{{kind: Null, text: "null"}, {kind: Bool, text: "true"}, {kind: Bool, text: "false"}} {
		if strings.HasPrefix(p.text[p.at:], w.text) {
			p.at += len(w.text)
			return w
		}
	}
	p.malformed("a value is missing")
	return Value{}
}

// digits takes all that follow and says whether there are any.
func (p *parser) digits() bool {
	from := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > from
}

// skip takes one of these bytes if it is next.
func (p *parser) skip(any string) bool {
	if p.at == len(p.text) || strings.IndexByte(any, p.text[p.at]) < 0 {
		return false
	}
	p.at++
	return true
}

func (p *parser) number() Value {
	from := p.at
	p.skip("-")
	ok := p.skip("0") || p.digits()
	if ok && p.skip(".") {
		ok = p.digits()
	}
	if ok && p.skip("eE") {
		p.skip("+-")
		ok = p.digits()
	}
	if !ok {
		p.malformed("a digit is missing")
		return Value{}
	}
	return Value{kind: Number, text: p.text[from:p.at]}
}

// more goes to the next element, or is false behind the last one.
func (p *parser) more(n int, bracket byte) bool {
	if p.take(bracket) {
		return false
	}
	if n > 0 && !p.take(',') {
		p.malformed("a comma or the end is missing")
	}
	return p.fault == ""
}

func (p *parser) list(depth int) Value {
	v := Value{kind: List}
	for p.at++; p.more(len(v.items), ']'); {
		v.items = append(v.items, p.value(depth+1))
	}
	return v
}

func (p *parser) table(depth int) Value {
	v := Value{kind: Table}
	var seen names
	for p.at++; p.more(len(v.items), '}'); {
		p.space()
		name := p.string()
		if p.fault == "" && !seen.add(v.names, name) {
			p.fail("a member is there twice")
		}
		if !p.take(':') {
			p.malformed("a colon is missing")
		}
		v.names = append(v.names, name)
		v.items = append(v.items, p.value(depth+1))
	}
	return v
}

// names are those of a table so far, once there are too many to look at each.
type names map[string]struct{}

const namesFew = 8

// add says whether the name is a new one.
func (n *names) add(before []string, name string) bool {
	if len(before) < namesFew {
		for _, b := range before {
			if b == name {
				return false
			}
		}
		return true
	}
	if *n == nil {
		*n = names{}
		for _, b := range before {
			(*n)[b] = struct{}{}
		}
	}
	count := len(*n)
	(*n)[name] = struct{}{}
	return len(*n) > count
}

// string reads a string. It is a part of the text, if nothing in it is escaped.
func (p *parser) string() string {
	if !p.skip(`"`) {
		p.malformed("a string is missing")
		return ""
	}
	var decoded []byte
	from := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			rest := p.text[from:p.at]
			p.at++
			if decoded == nil {
				return rest
			}
			return string(append(decoded, rest...))
		case c < ' ':
			p.malformed("there is a control character in a string")
		case c == '\\':
			decoded = append(decoded, p.text[from:p.at]...)
			p.at++
			decoded = utf8.AppendRune(decoded, p.escape())
			from = p.at
		default:
			p.at++
		}
	}
	p.malformed("a string has no end")
	return ""
}

// escape reads what stands behind a backslash.
func (p *parser) escape() rune {
	if p.skip("u") {
		return p.escaped()
	}
	const letters, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if p.at < len(p.text) {
		if i := strings.IndexByte(letters, p.text[p.at]); i >= 0 {
			p.at++
			return rune(meant[i])
		}
	}
	p.malformed("there is an escape that JSON doesn't know")
	return 0
}

// escaped reads the rest of \uXXXX, or of two of them that make one character.
func (p *parser) escaped() rune {
	c := p.hex()
	if 0xd800 <= c && c < 0xdc00 && strings.HasPrefix(p.text[p.at:], `\u`) {
		p.at += 2
		if low := p.hex(); 0xdc00 <= low && low < 0xe000 {
			return 0x10000 + (c-0xd800)<<10 | (low - 0xdc00)
		}
	}
	if 0xd800 <= c && c < 0xe000 {
		p.fail("there is half a character in it")
	}
	return c
}

func (p *parser) hex() rune {
	if len(p.text)-p.at >= 4 && strings.Trim(p.text[p.at:p.at+4], "0123456789abcdefABCDEF") == "" {
		c, _ := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16)
		p.at += 4
		return rune(c)
	}
	p.malformed("there is an escape that JSON doesn't know")
	return 0
}
