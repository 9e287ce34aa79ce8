package wire

import (
	"errors"
	"fmt"

	"github.com/valyala/fastjson"
)

// rulesV1 is the shape of version 1's messages.
var rulesV1 = rules{
	like:     `{"action":"release"}`,
	message:  []field{{"action", atScalar}, {"resources", atResources}},
	resource: []field{{"type", atScalar}, {"path", atPath}},
}

// parse reads any message that keeps to the rules, or says which one it breaks.
func (p *V1Parser) parse(msg []byte) (V1Request, error) {
	c := checker{b: msg, most: mostValues(p.Values), rules: &rulesV1}
	o, err := p.tree(&c)
	if err != nil {
		return V1Request{}, err
	}
	r, err := p.extract(&c, o)
	p.shrink(c.values)
	return r, err
}

func (p *V1Parser) extract(c *checker, o *fastjson.Object) (r V1Request, err error) {
	if r.Action, err = action(o.Get("action")); err != nil || r.Action == V1Release {
		return r, err
	}
	if err := p.list(c, o.Get("resources")); err != nil {
		return r, err
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
