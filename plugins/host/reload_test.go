package host

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// another is the same plugin as another file: a custom section holds the number.
func another(bin []byte, number int) []byte {
	body := binary.LittleEndian.AppendUint32([]byte{4, 'e', 'd', 'i', 't'}, uint32(number))
	return append(append(slices.Clone(bin), 0, byte(len(body))), body...)
}

// replace puts a file in the place of another, as those do who do it well.
func replace(t testing.TB, path string, bin []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", bin, 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// TestReloadDeniesNobodyWrongly has callers ask without a break while all plugins are replaced again and
// again, and garbage comes and goes in between. Paths and reasons must be whole in each answer.
func TestReloadDeniesNobodyWrongly(t *testing.T) {
	const reloads, callers = 40, 3
	path := file(t, hostile.Guest)
	specs := []Spec{
		{Name: "one", Path: path, Hooks: Normalize | Authenticate, Namespaces: []string{"o", "=*"}, Limits: patient},
		{Name: "two", Path: path, Hooks: Authorize, Namespaces: []string{"o"}, Limits: patient},
	}
	g := loaded(t, Options{Instances: callers}, specs...)
	var stop atomic.Bool
	var asked atomic.Int64
	var all sync.WaitGroup
	for range callers {
		c := g.Caller()
		all.Go(func() {
			rewritten, denied := hostile.Saying(hostile.Rewritten, 0, "b\x00\x00"), hostile.Saying(hostile.Deny, 9, "because")
			for ; !stop.Load(); asked.Add(1) {
				_, v := c.Authenticate(&Connect{Namespace: hostile.Allows})
				q := &Request{Namespace: rewritten, Identity: &alice, Resources: oneOf("a")}
				w := c.Judge(q)
				x := put(c, Authorize, denied)
				good := v.Outcome == Allowed && w.Outcome == Allowed && string(q.Resources[0].Path[0]) == "b" &&
					x.Outcome == Denied && x.Code == 9 && string(x.Reason) == "because" && put(c, Authorize, hostile.Allows).Outcome == Allowed
				if !good {
					t.Errorf("%+v, %+v of %q, %+v %q", v, w, q.Resources, x, x.Reason)
					return
				}
			}
		})
	}
	for k := range reloads {
		before := asked.Load()
		if k%4 == 3 {
			replace(t, path, hostile.Guest[:k*20])
			require.Error(t, g.Load(specs))
		} else {
			replace(t, path, another(hostile.Guest, k))
			require.NoError(t, g.Load(specs))
		}
		for asked.Load() < before+callers && !t.Failed() {
			runtime.Gosched()
		}
	}
	stop.Store(true)
	all.Wait()
	for _, st := range g.Stats() {
		require.Zero(t, st.Traps+st.Overruns+st.Breaches+st.Missing+st.Replaced)
	}
}

// TestCallsOfARetiredGenerationBeginAgain in the one that took its place.
func TestCallsOfARetiredGenerationBeginAgain(t *testing.T) {
	g := loaded(t, Options{}, mean(t, Authenticate|Authorize|Normalize, patient))
	old, c := g.current.Load(), g.Caller()
	q := &Request{Namespace: hostile.Saying(hostile.Rewritten, 0, "b\x00\x00"), Identity: &alice, Resources: oneOf("a")}
	require.NoError(t, g.Load(nil))
	g.retiring.Wait()
	v, ok := c.judge(old, q)
	require.False(t, ok)
	require.NotEqual(t, Allowed, v.Outcome)
	require.Equal(t, oneOf("a"), q.Resources)
	id, v, ok := c.authenticate(old, &Connect{Namespace: hostile.Allows})
	require.False(t, ok)
	require.NotEqual(t, Allowed, v.Outcome)
	require.Zero(t, id)
	require.ErrorIs(t, c.askOf(old.plugins[0], Authorize, q, q.Resources), errRetired)
}

// TestRetiringWaitsForCalls in progress: an instance isn't taken from under one.
func TestRetiringWaitsForCalls(t *testing.T) {
	o, log := recorded(Options{})
	spec := mean(t, Authorize, impatient)
	for range 20 {
		g := New(o)
		require.NoError(t, g.Load([]Spec{spec}))
		var all sync.WaitGroup
		for range 2 {
			c := g.Caller()
			all.Go(func() { require.NotEqual(t, Allowed, put(c, Authorize, "l").Outcome) })
		}
		g.Close()
		all.Wait()
		require.Equal(t, Verdict{Outcome: Failed, Reason: reasonClosed}, put(g.Caller(), Authorize, hostile.Allows))
	}
	require.NotContains(t, log.text(), "closed")
}

// TestUnchangedPluginsAreKept, with their instances and what these remember; changed ones aren't.
func TestUnchangedPluginsAreKept(t *testing.T) {
	path := file(t, hostile.Guest)
	spec := func() Spec {
		return Spec{Name: "p", Path: path, Hooks: Authorize, Config: []byte("{}"), Namespaces: []string{"#", "o"}, Limits: patient}
	}
	g := loaded(t, Options{}, spec())
	counts := func() uint8 { return put(g.Caller(), Authorize, "#").Code }
	require.Equal(t, uint8(1), counts())
	reload := func(s Spec) {
		t.Helper()
		require.NoError(t, g.Load([]Spec{s}))
	}
	reload(spec())
	require.Equal(t, uint8(2), counts())
	replace(t, path, hostile.Guest) // another file, of the same bytes
	reload(spec())
	require.Equal(t, uint8(3), counts())
	moved := spec()
	moved.Path = file(t, hostile.Guest)
	reload(moved)
	require.Equal(t, uint8(4), counts(), "where it lies doesn't matter")
	for about, change := range map[string]func(*Spec){
		"name":       func(s *Spec) { s.Name = "q" },
		"hooks":      func(s *Spec) { s.Hooks |= Authenticate },
		"config":     func(s *Spec) { s.Config = []byte("{ }") },
		"no config":  func(s *Spec) { s.Config = nil },
		"namespaces": func(s *Spec) { s.Namespaces = []string{"#"} },
		"limits":     func(s *Spec) { s.Limits.LogLines++ },
		"module":     func(s *Spec) { s.Path = file(t, another(hostile.Guest, 1)) },
	} {
		require.NoError(t, g.Load(nil))
		reload(spec())
		require.Equal(t, uint8(1), counts(), "before a change of "+about)
		s := spec()
		change(&s)
		reload(s)
		require.Equal(t, uint8(1), counts(), about)
	}
}

// TestGarbageLeavesThePluginInUse, whatever is in the file's place when it is loaded again.
func TestGarbageLeavesThePluginInUse(t *testing.T) {
	spec := mean(t, Authorize, hurried)
	g := loaded(t, Options{}, spec)
	before := g.current.Load()
	for _, m := range hostile.Modules() {
		next := spec
		if m.Config != "" {
			next.Config = []byte(m.Config)
		}
		replace(t, spec.Path, m.Make())
		require.ErrorContains(t, g.Load([]Spec{next}), m.Says, m.About)
		require.Same(t, before, g.current.Load(), m.About)
		require.Equal(t, Allowed, put(g.Caller(), Authorize, hostile.Allows).Outcome, m.About)
	}
}

// TestFilesMayBeReachedThroughLinks that are moved from one to another, as mounted configuration is.
func TestFilesMayBeReachedThroughLinks(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	point := func(bin []byte) {
		require.NoError(t, os.Symlink(file(t, bin), link+".new"))
		require.NoError(t, os.Rename(link+".new", link))
	}
	spec := Spec{Name: "p", Path: link, Hooks: Authorize, Limits: patient}
	point(hostile.Good.Module())
	g := loaded(t, Options{}, spec)
	first := g.Stats()[0].Digest
	point(another(hostile.Good.Module(), 1))
	require.NoError(t, g.Load([]Spec{spec}))
	require.NotEqual(t, first, g.Stats()[0].Digest)
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(link, link), "a link to itself")
	require.ErrorContains(t, g.Load([]Spec{spec}), "cannot open it")
	require.Equal(t, Allowed, put(g.Caller(), Authorize, hostile.Allows).Outcome)
}

// TestCallersMayOutnumberInstances: they wait for each other, and each instance has one at a time, or the
// process would crash.
func TestCallersMayOutnumberInstances(t *testing.T) {
	const callers, calls = 16, 500
	g := loaded(t, Options{Instances: 2}, mean(t, Authorize, patient))
	var all sync.WaitGroup
	for range callers {
		c := g.Caller()
		all.Go(func() {
			for k := range calls {
				if k%50 == 49 {
					put(c, Authorize, "A") // loses an instance
				} else if v := put(c, Authorize, hostile.Allows); v.Outcome != Allowed && string(v.Reason) != errMissing.Error() {
					t.Errorf("%+v %q", v, v.Reason)
				}
			}
		})
	}
	all.Wait()
	mended(g)
	st := g.Stats()[0]
	require.Equal(t, st.Traps, st.Replaced)
	require.Equal(t, uint64(callers*calls), st.Calls+st.Missing)
}
