// Package enginetest holds what tests of locks share: a model of the engine that is slow and
// obviously right, calls as values, as text and at random, and a twin that gives every call to an
// engine and to the model and compares the answers. For tests only.
package enginetest

import (
	"bytes"
	"slices"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// Model says which requests the rule acquires by looking at every pair of them. It doesn't acquire
// by itself: Grantable says which could be, Acquire is told which are.
type Model struct {
	Limits engine.Limits // zero: none; Bytes isn't modelled
	Last   uint64
	Alive  []*Request // by sequence number
}

// Request is one that was taken on and not released.
type Request struct {
	Seq, Owner uint64
	Resources  []engine.Resource
	Acquired   bool
	Slots      []uint32 // of its permits, once acquired
}

// Lock takes a request on and returns it, or the reason why not and the resource at fault.
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

// Grantable lists the requests that the rule acquires and that aren't acquired.
func (m *Model) Grantable() (rs []*Request) {
	for _, r := range m.Alive {
		if !r.Acquired && m.MayHold(r) {
			rs = append(rs, r)
		}
	}
	return rs
}

// MayHold is the rule: no older request conflicts, and there is room for each permit.
func (m *Model) MayHold(r *Request) bool {
	for _, older := range m.Alive {
		if older.Seq >= r.Seq {
			break
		}
		for _, a := range older.Resources {
			for _, b := range r.Resources {
				if conflict(a, b) {
					return false
				}
			}
		}
	}
	for i, p := range r.Resources {
		if p.Mode == engine.Permit && m.weightBefore(r, p.Path, i)+uint64(p.Weight) > uint64(p.Limit) {
			return false
		}
	}
	return true
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
