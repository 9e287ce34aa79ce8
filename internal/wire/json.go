package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

// The general way: the check, then fastjson, then what takes the request out of fastjson's tree and
// words what is wrong with the kinds of its values.

// errDisagree can't happen, and the fuzz targets look for it: fastjson refused what the check proved to be
// well-formed. It is an error rather than a panic because it would be one client's message that
// stops everybody's locks.
var errDisagree = errors.New("the server's two JSON parsers disagree on this message")

// shownBytes is how much of a client's own text an error repeats.
const shownBytes = 40

// tree proves that a message keeps to the rules and has fastjson take it apart.
func (p *core) tree(c *checker) (*fastjson.Object, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	v, err := p.json.ParseBytes(c.b)
	if err != nil {
		return nil, errDisagree
	}
	o := v.GetObject()
	if o == nil {
		return nil, errDisagree
	}
	return o, nil
}

// shrink drops fastjson's tree once it may have grown too large (see keptValues).
func (p *core) shrink(values int) {
	if values <= smallValues {
		return
	}
	if p.grown += values; p.grown > keptValues {
		p.json, p.grown = fastjson.Parser{}, 0
	}
}

// list takes the resources of a lock.
func (p *core) list(c *checker, v *fastjson.Value) error {
	if v != nil && v.Type() != fastjson.TypeArray {
		return fmt.Errorf("resources: want an array, found %s", kind(v))
	}
	p.resources, p.segments = p.resources[:0], p.segments[:0]
	if v != nil {
		for i, v := range v.GetArray() {
			if err := p.resource(c, i, v); err != nil {
				return err
			}
		}
	}
	if len(p.resources) == 0 {
		return errors.New("no resources: a lock names at least one")
	}
	return nil
}

func (p *core) resource(c *checker, i int, v *fastjson.Value) error {
	if v.Type() != fastjson.TypeObject {
		return fmt.Errorf("resources[%d]: want an object, found %s", i, kind(v))
	}
	o := v.GetObject()
	r, err := c.rules.typeOf(i, o.Get("type"))
	if err != nil {
		return err
	}
	m := object{o: o, core: p, where: "resources", index: i, indexed: true}
	if c.rules.permits {
		if err := m.permit(&r); err != nil {
			return err
		}
	}
	if r.Path, err = p.extractPath(c, &m, o.Get("path")); err != nil {
		return err
	}
	p.resources = append(p.resources, r)
	return nil
}

// extractPath takes an object's path.
func (p *core) extractPath(c *checker, m *object, path *fastjson.Value) ([][]byte, error) {
	if path == nil {
		return nil, fmt.Errorf("%sno path: want an array of strings", m.in(": "))
	}
	if path.Type() != fastjson.TypeArray {
		return nil, fmt.Errorf("%spath: want an array of strings, found %s", m.in("."), kind(path))
	}
	first := len(p.segments)
	for j, v := range path.GetArray() {
		if v.Type() != fastjson.TypeString {
			return nil, fmt.Errorf("%spath[%d]: want a string, found %s", m.in("."), j, kind(v))
		}
		if m.indexed && c.torn && c.tornResource == m.index && c.tornSegment == j {
			return nil, fmt.Errorf(`%spath[%d]: a \u escape is half of a surrogate pair, the other half is missing`, m.in("."), j)
		}
		segment := v.GetStringBytes()
		if bytes.IndexByte(segment, 0) >= 0 {
			return nil, fmt.Errorf("%spath[%d]: a segment can't contain the character NUL", m.in("."), j)
		}
		p.segments = append(p.segments, segment)
	}
	return p.path(first), nil
}

// typeOf reads a resource's type.
func (r *rules) typeOf(i int, v *fastjson.Value) (res Resource, err error) {
	known := `"read", "r", "write" or "w"`
	if r.permits {
		known = `"read", "r", "write", "w", "permit" or "p"`
	}
	if v == nil {
		return res, fmt.Errorf("resources[%d]: no type: want %s", i, known)
	}
	if v.Type() != fastjson.TypeString {
		return res, fmt.Errorf("resources[%d].type: want %s, found %s", i, known, kind(v))
	}
	name := v.GetStringBytes()
	ok := false
	if res.Type, ok = typeNamed(name); !ok || res.Type == Permit && !r.permits {
		return res, fmt.Errorf("resources[%d].type: want %s, found %s", i, known, shown(name))
	}
	return res, nil
}

