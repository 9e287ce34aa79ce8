package wire

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// The check in front of fastjson: one pass over the message, RFC 8259 to the letter, plus the rules
// named at Parse that JSON doesn't have. It also empties the arrays and objects that nobody looks
// into, so that fastjson builds a tree only of what is wanted.

// rules are what a version of the protocol knows of a message's shape.
type rules struct {
	like string // a message, for errors
	// The members that it knows: of the message, of its resources, and of its resume.
	message, resource, resume []field
	permits                   bool // resources may be permits
	// strict: no text has a NUL or half of a surrogate pair, whatever is done with it. If not, that
	// is found out where the text is used.
	strict bool
}

// field is a member by name, of ASCII letters and underscores, and what is expected there.
type field struct {
	name string
	at   place
}

// place is what is expected where a value stands.
type place uint8

const (
	atMessage     place = iota // the whole message
	atResources                // its member of that name
	atResource                 // an element of that
	atPath                     // a resource's member of that name, or the message's
	atSegment                  // an element of that
	atScalar                   // a word, number or flag: never an array or object
	atText                     // a string of the client's own
	atCredentials              // an object whose members have any names and are atText
	atResume                   // the object of a hello that names a session
	atUnknown                  // a member that isn't known
	atNothing                  // anywhere inside something that nobody looks into
)

// holds tells whether an array or object, by its first byte, is looked into at this place.
func (at place) holds(bracket byte) bool {
	switch at {
	case atMessage, atResource, atCredentials, atResume:
		return bracket == '{'
	case atResources, atPath:
		return bracket == '['
	}
	return false
}

// element is the place of the elements of an array at this place.
func (at place) element() place {
	switch at {
	case atResources:
		return atResource
	case atPath:
		return atSegment
	}
	return atNothing
}

// fields are the members that are known of an object at this place.
func (r *rules) fields(at place) []field {
	switch at {
	case atMessage:
		return r.message
	case atResource:
		return r.resource
	case atResume:
		return r.resume
	}
	return nil
}

// member is the place of an object's member, and the bit that tells known members apart. key is as
// written, between its quotes.
func (r *rules) member(at place, key []byte) (value place, known uint32) {
	for i, f := range r.fields(at) {
		if spells(key, f.name) {
			return f.at, 1 << i
		}
	}
	switch at {
	case atMessage, atResource, atResume:
		return atUnknown, 0
	case atCredentials:
		return atText, 0
	}
	return atNothing, 0
}

type checker struct {
	rules  *rules
	b      []byte
	i      int
	depth  int
	values int // that are looked at
	most   int // of those

	resource, segment int // the indexes of those being checked
	// The first segment that has half of a surrogate pair, if the rules aren't strict. fastjson would
	// make text of it that can't be told from other text.
	torn         bool
	tornResource int
	tornSegment  int
}

// check proves that the message is well-formed and keeps to the rules. Nothing is said yet about
// the kinds of its values, except that it is an object.
func (c *checker) check() error {
	c.space()
	if c.i == len(c.b) {
		return c.fault(c.i, "the message is empty")
	}
	if c.b[c.i] != '{' {
		return c.fault(c.i, `want a JSON object like %s, found %s`, c.rules.like, c.found())
	}
	if err := c.value(atMessage); err != nil {
		return err
	}
	c.space()
	if c.i < len(c.b) {
		return c.fault(c.i, "want nothing behind the message's end, found %s", c.found())
	}
	return nil
}

func (c *checker) fault(at int, format string, args ...any) error {
	return fmt.Errorf("at byte %d: "+format, append([]any{at}, args...)...)
}

// found words what comes next.
func (c *checker) found() string {
	if c.i >= len(c.b) {
		return "the message's end"
	}
	r, n := utf8.DecodeRune(c.b[c.i:])
	if r == utf8.RuneError && n <= 1 {
		return fmt.Sprintf("byte 0x%02x", c.b[c.i])
	}
	return strconv.QuoteRune(r)
}

