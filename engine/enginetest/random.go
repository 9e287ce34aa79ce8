package enginetest

import (
	"math/rand/v2"
	"strings"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// TestLimits are low enough that random calls meet them.
var TestLimits = engine.Limits{PathSegments: 12, SegmentBytes: 120, Resources: 6, Requests: 40}

// Calls turns any bytes into calls, so that a fuzzer's small changes of the bytes are small changes
// of the calls. Few segments and short paths make conflicts likely; among the calls are stale
// handles, doubled and shadowed resources, the empty path, long segments, and requests that must
// be refused. One half of all data, by their first byte, is about fewer paths, and more of their
// requests hold reads and are upgraded.
func Calls(data []byte) (calls []Call) {
	s := source{data: data}
	s.dense = s.below(2) == 1
	for locks := 0; len(s.data) > 0; {
		c := s.call(locks)
		if c.Op == Lock {
			locks++
		}
		calls = append(calls, c)
	}
	return calls
}

// Random makes that many calls from a seed.
func Random(seed uint64, n int) []Call {
	r := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, 12*n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	calls := Calls(data)
	return calls[:min(n, len(calls))]
}

// source draws numbers from bytes; zeros when they are used up.
type source struct {
	data  []byte
	dense bool
}

func (s *source) below(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := int(s.data[0])
	s.data = s.data[1:]
	return b % n
}

func (s *source) call(locks int) Call {
	recent := 24
	if s.dense {
		recent = 8
	}
	which := func() int {
		return locks - 1 - s.below(max(1, min(locks+2, recent))) + s.pick(0, 0, 0, 0, 0, 0, 1)
	}
	switch k := s.below(32); {
	case k < 11:
		c := Call{Op: Lock, Owner: uint64(locks) + 1000}
		for range s.pick(1, 1, 1, 1, 2, 2, 3, 4, 5, 0, 7) {
			c.Resources = append(c.Resources, s.resource(c.Resources))
		}
		return c
	case k < 19:
		if s.dense && s.below(2) == 0 {
			return Call{Op: Release, Request: max(0, locks-recent)}
		}
		return Call{Op: Release, Request: which()}
	case k < 25:
		return Call{Op: Upgrade, Request: which()}
	case k < 27:
		return Call{Op: Cancel, Request: which()}
	case k < 29:
		return Call{Op: Downgrade, Request: which()}
	case k == 29:
		return Call{Op: Reserve, Numbers: uint64(s.pick(1000, 1000, 1000, 1000, 5, 2, 1, 0))}
	}
	return Call{Op: Advance}
}

func (s *source) pick(of ...int) int { return of[s.below(len(of))] }

// resource draws a resource, now and then on the path of an earlier one or below it.
func (s *source) resource(before []engine.Resource) engine.Resource {
	if s.dense {
		return s.near()
	}
	r := engine.Resource{Mode: engine.Mode(s.pick(0, 0, 0, 1, 1, 2, 2))}
	if len(before) > 0 && s.below(4) == 0 {
		r.Path = append(r.Path, before[s.below(len(before))].Path...)
	}
	for range s.pick(0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 11, 13) {
		r.Path = append(r.Path, s.segment())
	}
	if r.Mode == engine.Permit {
		r.Limit, r.Weight = uint32(s.pick(1, 3, 3, 3, 3, 4, 0)), uint32(s.pick(1, 1, 1, 1, 2, 3, 4, 0))
	}
	return r
}

// near draws a resource of few paths, a read in most cases.
func (s *source) near() engine.Resource {
	r := engine.Resource{Mode: engine.Mode(s.pick(0, 0, 0, 0, 0, 0, 0, 1, 2)), Limit: 2, Weight: 1}
	for range s.pick(1, 1, 1, 2, 2, 2, 2, 0) {
		r.Path = append(r.Path, []byte{"aab"[s.below(3)]})
	}
	return r
}

func (s *source) segment() []byte {
	switch k := s.below(20); k {
	case 0:
		return nil
	case 1:
		return []byte("*")
	case 2, 3:
		return []byte("f81d4fae-7dec-11d0-a765-00a0c91e6bf" + string("67"[k-2]))
	case 4:
		return []byte(strings.Repeat("x", s.pick(14, 15, 38, 39, 66, 67, 120, 121)))
	default:
		return []byte{"abc"[k%3]}
	}
}
