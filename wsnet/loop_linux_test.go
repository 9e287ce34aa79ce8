package wsnet

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// descriptors counts this process's open ones.
func descriptors(t testing.TB) int {
	d, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(d)
}

func TestConnHasNoPointersAndStaysSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(conn{})+unsafe.Sizeof(node{}), uintptr(64))
}

// TestEventsOfAnEarlierLifeAreIgnored hands the loop events that name a slot's earlier generation,
// or readiness that isn't watched any more, as happens within a batch.
func TestEventsOfAnEarlierLifeAreIgnored(t *testing.T) {
	s := worlds[0].start(t, spy{}, Options{Loops: 1})
	p := s.open()
	l := s.path.(*loops).all[0]
	id := <-s.ids
	l.inbox.do(func() {
		for _, ev := range []unix.EpollEvent{
			{Events: unix.EPOLLHUP | unix.EPOLLERR, Fd: id.slot(), Pad: int32(id.gen() + 1)},
			{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: id.slot(), Pad: int32(id.gen())},
			{Events: unix.EPOLLIN, Fd: dataInbox},
			{Events: unix.EPOLLIN, Fd: dataListener},
		} {
			l.event(&ev)
		}
		l.endTurn()
	})
	p.send(text("alive"))
	p.wantText("alive")
}

// TestSlotsAreNotReusedWithinABatch resets many connections while as many are opened.
func TestSlotsAreNotReusedWithinABatch(t *testing.T) {
	s := worlds[0].start(t, spy{}, Options{Loops: 1})
	for range 20 {
		var old []*peer
		for range 20 {
			old = append(old, s.open())
		}
		var wg sync.WaitGroup
		for _, p := range old {
			wg.Go(func() {
				_ = p.raw.(*net.TCPConn).SetLinger(0)
				_ = p.raw.Close()
			})
		}
		for range 20 {
			p := s.open()
			p.send(text("new"))
			p.wantText("new")
			require.NoError(t, p.Close())
		}
		wg.Wait()
		for range 40 {
			require.Contains(t, []Reason{ReasonReset, ReasonLost}, s.reason())
		}
	}
	s.until("gone", func() bool { return s.Stats().Sockets == 0 })
}