// permit takes what only a permit has.
func (m *object) permit(r *Resource) error {
	limit, hasLimit := m.number("limit", 1, math.MaxUint32)
	weight, hasWeight := m.number("weight", 1, math.MaxUint32)
	switch {
	case m.err != nil:
		return m.err
	case r.Type == Permit && !hasLimit:
		return m.missing("limit", 1, math.MaxUint32)
	case r.Type == Permit && !hasWeight:
		weight = 1
	case r.Type != Permit && (hasLimit || hasWeight):
		return fmt.Errorf("%slimit and weight are for permits, this is a %s", m.in(": "), r.Type)
	}
	r.Limit, r.Weight = uint32(limit), uint32(weight)
	return nil
}

// object takes members out of an object. The first that isn't as it should be is its error.
type object struct {
	core    *core
	o       *fastjson.Object
	where   string // where the object is; "": it is the message itself
	index   int    // its index there
	indexed bool
	err     error
}

// in words where the object is, with what stands between that and the rest of a sentence or name.
func (m *object) in(between string) string {
	switch {
	case m.where == "":
		return ""
	case m.indexed:
		return fmt.Sprintf("%s[%d]%s", m.where, m.index, between)
	}
	return m.where + between
}

func (m *object) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

// number takes a whole number.
func (m *object) number(name string, least, most uint64) (n uint64, given bool) {
	v := m.o.Get(name)
	if v == nil {
		return 0, false
	}
	found := ""
	if v.Type() == fastjson.TypeNumber {
		p := m.core
		p.number = v.MarshalTo(p.number[:0])
		if n, given = wholeNumber(p.number, least, most); given {
			return n, true
		}
		found = string(p.number[:min(len(p.number), shownBytes)])
	} else {
		found = kind(v)
	}
	m.fail(fmt.Errorf("%s%s: want a whole number from %d to %d, found %s", m.in("."), name, least, most, found))
	return 0, false
}

// missing says that a number isn't there.
func (m *object) missing(name string, least, most uint64) error {
	return fmt.Errorf("%sno %s: want a whole number from %d to %d", m.in(": "), name, least, most)
}

// needed takes a whole number that must be there.
func (m *object) needed(name string, least, most uint64) uint64 {
	n, given := m.number(name, least, most)
	if !given {
		m.fail(m.missing(name, least, most))
	}
	return n
}

// text takes a string.
func (m *object) text(name string) (text []byte, given bool) {
	v := m.o.Get(name)
	if v == nil {
		return nil, false
	}
	if v.Type() != fastjson.TypeString {
		m.fail(fmt.Errorf("%s%s: want a string, found %s", m.in("."), name, kind(v)))
	}
	return v.GetStringBytes(), true
}

// neededText takes a string that must be there.
func (m *object) neededText(name string) []byte {
	text, given := m.text(name)
	if !given {
		m.fail(fmt.Errorf("%sno %s: want a string", m.in(": "), name))
	}
	return text
}

// milliseconds takes a time; V2None if it isn't there.
func (m *object) milliseconds(name string) int64 {
	if n, given := m.number(name, 0, V2MaxID); given {
		return int64(n)
	}
	return V2None
}

// cursor takes a number that was given out as a string, to be given back; 0 if it isn't there.
func (m *object) cursor(name string) uint64 {
	text, given := m.text(name)
	n, ok := wholeNumber(text, 0, math.MaxUint64)
	if given && !ok {
		m.fail(fmt.Errorf(`%s%s: want a number in quotes, as "next" gave it, found %s`, m.in("."), name, shown(text)))
	}
	return n
}

// flag takes true or false.
func (m *object) flag(name string) bool {
	v := m.o.Get(name)
	if v == nil || v.Type() == fastjson.TypeFalse {
		return false
	}
	if v.Type() != fastjson.TypeTrue {
		m.fail(fmt.Errorf("%s%s: want true or false, found %s", m.in("."), name, kind(v)))
	}
	return true
}

// kind names the kind of a value in a sentence.
func kind(v *fastjson.Value) string {
	switch v.Type() {
	case fastjson.TypeObject:
		return "an object"
	case fastjson.TypeArray:
		return "an array"
	case fastjson.TypeString:
		return "a string"
	case fastjson.TypeNumber:
		return "a number"
	}
	return v.Type().String() // null, true, false
}

// shown quotes a client's own text, printable and cut to a sane length.
func shown(text []byte) string {
	rest := ""
	if len(text) > shownBytes {
		cut := shownBytes
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text, rest = text[:cut], "…"
	}
	return strconv.Quote(string(text)) + rest
}
