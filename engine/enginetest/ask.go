package enginetest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// Ask asks the engine all that it answers about requests, and says what isn't what the model says. As
// long as the engine is behind the rule, there is nothing to compare.
func (t *Twin) Ask() error {
	if t.more {
		return nil
	}
	paths := [][][]byte{nil}
	add := func(p [][]byte) {
		if !slices.ContainsFunc(paths, func(o [][]byte) bool { return samePath(o, p) }) {
			paths = append(paths, p)
		}
	}
	for i, r := range t.requests {
		if r == nil {
			continue
		}
		for _, a := range r.Resources {
			add(a.Path)
			add(append(slices.Clone(a.Path), []byte("a")))
		}
		if err := t.askOf(t.handles[i], r); err != nil {
			return err
		}
	}
	for _, p := range paths {
		for _, most := range []int{1000, 2} {
			if err := t.inspect(p, most); err != nil {
				return fmt.Errorf("inspect %q, %d at a time: %w", p, most, err)
			}
		}
	}
	for party := range parties + 1 {
		if err := t.cycle(uint64(party)); err != nil {
			return fmt.Errorf("cycle of party %d: %w", party, err)
		}
	}
	return nil
}

// askOf asks about one request.
func (t *Twin) askOf(h engine.Handle, r *Request) error {
	want := t.Model.Blockers(r)
	got, more, err := t.Engine.Blockers(h, 1000)
	if err != nil || more || len(got) != len(want) {
		return fmt.Errorf("blockers of %d: got %v, %v, %v, want %d", r.Seq, got, more, err, len(want))
	}
	for k, o := range want {
		if err := t.blocker(r, got[k], o); err != nil {
			return fmt.Errorf("blocker of %d: %w", r.Seq, err)
		}
	}
	if n, more, err := t.Engine.Ahead(h, 1000); n != len(want) || more || err != nil {
		return fmt.Errorf("ahead of %d: got %d, %v, %v, want %d", r.Seq, n, more, err, len(want))
	}
	if few, more, _ := t.Engine.Blockers(h, 1); len(few) != min(1, len(want)) || more != (len(want) > 1) {
		return fmt.Errorf("blockers of %d: got %v, %v of %d", r.Seq, few, more, len(want))
	}
	if err := t.reads(h, r); err != nil {
		return err
	}
	if err := t.waited(r); err != nil {
		return err
	}
	v, err := t.Engine.Look(h)
	if err != nil {
		return err
	}
	return t.view(v, r, nil)
}

// reads checks that what an upgrade may turn into writes is told, and nothing that the request doesn't read.
func (t *Twin) reads(h engine.Handle, r *Request) error {
	got, err := t.Engine.Reads(h)
	if err != nil {
		return err
	}
	for k, a := range got {
		on := func(b engine.Resource) bool { return samePath(a.Path, b.Path) }
		if a.Mode != engine.Read || !slices.ContainsFunc(r.Resources, on) || slices.ContainsFunc(got[:k], on) {
			return fmt.Errorf("reads of %d: got %v", r.Seq, FormatResources(got))
		}
	}
	for _, w := range r.newWrites() {
		if !slices.ContainsFunc(got, func(b engine.Resource) bool { return samePath(w.Path, b.Path) }) {
			return fmt.Errorf("reads of %d: got %v, without %v", r.Seq, FormatResources(got), w)
		}
	}
	return nil
}

// waited checks that nobody is in a request's way of whom it is said that nobody waits for him.
func (t *Twin) waited(r *Request) error {
	for _, o := range t.Model.Blockers(r) {
		if !t.Engine.Waited(t.handleOf(o)) {
			return fmt.Errorf("%d waits for %d, for which it is said that nobody does", r.Seq, o.Seq)
		}
	}
	return nil
}

// blocker checks that one is that request, and that its pair is one that conflicts.
func (t *Twin) blocker(r *Request, b engine.Blocker, o *Request) error {
	if b.Seq != o.Seq || b.Owner != o.Owner || b.Acquired != o.Acquired || t.handleOf(o) != b.Handle {
		return fmt.Errorf("got %+v, want %d", b, o.Seq)
	}
	if !has(r.target(), b.Wants) || !has(o.target(), b.Has) {
		return fmt.Errorf("%v or %v isn't theirs", b.Wants, b.Has)
	}
	if both := b.Wants.Mode == engine.Permit && b.Has.Mode == engine.Permit && samePath(b.Wants.Path, b.Has.Path); !both && !conflict(b.Wants, b.Has) {
		return fmt.Errorf("%v and %v don't conflict", b.Wants, b.Has)
	}
	return nil
}

func (t *Twin) handleOf(r *Request) engine.Handle {
	return t.handles[slices.Index(t.requests, r)]
}

func has(rs []engine.Resource, r engine.Resource) bool {
	return slices.ContainsFunc(rs, func(a engine.Resource) bool { return compareResources(a, r) == 0 })
}

