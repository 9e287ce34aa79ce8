package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

// The general way: the check, then fastjson, then this, which takes the request out of fastjson's
// tree and words what is wrong with the kinds of its values.

// errDisagree can't happen, and the fuzz targets look for it: fastjson refused what the check proved to be
// well-formed. It is an error rather than a panic because it would be one client's message that
// stops everybody's locks.
var errDisagree = errors.New("the server's two JSON parsers disagree on this message")

// shownBytes is how much of a client's own text an error repeats.
const shownBytes = 40

// parse reads any message that keeps to the rules, or says which one it breaks.
func (p *V1Parser) parse(msg []byte) (V1Request, error) {
	c := checker{b: msg, most: p.most()}
	if err := c.check(); err != nil {
		return V1Request{}, err
	}
	v, err := p.json.ParseBytes(msg)
	if err != nil {
		return V1Request{}, errDisagree
	}
	r, err := p.extract(&c, v)
	p.shrink(c.values)
	return r, err
}

// shrink drops fastjson's tree once it may have grown too large (see keptValues).
func (p *V1Parser) shrink(values int) {
	if values <= smallValues {
		return
	}
	if p.grown += values; p.grown > keptValues {
		p.json, p.grown = fastjson.Parser{}, 0
	}
}

func (p *V1Parser) extract(c *checker, v *fastjson.Value) (r V1Request, err error) {
	o := v.GetObject()
	if o == nil {
		return r, errDisagree
	}
	if r.Action, err = action(o.Get("action")); err != nil || r.Action == V1Release {
		return r, err
	}
	list := o.Get("resources")
	if list != nil && list.Type() != fastjson.TypeArray {
		return r, fmt.Errorf("resources: want an array, found %s", kind(list))
	}
	p.resources, p.segments = p.resources[:0], p.segments[:0]
	if list != nil {
		for i, v := range list.GetArray() {
			if err := p.resource(c, i, v); err != nil {
				return r, err
			}
		}
	}
	if len(p.resources) == 0 {
		return r, errors.New("no resources: a lock names at least one")
	}
	r.Resources = p.resources
	return r, nil
}

func action(v *fastjson.Value) (V1Action, error) {
	const known = `"lock" or "release"`
	if v == nil {
		return 0, errors.New("no action: want " + known)
	}
	if v.Type() != fastjson.TypeString {
		return 0, fmt.Errorf("action: want %s, found %s", known, kind(v))
	}
	switch name := v.GetStringBytes(); string(name) {
	case "lock":
		return V1Lock, nil
	case "release":
		return V1Release, nil
	default:
		return 0, fmt.Errorf("action: want %s, found %s", known, shown(name))
	}
}

func (p *V1Parser) resource(c *checker, i int, v *fastjson.Value) error {
	if v.Type() != fastjson.TypeObject {
		return fmt.Errorf("resources[%d]: want an object, found %s", i, kind(v))
	}
	o := v.GetObject()
	t, err := resourceType(i, o.Get("type"))
	if err != nil {
		return err
	}
	path := o.Get("path")
	if path == nil {
		return fmt.Errorf("resources[%d]: no path: want an array of strings", i)
	}
	if path.Type() != fastjson.TypeArray {
		return fmt.Errorf("resources[%d].path: want an array of strings, found %s", i, kind(path))
	}
	first := len(p.segments)
	for j, v := range path.GetArray() {
		if v.Type() != fastjson.TypeString {
			return fmt.Errorf("resources[%d].path[%d]: want a string, found %s", i, j, kind(v))
		}
		if c.torn && c.tornResource == i && c.tornSegment == j {
			return fmt.Errorf(`resources[%d].path[%d]: a \u escape is half of a surrogate pair, the other half is missing`, i, j)
		}
		segment := v.GetStringBytes()
		if bytes.IndexByte(segment, 0) >= 0 {
			return fmt.Errorf("resources[%d].path[%d]: a segment can't contain the character NUL", i, j)
		}
		p.segments = append(p.segments, segment)
	}
	p.resources = append(p.resources, Resource{Type: t, Path: p.path(first)})
	return nil
}

func resourceType(i int, v *fastjson.Value) (Type, error) {
	const known = `"read", "r", "write" or "w"`
	if v == nil {
		return 0, fmt.Errorf("resources[%d]: no type: want %s", i, known)
	}
	if v.Type() != fastjson.TypeString {
		return 0, fmt.Errorf("resources[%d].type: want %s, found %s", i, known, kind(v))
	}
	name := v.GetStringBytes()
	t, ok := typeNamed(name)
	if !ok {
		return 0, fmt.Errorf("resources[%d].type: want %s, found %s", i, known, shown(name))
	}
	return t, nil
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
