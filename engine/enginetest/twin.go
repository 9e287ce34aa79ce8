package enginetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// Op is what a call does.
type Op uint8

// The calls that change an engine.
const (
	Lock Op = iota
	Release
	Advance
)

// Call is a call to an engine as a value. Requests go by the order of their Lock calls, from zero,
// refused ones included.
type Call struct {
	Op        Op
	Owner     uint64
	Resources []engine.Resource // Lock
	Request   int               // Release: which; a refused, released or future one is stale
}

// Answer is what an engine said to a call.
type Answer struct {
	Placed   engine.Placed
	Released engine.Released
	Err      error
	Grants   []engine.Grant // a copy
	More     bool
}

// Player makes calls to an engine and remembers the handles.
type Player struct {
	Engine  *engine.Engine
	handles []engine.Handle
}

// Do makes a call.
func (p *Player) Do(c Call) (a Answer) {
	switch c.Op {
	case Lock:
		a.Placed, a.Err = p.Engine.Lock(c.Owner, c.Resources)
		p.handles = append(p.handles, a.Placed.Handle)
	case Release:
		a.Released, a.Err = p.Engine.Release(p.Handle(c.Request))
		a.Grants, a.More = slices.Clone(a.Released.Grants), a.Released.More
		a.Released.Grants = nil
	case Advance:
		a.Grants, a.More = p.Engine.Advance()
		a.Grants = slices.Clone(a.Grants)
	}
	return a
}

// Handle is the handle of a request; zero if it was refused or is yet to come.
func (p *Player) Handle(request int) engine.Handle {
	if request < 0 || request >= len(p.handles) {
		return 0
	}
	return p.handles[request]
}

// Twin gives each call to an engine and to the model.
type Twin struct {
	Player
	Model    Model
	requests []*Request // by Call.Request; nil: refused or released
	more     bool
}

// NewTwin makes an engine and its model.
func NewTwin(limits engine.Limits) *Twin {
	t := &Twin{Model: Model{Limits: limits}}
	t.Engine = engine.New(limits, 0)
	return t
}

// Do makes a call and says what in the engine's answer isn't what the model says.
func (t *Twin) Do(c Call) (Answer, error) {
	a := t.Player.Do(c)
	var err error
	switch c.Op {
	case Lock:
		err = t.locked(c, a)
	case Release:
		err = t.released(c, a)
	}
	if err == nil && c.Op != Lock && !errors.Is(a.Err, engine.ErrStale) {
		err = t.granted(a)
	}
	if err == nil {
		err = t.compare()
	}
	return a, err
}

// More says that the engine has work left over.
func (t *Twin) More() bool { return t.more }

func (t *Twin) locked(c Call, a Answer) error {
	want, refusal := t.Model.Lock(c.Owner, c.Resources)
	t.requests = append(t.requests, want)
	var got *engine.RequestError
	errors.As(a.Err, &got)
	switch {
	case (got == nil) != (refusal == nil) || (got == nil) != (a.Err == nil):
		return fmt.Errorf("lock: got error %v, want %v", a.Err, refusal)
	case got != nil && (got.Reason != refusal.Reason || got.Resource != refusal.Resource):
		return fmt.Errorf("lock: got error %v, want %v", got, refusal)
	case got != nil:
		return nil
	case a.Placed.Seq != want.Seq || a.Placed.Handle == 0:
		return fmt.Errorf("lock: got %+v, want sequence number %d", a.Placed, want.Seq)
	case a.Placed.Acquired && !t.Model.MayHold(want):
		return fmt.Errorf("lock: %d is acquired and must wait", want.Seq)
	}
	if a.Placed.Acquired {
		t.Model.Acquire(want)
	}
	return nil
}

func (t *Twin) released(c Call, a Answer) error {
	var r *Request
	if c.Request >= 0 && c.Request < len(t.requests) {
		r = t.requests[c.Request]
	}
	if (r == nil) != errors.Is(a.Err, engine.ErrStale) {
		return fmt.Errorf("release: got error %v, stale is %v", a.Err, r == nil)
	}
	if r == nil {
		return nil
	}
	if got := a.Released; got.Seq != r.Seq || got.Owner != r.Owner || got.Acquired != r.Acquired {
		return fmt.Errorf("release: got %+v, want %+v", got, *r)
	}
	t.requests[c.Request] = nil
	t.Model.Release(r)
	return nil
}

func (t *Twin) granted(a Answer) error {
	t.more = a.More
	last := uint64(0)
	for _, g := range a.Grants {
		i := slices.IndexFunc(t.requests, func(r *Request) bool { return r != nil && r.Seq == g.Seq })
		switch {
		case i < 0:
			return fmt.Errorf("grant of %d, which isn't alive", g.Seq)
		case g.Seq <= last:
			return fmt.Errorf("grant of %d after %d", g.Seq, last)
		case t.handles[i] != g.Handle || t.requests[i].Owner != g.Owner:
			return fmt.Errorf("grant %+v isn't of handle %x, owner %d", g, t.handles[i], t.requests[i].Owner)
		case t.requests[i].Acquired || !t.Model.MayHold(t.requests[i]):
			return fmt.Errorf("grant of %d, which must wait or is acquired", g.Seq)
		}
		last = g.Seq
		t.Model.Acquire(t.requests[i])
	}
	return nil
}

// compare looks at what both hold. While work is left over, the engine may be behind the rule, but
// never ahead of it.
func (t *Twin) compare() error {
	if wait := t.Model.Grantable(); !t.more && len(wait) > 0 {
		return fmt.Errorf("%d waits for nothing", wait[0].Seq)
	}
	var acquired, resources int
	for i, r := range t.requests {
		if r == nil {
			continue
		}
		resources += len(r.Resources)
		if r.Acquired {
			acquired++
		}
		slots, err := t.Engine.Slots(t.handles[i], nil)
		if err != nil || !slices.Equal(slots, r.Slots) {
			return fmt.Errorf("slots of %d: got %v, %v, want %v", r.Seq, slots, err, r.Slots)
		}
	}
	s := t.Engine.Stats()
	if n := len(t.Model.Alive); s.Requests != n || s.Acquired != acquired || s.Waiting != n-acquired || s.Resources != resources {
		return fmt.Errorf("got %+v, want %d requests, %d acquired, %d resources", s, n, acquired, resources)
	}
	if s.Requests == 0 && (s.Nodes != 0 || s.Entries != 0 || s.Bytes != 0) {
		return fmt.Errorf("nothing is locked, but %+v is held", s)
	}
	if t.Engine.Last() != t.Model.Last {
		return fmt.Errorf("last sequence number is %d, want %d", t.Engine.Last(), t.Model.Last)
	}
	return nil
}
