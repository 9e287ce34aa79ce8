package session

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// TestMemoryOfSessionsGoesBack: one session stays, and very many come and go, one after the other and all at
// once, each with a lock. What they took is given back, and all that is kept is counted.
func TestMemoryOfSessionsGoesBack(t *testing.T) {
	const many = 100_000
	w := newWorld(t, Defaults)
	stays, at := w.open(wire.V2None)
	w.do(stays, at, lockRequest(1, write("stays")))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	live := func(k int) (*Session, uint64) {
		s, at := w.open(wire.V2None)
		w.do(s, at, lockRequest(1, write("p", fmt.Sprint(k))))
		return s, at
	}
	before, counted := heap(), w.space.Bytes()
	for k := range many {
		s, at := live(k)
		w.do(s, at, request(wire.V2Bye, 2, 0))
	}
	require.Less(t, heap()-before, int64(1<<20), "one after the other")
	require.Less(t, w.space.Bytes()-counted, int64(1<<16))
	type attached struct {
		s  *Session
		at uint64
	}
	all := make([]attached, many)
	for k := range all {
		all[k].s, all[k].at = live(k)
	}
	peak := heap()
	for _, a := range all {
		w.do(a.s, a.at, request(wire.V2Bye, 2, 0))
	}
	all = nil
	after := heap()
	t.Logf("%d sessions took %d bytes, %d are left; counted are %d", many, peak-before, after-before, w.space.Bytes()-counted)
	require.Less(t, after-before, (peak-before)/50, "all at once")
	require.Less(t, w.space.Bytes()-counted, int64(1<<20))
	for k := range 3 { // and all is as before
		s, at := live(k)
		w.do(s, at, request(wire.V2Bye, 2, 0))
	}
	require.Empty(t, broken(w.space))
}
