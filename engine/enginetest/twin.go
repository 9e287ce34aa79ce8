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
	Upgrade
	Cancel // of an upgrade
	Downgrade
	Reserve // SetReserved
)

// Call is a call to an engine as a value. Requests go by the order of their Lock calls, from zero,
// refused ones included.
type Call struct {
	Op        Op
	Owner     uint64
	Resources []engine.Resource // Lock
	Request   int               // which, but for Lock, Advance and Reserve; a refused, released or future one is stale
	Numbers   uint64            // Reserve: how many above the last one
}

// Answer is what an engine said to a call.
type Answer struct {
	Placed   engine.Placed
	Released engine.Released
	Changed  engine.Changed // Upgrade, Cancel, Downgrade
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
		a.More = p.Engine.More()
	case Release:
		a.Released, a.Err = p.Engine.Release(p.Handle(c.Request))
		a.Grants, a.More = slices.Clone(a.Released.Grants), a.Released.More
		a.Released.Grants = nil
	case Advance:
		a.Grants, a.More = p.Engine.Advance()
		a.Grants = slices.Clone(a.Grants)
	case Upgrade:
		a.changed(p.Engine.Upgrade(p.Handle(c.Request)))
	case Cancel:
		a.changed(p.Engine.CancelUpgrade(p.Handle(c.Request)))
	case Downgrade:
		a.changed(p.Engine.Downgrade(p.Handle(c.Request)))
	case Reserve:
		p.Engine.SetReserved(p.Engine.Last() + c.Numbers)
		a.More = p.Engine.More()
	}
	return a
}

func (a *Answer) changed(c engine.Changed, err error) {
	a.Changed, a.Err = c, err
	a.Grants, a.More = slices.Clone(c.Grants), c.More
	a.Changed.Grants = nil
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
	granted  []grant // all of them
}

// grant is what once was granted.
type grant struct {
	resources []engine.Resource
	token     uint64
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
	t.more = t.Engine.More()
	err := t.judge(c, a)
	if err == nil {
		err = t.grants(a)
	}
	if err == nil {
		err = t.compare()
	}
	return a, err
}

func (t *Twin) judge(c Call, a Answer) error {
	r := t.request(c.Request)
	switch c.Op {
	case Lock:
		return t.locked(c, a)
	case Reserve:
		t.Model.Bounded, t.Model.Reserved = true, t.Model.Last+c.Numbers
		return nil
	case Advance:
		return nil
	}
	if (r == nil) != errors.Is(a.Err, engine.ErrStale) {
		return fmt.Errorf("got error %v, stale is %v", a.Err, r == nil)
	}
	if r == nil {
		return nil
	}
	switch c.Op {
	case Release:
		return t.released(c.Request, a.Released)
	case Upgrade:
		return t.upgraded(r, a)
	case Cancel:
		return changed("cancel", r, a, t.Model.CancelUpgrade(r))
	}
	return changed("downgrade", r, a, t.Model.Downgrade(r))
}

// request is one that is alive; nil if it isn't.
func (t *Twin) request(i int) *Request {
	if i < 0 || i >= len(t.requests) {
		return nil
	}
	return t.requests[i]
}

// More says that the engine has work left over.
func (t *Twin) More() bool { return t.more }

func (t *Twin) locked(c Call, a Answer) error {
	if !t.Model.HasNumber() && t.Model.refusal(c.Resources) == nil {
		t.requests = append(t.requests, nil)
		if !errors.Is(a.Err, engine.ErrNoNumbers) {
			return fmt.Errorf("lock: got error %v, want %v", a.Err, engine.ErrNoNumbers)
		}
		return nil
	}
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
		t.Model.Issue([]*Request{want}, nil)
	}
	return t.token("lock", want, a.Placed.Token)
}

func (t *Twin) released(i int, got engine.Released) error {
	r := t.requests[i]
	if got.Seq != r.Seq || got.Owner != r.Owner || got.Acquired != r.Acquired || got.Token != r.Token {
		return fmt.Errorf("release: got %+v, want %+v", got, *r)
	}
	t.requests[i] = nil
	t.Model.Release(r)
	return nil
}

func (t *Twin) upgraded(r *Request, a Answer) error {
	other, refusal := t.Model.Upgrade(r)
	if other != nil {
		var got *engine.OverlapError
		if !errors.As(a.Err, &got) {
			return fmt.Errorf("upgrade of %d: got error %v, want one about %d", r.Seq, a.Err, other.Seq)
		}
		i := slices.IndexFunc(t.requests, func(o *Request) bool { return o != nil && o.Seq == got.Seq })
		if i < 0 || got.Handle != t.handles[i] || got.Owner != t.requests[i].Owner || !t.requests[i].Upgrading ||
			!anyConflict(t.requests[i].newWrites(), r.newWrites()) {
			return fmt.Errorf("upgrade of %d: refused because of %+v", r.Seq, *got)
		}
		return nil
	}
	if refusal == nil && r.Upgrading && !a.Changed.Pending {
		if !t.Model.MayUpgrade(r) {
			return fmt.Errorf("upgrade of %d: done and must wait", r.Seq)
		}
		t.Model.FinishUpgrade(r)
		t.Model.Issue(nil, []*Request{r})
		if err := t.token("upgrade", r, a.Changed.Token); err != nil {
			return err
		}
	}
	return changed("upgrade", r, a, refusal)
}

