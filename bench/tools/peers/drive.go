package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// locker is one connection to a server, which holds one lock at most.
type locker interface {
	// lock returns when the lock is held. One that polls calls turn before each attempt, and gives
	// up when it returns false.
	lock(ctx context.Context, turn func() bool) error
	unlock(ctx context.Context) error
}

// errEnded says that a locker stopped because turn told it to.
var errEnded = errors.New("the driver ends")

// path is what several connections may want; the driver's mutex guards it.
type path struct {
	held     bool
	released time.Time // when its last holder was about to unlock it
	order    int       // under which that was
}

// driver has goroutines lock and unlock, under orders.
type driver struct {
	mu       sync.Mutex
	changed  sync.Cond // order, running or ended
	order    int       // counts orders: what began under another one isn't counted
	running  bool
	ended    bool
	counting bool
	err      error
	failed   chan struct{} // closed at the first error
	tally    tally
}

// tally is what is counted.
type tally struct {
	pairs   int
	waits   *hdrhistogram.Histogram // from asking for a lock to having it
	handOff *hdrhistogram.Histogram // from a release being sent to the next holder knowing that it is one
}

const (
	longest = int64(time.Minute)
	digits  = 3
)

func newTally() tally {
	return tally{waits: hdrhistogram.New(1, longest, digits), handOff: hdrhistogram.New(1, longest, digits)}
}

func newDriver() *driver {
	d := &driver{failed: make(chan struct{}), tally: newTally()}
	d.changed.L = &d.mu
	return d
}

// turn waits until there is an order, and returns false when there will be none.
func (d *driver) turn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.running && !d.ended {
		d.changed.Wait()
	}
	return !d.ended
}

// work locks and unlocks until the driver ends.
func (d *driver) work(ctx context.Context, l locker, p *path) {
	shared := p != nil
	if !shared {
		p = new(path)
	}
	for d.turn() {
		order, began := d.begin()
		if err := l.lock(ctx, d.turn); err != nil {
			d.fail(fmt.Errorf("lock: %w", err))
			return
		}
		d.locked(p, order, began, shared)
		if !d.turn() {
			return
		}
		d.unlocking(p)
		if err := l.unlock(ctx); err != nil {
			d.fail(fmt.Errorf("unlock: %w", err))
			return
		}
		d.unlocked()
	}
}

func (d *driver) begin() (order int, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.order, time.Now()
}

var errTwoHolders = errors.New("two hold one lock")

func (d *driver) locked(p *path, order int, began time.Time, shared bool) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.held {
		d.failLocked(errTwoHolders)
	}
	p.held = true
	if !d.counting {
		return
	}
	if order == d.order {
		record(d.tally.waits, now.Sub(began))
	}
	if shared && p.order == d.order {
		record(d.tally.handOff, now.Sub(p.released))
	}
}

// record counts a duration, one that is too long for the histogram as the longest.
func record(h *hdrhistogram.Histogram, t time.Duration) {
	h.RecordValue(min(max(int64(t), 1), longest)) // it fails for values out of range only
}

func (d *driver) unlocking(p *path) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.held = false // whoever is next may know of it before we are told
	p.order, p.released = d.order, time.Now()
}

func (d *driver) unlocked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counting {
		d.tally.pairs++
	}
}

func (d *driver) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.failLocked(err)
	}
}

func (d *driver) failLocked(err error) {
	if d.err == nil {
		d.err = err
		close(d.failed)
	}
}

// order is what bench asks for.
type order struct {
	WarmUp time.Duration `json:"warm_up_ns"`
	Slice  time.Duration `json:"slice_ns"`
}

// outcome answers it.
type outcome struct {
	Pairs    int           `json:"pairs"`
	Slice    time.Duration `json:"slice_ns"` // as it really was
	Waits    string        `json:"waits"`    // histograms of nanoseconds, as hdrhistogram encodes them
	HandOffs string        `json:"hand_offs"`
}

// run carries an order out. Counted is called when counting begins and when it ends.
func (d *driver) run(o order, counted func() error) (outcome, error) {
	d.set(func() { d.order++; d.running = true })
	defer d.set(func() { d.running = false })
	if err := d.pass(o.WarmUp); err != nil {
		return outcome{}, err
	}
	if err := counted(); err != nil {
		return outcome{}, err
	}
	d.set(func() { d.tally = newTally(); d.counting = true })
	began := time.Now()
	err := d.pass(o.Slice)
	var t tally
	d.set(func() { d.counting = false; t = d.tally })
	took := time.Since(began)
	if err := errors.Join(err, counted()); err != nil {
		return outcome{}, err
	}
	waits, err := encode(t.waits)
	if err != nil {
		return outcome{}, err
	}
	handOffs, err := encode(t.handOff)
	return outcome{Pairs: t.pairs, Slice: took, Waits: waits, HandOffs: handOffs}, err
}

func encode(h *hdrhistogram.Histogram) (string, error) {
	if h.TotalCount() == 0 {
		return "", nil
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return string(text), err
}

// set changes the state, and tells those who wait for it.
func (d *driver) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.changed.Broadcast()
}

// pass lets time pass, unless something fails.
func (d *driver) pass(t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-d.failed:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.err
	}
}