func (c *checker) value(at place) error {
	if c.i == len(c.b) {
		return c.fault(c.i, "want a value, found the message's end")
	}
	switch b := c.b[c.i]; {
	case b == '{' || b == '[':
		return c.container(at, b)
	case b == '"':
		return c.text(at)
	case b == '-' || isDigit(b):
		return c.number()
	case b == 't':
		return c.literal("true")
	case b == 'f':
		return c.literal("false")
	case b == 'n':
		return c.literal("null")
	}
	return c.fault(c.i, "want a value, found %s", c.found())
}

// text checks a string that is a value.
func (c *checker) text(at place) error {
	start := c.i
	_, flaws, err := c.str()
	if err != nil || flaws == 0 || at != atSegment && at != atText {
		return err
	}
	if c.rules.strict {
		return c.flaw(start, flaws)
	}
	if flaws&torn != 0 && !c.torn {
		c.torn, c.tornResource, c.tornSegment = true, c.resource, c.segment
	}
	return nil
}

// flaw words what is wrong with the string that starts there.
func (c *checker) flaw(start int, flaws flaws) error {
	if flaws&torn != 0 {
		return c.fault(start, `in this string a \u escape is half of a surrogate pair, the other half is missing`)
	}
	return c.fault(start, "this string contains the character NUL")
}

// container checks an array or object, and empties it if nobody looks into it.
func (c *checker) container(at place, bracket byte) error {
	c.depth++
	if c.depth > V1Depth {
		return c.fault(c.i, "nested deeper than %d", V1Depth)
	}
	inner, start := at, c.i
	if !at.holds(bracket) {
		inner = atNothing
	}
	var err error
	if bracket == '{' {
		err = c.object(inner)
	} else {
		err = c.array(inner)
	}
	if err != nil {
		return err
	}
	c.depth--
	if inner == atNothing && at != atNothing {
		blank(c.b[start+1 : c.i-1])
	}
	return nil
}

// blank makes white space of b.
func blank(b []byte) {
	for i := range b {
		b[i] = ' '
	}
}

func (c *checker) object(at place) error {
	c.i++
	if c.space(); c.eat('}') {
		return nil
	}
	var seen uint32
	for {
		c.space()
		if c.i == len(c.b) || c.b[c.i] != '"' {
			return c.fault(c.i, "want a member's name in quotes, found %s", c.found())
		}
		start := c.i
		key, flaws, err := c.str()
		if err != nil {
			return err
		}
		if at == atCredentials && flaws != 0 {
			return c.flaw(start, flaws)
		}
		value, known := c.rules.member(at, key)
		if seen&known != 0 {
			return c.fault(start, "%smember %s is there twice", c.prefix(at), c.b[start:c.i])
		}
		seen |= known
		if c.space(); !c.eat(':') {
			return c.fault(c.i, "want ':' behind a member's name, found %s", c.found())
		}
		if err := c.child(at, value); err != nil {
			return err
		}
		if c.eat('}') {
			return nil
		}
		if !c.eat(',') {
			return c.fault(c.i, "want ',' or '}' behind a member, found %s", c.found())
		}
	}
}

// prefix says which object a fault is in.
func (c *checker) prefix(at place) string {
	switch at {
	case atResource:
		return fmt.Sprintf("resources[%d]: ", c.resource)
	case atResume:
		return "resume: "
	}
	return ""
}

func (c *checker) array(at place) error {
	c.i++
	if c.space(); c.eat(']') {
		return nil
	}
	for n := 0; ; n++ {
		switch at {
		case atResources:
			c.resource = n
		case atPath:
			c.segment = n
		}
		if err := c.child(at, at.element()); err != nil {
			return err
		}
		if c.eat(']') {
			return nil
		}
		if !c.eat(',') {
			return c.fault(c.i, "want ',' or ']' behind an element, found %s", c.found())
		}
	}
}

// child checks an element or a member's value, with the white space around it, and counts it if
// what holds it is looked into.
func (c *checker) child(holder, at place) error {
	c.space()
	if holder != atNothing {
		c.values++
		if c.values > c.most {
			return c.fault(c.i, "more than %d members, resources and segments in one message (limits.message_values)", c.most)
		}
	}
	err := c.value(at)
	c.space()
	return err
}

func (c *checker) literal(want string) error {
	rest := c.b[c.i:]
	if len(rest) < len(want) || string(rest[:len(want)]) != want {
		return c.fault(c.i, "want a value, found %s", c.found())
	}
	c.i += len(want)
	return nil
}

