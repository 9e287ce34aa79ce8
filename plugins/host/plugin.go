package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// plugin is a loaded module with its instances. It may serve several generations, one after the
// other: a reload that doesn't touch it keeps it.
type plugin struct {
	name       string
	path       string
	hooks      Hooks
	config     []byte
	namespaces []string
	limits     Limits
	digest     [32]byte
	options    *Options

	runtime wazero.Runtime
	cache   wazero.CompilationCache // nil: none
	code    wazero.CompiledModule

	slots []slot
	work  chan *slot // slots that lost their instance, to be mended; has room for all

	retired atomic.Bool
	stop    chan struct{} // closed when retired
	mending sync.WaitGroup

	traps, overruns, breaches, missing, replaced, logsLost atomic.Uint64

	logs  bucket
	tells bucket // of our own about faults
}

// slot holds an instance. Who holds its mutex owns the instance.
type slot struct {
	mu            sync.Mutex
	instance      *instance // nil while it is being replaced; guarded by mu, as is what follows
	dead          *instance // whose memory is still to be given back; nil: none
	calls, denied uint64
	_             [24]byte // slots of different callers share no cache line
}

// covers says whether the plugin is asked about a namespace.
func (p *plugin) covers(namespace string) bool {
	for _, pattern := range p.namespaces {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(namespace, prefix) || pattern == namespace {
			return true
		}
	}
	return false
}

// acquire locks a slot that has an instance, the caller's own if possible. If all are busy it waits;
// calls are short. It is nil if there is no instance.
func (p *plugin) acquire(home uint32) *slot {
	n := uint32(len(p.slots))
	for k := range n {
		if s := &p.slots[(home+k)%n]; s.mu.TryLock() {
			if s.instance != nil {
				return s
			}
			s.mu.Unlock()
		}
	}
	for k := range n {
		s := &p.slots[(home+k)%n]
		s.mu.Lock()
		if s.instance != nil {
			return s
		}
		s.mu.Unlock()
	}
	return nil
}

// discard takes the instance of a locked slot out of service. Giving back its memory is left to mend: it takes
// longer than whoever asked should wait.
func (p *plugin) discard(s *slot) {
	s.instance, s.dead = nil, s.instance
	p.work <- s
}

// mend replaces instances until the plugin retires. It is one goroutine, and waits ten times as long as
// a replacement took before the next one, so that it takes a tenth of a core at most; if
// none can be made, it tries again after longer and longer waits.
func (p *plugin) mend() {
	var rest, failed time.Duration
	for {
		select {
		case <-p.stop:
			return
		case s := <-p.work:
			s.bury()
			if !p.pause(rest) {
				return
			}
			begun := monotonic()
			ok := p.replace(s)
			rest = 10 * (monotonic() - begun)
			if failed = nextRetry(failed, ok); !ok {
				rest = max(rest, failed)
				p.work <- s
			}
		}
	}
}

const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// nextRetry doubles the wait with each failure.
func nextRetry(failed time.Duration, ok bool) time.Duration {
	if ok {
		return 0
	}
	return min(max(2*failed, firstRetry), lastRetry)
}

// pause waits, unless the plugin retires meanwhile.
func (p *plugin) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.stop:
		return false
	case <-timer.C:
		return true
	}
}

// bury gives back what a dead instance has.
func (s *slot) bury() {
	s.mu.Lock()
	dead := s.dead
	s.dead = nil
	s.mu.Unlock()
	if dead != nil {
		dead.close()
	}
}

