// Package fence hands out the right to use ids, durably: an id that was ever allowed, by this
// process or one before it, is never below what a later process starts at, whatever happened in
// between: kill -9, a power cut, a full disk. In the same way it keeps for how long the clients of a process that
// is gone may believe that they hold something.
//
// It never writes per id. A number on disk, the mark, says that ids up to it may have been used. It is
// raised by a block at a time, before the block's first id is used, and a new process starts at the
// mark it finds: what is left of the old block is never used.
//
// Invariants:
//   - Allows(id) is true only if a mark >= id is durable: written, synced, renamed into place, and
//     the directory synced.
//   - The mark on disk never goes below what was allowed, and only who holds the directory's lock writes it. The
//     lock is held until no write is under way.
//   - When the mark can't be raised, ids up to it go on and those beyond it are refused: no answer
//     is better than a fencing token that was given before.
//   - Covers(ttl) is true only if a process that finds the directory after a crash waits for ttl at least: Owed is
//     as long there, in all namespaces. What a process has found it hands on to the next one, until that time is over,
//     or Settle says better, and for which namespaces.
//
// All methods may be called from anywhere at any time. The package doesn't choose ids and doesn't keep
// them apart by namespace: one mark serves the whole server, and each namespace counts up from a
// number at or above Start.
package fence

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// The files in the state directory.
const (
	markName = "fence"     // the mark
	tempName = "fence.tmp" // the next mark until it is renamed; a left-over one means nothing
	lockName = "lock"      // locked by the process that owns the directory; holds its pid
)

// Between attempts to raise a mark that couldn't be raised.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
)

// closePatience is how long Close waits for a write that is under way.
const closePatience = 5 * time.Second

// idMax is the highest id: clients may keep them in signed 64-bit integers.
const idMax = math.MaxInt64

var errExhausted = errors.New("fence: no ids are left below 2^63")

// Fence is what stands between a counter and its use. Open and Memory make one.
type Fence struct {
	dir   string
	block uint64 // how far the mark is raised at a time
	half  uint64 // with fewer ids than this left, the next block is asked for
	start uint64
	found time.Time // when the directory was ours
	debt  Debt      // of processes before, then
	disk  disk
	lock  lock
	log   *slog.Logger

	mark     atomic.Uint64 // durable
	need     atomic.Uint64 // highest id asked for with fewer than half left
	sessions atomic.Int64  // durable: milliseconds that a session may live without a message
	longest  atomic.Int64  // asked for
	err      atomic.Pointer[error]
	notify   atomic.Pointer[func()]

	ask     chan struct{}             // holds one token: somebody needs a block, or longer sessions
	calm    chan func() time.Duration // holds one: see Relax
	stop    chan struct{}             // closed by Close
	done    chan struct{}             // closed when run has returned and the lock is given up
	close   sync.Once
	settled atomic.Pointer[mark] // what is left to be waited for once this process has ended; nil: nobody has said
	last    error                // of settling; good once done is closed
}

// Memory makes a fence without a state directory: it allows everything, ids start at 1 again in
// the next process, and nothing is known there of sessions of before.
func Memory() *Fence {
	f := &Fence{}
	f.mark.Store(math.MaxUint64)
	f.sessions.Store(math.MaxInt64)
	return f
}

// Open takes the state directory dir, which is made if it isn't there, and reserves the first block of
// ids durably. block is how many ids are reserved at a time, at least 1: more means fewer writes and
// more ids skipped at each start. log gets a line when raising the mark starts to fail and when it
// works again; it may be nil.
//
// Errors: the directory is in use by another process; the mark is damaged; the system's own. Each
// says what an operator can do where something can be done.
func Open(dir string, block uint64, log *slog.Logger) (*Fence, error) {
	return open(dir, block, log, osDisk{})
}

