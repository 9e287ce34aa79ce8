package host

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Gate is the chain of plugins that all must allow. Its methods may be called from any goroutine.
type Gate struct {
	options Options
	current atomic.Pointer[generation] // nil: no plugins
	bounds  atomic.Pointer[Bounds]
	callers atomic.Uint32

	mu       sync.Mutex // guards what follows, and changes of current
	closed   bool
	retiring sync.WaitGroup
}

// generation is what one Load made: plugins in their order.
type generation struct {
	plugins []*plugin
	hooks   Hooks // of all together
	closed  bool  // the gate is: nothing is allowed
}

// New makes a Gate without plugins, which allows everything.
func New(o Options) *Gate {
	g := &Gate{options: o.orDefaults()}
	g.SetBounds(Bounds{})
	return g
}

// SetBounds changes what normalized paths may be.
func (g *Gate) SetBounds(b Bounds) {
	b = b.orDefaults()
	g.bounds.Store(&b)
}

var errClosed = errors.New("the gate is closed")

// Load reads, checks, compiles and starts all plugins, and only then puts them in the place of the
// ones before; those that are the same as before, file and configuration, go on as they are. The
// error says of each faulty plugin what is wrong with it, and leaves everything as it was.
func (g *Gate) Load(specs []Spec) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errClosed
	}
	next, err := g.load(specs)
	if err != nil {
		return err
	}
	g.retire(g.current.Swap(next).without(next))
	return nil
}

// load makes a generation; nil if there are no plugins in it.
func (g *Gate) load(specs []Spec) (*generation, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	next, old := &generation{}, g.current.Load()
	var faults []error
	for k := range specs {
		p, err := g.keepOrLoad(old, &specs[k])
		if err != nil {
			faults = append(faults, &LoadError{Plugin: specs[k].Name, Path: specs[k].Path, Err: err})
			continue
		}
		next.plugins = append(next.plugins, p)
		next.hooks |= p.hooks
	}
	if len(faults) > 0 {
		g.retire(next.without(old))
		return nil, errors.Join(faults...)
	}
	return next, nil
}

// LoadError says what is wrong with a plugin.
type LoadError struct {
	Plugin string // its name
	Path   string // its file
	Err    error
}

func (e *LoadError) Error() string { return fmt.Sprintf("plugin %q: %s: %v", e.Plugin, e.Path, e.Err) }

// Unwrap gives the reason.
func (e *LoadError) Unwrap() error { return e.Err }

// keepOrLoad finds a plugin in the generation before, or loads it.
func (g *Gate) keepOrLoad(old *generation, spec *Spec) (*plugin, error) {
	l := loading{spec: spec.orDefaults(), options: &g.options}
	if err := l.read(); err != nil {
		return nil, err
	}
	if old != nil {
		for _, p := range old.plugins {
			if p.digest == l.digest && p.same(&l.spec) {
				return p, nil
			}
		}
	}
	return l.load()
}

// same says whether a plugin is used as spec says. That its file and its configuration are
// the same, the digest says.
func (p *plugin) same(spec *Spec) bool {
	return p.name == spec.Name && p.hooks == spec.Hooks && p.limits == spec.Limits && slices.Equal(p.namespaces, spec.Namespaces) &&
		bytes.Equal(p.config, spec.Config) && (p.config == nil) == (spec.Config == nil)
}

// without are a generation's plugins that aren't in another.
func (gen *generation) without(other *generation) (gone []*plugin) {
	if gen == nil {
		return nil
	}
	for _, p := range gen.plugins {
		if other == nil || !slices.Contains(other.plugins, p) {
			gone = append(gone, p)
		}
	}
	return gone
}

// retire ends plugins in the background. g.mu is held.
//
// wazero leaves compiled code to a finalizer, and a server that allocates nothing may not collect garbage for
// minutes. So a collection is asked for.
func (g *Gate) retire(gone []*plugin) {
	if len(gone) == 0 {
		return
	}
	g.retiring.Go(func() {
		for _, p := range gone {
			p.retire()
		}
		runtime.GC()
	})
}

// Stats are the plugins' counters in the order of the chain.
func (g *Gate) Stats() []Stats {
	gen := g.current.Load()
	if gen == nil {
		return nil
	}
	all := make([]Stats, len(gen.plugins))
	for k, p := range gen.plugins {
		all[k] = p.stats()
	}
	return all
}

func (p *plugin) stats() Stats {
	st := Stats{
		Name: p.name, Digest: p.digest,
		Traps: p.traps.Load(), Overruns: p.overruns.Load(), Breaches: p.breaches.Load(),
		Missing: p.missing.Load(), Replaced: p.replaced.Load(), LogsLost: p.logsLost.Load(),
	}
	for k := range p.slots {
		s := &p.slots[k]
		s.mu.Lock()
		st.Calls += s.calls
		st.Denied += s.denied
		if s.instance != nil {
			st.Instances++
		}
		s.mu.Unlock()
	}
	return st
}

// Close ends all plugins and waits until everything of theirs is given back. Everything is denied from
// then on.
func (g *Gate) Close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		g.retire(g.current.Swap(&generation{closed: true}).without(nil))
	}
	g.mu.Unlock()
	g.retiring.Wait()
}
