package host

import (
	"context"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/locktopus-project/locktopus/v2/plugins/host/internal/wasm"
)

// Probe is one plugin by itself, for tools that try plugins: each hook is asked alone, and of the
// plugin there is one instance at a time, which a new one takes the place of at will. One goroutine
// may use it.
type Probe struct {
	plugin *plugin
	caller *Caller
	now    time.Time // zero: the real one
}

// NewProbe takes a plugin through all steps of loading. The hooks that will be asked are in the spec;
// o.Instances is ignored. Close it.
func NewProbe(spec Spec, o Options) (*Probe, error) {
	o = o.orDefaults()
	o.Instances = 1
	l := loading{spec: spec.orDefaults(), options: &o}
	if err := l.read(); err != nil {
		return nil, err
	}
	p, err := l.load()
	if err != nil {
		return nil, err
	}
	// What is discarded is replaced by ready, at once: nobody mends.
	close(p.stop)
	p.mending.Wait()
	p.stop = make(chan struct{})
	b := &Probe{plugin: p, caller: New(o).Caller()}
	b.stamp(p.slots[0].instance)
	return b, nil
}

// Close gives back what the plugin has.
func (b *Probe) Close() { b.plugin.retire() }

// Renew has the next question put to an instance that was never asked anything.
func (b *Probe) Renew() {
	s := &b.plugin.slots[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instance != nil {
		s.instance.close()
		s.instance = nil
	}
}

// SetTime is what questions say of the time from now on; zero: the real one. The clock that the guest
// itself can look at goes on as it did.
func (b *Probe) SetTime(now time.Time) { b.now = now }

// stamped is a hook whose questions tell the probe's time.
type stamped struct {
	api.Function
	probe *Probe
	guest *instance
}

// CallWithStack implements api.Function.
func (f stamped) CallWithStack(ctx context.Context, stack []uint64) error {
	if at, ok := f.guest.memory.Read(f.guest.buffer+nowOffset, 8); ok && !f.probe.now.IsZero() {
		le.PutUint64(at, uint64(f.probe.now.UnixMilli()))
	}
	return f.Function.CallWithStack(ctx, stack)
}

const nowOffset = 8 // in a question's header

// stamp sees to it that an instance's questions tell the probe's time. Of normalize there is none.
func (b *Probe) stamp(i *instance) {
	if i.authenticate != nil {
		i.authenticate = stamped{i.authenticate, b, i}
	}
	if i.authorize != nil {
		i.authorize = stamped{i.authorize, b, i}
	}
}

// ready sees to it that there is an instance, that a fault is told however many there were before, and that
// these cost no time.
func (b *Probe) ready() error {
	p, s := b.plugin, &b.plugin.slots[0]
	p.tells, b.caller.penalty = bucket{}, penalty{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instance != nil {
		return nil
	}
	select {
	case <-p.work: // where discard put it
	default:
	}
	i, err := p.start()
	if err != nil {
		return err
	}
	b.stamp(i)
	s.instance = i
	return nil
}

// Authenticate asks who a client is.
func (b *Probe) Authenticate(q *Connect) (id Identity, v Verdict) {
	err := b.ready()
	if err == nil {
		id, err = b.caller.who(b.plugin, q)
	}
	return id, b.verdict(err)
}

// Authorize asks whether a request is allowed.
func (b *Probe) Authorize(q *Request) Verdict {
	err := b.ready()
	if err == nil {
		err = b.caller.askOf(b.plugin, Authorize, q, q.Resources)
	}
	return b.verdict(err)
}

// Normalize asks what a request's paths mean. The answer is valid until the next question.
func (b *Probe) Normalize(q *Request) ([]Resource, Verdict) {
	c := b.caller
	c.work = append(c.work[:0], q.Resources...)
	err := b.ready()
	if err == nil {
		err = c.askOf(b.plugin, Normalize, q, c.work)
	}
	return c.work, b.verdict(err)
}

func (b *Probe) verdict(err error) Verdict {
	if err == nil {
		return allowed
	}
	return b.caller.verdict(b.plugin, err)
}

// Fuel is how much the last question took of the slice after which the clock is first looked at, and whether
// it took more than that. It is not known of an instance that failed.
func (b *Probe) Fuel() (units, slice int64, more bool) {
	i := b.plugin.slots[0].instance
	if i == nil {
		return 0, firstSlice, false
	}
	return firstSlice - wasm.Units(i.fuel.Get()), firstSlice, i.deadline != 0
}
