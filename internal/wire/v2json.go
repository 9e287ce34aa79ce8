package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/valyala/fastjson"
)

// rulesV2 is the shape of version 2's messages.
var rulesV2 = rules{
	like: `{"op":"renew","id":1}`,
	message: []field{
		{"op", atScalar}, {"id", atScalar}, {"lock", atScalar}, {"resources", atResources}, {"wait_ms", atScalar},
		{"lease_ms", atScalar}, {"note", atText}, {"leave", atScalar}, {"party", atScalar}, {"path", atPath}, {"limit", atScalar},
		{"after", atText}, {"watch", atScalar}, {"upgrade", atScalar}, {"ttl_ms", atScalar}, {"name", atText},
		{"credentials", atCredentials}, {"resume", atResume},
	},
	resource: []field{{"type", atScalar}, {"path", atPath}, {"limit", atScalar}, {"weight", atScalar}},
	resume:   []field{{"session", atText}, {"secret", atText}, {"event", atScalar}},
	permits:  true,
	strict:   true,
}

// parse reads any message that keeps to the rules, or says which one it breaks.
func (p *V2Parser) parse(msg []byte) (V2Request, error) {
	c := checker{b: msg, most: mostValues(p.Values), rules: &rulesV2}
	o, err := p.tree(&c)
	if err != nil {
		return V2Request{}, err
	}
	r, err := p.extract(&c, o)
	p.shrink(c.values)
	if err != nil {
		return V2Request{}, err
	}
	return r, nil
}

func (p *V2Parser) extract(c *checker, o *fastjson.Object) (r V2Request, err error) {
	if r.Op, err = opV2(o.Get("op")); err != nil {
		return r, err
	}
	m := object{o: o, core: &p.core}
	r.WaitMS, r.LeaseMS = V2None, V2None
	if r.Op == V2Hello {
		r.Hello, err = p.greeting(&m)
		return r, err
	}
	r.ID = m.needed("id", 1, V2MaxID)
	switch r.Op {
	case V2Lock:
		return r, p.lockV2(c, &m, &r)
	case V2Renew:
		r.Lock, _ = m.number("lock", 1, V2MaxID)
		r.LeaseMS = m.milliseconds("lease_ms")
		if r.LeaseMS != V2None && r.Lock == 0 {
			m.fail(errors.New("lease_ms: a lease is a lock's, and no lock is named"))
		}
	case V2Upgrade:
		r.Lock = m.needed("lock", 1, V2MaxID)
		r.WaitMS = m.milliseconds("wait_ms")
	case V2Release:
		r.Lock = m.needed("lock", 1, V2MaxID)
	case V2Downgrade:
		r.Lock = m.needed("lock", 1, V2MaxID)
		r.Upgrade, _ = m.number("upgrade", 1, V2MaxID)
	case V2Locks, V2Inspect, V2Watch:
		return r, p.look(&m, &r)
	case V2Unwatch:
		r.Watch = m.needed("watch", 1, V2MaxID)
	}
	return r, m.err
}

func opV2(v *fastjson.Value) (V2Op, error) {
	const known = `"lock", "release" or another operation`
	if v == nil {
		return 0, errors.New("no op: want " + known)
	}
	if v.Type() != fastjson.TypeString {
		return 0, fmt.Errorf("op: want %s, found %s", known, kind(v))
	}
	name := v.GetStringBytes()
	op, ok := v2OpNamed(name)
	if !ok {
		return 0, fmt.Errorf("op: want %s, found %s", known, shown(name))
	}
	return op, nil
}

// lockV2 takes what a lock has.
func (p *V2Parser) lockV2(c *checker, m *object, r *V2Request) error {
	r.WaitMS, r.LeaseMS = m.milliseconds("wait_ms"), m.milliseconds("lease_ms")
	r.Note, _ = m.text("note")
	r.Leave = m.flag("leave")
	r.Party, _ = m.number("party", 0, V2MaxID)
	if m.err != nil {
		return m.err
	}
	if err := p.list(c, m.o.Get("resources")); err != nil {
		return err
	}
	r.Resources = p.resources
	return nil
}

// look takes what an operation has that looks at locks.
func (p *V2Parser) look(m *object, r *V2Request) error {
	if r.Op != V2Watch {
		r.Limit, _ = m.number("limit", 1, V2MaxID)
		r.After = m.cursor("after")
	}
	if m.err != nil || r.Op == V2Locks {
		return m.err
	}
	p.segments = p.segments[:0]
	path, err := p.extractPath(nil, m, m.o.Get("path"))
	r.Path = path
	return err
}

// greeting takes what a hello has.
func (p *V2Parser) greeting(m *object) (*V2Greeting, error) {
	if p.hello == nil {
		p.hello = &V2Greeting{}
	}
	g := p.hello
	*g = V2Greeting{TTLMS: m.milliseconds("ttl_ms"), Credentials: g.Credentials[:0]}
	g.Name, _ = m.text("name")
	if m.err != nil {
		return nil, m.err
	}
	if err := g.prove(m.o.Get("credentials")); err != nil {
		return nil, err
	}
	v := m.o.Get("resume")
	if v == nil {
		return g, nil
	}
	if v.Type() != fastjson.TypeObject {
		return nil, fmt.Errorf("resume: want an object, found %s", kind(v))
	}
	resume := object{o: v.GetObject(), core: m.core, where: "resume"}
	g.Resume = true
	g.Session, g.Secret = resume.neededText("session"), resume.neededText("secret")
	g.Event, _ = resume.number("event", 0, V2MaxID)
	return g, resume.err
}

// prove takes credentials.
func (g *V2Greeting) prove(v *fastjson.Value) (err error) {
	if v == nil {
		return nil
	}
	if v.Type() != fastjson.TypeObject {
		return fmt.Errorf("credentials: want an object of strings, found %s", kind(v))
	}
	o := v.GetObject()
	if o.Len() > V2Credentials {
		return fmt.Errorf("credentials: %d are too many, at most %d are allowed", o.Len(), V2Credentials)
	}
	o.Visit(func(name []byte, v *fastjson.Value) {
		switch {
		case err != nil:
			return
		case v.Type() != fastjson.TypeString:
			err = fmt.Errorf("credentials: %s: want a string, found %s", shown(name), kind(v))
			return
		}
		for _, c := range g.Credentials {
			if bytes.Equal(c.Name, name) {
				err = fmt.Errorf("credentials: %s is there twice", shown(name))
				return
			}
		}
		g.Credentials = append(g.Credentials, V2Credential{Name: name, Value: v.GetStringBytes()})
	})
	return err
}
