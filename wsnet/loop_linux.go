package wsnet

import (
	"net"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// loop is an epoll instance, the connections it watches, and the goroutine that serves them. All
// but inbox, burden and traffic belong to that goroutine.
type loop struct {
	s        *Server
	path     *loops
	index    int
	handler  Handler
	up       *upgrader
	sys      kernel
	ep       int
	acceptor *acceptor // of the first loop, until it stops listening; else nil
	events   []unix.EpollEvent
	ready    []unix.EpollEvent // of these, what is still to be served
	slab
	wheel  wheel
	now    instant  // read once a turn, after the wait
	waits  uint     // without an event so far
	lim    *Limits  // read once a turn
	buf    []byte   // what every connection's input is read into
	cork   []byte   // what the answers to it are collected in
	turn   turn     // of the connection being served
	fd     int      // its descriptor, for spill
	dirty  []int32  // connections with output to be written at the end of the turn
	ending []int32  // connections that are over: Closed is owed, or the descriptor to be closed
	late   []ConnID // connections with input that waits until others had their turn
	share  share    // of the turn, for the work at hand

	tokens  []item        // from the inbox, like sockets and calls
	next    int           // the first of tokens not delivered yet
	swept   int32         // how far a Broadcast has come
	sockets []socket      // to be adopted
	calls   []func() bool // to be called once a turn until they return true
	closed  bool

	bytesIn, bytesOut, messages uint64 // stored in traffic once a turn

	inbox   inbox
	burden  atomic.Int32 // connections, also those on their way here
	traffic traffic
}

// In an event's Fd; connections have their slot there, and their generation in Pad.
const (
	dataListener = -1
	dataInbox    = -2
)

const (
	eventsAtOnce  = 1 << 12 // that the kernel is asked for
	eventsPerTurn = 1 << 8  // that are served before tokens and deadlines are looked at
	leavesPerTurn = 1 << 6  // of connections that the other side has ended
)

const (
	toRead  = unix.EPOLLIN | unix.EPOLLRDHUP // what is watched for input
	leaving = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// yieldEvery is how often the loop waits, at some tens of microseconds each while it has work, before others get
// their turn.
const yieldEvery = 64

// share is what one kind of work that doesn't come from events (tokens, deadlines, the sweep of
// stopAccepting) may still do in a turn. The rest waits for the next turn, in front of which events
// are looked at: however much is due at once, a message never waits for all of it.
type share struct {
	calls int           // of the handler, or connections looked at
	owed  int           // how much the end of the turn may have to do
	begun time.Duration // when the clock was looked at first; 0: it wasn't
}

const (
	callsPerTurn  = 1 << 10 // each well below a microsecond, if the handler keeps its word
	writesPerTurn = 64      // connections to be written or closed: each a system call or more
	callsPerLook  = 16      // at the clock: some calls have much to tell
)

// allot starts another kind of work.
func (l *loop) allot() { l.share = share{calls: callsPerTurn, owed: l.owed() + writesPerTurn} }

// mayGoOn says whether the work's share of the turn isn't used up.
func (l *loop) mayGoOn() bool {
	return l.share.calls > 0 && l.owed() < l.share.owed && (l.share.calls%callsPerLook != 0 || l.hasTime())
}

// hasTime says whether the work has not lasted for as long as one turn of a connection may.
func (l *loop) hasTime() bool {
	now := l.turn.clock()
	if l.share.begun == 0 {
		l.share.begun = now
	}
	return now-l.share.begun < turnTime
}

// owed is how many connections the end of the turn has something to do for.
func (l *loop) owed() int { return len(l.dirty) + len(l.ending) }

// busy says that work was left for the next turn.
func (l *loop) busy() bool {
	return l.next < len(l.tokens) || len(l.sockets) > 0 || len(l.calls) > 0 || l.wheel.late || len(l.late) > 0
}

func newLoop(s *Server, index int, tr tricks) (*loop, error) {
	l := &loop{
		s: s, index: index, handler: s.opt.NewHandler(), up: newUpgrader(), sys: kernel{lies: tr.lies},
		events: make([]unix.EpollEvent, eventsAtOnce),
		buf:    make([]byte, readBytes+keepBytes),
		cork:   make([]byte, 0, corkBytes+keepBytes),
		now:    s.time.now(), lim: s.limit.Load(),
	}
	l.extras = append(l.extras, new([extraChunk]extra))
	l.turn.stats, l.turn.spill = &s.stats, l.spill
	l.turn.clock = func() time.Duration { return l.sys.since(s.time.start) }
	var err error
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if l.inbox.fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		_ = unix.Close(l.ep)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if errno := l.sys.add(l.ep, l.inbox.fd, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: dataInbox}); errno != 0 {
		l.closeDescriptors()
		return nil, os.NewSyscallError("epoll_ctl", errno)
	}
	return l, nil
}

// must panics when epoll_ctl, changing or ending a watch, fails: only a mistake of ours can explain it.
func (l *loop) must(err error) {
	if err != nil {
		panic("wsnet: epoll_ctl: " + err.Error())
	}
}

func (l *loop) closeDescriptors() {
	_ = unix.Close(l.ep)
	sockets, calls := l.inbox.close()
	for _, s := range append(l.sockets, sockets...) {
		l.forget(s)
	}
	l.sockets = nil
	for _, f := range append(l.calls, calls...) {
		for !f() {
		}
	}
}

// run is the loop's goroutine.
func (l *loop) run() {
	for !l.closed {
		if len(l.ready) == 0 {
			l.ready = l.stayingFirst(l.events[:l.wait()])
		}
		l.now, l.lim = l.s.time.now(), l.s.limit.Load()
		n, late := min(len(l.ready), eventsPerTurn), len(l.late)
		for i := range n {
			l.event(&l.ready[i])
		}
		l.ready = l.ready[n:]
		l.goOn(late)
		l.readInbox()
		l.passTime()
		l.endTurn()
	}
	l.shutDown()
}

// stayingFirst puts the events of connections that the other side has ended behind all others, and leaves out those
// that are too many: they come again, with what is new in front of them. So when a crowd leaves at once, who
// stays doesn't wait until it has gone.
func (l *loop) stayingFirst(events []unix.EpollEvent) []unix.EpollEvent {
	staying := 0
	for i := range events {
		if events[i].Events&leaving == 0 {
			events[i], events[staying] = events[staying], events[i]
			staying++
		}
	}
	return events[:min(len(events), staying+leavesPerTurn)]
}

// passTime does what has become due.
func (l *loop) passTime() {
	l.allot()
	l.wheel.advance(l.now, l.look)
	if a := l.acceptor; a != nil && a.restsUntil != 0 && l.now.reached(a.restsUntil) {
		l.listen()
	}
}

// wait finds events. First without leaving the processor, because a blocking call costs twice: the
// runtime hands the processor on and takes it back. BenchmarkSystemCall compares the two ways to poll. Then
// others get their turn: net/http on this processor would otherwise wait until the runtime takes it away. That
// isn't done each time, because the runtime wakes a thread to look for work then, if a processor is
// idle; with few messages that takes longer than serving them. Then it blocks.
func (l *loop) wait() int {
	if n := l.sys.poll(l.ep, l.events); n > 0 {
		return n
	}
	if l.busy() {
		return 0
	}
	if l.waits++; l.waits%yieldEvery == 0 {
		runtime.Gosched()
	}
	ms := l.patience()
	if ms == 0 || !l.inbox.maySleep() {
		return 0
	}
	n := l.sys.wait(l.ep, l.events, ms)
	l.inbox.awake()
	return n
}

// patience is how many milliseconds the loop may sleep; -1: for ever.
func (l *loop) patience() int {
	at, some := l.wheel.next()
	if a := l.acceptor; a != nil && a.restsUntil != 0 && (!some || int32(a.restsUntil-at) < 0) {
		at, some = a.restsUntil, true
	}
	if !some {
		return -1
	}
	d := l.s.time.until(at)
	if d < 0 {
		return -1
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

// event serves one event. It may be late: for a connection that has ended in this turn, or for an
// earlier one in the same slot, or for a readiness that is watched no more.
func (l *loop) event(ev *unix.EpollEvent) {
	switch ev.Fd {
	case dataListener:
		l.accept()
		return
	case dataInbox:
		return
	}
	c := l.at(ev.Fd)
	if c.gen != uint32(ev.Pad) || c.state == stateFree || c.state == stateDead {
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 && c.flags&flagOut != 0 {
		l.flush(c, ev.Fd)
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 || c.state == stateDead {
		return
	}
	if c.flags&flagDeaf == 0 {
		l.readable(c, ev.Fd)
	} else if ev.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		l.kill(c, ev.Fd, ReasonReset) // these can't be unwatched: they would come again for ever
	}
}

// adopt starts a connection.
func (l *loop) adopt(s socket) {
	slot, c, ok := l.take()
	if !ok || l.path.stopped.Load() {
		if ok {
			l.give(slot)
		}
		l.forget(s)
		return
	}
	c.fd, c.pass, c.state = int32(s.fd), s.pass, stateHead
	c.heard, c.end = l.now, l.now.after(l.lim.HandshakeTimeout)
	l.wheel.grow(slot)
	l.wheel.set(slot, c.end)
	if errno := l.sys.add(l.ep, s.fd, unix.EpollEvent{Events: toRead, Fd: slot, Pad: int32(c.gen)}); errno != 0 {
		l.wheel.remove(slot)
		l.give(slot)
		l.cannotAccept(errno)
		l.path.trouble.Store(uint32(errno))
		l.sendAway(s.fd)
		l.s.door.leave(s.pass)
		l.burden.Add(-1)
		return
	}
	l.path.complained.Store(false)
}

// forget closes a socket that is no connection.
func (l *loop) forget(s socket) {
	_ = unix.Close(s.fd)
	l.s.door.leave(s.pass)
	l.burden.Add(-1)
}

// stopAccepting is what the loop does for Server.StopAccepting, over some turns; true: it is done.
// Nothing is adopted any more when it begins.
func (l *loop) stopAccepting() func() bool {
	slot := int32(0)
	return func() bool {
		l.stopListening()
		for l.allot(); slot < l.used && l.mayGoOn(); slot++ {
			l.share.calls--
			if c := l.at(slot); c.state == stateHead {
				l.kill(c, slot, ReasonServerStopped)
			}
		}
		return slot >= l.used && len(l.sockets) == 0
	}
}

// stopListening gives the acceptor up.
func (l *loop) stopListening() {
	a := l.acceptor
	if a == nil {
		return
	}
	// Closing isn't enough: the kernel watches the open file, which whoever handed us the listener
	// may have open too.
	if a.restsUntil == 0 {
		l.must(unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, a.fd, nil))
	}
	a.close()
	l.acceptor = nil
}

// shutDown ends what is left, all at once: nobody is served any more.
func (l *loop) shutDown() {
	for slot := range l.used {
		if c := l.at(slot); c.state != stateFree {
			l.kill(c, slot, ReasonServerStopped)
		}
	}
	l.endTurn()
	l.closeDescriptors()
}

// look does what a connection's deadlines ask for; the wheel has let go of it. False: no more of
// them in this turn.
func (l *loop) look(slot int32) bool {
	l.share.calls--
	c := l.at(slot)
	d := l.duesOf(c)
	switch what, why := d.check(l.now, c.state, l.lim); what {
	case choreEnd:
		if c.state != stateLinger {
			l.s.stats.timedOut(why)
		}
		l.abort(c)
		l.kill(c, slot, why)
		return l.mayGoOn()
	case chorePing:
		c.pinged, d.pinged = l.now, l.now
		l.s.stats.pings.Add(1)
		t := l.load(c, slot)
		t.out = append(t.out, pingFrame...)
		l.postpone(c, slot)
	}
	if at, some := d.next(c.state, l.lim); some {
		l.wheel.set(slot, at)
	}
	return l.mayGoOn()
}

func (l *loop) duesOf(c *conn) dues {
	d := dues{end: c.end, heard: c.heard, pinged: c.pinged}
	if e := l.peek(c); e != nil {
		d.frame, d.write = e.frame, e.write
	}
	return d
}

// alarm has the wheel come up with the connection's earliest deadline, or before.
func (l *loop) alarm(c *conn, slot int32) {
	d := l.duesOf(c)
	if at, some := d.next(c.state, l.lim); some {
		l.wheel.sooner(slot, at)
	}
}

// kill gives a connection up; the rest is done at the end of the turn. It must not be in l.turn.
func (l *loop) kill(c *conn, slot int32, why Reason) {
	if c.state == stateDead {
		return
	}
	if c.state != stateLinger {
		c.why = why
	}
	c.state = stateDead
	l.end(c, slot)
}

// abort has the kernel drop unsent output when the descriptor is closed, and reset the connection.
// A peer that doesn't read would otherwise keep that memory for as long as TCP retries, and not
// learn that it was given up.
func (l *loop) abort(c *conn) {
	_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// end puts a connection on the list of those that are over.
func (l *loop) end(c *conn, slot int32) {
	if c.flags&flagEnding == 0 {
		c.flags |= flagEnding
		l.ending = append(l.ending, slot)
	}
}

// endTurn writes what is to be written and buries the dead. Descriptors and slots are given back
// last, so that none is used again within one batch of events.
func (l *loop) endTurn() {
	for len(l.dirty) > 0 || len(l.ending) > 0 {
		for i := 0; i < len(l.dirty); i++ {
			c := l.at(l.dirty[i])
			if c.flags &^= flagDirty; c.state != stateDead {
				l.flush(c, l.dirty[i])
			}
		}
		l.dirty = l.dirty[:0]
		for i := 0; i < len(l.ending); i++ {
			l.bury(l.at(l.ending[i]), l.ending[i])
		}
		l.ending = l.ending[:0]
	}
	l.traffic.bytesIn.Store(l.bytesIn)
	l.traffic.bytesOut.Store(l.bytesOut)
	l.traffic.messages.Store(l.messages)
}

// bury tells the handler that a connection is over and, if nothing is left to say, closes it.
func (l *loop) bury(c *conn, slot int32) {
	c.flags &^= flagEnding
	if c.flags&flagOpened != 0 {
		t := l.load(c, slot)
		t.bye()
		c.flags &^= flagOpened
		l.s.stats.open.Add(-1)
	}
	if c.state != stateDead {
		return
	}
	l.wheel.remove(slot)
	if c.fd >= 0 {
		if c.why == ReasonOverflow {
			l.abort(c)
		}
		_ = unix.Close(int(c.fd))
		l.s.door.leave(c.pass)
	}
	l.burden.Add(-1)
	l.give(slot)
}

// handOver gives a connection, with what was read, to net/http.
func (l *loop) handOver(c *conn, slot int32, data []byte) {
	fd := int(c.fd)
	l.must(unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, fd, nil))
	f := os.NewFile(uintptr(fd), "")
	nc, err := net.FileConn(f) // a duplicate
	_ = f.Close()
	c.fd = -1
	if err != nil { // descriptors have run out: there is nothing to answer with
		l.s.door.leave(c.pass)
		l.s.log.Warn("cannot hand a connection to net/http", "error", err)
	} else {
		l.s.handOver(&readAhead{Conn: nc, head: slices.Clone(data)}, c.pass)
	}
	l.kill(c, slot, ReasonNone)
}