// number checks RFC 8259's grammar: a minus, an integer without leading zeros, a fraction, an exponent.
func (c *checker) number() error {
	c.eat('-')
	if !c.eat('0') && !c.digits() {
		return c.fault(c.i, "want a digit, found %s", c.found())
	}
	if c.eat('.') && !c.digits() {
		return c.fault(c.i, "want a digit behind the point, found %s", c.found())
	}
	if !c.eat('e') && !c.eat('E') {
		return nil
	}
	if !c.eat('+') {
		c.eat('-')
	}
	if !c.digits() {
		return c.fault(c.i, "want a digit in the exponent, found %s", c.found())
	}
	return nil
}

// digits takes digits and tells whether there were any.
func (c *checker) digits() bool {
	start := c.i
	for c.i < len(c.b) && isDigit(c.b[c.i]) {
		c.i++
	}
	return c.i > start
}

// flaws of a string that is good JSON and still can't be taken as text.
type flaws uint8

const (
	torn flaws = 1 << iota // an escape in it is half of a surrogate pair, the other half missing
	null                   // an escape in it is NUL
)

// str checks a string and returns it as written, without its quotes.
func (c *checker) str() (raw []byte, found flaws, err error) {
	start := c.i
	for c.i++; c.i < len(c.b); {
		switch b := c.b[c.i]; {
		case plain[b]:
			c.i++
		case b == '"':
			c.i++
			return c.b[start+1 : c.i-1], found, nil
		case b == '\\':
			flaw, err := c.escape()
			if err != nil {
				return nil, 0, err
			}
			found |= flaw
		case b < ' ':
			return nil, 0, c.fault(c.i, `control character 0x%02x in a string: write \u%04x`, b, b)
		default:
			r, n := utf8.DecodeRune(c.b[c.i:])
			if r == utf8.RuneError && n == 1 {
				return nil, 0, c.fault(c.i, "byte 0x%02x is no valid UTF-8", b)
			}
			c.i += n
		}
	}
	return nil, 0, c.fault(start, "a string is opened and never closed")
}

// escape checks a backslash and what follows.
func (c *checker) escape() (flaws, error) {
	if c.i+1 == len(c.b) {
		return 0, c.fault(c.i, "want an escape, found the message's end")
	}
	switch c.b[c.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.i += 2
		return 0, nil
	case 'u':
	default:
		c.i++
		return 0, c.fault(c.i-1, `JSON knows no escape of %s: a backslash is written \\`, c.found())
	}
	unit, ok := hex4(c.b[c.i+2:])
	if !ok {
		return 0, c.fault(c.i, `want four hexadecimal digits behind \u`)
	}
	c.i += 6
	if unit == 0 {
		return null, nil
	}
	if unit < 0xd800 || unit > 0xdfff {
		return 0, nil
	}
	if rest := c.b[c.i:]; unit < 0xdc00 && len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
		if low, ok := hex4(rest[2:]); ok && low >= 0xdc00 && low <= 0xdfff {
			c.i += 6
			return 0, nil
		}
	}
	return torn, nil
}

// hex4 reads the four hexadecimal digits that b starts with.
func hex4(b []byte) (unit uint16, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		unit = unit<<4 | uint16(c)
	}
	return unit, true
}

// spells tells whether a well-formed string, as written between its quotes, means name, which is of
// ASCII letters and underscores.
func spells(raw []byte, name string) bool {
	for len(raw) > 0 && len(name) > 0 {
		c, n := raw[0], 1
		if c == '\\' {
			if raw[1] != 'u' {
				return false // the short escapes stand for none of these
			}
			unit, _ := hex4(raw[2:])
			if unit > 0x7f {
				return false
			}
			c, n = byte(unit), 6
		}
		if c != name[0] {
			return false
		}
		raw, name = raw[n:], name[1:]
	}
	return len(raw) == 0 && len(name) == 0
}

// eat takes c if it comes next.
func (c *checker) eat(b byte) bool {
	if c.i < len(c.b) && c.b[c.i] == b {
		c.i++
		return true
	}
	return false
}

func (c *checker) space() {
	for c.i < len(c.b) && isSpace(c.b[c.i]) {
		c.i++
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
