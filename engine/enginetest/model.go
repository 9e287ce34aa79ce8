// Package enginetest holds what tests of locks share: a model of the engine that is slow and
// obviously right, calls as values, as text and at random, and a twin that gives every call to an
// engine and to the model and compares the answers. For tests only.
package enginetest

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// Model says what the rule grants by looking at every pair of requests. It doesn't grant by itself:
// MayHold and MayUpgrade say what could be, Acquire and FinishUpgrade are told what is.
type Model struct {
	Limits   engine.Limits // zero: none; Bytes isn't modelled
	Last     uint64
	Floor    uint64     // the highest number that was given as a token of its own
	Bounded  bool       // Reserved means something
	Reserved uint64     // the highest number that may be given
	Alive    []*Request // by sequence number
}

// Request is one that was taken on and not released.
type Request struct {
	Seq, Owner uint64
	Resources  []engine.Resource // as they are now
	Acquired   bool
	Token      uint64   // once acquired
	Upgrading  bool     // an upgrade is pending
	Slots      []uint32 // of its permits, once acquired
}

// Lock takes a request on and returns it, or the reason why not and the resource at fault. There has
// to be a number for it.
func (m *Model) Lock(owner uint64, rs []engine.Resource) (*Request, *engine.RequestError) {
	if err := m.refusal(rs); err != nil {
		return nil, err
	}
	m.Last++
	r := &Request{Seq: m.Last, Owner: owner, Resources: rs}
	m.Alive = append(m.Alive, r)
	return r, nil
}

// Release forgets a request.
func (m *Model) Release(r *Request) {
	m.Alive = slices.DeleteFunc(m.Alive, func(a *Request) bool { return a == r })
}

// MayHold is the rule: no older request conflicts, nor one that is acquired, also with what it is
// going to be upgraded to; and there is room for each permit.
func (m *Model) MayHold(r *Request) bool {
	for _, o := range m.Alive {
		if o != r && (o.Acquired || o.Seq < r.Seq) && anyConflict(o.target(), r.Resources) {
			return false
		}
	}
	for i, p := range r.Resources {
		if p.Mode == engine.Permit && m.weightBefore(r, p.Path, i)+uint64(p.Weight) > uint64(p.Limit) {
			return false
		}
	}
	return true
}

// HasNumber says whether a number may be given.
func (m *Model) HasNumber() bool { return !m.Bounded || m.Last < m.Reserved }

// newWrites are those that an upgrade makes of a request's reads: of all that it doesn't write
// already.
func (r *Request) newWrites() (ws []engine.Resource) {
	for _, a := range r.Resources {
		writes := func(b engine.Resource) bool { return b.Mode == engine.Write && samePath(a.Path, b.Path) }
		if a.Mode == engine.Read && !slices.ContainsFunc(r.Resources, writes) {
			ws = append(ws, engine.Resource{Mode: engine.Write, Path: a.Path})
		}
	}
	return ws
}

// target is what a request holds or wants, with what its pending upgrade will add.
func (r *Request) target() []engine.Resource {
	if r.Upgrading {
		return append(r.newWrites(), r.Resources...)
	}
	return r.Resources
}

// Upgrade asks for an upgrade, or says why not: because of the other one, if it isn't nil.
func (m *Model) Upgrade(r *Request) (other *Request, err error) {
	if err := changeable(r); err != nil {
		return nil, err
	}
	for _, o := range m.Alive {
		if o.Upgrading && anyConflict(o.newWrites(), r.newWrites()) {
			return o, &engine.OverlapError{}
		}
	}
	r.Upgrading = len(r.newWrites()) > 0
	return nil, nil
}

func changeable(r *Request) error {
	switch {
	case !r.Acquired:
		return engine.ErrNotAcquired
	case r.Upgrading:
		return engine.ErrUpgrading
	}
	return nil
}

// MayUpgrade is the rule for a pending upgrade: what is acquired doesn't conflict.
func (m *Model) MayUpgrade(r *Request) bool {
	for _, o := range m.Alive {
		if o != r && o.Acquired && anyConflict(o.Resources, r.newWrites()) {
			return false
		}
	}
	return true
}

// FinishUpgrade makes a pending upgrade true. The request's token is given by Issue.
func (m *Model) FinishUpgrade(r *Request) {
	r.Upgrading = false
	r.change(engine.Read, engine.Write)
}

// CancelUpgrade gives a pending upgrade up.
func (m *Model) CancelUpgrade(r *Request) error {
	if !r.Upgrading {
		return engine.ErrNoUpgrade
	}
	r.Upgrading = false
	return nil
}