func open(dir string, block uint64, log *slog.Logger, disk disk) (*Fence, error) {
	if block == 0 || block > idMax {
		return nil, fmt.Errorf("fence: a block of %d ids: want 1 to 2^63-1", block)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("fence: state directory: %w", err)
	}
	if err := makeDir(disk, dir); err != nil {
		return nil, fmt.Errorf("fence: state directory: %w", advised(err))
	}
	lock, err := disk.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, lockError(dir, err)
	}
	f := &Fence{
		dir: dir, block: block, half: block/2 + block%2, disk: disk, lock: lock, log: log,
		ask: make(chan struct{}, 1), calm: make(chan func() time.Duration, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := f.begin(); err != nil {
		return nil, errors.Join(advised(err), lock.Close())
	}
	go f.run()
	return f, nil
}

// begin reads the mark that the last process left and reserves the first block behind it. That process is gone by
// now, as the directory's lock is ours.
func (f *Fence) begin() error {
	found, err := readMark(f.disk, f.dir)
	if err != nil {
		return err
	}
	f.found, f.debt = time.Now(), found.debt()
	f.start = found.ids
	f.mark.Store(found.ids)
	f.need.Store(found.ids)
	f.sessions.Store(found.sessions)
	f.longest.Store(found.sessions)
	return f.reserve()
}

// Start is the number that all ids of this process are above.
func (f *Fence) Start() uint64 { return f.start }

// Debt is for how much longer clients of processes before this one may believe that they hold something. It is zero if
// the last one has told all of them.
func (f *Fence) Debt() Debt { return f.debt.after(time.Since(f.found)) }

// Owed is that for all namespaces.
func (f *Fence) Owed() time.Duration { return max(0, f.debt.Longest()-time.Since(f.found)) }

// Dir is the state directory, "" for a fence in memory.
func (f *Fence) Dir() string { return f.dir }

// Err is why the mark can't be raised at the moment, nil when it can.
func (f *Fence) Err() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Allows tells whether id may be used: it is durably reserved. If not, or if less than half a block
// is left above it, the next block is reserved in the background. It never waits. What was once
// allowed stays allowed, also after Close.
func (f *Fence) Allows(id uint64) bool {
	mark := f.mark.Load()
	if id <= mark-f.half { // mark is at least a block
		return true
	}
	f.request(id)
	return id <= mark
}

// request has the mark raised to at least half a block above id.
func (f *Fence) request(id uint64) {
	for {
		need := f.need.Load()
		if id <= need || f.need.CompareAndSwap(need, id) {
			break
		}
	}
	f.poke()
}

func (f *Fence) poke() {
	select {
	case f.ask <- struct{}{}:
	default: // one token is enough: run reads what is needed when it takes it
	}
}

// Covers says whether a session may live for that long without a message from its client: the next process will
// wait for as long if this one ends without a word.
func (f *Fence) Covers(ttl time.Duration) bool { return inMilliseconds(ttl) <= f.sessions.Load() }

// Cover has sessions of that length covered in the background.
func (f *Fence) Cover(ttl time.Duration) {
	raise(&f.longest, inMilliseconds(ttl))
	f.poke()
}

// Notify has a function called after each attempt to write what was asked for, by the goroutine that writes: it must
// not block. Whether something is covered then is to be asked, and else why not (Err).
func (f *Fence) Notify(call func()) { f.notify.Store(&call) }

// inMilliseconds rounds up: nobody is waited for too short a time.
func inMilliseconds(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d > time.Duration(ms)*time.Millisecond {
		ms++
	}
	return ms
}

// raise makes a number at least as large as another one.
func raise(x *atomic.Int64, least int64) {
	for {
		now := x.Load()
		if now >= least || x.CompareAndSwap(now, least) {
			return
		}
	}
}

// Relax has sessions covered that are as long as longest says and no longer, in the background, so that the next
// process needn't wait for those of long ago. A session must count in longest before it is asked whether it is
// covered. longest is called twice, by the goroutine that writes.
func (f *Fence) Relax(longest func() time.Duration) {
	select {
	case f.calm <- longest:
	default: // one is on its way, or this is no fence with a disk
	}
}

// relax covers less. From the moment at which it says so nobody begins a longer session, and who did so just before
// counts by then. When the disk fails the next process waits for too long.
func (f *Fence) relax(longest func() time.Duration) {
	was := f.sessions.Load()
	least := inMilliseconds(max(longest(), f.Owed()))
	if least >= was {
		return
	}
	f.longest.Store(least) // who asks for more at this moment will ask again
	f.sessions.Store(least)
	if inMilliseconds(longest()) > least {
		f.sessions.Store(was)
		return
	}
	_ = f.write(mark{ids: f.mark.Load(), sessions: least})
}

// Forgive forgets what is owed to clients of processes before: nobody waits for them, in the next process neither. It is
// for who has just opened the fence, and hasn't let anybody use it.
func (f *Fence) Forgive() error {
	if f.Owed() == 0 {
		return nil
	}
	if err := f.write(mark{ids: f.mark.Load(), sessions: 0}); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	f.debt = Debt{}
	f.sessions.Store(0)
	f.longest.Store(0)
	return nil
}

// Settle says that this process has ended all its sessions, and for how much longer clients of it, or of
// processes before it, may believe that they hold something. Close writes it. Nothing is to be covered any more.
// Where there are too many namespaces to be written, the longest time is for all of them: what the next process
// will find is returned.
func (f *Fence) Settle(owed Debt) Debt {
	m := settlement(owed)
	f.settled.Store(&m)
	return m.debt()
}

// Close ends the reserving and gives up the directory. Ids already reserved stay allowed. It waits
// some seconds at most for a write under way; if that hangs, Close returns an error and the directory
// stays locked until the write ends or the process does: a late write of ours must not undo
// another's. An error of writing what was settled is returned, too: the next process waits for too long then.
func (f *Fence) Close() error {
	if f.done == nil {
		return nil // in memory
	}
	f.close.Do(func() { close(f.stop) })
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-f.done:
		return f.last
	case <-patience.C:
		return fmt.Errorf("fence: a write to %s is taking longer than %v; the directory stays locked until it ends", f.dir, closePatience)
	}
}

