package server

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// A session must be known of when this process is gone without a word: the next one grants nothing as long as its
// client may believe in its locks. So a session that may live for longer than all before begins only when that is
// on the disk, and loops don't wait for disks. Plugins have let its client in by then, so that nobody else makes the
// next start wait.

// parked is a hello that waits for the disk, and what its client has said since.
type parked struct {
	hello  wire.V2Greeting // begins a session; what plugins have judged isn't kept
	behind []byte          // messages, each behind its length
}

// lengthBytes is what a length takes.
const lengthBytes = 4

// add puts a message behind the others. False: there is no room for it.
func (p *parked) add(msg []byte, most int) bool {
	if len(p.behind)+len(msg) > most {
		return false
	}
	p.behind = binary.LittleEndian.AppendUint32(p.behind, uint32(len(msg)))
	p.behind = append(p.behind, msg...)
	return true
}

// next takes the first message off. False: there is none.
func (p *parked) next() (msg []byte, ok bool) {
	if len(p.behind) == 0 {
		return nil, false
	}
	end := lengthBytes + int(binary.LittleEndian.Uint32(p.behind))
	msg, p.behind = p.behind[lengthBytes:end:end], p.behind[end:]
	return msg, true
}

// uncovered is the error of a hello that has to wait for the disk.
type uncovered struct{ span time.Duration } // what is to be covered

func (u *uncovered) Error() string {
	return fmt.Sprintf("server: sessions of %v are not covered", u.span)
}

var errUncovered = &refusal{codeTryLater, "the server cannot note on its disk how long this session may live, as it must before it begins one; try again later"}

// park has a hello wait until its session is covered, unless it is known that this will take long.
func (w *worker) park(c wsnet.Conn, conn *connection, h *wire.V2Greeting, span time.Duration) {
	w.s.parked.Store(true)
	if w.s.fence.Err() != nil {
		w.failUncovered(c, conn)
		return
	}
	conn.v2.parked = &parked{hello: wire.V2Greeting{Name: append([]byte(nil), h.Name...), TTLMS: h.TTLMS}}
	w.s.lobby.enter(c.ID()) // before anything can be told
	w.s.fence.Cover(span)
}

// lobby is the connections with a parked hello. The zero value is empty.
type lobby struct {
	mu    sync.Mutex // guards those
	those map[wsnet.ConnID]struct{}
}

func (l *lobby) enter(id wsnet.ConnID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.those == nil {
		l.those = map[wsnet.ConnID]struct{}{}
	}
	l.those[id] = struct{}{}
}

func (l *lobby) leave(id wsnet.ConnID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.those, id); len(l.those) == 0 {
		l.those = nil // a map doesn't shrink
	}
}

func (l *lobby) all() []wsnet.ConnID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.those))
}

// written says that the fence has written, or can't.
func (s *Server) written() {
	for _, id := range s.lobby.all() {
		s.net.Post(id, tokenCovered)
	}
}

// stepOf is what is covered for sessions of a length, so that the disk is written a dozen times in a server's
// life, and not for each session that is a little longer than those before.
func stepOf(ttl, first, most time.Duration) time.Duration {
	step := max(first, time.Second)
	for step < ttl {
		step *= 2
	}
	return max(ttl, min(step, most))
}

// spans counts the sessions that live by what is covered for them.
type spans struct {
	over chan struct{} // holds one: all of a span are over

	mu     sync.Mutex // guards counts
	counts map[time.Duration]int
}

func newSpans() spans {
	return spans{over: make(chan struct{}, 1), counts: map[time.Duration]int{}}
}

func (s *spans) add(span time.Duration, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[span] += n; s.counts[span] > 0 {
		return
	}
	delete(s.counts, span)
	select {
	case s.over <- struct{}{}:
	default:
	}
}

// longest is 0 if there is none.
func (s *spans) longest() (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for span := range s.counts {
		longest = max(longest, span)
	}
	return longest
}

// relaxPause is how long others of its span may come when a session is over.
const relaxPause = time.Minute

// relax has no more covered than must be: one long session shall not make each start wait until the next orderly stop.
func (s *Server) relax() {
	longest := func() time.Duration { return max(s.spans.longest(), s.settings.Load().Sessions.TTLDefault) }
	for s.pause(max(relaxPause, s.fence.Owed())) {
		s.fence.Relax(longest)
		select {
		case <-s.stop:
			return
		case <-s.spans.over:
		}
	}
}

func (w *worker) failUncovered(c wsnet.Conn, conn *connection) {
	w.failV2(c, conn, &wire.V2Message{Error: wire.V2TryLater, Message: []byte(errUncovered.text)}, errUncovered.code)
}

// messageBytes is the most that a message may have.
func (s *Server) messageBytes() int {
	return cmp.Or(s.settings.Load().Net.MessageBytes, wsnet.DefaultLimits().MessageBytes)
}

// wait keeps a message for when the hello before it has been answered.
func (w *worker) wait(c wsnet.Conn, conn *connection, msg []byte) {
	most := w.s.messageBytes()
	if !conn.v2.parked.add(msg, most) {
		w.malformed(c, conn, fmt.Errorf("op: more than %d bytes have come behind the hello before it was answered (limits.message_bytes): wait for the welcome", most))
	}
}

// unpark goes on with a hello that was parked, and with what came behind it.
func (w *worker) unpark(c wsnet.Conn, conn *connection) {
	p := conn.v2.parked
	conn.v2.parked = nil
	w.s.lobby.leave(c.ID())
	if w.s.stage.Load() != serving {
		w.lookV2(c, conn)
		return
	}
	w.enter(c, conn, &p.hello)
	for !conn.v2.closing {
		msg, ok := p.next()
		if !ok {
			return
		}
		w.messageV2(c, conn, msg)
	}
}