// Downgrade makes reads of a request's writes.
func (m *Model) Downgrade(r *Request) error {
	err := changeable(r)
	if err == nil {
		r.change(engine.Write, engine.Read)
	}
	return err
}

func (r *Request) change(from, to engine.Mode) {
	r.Resources = slices.Clone(r.Resources)
	for i := range r.Resources {
		if r.Resources[i].Mode == from {
			r.Resources[i].Mode = to
		}
	}
}

// Issue gives a token to requests that were acquired by one call, by the floor before it, or that
// were upgraded.
func (m *Model) Issue(granted, upgrades []*Request) {
	fresh := append([]*Request(nil), upgrades...)
	for _, r := range granted {
		r.Token = r.Seq
		if r.Seq < m.Floor {
			fresh = append(fresh, r)
		}
	}
	slices.SortFunc(fresh, func(a, b *Request) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, r := range fresh {
		m.Last++
		m.Floor, r.Token = m.Last, m.Last
	}
}

func anyConflict(as, bs []engine.Resource) bool {
	for _, a := range as {
		for _, b := range bs {
			if conflict(a, b) {
				return true
			}
		}
	}
	return false
}

// conflict says whether two resources of two requests exclude each other.
func conflict(a, b engine.Resource) bool {
	n := min(len(a.Path), len(b.Path))
	return (a.Mode == engine.Write || b.Mode == engine.Write) && samePath(a.Path[:n], b.Path[:n])
}

func samePath(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// weightBefore adds up the permits of a path that come before resource i of r.
func (m *Model) weightBefore(r *Request, path [][]byte, i int) (sum uint64) {
	for _, a := range m.Alive {
		for k, p := range a.Resources {
			before := a.Seq < r.Seq || a == r && k < i
			if before && p.Mode == engine.Permit && samePath(p.Path, path) {
				sum += uint64(p.Weight)
			}
		}
	}
	return sum
}

// Acquire marks a request as acquired and gives its permits the lowest free slots of their paths.
func (m *Model) Acquire(r *Request) {
	r.Acquired = true
	for _, p := range r.Resources {
		if p.Mode == engine.Permit {
			slot := uint32(0)
			for m.taken(p.Path, slot) {
				slot++
			}
			r.Slots = append(r.Slots, slot)
		}
	}
}

func (m *Model) taken(path [][]byte, slot uint32) bool {
	for _, a := range m.Alive {
		k := 0
		for _, p := range a.Resources {
			if p.Mode != engine.Permit {
				continue
			}
			if k < len(a.Slots) && a.Slots[k] == slot && samePath(p.Path, path) {
				return true
			}
			k++
		}
	}
	return false
}

// refusal is why a request can't be taken on: of the whole first, then of each resource by itself,
// then of each permit beside the others.
func (m *Model) refusal(rs []engine.Resource) *engine.RequestError {
	over := func(n, limit int) bool { return limit > 0 && n > limit }
	no := func(why engine.Reason, i int) *engine.RequestError {
		return &engine.RequestError{Reason: why, Resource: i}
	}
	switch {
	case len(rs) == 0:
		return no(engine.NoResources, -1)
	case over(len(rs), m.Limits.Resources):
		return no(engine.TooManyResources, -1)
	case over(len(m.Alive)+1, m.Limits.Requests):
		return no(engine.TooManyRequests, -1)
	}
	for i, r := range rs {
		if over(len(r.Path), m.Limits.PathSegments) {
			return no(engine.TooManySegments, i)
		}
		for _, seg := range r.Path {
			if over(len(seg), m.Limits.SegmentBytes) {
				return no(engine.SegmentTooLong, i)
			}
		}
		switch permit := r.Mode == engine.Permit; {
		case permit && r.Limit == 0:
			return no(engine.NoLimit, i)
		case permit && r.Weight == 0:
			return no(engine.NoWeight, i)
		case permit && r.Weight > r.Limit:
			return no(engine.WeightOverLimit, i)
		}
	}
	for i := range rs {
		if rs[i].Mode != engine.Permit {
			continue
		}
		limit, weight := m.limitOf(rs, i), uint64(rs[i].Weight)
		for k := range i {
			if rs[k].Mode == engine.Permit && samePath(rs[k].Path, rs[i].Path) {
				weight += uint64(rs[k].Weight)
			}
		}
		if rs[i].Limit != limit {
			return no(engine.OtherLimit, i)
		}
		if weight > uint64(limit) {
			return no(engine.WeightOverLimit, i)
		}
	}
	return nil
}

// limitOf is the limit that permit i has to have: that of the living ones of its path, or of the
// first one in its request.
func (m *Model) limitOf(rs []engine.Resource, i int) uint32 {
	for _, a := range m.Alive {
		for _, p := range a.Resources {
			if p.Mode == engine.Permit && samePath(p.Path, rs[i].Path) {
				return p.Limit
			}
		}
	}
	for _, p := range rs {
		if p.Mode == engine.Permit && samePath(p.Path, rs[i].Path) {
			return p.Limit
		}
	}
	panic("enginetest: a permit isn't among its own request's")
}

// Blockers are the requests that directly hold up another one, by sequence number.
func (m *Model) Blockers(r *Request) (found []*Request) {
	for _, o := range m.Alive {
		if o != r && (m.inConflict(o, r) || len(m.poolsBehind(o, r)) > 0) {
			found = append(found, o)
		}
	}
	return found
}

// inConflict says whether a request waits for another one because of a conflict.
func (m *Model) inConflict(o, r *Request) bool {
	switch {
	case r.Upgrading:
		return o.Acquired && anyConflict(o.Resources, r.newWrites())
	case r.Acquired:
		return false
	}
	return (o.Acquired || o.Seq < r.Seq) && anyConflict(o.target(), r.Resources)
}

// poolsBehind are the permits of a request that have no room and come behind some of another one.
func (m *Model) poolsBehind(o, r *Request) (permits []int) {
	for i, p := range r.Resources {
		if r.Acquired || o.Seq > r.Seq || p.Mode != engine.Permit || m.weightBefore(r, p.Path, i)+uint64(p.Weight) <= uint64(p.Limit) {
			continue
		}
		if slices.ContainsFunc(o.Resources, func(a engine.Resource) bool { return a.Mode == engine.Permit && samePath(a.Path, p.Path) }) {
			permits = append(permits, i)
		}
	}
	return permits
}

// Deadlocked says whether a party, as names says of requests, is in a cycle of parties that hold each
// other up for good: by a conflict, or by permits before one that would have no room even if all went
// that belong to others.
func (m *Model) Deadlocked(party uint64, name func(*Request) uint64) bool {
	stuck := map[uint64]bool{}
	for _, r := range m.Alive {
		stuck[name(r)] = name(r) != 0
	}
	for changed := true; changed; {
		changed = false
		for p := range stuck {
			if stuck[p] && len(m.waitsFor(p, name, stuck)) == 0 {
				stuck[p], changed = false, true
			}
		}
	}
	reached := m.waitsFor(party, name, stuck)
	for k := 0; k < len(reached); k++ {
		for _, p := range m.waitsFor(reached[k], name, stuck) {
			if !slices.Contains(reached, p) {
				reached = append(reached, p)
			}
		}
	}
	return stuck[party] && slices.Contains(reached, party)
}

// waitsFor are the stuck parties that hold up another one.
func (m *Model) waitsFor(party uint64, name func(*Request) uint64, stuck map[uint64]bool) (others []uint64) {
	for _, r := range m.Alive {
		if name(r) != party {
			continue
		}
		for _, o := range m.Alive {
			held := m.inConflict(o, r)
			for _, i := range m.poolsBehind(o, r) {
				held = held || m.short(r, i, name, stuck)
			}
			if p := name(o); held && p != party && stuck[p] && !slices.Contains(others, p) {
				others = append(others, p)
			}
		}
	}
	return others
}

// short says whether the stuck parties' permits alone leave no room for resource i of a request.
func (m *Model) short(r *Request, i int, name func(*Request) uint64, stuck map[uint64]bool) bool {
	rest := Model{}
	for _, o := range m.Alive {
		if o == r || stuck[name(o)] {
			rest.Alive = append(rest.Alive, o)
		}
	}
	return rest.weightBefore(r, r.Resources[i].Path, i)+uint64(r.Resources[i].Weight) > uint64(r.Resources[i].Limit)
}

// Shown are the resources of a request that meet a path, as a View shows them.
func (r *Request) Shown(path [][]byte) (rs []engine.Resource) {
	for _, a := range r.Resources {
		n := min(len(a.Path), len(path))
		covered := func(b engine.Resource) bool {
			return samePath(a.Path, b.Path) && a.Mode == engine.Read && b.Mode != engine.Read
		}
		doubled := func(b engine.Resource) bool {
			return samePath(a.Path, b.Path) && a.Mode == b.Mode && a.Mode != engine.Permit
		}
		if samePath(a.Path[:n], path[:n]) && !slices.ContainsFunc(r.Resources, covered) && !slices.ContainsFunc(rs, doubled) {
			rs = append(rs, a)
		}
	}
	return rs
}