// changed compares the answer to a change of a request with the request as it is now.
func changed(what string, r *Request, a Answer, refusal error) error {
	if !errors.Is(a.Err, refusal) {
		return fmt.Errorf("%s of %d: got error %v, want %v", what, r.Seq, a.Err, refusal)
	}
	got := a.Changed
	if refusal == nil && (got.Seq != r.Seq || got.Owner != r.Owner || got.Token != r.Token || got.Pending != r.Upgrading) {
		return fmt.Errorf("%s: got %+v, want %+v", what, got, *r)
	}
	return nil
}

// grants takes up what a call has granted besides its own request.
func (t *Twin) grants(a Answer) error {
	var acquired, upgrades []*Request
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
		}
		last = g.Seq
		r := t.requests[i]
		if g.Upgrade {
			if !r.Upgrading || !t.Model.MayUpgrade(r) {
				return fmt.Errorf("upgrade of %d, which must wait or isn't pending", g.Seq)
			}
			t.Model.FinishUpgrade(r)
			upgrades = append(upgrades, r)
			continue
		}
		if r.Acquired || !t.Model.MayHold(r) {
			return fmt.Errorf("grant of %d, which must wait or is acquired", g.Seq)
		}
		t.Model.Acquire(r)
		acquired = append(acquired, r)
	}
	t.Model.Issue(acquired, upgrades)
	for _, g := range a.Grants {
		i := slices.IndexFunc(t.requests, func(r *Request) bool { return r != nil && r.Seq == g.Seq })
		if err := t.token("grant", t.requests[i], g.Token); err != nil {
			return err
		}
	}
	return nil
}

// token compares the token of a request; and, whatever the model says, it must be higher than those
// of all earlier grants that conflict.
func (t *Twin) token(what string, r *Request, got uint64) error {
	if got != r.Token {
		return fmt.Errorf("%s: %d got the token %d, want %d", what, r.Seq, got, r.Token)
	}
	if !r.Acquired {
		return nil
	}
	for _, g := range t.granted {
		if anyConflict(g.resources, r.Resources) && g.token >= got {
			return fmt.Errorf("%s: %d got the token %d after %d was granted to one that conflicts", what, r.Seq, got, g.token)
		}
	}
	t.granted = append(t.granted, grant{r.Resources, got})
	return nil
}

// compare looks at what both hold. While work is left over, the engine may be behind the rule, but
// never ahead of it.
func (t *Twin) compare() error {
	if err := t.waitsForSomething(); err != nil {
		return err
	}
	var acquired, upgrades, resources int
	for i, r := range t.requests {
		if r == nil {
			continue
		}
		resources += len(r.Resources)
		if r.Acquired {
			acquired++
		}
		if r.Upgrading {
			upgrades++
		}
		slots, err := t.Engine.Slots(t.handles[i], nil)
		if err != nil || !slices.Equal(slots, r.Slots) {
			return fmt.Errorf("slots of %d: got %v, %v, want %v", r.Seq, slots, err, r.Slots)
		}
	}
	s := t.Engine.Stats()
	if n := len(t.Model.Alive); s.Requests != n || s.Acquired != acquired || s.Waiting != n-acquired ||
		s.Resources != resources || s.Upgrades != upgrades {
		return fmt.Errorf("got %+v, want %d requests, %d acquired, %d upgrades, %d resources", s, n, acquired, upgrades, resources)
	}
	if s.Requests == 0 && (s.Nodes != 0 || s.Entries != 0 || s.Bytes != 0) {
		return fmt.Errorf("nothing is locked, but %+v is held", s)
	}
	if t.Engine.Last() != t.Model.Last {
		return fmt.Errorf("last number is %d, want %d", t.Engine.Last(), t.Model.Last)
	}
	return nil
}

// waitsForSomething finds who waits though the rule grants it: while no work is left over, only
// those may that need a number when there is none.
func (t *Twin) waitsForSomething() error {
	starved := false
	for _, r := range t.Model.Alive {
		needs := r.Upgrading || r.Seq < t.Model.Floor
		switch {
		case t.more:
		case r.Upgrading && !t.Model.MayUpgrade(r), !r.Upgrading && (r.Acquired || !t.Model.MayHold(r)):
		case needs && !t.Model.HasNumber():
			starved = true
		default:
			return fmt.Errorf("%d waits for nothing", r.Seq)
		}
	}
	if s := t.Engine.Starved(); !t.more && starved && !s || s && t.Model.HasNumber() {
		return fmt.Errorf("starved is %v, want %v", s, starved)
	}
	return nil
}