// compareResources orders resources; the limit and weight of what isn't a permit mean nothing.
func compareResources(a, b engine.Resource) int {
	c := cmp.Or(cmp.Compare(a.Mode, b.Mode), slices.CompareFunc(a.Path, b.Path, bytes.Compare))
	if a.Mode == engine.Permit {
		c = cmp.Or(c, cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Weight, b.Weight))
	}
	return c
}

// view checks what is shown of a request on a path.
func (t *Twin) view(v engine.View, r *Request, path [][]byte) error {
	if v.Handle != t.handleOf(r) || v.Owner != r.Owner || v.Seq != r.Seq || v.Token != r.Token ||
		v.Acquired != r.Acquired || v.Upgrading != r.Upgrading {
		return fmt.Errorf("got %+v, want %+v", v, *r)
	}
	got, want := slices.Clone(v.Resources), slices.Clone(r.Shown(path))
	slices.SortFunc(got, compareResources)
	slices.SortFunc(want, compareResources)
	if !slices.EqualFunc(got, want, func(a, b engine.Resource) bool { return compareResources(a, b) == 0 }) {
		return fmt.Errorf("%d: got %v, want %v", v.Seq, FormatResources(got), FormatResources(want))
	}
	return nil
}

// inspect asks for all that meets a path, so many at a time.
func (t *Twin) inspect(path [][]byte, most int) error {
	var want []*Request
	for _, r := range t.Model.Alive {
		if len(r.Shown(path)) > 0 {
			want = append(want, r)
		}
	}
	var from engine.Cursor
	shown := map[uint64]bool{}
	for more := true; more; {
		var views []engine.View
		last := uint64(0)
		views, from, more = t.Engine.Inspect(path, from, most)
		for _, v := range views {
			i := slices.IndexFunc(want, func(r *Request) bool { return r.Seq == v.Seq })
			if i < 0 || shown[v.Seq] || v.Seq <= last {
				return fmt.Errorf("got %d again, or behind %d, or for nothing", v.Seq, last)
			}
			last, shown[v.Seq] = v.Seq, true
			if err := t.view(v, want[i], path); err != nil {
				return err
			}
		}
		if len(views) > most || most == 1000 && more {
			return fmt.Errorf("got %d, more is %v", len(views), more)
		}
	}
	if len(shown) != len(want) {
		return fmt.Errorf("got %d, want %d", len(shown), len(want))
	}
	return nil
}

// parties is how many there are in tests; one of them is in no cycle.
const parties = 4

func party(owner uint64) uint64 { return owner % (parties + 1) }

// asked answers for the parties of a twin.
type asked struct{ t *Twin }

func (asked) Party(owner uint64) uint64 { return party(owner) }

func (a asked) Waiting(name uint64, one engine.Handle, dst []engine.Handle) []engine.Handle {
	if one != 0 && !slices.ContainsFunc(a.t.requests, func(r *Request) bool { return r != nil && party(r.Owner) == name && a.t.handleOf(r) == one }) {
		panic("enginetest: that one isn't the party's")
	}
	for i, r := range a.t.requests {
		if r != nil && party(r.Owner) == name && (!r.Acquired || r.Upgrading) {
			dst = append(dst, a.t.handles[i])
		}
	}
	return dst
}

// cycle checks that there is one exactly if the party is deadlocked, and that it is one.
func (t *Twin) cycle(name uint64) error {
	want := t.Model.Deadlocked(name, func(r *Request) uint64 { return party(r.Owner) })
	got, done := t.Engine.Cycle(name, asked{t}, 1<<20)
	if !done || want != (len(got) > 0) {
		return fmt.Errorf("got %v, %v, want one: %v", got, done, want)
	}
	for k, w := range got {
		next := got[(k+1)%len(got)].Party
		i := slices.IndexFunc(t.requests, func(r *Request) bool { return r != nil && r.Seq == w.Seq })
		o := slices.IndexFunc(t.requests, func(r *Request) bool { return r != nil && r.Seq == w.For.Seq })
		if i < 0 || o < 0 {
			return errors.New("somebody in it isn't alive")
		}
		r := t.requests[i]
		if w.Handle != t.handles[i] || w.Owner != r.Owner || w.Party != party(r.Owner) || party(w.For.Owner) != next {
			return fmt.Errorf("%+v doesn't fit in", w)
		}
		if !slices.Contains(t.Model.Blockers(r), t.requests[o]) {
			return fmt.Errorf("%d doesn't hold up %d", w.For.Seq, w.Seq)
		}
		if err := t.blocker(r, w.For, t.requests[o]); err != nil {
			return err
		}
	}
	if len(got) > 0 && got[0].Party != name {
		return fmt.Errorf("it begins with %d", got[0].Party)
	}
	return nil
}