// replace gives a slot a new instance.
func (p *plugin) replace(s *slot) bool {
	i, err := p.start()
	if err != nil {
		p.tell("plugin could not be started again", err)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.retired.Load() {
		i.close()
		return true
	}
	s.instance = i
	p.replaced.Add(1)
	return true
}

// retire ends the plugin: no call begins any more, those in progress are waited for, everything is
// given back.
func (p *plugin) retire() {
	p.retired.Store(true)
	close(p.stop)
	for k := range p.slots {
		s := &p.slots[k]
		s.mu.Lock()
		if s.instance != nil {
			s.instance.close()
			s.instance = nil
		}
		s.mu.Unlock()
		s.bury()
	}
	p.mending.Wait()
	p.release()
}

// release gives back what a plugin without instances has. Of its code there is no way to do so: see
// Gate.retire.
func (p *plugin) release() {
	ctx := context.Background()
	if p.code != nil {
		_ = p.code.Close(ctx)
	}
	if p.runtime != nil {
		_ = p.runtime.Close(ctx)
	}
	if p.cache != nil {
		_ = p.cache.Close(ctx)
	}
	p.code, p.runtime, p.cache = nil, nil, nil
}

// Ways in which a call can end without an answer that counts. Their texts go to clients.
var (
	errMissing = errors.New("no instance of it is ready")
	errTrapped = errors.New("it failed")
	errSlow    = errors.New("it took too long")
	errBreach  = errors.New("it broke the rules of plugins")
	errFault   = errors.New("it reported a fault of its own")
	errTooLong = errors.New("the question is too long")
	errRetired = errors.New("the plugin is no longer in use")
)

// question writes a question into a guest's buffer and returns its length, 0 if it doesn't fit.
type question func(w *writer) int

// call ends in an answer, or in one of the errors above. What the answer refers to is
// valid while the slot is held: take reads it then, and says whether it is right. Whatever isn't right
// costs the guest its life.
func (p *plugin) call(c *Caller, hook func(*instance) api.Function, ask question, take func(*instance, answer) error) error {
	s := p.acquire(c.home)
	if s == nil {
		if p.retired.Load() {
			return errRetired
		}
		p.missing.Add(1)
		return errMissing
	}
	defer s.mu.Unlock()
	i := s.instance
	buffer, ok := i.memory.Read(i.buffer, bufferBytes)
	if !ok {
		panic("host: a guest's memory shrank")
	}
	c.writer = writer{b: buffer} // kept there because what is handed to ask would escape
	length := ask(&c.writer)
	if length == 0 {
		clear(buffer) // of what did fit: credentials, maybe
		return errTooLong
	}
	s.calls++
	a, err := i.ask(hook(i), length, &c.penalty)
	if err != nil {
		err = p.ended(err)
	} else {
		err = take(i, a)
	}
	if _, ok := err.(*denial); ok {
		s.denied++
	}
	if err == errBreach {
		p.breaches.Add(1)
		p.tell("plugin broke the rules of plugins", fmt.Errorf("status %d, code %d, %d bytes at %#x", a.status, a.code, a.length, a.at))
	}
	if err == errBreach || err == errTrapped || err == errSlow {
		p.discard(s)
	}
	return err
}

// ended sorts out why a call ended without an answer.
func (p *plugin) ended(err error) error {
	if errors.Is(err, errOverrun) {
		p.overruns.Add(1)
		p.tell("plugin took longer than call_timeout", fmt.Errorf("%v: %w", p.limits.Call, err))
		return errSlow
	}
	p.traps.Add(1)
	p.tell("plugin failed", err)
	return errTrapped
}

// tell logs a fault of the plugin's, at most some a second.
func (p *plugin) tell(what string, err error) {
	if p.tells.take(monotonic(), tellsMax) {
		p.options.Log.Error(what, "plugin", p.name, "error", err)
	}
}

const tellsMax = 4 // a second

// mayLog says whether a guest may log another line now.
func (p *plugin) mayLog() bool {
	if p.logs.take(monotonic(), p.limits.LogLines) {
		return true
	}
	p.logsLost.Add(1)
	return false
}

// bucket lets so many events through a second, and as many at once.
type bucket struct {
	mu    sync.Mutex    // guards what follows
	left  time.Duration // that was not used, a second at most
	until time.Duration // monotonic
}

func (b *bucket) take(now time.Duration, perSecond int) bool {
	if perSecond <= 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until == 0 {
		b.left = time.Second
	}
	b.left = min(b.left+now-b.until, time.Second)
	b.until = now
	price := time.Second / time.Duration(perSecond)
	if b.left < price {
		return false
	}
	b.left -= price
	return true
}

// faulted takes note of a fault that the guest reported itself.
func (p *plugin) faulted(text []byte) {
	p.traps.Add(1)
	p.tell("plugin reported a fault", fmt.Errorf("%q", text))
}