// run writes the mark when asked, and last what was settled.
func (f *Fence) run() {
	defer close(f.done)
	defer f.lock.Close() // an error could only be about the holder's pid, which nobody needs any more
	f.serve()
	f.last = f.settle()
}

// serve raises the mark when asked, and tries again when that fails, until Close.
func (f *Fence) serve() {
	for {
		select {
		case <-f.stop:
			return
		case longest := <-f.calm:
			f.relax(longest)
			continue
		case <-f.ask:
		}
		if !f.reserveAtLast() {
			return
		}
	}
}

// reserveAtLast raises the mark, however often it takes; false: Close came first.
func (f *Fence) reserveAtLast() bool {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := f.reserve()
		f.report(err)
		if call := f.notify.Load(); call != nil {
			(*call)()
		}
		if err == nil {
			return true
		}
		retry := time.NewTimer(wait)
		select {
		case <-f.stop:
			retry.Stop()
			return false
		case <-retry.C:
		}
	}
}

// report keeps err for Err, and logs when it comes or goes.
func (f *Fence) report(err error) {
	failed := f.err.Load() != nil
	switch {
	case err != nil:
		f.err.Store(&err)
		if !failed {
			f.log.Error("ids cannot be reserved; once the reserved ones are used up, locks will be refused, "+
				"and so are sessions that may live for longer than all before",
				"dir", f.dir, "reserved", f.mark.Load(), "sessions", f.covered(), "error", err)
		}
	case failed:
		f.err.Store(nil)
		f.log.Info("ids can be reserved again", "dir", f.dir, "reserved", f.mark.Load(), "sessions", f.covered())
	}
}

func (f *Fence) covered() time.Duration { return time.Duration(f.sessions.Load()) * time.Millisecond }

// reserve raises the mark by a block above what is reserved or needed, if fewer than half a block is
// left above that, and has the sessions covered that were asked for.
func (f *Fence) reserve() error {
	now := mark{ids: f.mark.Load(), sessions: f.sessions.Load()}
	next := mark{ids: now.ids, sessions: max(now.sessions, f.longest.Load())}
	if need := f.need.Load(); now.ids == f.start || need > now.ids-f.half { // else an earlier answer covers it
		base := max(now.ids, need)
		if base > idMax-f.block {
			return errExhausted
		}
		next.ids = base + f.block
	}
	if next == now {
		return nil
	}
	if err := f.write(next); err != nil {
		return err
	}
	f.mark.Store(next.ids)
	f.sessions.Store(next.sessions)
	return nil
}

// settle writes what the next process has to wait for, if that is less than for all sessions there could be.
func (f *Fence) settle() error {
	settled := f.settled.Load()
	if settled == nil {
		return nil
	}
	m := *settled
	m.ids = f.mark.Load()
	if m.sessions == f.sessions.Load() && m.spaces == nil {
		return nil
	}
	return f.write(m)
}

// write makes the mark durable, as long as the directory is ours.
func (f *Fence) write(m mark) error {
	if err := f.lock.Check(); err != nil {
		return fmt.Errorf("fence: state directory %s: %w", f.dir, err)
	}
	return writeMark(f.disk, f.dir, m)
}