// TestDescriptorsRunOut runs itself with a low RLIMIT_NOFILE.
func TestDescriptorsRunOut(t *testing.T) {
	if os.Getenv("WSNET_FEW_DESCRIPTORS") != "" {
		fewDescriptors(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDescriptorsRunOut$", "-test.v")
	cmd.Env = append(os.Environ(), "WSNET_FEW_DESCRIPTORS=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func fewDescriptors(t *testing.T) {
	limit := unix.Rlimit{Cur: 300, Max: 300}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	s := worlds[0].start(t, spy{}, Options{})
	require.Equal(t, 300-64-8, s.limit.Load().Connections) // lowered to what is there
	first := s.open()
	s.wrote(first)
	var hogs []*os.File
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		hogs = append(hogs, f)
	}
	require.NoError(t, hogs[len(hogs)-1].Close()) // for our end of a connection; the server's has none
	c, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Contains(t, string(answer), "503") // the spare descriptor told it
	require.Equal(t, uint64(1), s.Stats().AcceptErrors)
	s.settled()
	require.Equal(t, uint64(1), s.Stats().AcceptErrors) // it rests
	first.send(text("unimpressed"))
	first.wantText("unimpressed")
	require.NoError(t, c.Close())
	for _, f := range hogs {
		_ = f.Close()
	}
	s.expire(restTime)
	p := s.open()
	p.send(text("welcome back"))
	p.wantText("welcome back")
}

func TestAcceptErrorsMakeItRest(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		s := worlds[0].start(t, spy{}, Options{Loops: 1})
		l := s.path.(*loops).all[0]
		l.inbox.do(func() { l.cannotAccept(errno); l.useSpare(errno); l.rest() })
		p := s.dial()
		p.send([]byte(testHead))
		s.settled()
		require.Equal(t, uint64(1), s.Stats().AcceptErrors)
		s.expire(restTime)
		p.upgraded()
	}
}

// denial is a liar whose one lie is an errno for so many calls of one kind.
type denial struct {
	call  string
	left  atomic.Int32
	errno unix.Errno
}

func (d *denial) lie(call string, n int) (int, uintptr) {
	if call == d.call && d.left.Add(-1) >= 0 {
		return 0, uintptr(d.errno)
	}
	return n, 0
}

// serveDenied serves on loops that a liar denies some calls from the start.
func serveDenied(t *testing.T, d *denial, loops int, log *slog.Logger) (*subject, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	s := &subject{t: t, w: worlds[0], clock: &handClock{}}
	opt := Options{NewHandler: func() Handler { return &spy{} }, Loops: loops, Log: log}
	if s.Server, err = serve(ln, opt, tricks{clock: s.clock, lies: d}); err == nil {
		t.Cleanup(func() { require.NoError(t, s.Close()) })
	}
	return s, err
}

// TestConnectionThatCannotBeWatchedIsSentAway denies EPOLL_CTL_ADD, as at fs.epoll.max_user_watches.
func TestConnectionThatCannotBeWatchedIsSentAway(t *testing.T) {
	for _, n := range []int{1, 2} { // the second loop adopts only what the first hands on
		var log lines
		d := &denial{call: "add", errno: unix.ENOSPC}
		s, err := serveDenied(t, d, n, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		first := s.open()
		d.left.Store(2)
		answer, err := io.ReadAll(s.dial().raw)
		require.NoError(t, err)
		require.Contains(t, string(answer), "503")
		next := s.dial() // has the acceptor find out that it should rest
		next.send([]byte(testHead))
		s.rests()
		require.Equal(t, uint64(1), s.Stats().AcceptErrors)
		s.expire(restTime) // the second denial is the listener's
		s.expire(restTime)
		next.upgraded()
		first.send(text("unimpressed"))
		first.wantText("unimpressed")
		require.Equal(t, 1, strings.Count(log.String(), "cannot accept"))
		require.Equal(t, uint64(2), s.Stats().AcceptErrors)
		require.Equal(t, 2, s.Stats().Sockets)
	}
}

// rests waits until the acceptor rests.
func (s *subject) rests() {
	s.t.Helper()
	s.until("it rests", func() (rests bool) {
		l := s.path.(*loops).all[0]
		l.inbox.do(func() { rests = l.acceptor.restsUntil != 0 })
		return rests
	})
}

// TestListenerThatCannotBeWatchedIsTriedAgain denies it to the listener, after a start and a rest.
func TestListenerThatCannotBeWatchedIsTriedAgain(t *testing.T) {
	d := &denial{call: "add", errno: unix.ENOMEM}
	s, err := serveDenied(t, d, 1, nil)
	require.NoError(t, err)
	l := s.path.(*loops).all[0]
	d.left.Store(2)
	l.inbox.do(l.rest)
	p := s.dial()
	p.send([]byte(testHead))
	for i := range 2 {
		s.expire(restTime)
		require.Equal(t, uint64(i+1), s.Stats().AcceptErrors)
	}
	s.expire(restTime)
	p.upgraded()
}

func TestLoopThatCannotBeMadeIsAnError(t *testing.T) {
	before := descriptors(t)
	d := &denial{call: "add", errno: unix.ENOSPC}
	d.left.Store(1)
	_, err := serveDenied(t, d, 1, nil)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Equal(t, before+1, descriptors(t)) // the listener is still the caller's
}

// TestStoppedListenerIsNotWatchedThoughOthersHaveIt keeps the listener open as whoever activated us
// by it would, with a client waiting there.
func TestStoppedListenerIsNotWatchedThoughOthersHaveIt(t *testing.T) {
	for _, resting := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		f, err := ln.(*net.TCPListener).File()
		require.NoError(t, err)
		srv, err := serve(ln, Options{NewHandler: func() Handler { return &spy{} }, Loops: 1}, tricks{clock: &handClock{}})
		require.NoError(t, err)
		l := srv.path.(*loops).all[0]
		if resting {
			l.inbox.do(l.rest)
		}
		srv.StopAccepting()
		c, err := net.Dial("tcp", srv.Addr().String())
		require.NoError(t, err)
		l.inbox.do(func() {
			for _, ev := range l.events[:l.sys.poll(l.ep, l.events)] {
				assert.NotEqual(t, int32(dataListener), ev.Fd)
			}
		})
		require.NoError(t, c.Close())
		require.NoError(t, srv.Close())
		require.NoError(t, f.Close())
	}
}

// census is a liar that tells the truth, and counts what happens between two looks at the events.
type census struct {
	sockets                        func() int // nil before begin
	looks                          func()     // called at each look, if not nil
	writes, adds, last             int
	mostWrites, mostAdds, mostGone int
}

func (c *census) lie(call string, n int) (int, uintptr) {
	switch call {
	case "write":
		c.writes++
	case "add":
		c.adds++
	case "poll":
		now := 0
		if c.sockets != nil {
			now = c.sockets()
		}
		c.mostWrites, c.mostAdds, c.mostGone = max(c.mostWrites, c.writes), max(c.mostAdds, c.adds), max(c.mostGone, c.last-now)
		c.writes, c.adds, c.last = 0, 0, now
		if c.looks != nil {
			c.looks()
		}
	}
	return n, 0
}

// counted is a server of one loop with a census.
type counted struct {
	*subject
	*census
	l *loop
}

func serveCounted(t *testing.T, h spy) *counted {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &counted{&subject{t: t, w: worlds[0], clock: &handClock{}, ids: make(chan ConnID, 4096)}, &census{}, nil}
	h.open = func(c Conn, _ *Request) *Refusal { s.ids <- c.ID(); return nil }
	s.Server, err = serve(ln, Options{NewHandler: func() Handler { return &h }, Loops: 1}, tricks{clock: s.clock, lies: s.census})
	require.NoError(t, err)
	s.l = s.path.(*loops).all[0]
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// begin starts the census anew, and has the loop call f, all of whose consequences it will see.
func (s *counted) begin(f func()) {
	s.settled()
	s.l.inbox.do(func() {
		*s.census = census{sockets: s.door.inside, last: s.door.inside()}
		f()
	})
}

// crowd is more than some turns serve.
const crowd = 5*writesPerTurn + 7

func (s *counted) crowd() (ps []*peer, ids []ConnID) {
	for range crowd {
		ps = append(ps, s.open())
		ids = append(ids, <-s.ids)
	}
	return ps, ids
}

// slow is a liar in whose world each look at the clock takes the time that a connection's turn may last.
type slow struct{}

func (slow) lie(call string, n int) (int, uintptr) {
	if call == "clock" {
		return n + 1, 0
	}
	return n, 0
}

// serveSlow is a server of one loop on which all takes long.
func serveSlow(t *testing.T, h spy) *subject {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &subject{t: t, w: worlds[0], clock: &handClock{}, ids: make(chan ConnID, 4096), reasons: make(chan Reason, 4096)}
	h.open = func(c Conn, _ *Request) *Refusal { s.ids <- c.ID(); return nil }
	h.closed = func(_ Conn, why Reason) { s.reasons <- why }
	s.Server, err = serve(ln, Options{NewHandler: func() Handler { return &h }, Loops: 1}, tricks{clock: s.clock, lies: slow{}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestManyMessagesOfOneConnectionDoNotHoldUpOthers: they come in one read, and others say something meanwhile.
func TestManyMessagesOfOneConnectionDoNotHoldUpOthers(t *testing.T) {
	var heard []string
	var second, third *peer
	s := serveSlow(t, spy{message: func(c Conn, msg []byte) {
		heard = append(heard, string(msg))
		switch string(msg) {
		case "a0":
			second.send(slices.Concat(text("b0"), text("b1"), text("b2"), text("b3")))
		case "b1":
			third.send(text("c0"))
		}
		c.Send(msg)
	}})
	first := s.open()
	second, third = s.open(), s.open()
	s.settled() // the loop knows of them
	var all []byte
	for i := range 8 {
		all = append(all, text(fmt.Sprint("a", i))...)
	}
	first.send(all)
	for i := range 8 {
		first.wantText(fmt.Sprint("a", i))
	}
	second.wantText("b0")
	third.wantText("c0")
	for i := range 3 {
		second.wantText(fmt.Sprint("b", i+1))
	}
	s.settled()
	require.Equal(t, []string{"a0", "a1", "b0", "b1", "a2", "a3", "c0", "b2", "b3", "a4", "a5", "a6", "a7"}, heard)
}

// TestTokensThatTakeLongDoNotHoldUpEvents: few of them are due at once, and each of them has much to tell.
func TestTokensThatTakeLongDoNotHoldUpEvents(t *testing.T) {
	var told, before int
	var other *peer
	s := serveSlow(t, spy{
		notify: func(c Conn, token uint64) {
			if told++; told == 1 {
				other.send(text("x"))
			}
			c.Send([]byte(fmt.Sprint(token)))
		},
		message: func(c Conn, msg []byte) {
			before = told
			c.Send(msg)
		},
	})
	var ps []*peer
	for range 5 * callsPerLook {
		ps = append(ps, s.open())
	}
	other = s.open()
	s.path.(*loops).all[0].inbox.do(func() {
		for range ps {
			s.Post(<-s.ids, 7)
		}
	})
	for _, p := range ps {
		p.wantText("7")
	}
	other.wantText("x")
	s.settled()
	require.LessOrEqual(t, before, 2*callsPerLook)
}

// TestAConnectionThatWaitsForItsTurnCanEnd, whoever ends it: what it has sent before isn't heard then.
func TestAConnectionThatWaitsForItsTurnCanEnd(t *testing.T) {
	for want, end := range map[Reason]func(s *subject, id ConnID, p *peer){
		ReasonServerClosed: func(s *subject, id ConnID, _ *peer) { s.Post(id, 1) },
		ReasonReset: func(_ *subject, _ ConnID, p *peer) {
			require.NoError(t, p.Conn.(*net.TCPConn).SetLinger(0))
			require.NoError(t, p.Close())
		},
	} {
		t.Run(want.String(), func(t *testing.T) {
			var s *subject
			var p *peer
			var id ConnID
			heard := 0
			s = serveSlow(t, spy{
				message: func(Conn, []byte) {
					if heard++; heard == 3 {
						end(s, id, p)
					}
				},
				notify: func(c Conn, _ uint64) { c.Close(4000, "") },
			})
			p, id = s.open(), <-s.ids
			s.settled() // the loop knows of both
			p.send(bytes.Repeat(text("x"), 100))
			if want == ReasonServerClosed {
				p.wantClose(4000)
				p.send(closing(4000, ""))
			}
			require.Equal(t, want, <-s.reasons)
			require.Less(t, heard, 10)
			s.open() // all goes on
		})
	}
}

// TestTokensDueAtOnceDoNotHoldUpEvents has grants for a crowd, twice, and broadcasts around them.
func TestTokensDueAtOnceDoNotHoldUpEvents(t *testing.T) {
	s := serveCounted(t, spy{notify: func(c Conn, token uint64) { c.Send([]byte(fmt.Sprint(token))) }})
	ps, ids := s.crowd()
	s.begin(func() {
		s.Broadcast(1)
		for token := range uint64(2) {
			for _, id := range ids {
				s.Post(id, 2+token)
			}
		}
		s.Broadcast(4)
	})
	for _, p := range ps {
		for token := range 4 {
			p.wantText(fmt.Sprint(1 + token))
		}
	}
	s.settled()
	s.l.inbox.do(func() { assert.LessOrEqual(t, s.mostWrites, writesPerTurn) })
}

// TestSilentTokensDoNotHoldUpEvents has more tokens than a turn delivers, which nobody answers.
func TestSilentTokensDoNotHoldUpEvents(t *testing.T) {
	var s *counted
	var next uint64
	calls, most := 0, 0
	s = serveCounted(t, spy{notify: func(_ Conn, token uint64) {
		assert.Equal(t, next, token)
		next++
		if s.looks != nil {
			calls++
			most = max(most, calls)
		}
	}})
	s.open()
	id := <-s.ids
	const tokens = 10*callsPerTurn + 7
	s.begin(func() {
		s.looks = func() { calls = 0 }
		for token := range uint64(tokens) {
			s.Post(id, token)
		}
	})
	s.until("all are delivered", func() (all bool) {
		s.l.inbox.do(func() { all = next == tokens })
		return all
	})
	s.l.inbox.do(func() { assert.Equal(t, callsPerTurn, most) })
}

// TestPingsDueAtOnceDoNotHoldUpEvents has a crowd fall silent in one tick, and never answer.
func TestPingsDueAtOnceDoNotHoldUpEvents(t *testing.T) {
	s := serveCounted(t, spy{})
	ps, _ := s.crowd()
	s.begin(func() {})
	s.expire(DefaultLimits().PingInterval)
	require.Equal(t, uint64(crowd), s.Stats().Pings)
	for _, p := range ps {
		op, _ := p.frame()
		require.Equal(t, ws.OpPing, op)
	}
	s.expire(DefaultLimits().PongTimeout)
	require.Equal(t, uint64(crowd), s.Stats().PingTimeouts)
	require.Zero(t, s.Stats().Sockets)
	s.l.inbox.do(func() {
		assert.LessOrEqual(t, s.mostWrites, writesPerTurn)
		assert.LessOrEqual(t, s.mostGone, writesPerTurn)
	})
}

// TestLeavingDoesNotHoldUpEvents has a crowd leave at once, some with a last word, in front of somebody who stays.
func TestLeavingDoesNotHoldUpEvents(t *testing.T) {
	gone, said, before := 0, 0, -1
	s := serveCounted(t, spy{
		message: func(c Conn, msg []byte) {
			if string(msg) == "still" {
				before = gone
				c.Send(msg)
			} else {
				said++
			}
		},
		closed: func(Conn, Reason) { gone++ },
	})
	ps, _ := s.crowd()
	p := s.open()
	s.begin(func() {
		for i, leaver := range ps {
			if i%2 == 0 {
				leaver.send(text("bye"))
			}
			assert.NoError(t, leaver.Close())
		}
		p.send(text("still"))
	})
	p.wantText("still")
	s.until("the others are gone", func() bool { return s.Stats().Sockets == 1 })
	s.l.inbox.do(func() {
		assert.LessOrEqual(t, before, leavesPerTurn)
		assert.LessOrEqual(t, s.mostGone, leavesPerTurn)
		assert.Equal(t, (crowd+1)/2, said, "nothing that was said is lost")
	})
}

// TestStoppingDoesNotHoldUpEvents has a crowd without a request when accepting stops.
func TestStoppingDoesNotHoldUpEvents(t *testing.T) {
	s := serveCounted(t, spy{})
	p := s.open()
	for range crowd {
		s.dial()
	}
	s.until("they are there", func() bool { return s.Stats().Sockets == crowd+1 })
	s.begin(func() {})
	s.StopAccepting()
	s.settled()
	require.Equal(t, 1, s.Stats().Sockets)
	s.l.inbox.do(func() { assert.LessOrEqual(t, s.mostGone, writesPerTurn) })
	p.send(text("still"))
	p.wantText("still")
}

// TestSocketsHandedOnAtOnceDoNotHoldUpEvents has a crowd arrive from another loop.
func TestSocketsHandedOnAtOnceDoNotHoldUpEvents(t *testing.T) {
	s := serveCounted(t, spy{})
	var ours []int
	s.begin(func() {
		for range crowd {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			assert.NoError(t, err)
			p, _ := s.admit(netip.Addr{})
			s.l.burden.Add(1)
			assert.True(t, s.l.inbox.putSocket(socket{pair[0], p}))
			ours = append(ours, pair[1])
		}
	})
	s.until("all are adopted", func() (all bool) {
		s.l.inbox.do(func() { all = len(s.l.sockets) == 0 && s.l.used-int32(len(s.l.free)) == crowd })
		return all
	})
	s.l.inbox.do(func() { assert.Equal(t, acceptsPerTurn, s.mostAdds) })
	for _, fd := range ours {
		require.NoError(t, unix.Close(fd))
	}
	s.until("gone", func() bool { return s.Stats().Sockets == 0 })
}

// TestClosingEndsWhatWasLeftForLater closes while a crowd's tokens wait, and a call for its turn.
func TestClosingEndsWhatWasLeftForLater(t *testing.T) {
	s := serveCounted(t, spy{})
	s.crowd()
	calls := 0
	over := make(chan bool)
	go func() { over <- s.l.inbox.until(func() bool { calls++; return s.l.closed && calls > 3 }) }()
	s.Broadcast(1)
	require.NoError(t, s.Close())
	require.True(t, <-over)
	require.Zero(t, s.Stats().Sockets)
}

// echoClients has a process of its own send b.N messages over n connections, each with depth in
// flight.
func echoClients(b *testing.B, s *subject, n, depth int) {
	rounds := max(1, b.N/(n*depth))
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("WSNET_LOAD=%s %d %d %d", s.Addr(), n, depth, rounds), "GOMAXPROCS=1")
	out, err := cmd.Output()
	require.NoError(b, err)
	var seconds float64
	_, err = fmt.Sscan(string(out), &seconds)
	require.NoError(b, err)
	b.ReportMetric(float64(rounds*n*depth)/seconds, "msg/s")
}

// BenchmarkEcho is 100-byte messages there and back over loopback, the client in a process with one
// processor. They share the machine, so compare worlds with each other, in one run; -cpu 1 gives
// the server one processor too.
func BenchmarkEcho(b *testing.B) {
	for _, w := range []world{worlds[0], worlds[3]} {
		for _, n := range []int{64, 1000} {
			for _, depth := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/conns=%d/depth=%d", w.name, n, depth), func(b *testing.B) {
					echoClients(b, w.start(b, spy{}, Options{Loops: 1}), n, depth)
				})
			}
		}
	}
}

// BenchmarkIdle is the memory of an idle connection, the heap's only: the kernel's comes on top.
func BenchmarkIdle(b *testing.B) {
	for _, w := range []world{worlds[0], worlds[3]} {
		b.Run(w.name, func(b *testing.B) {
			const n = 4000
			s := w.start(b, spy{}, Options{})
			conns := make([]int, n)
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc + m.StackInuse
			}
			for i := range conns {
				conns[i] = -1
			}
			head := []byte(testHead)
			before := heap()
			port := s.Addr().(*net.TCPAddr).Port
			for i := range conns { // raw descriptors: the client's side costs no heap
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				require.NoError(b, err)
				require.NoError(b, unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
				_, err = unix.Write(fd, head)
				require.NoError(b, err)
				conns[i] = fd
			}
			s.until("all are open", func() bool { return s.Stats().Open == n })
			b.ReportMetric(float64(heap()-before)/n, "B/conn")
			for _, fd := range conns {
				_ = unix.Close(fd)
			}
		})
	}
}

// BenchmarkPost is a token posted to a loop that is awake, and there and back with one that sleeps.
func BenchmarkPost(b *testing.B) {
	for _, name := range []string{"awake", "asleep"} {
		b.Run(name, func(b *testing.B) {
			got := make(chan struct{}, 1)
			s := worlds[0].start(b, spy{notify: func(_ Conn, token uint64) {
				if token == 1 {
					got <- struct{}{}
				}
			}}, Options{Loops: 1})
			s.open()
			id := <-s.ids
			b.ResetTimer()
			for range b.N {
				if name == "asleep" {
					s.Post(id, 1)
					<-got
				} else {
					s.Post(id, 0)
				}
			}
			if name == "awake" {
				s.Post(id, 1)
				<-got
			}
		})
	}
}

// BenchmarkHeader is one frame header; BenchmarkFrame one message of 100 bytes, unmasked and checked.
func BenchmarkHeader(b *testing.B) {
	frame := text(strings.Repeat("x", 100))
	var h header
	for b.Loop() {
		if h.parse(frame) != nil || h.length(frame) != nil {
			b.Fatal()
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	frame := text(strings.Repeat("x", 100))
	copied, lim := make([]byte, len(frame)), DefaultLimits()
	var a assembly
	for b.Loop() {
		copy(copied, frame)
		if a.next(copied, &lim).kind != kindMessage {
			b.Fatal()
		}
	}
}

// BenchmarkSystemCall is a call that finds nothing, made raw and by way of the runtime, on a
// socket and on an epoll instance.
func BenchmarkSystemCall(b *testing.B) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(b, err)
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(b, err)
	b.Cleanup(func() {
		for _, fd := range []int{pair[0], pair[1], ep} {
			_ = unix.Close(fd)
		}
	})
	var k kernel
	buf, events := make([]byte, 64), make([]unix.EpollEvent, 8)
	for _, c := range []struct {
		name string
		call func()
	}{
		{"read/raw", func() { _, _ = k.read(pair[0], buf) }},
		{"read/runtime", func() { _, _ = unix.Read(pair[0], buf) }},
		{"poll/raw", func() { k.poll(ep, events) }},
		{"poll/runtime", func() { k.wait(ep, events, 0) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.call()
			}
		})
	}
}
