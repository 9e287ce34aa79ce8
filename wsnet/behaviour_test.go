package wsnet

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestOutputAtTheLimitAndOnePast(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		for _, n := range []int{1000 - 4, 1000 - 3} { // with a header of 4 bytes
			answer := []byte(strings.Repeat("x", n))
			s := w.start(t, spy{message: func(c Conn, _ []byte) { c.Send(answer) }}, Options{Limits: Limits{OutputBytes: 1000}})
			p := s.open()
			p.send(text(""))
			if n == 1000-4 {
				p.wantText(string(answer))
				continue
			}
			p.wantGone()
			require.Equal(t, ReasonOverflow, s.reason())
			require.Equal(t, uint64(1), s.Stats().Overflows)
		}
	})
}

func TestConnectionsAtTheLimitAndOnePast(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		if w.network == "unix" {
			w.refusesAt(t, Limits{Connections: 2}, func(st Stats) uint64 { return st.RefusedConnections })
			return
		}
		w.refusesAt(t, Limits{Connections: 2}, func(st Stats) uint64 { return st.RefusedConnections })
		w.refusesAt(t, Limits{ConnectionsPerAddress: 2}, func(st Stats) uint64 { return st.RefusedPerAddress })
	})
}

// TestFullLimitIsLoggedOnceAMinute: an operator must see that a limit is full, but not each refusal.
func TestFullLimitIsLoggedOnceAMinute(t *testing.T) {
	for _, w := range worlds {
		if w.network == "unix" || w.lies {
			continue
		}
		for limit, lim := range map[string]Limits{
			"limits.connections":             {Connections: 1, PingInterval: time.Hour},
			"limits.connections_per_address": {ConnectionsPerAddress: 1, PingInterval: time.Hour},
		} {
			t.Run(w.name+"/"+limit, func(t *testing.T) {
				var log lines
				s := w.start(t, spy{}, Options{Limits: lim, Log: slog.New(slog.NewTextHandler(&log, nil))})
				refused := func() {
					c, err := net.Dial("tcp", s.Addr().String())
					require.NoError(t, err)
					require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
					_, _ = io.ReadAll(c)
					require.NoError(t, c.Close())
				}
				s.wrote(s.open())
				require.NotContains(t, log.String(), "refused")
				for range 3 {
					refused()
				}
				s.advance(quietTime / 2)
				refused()
				told := func(n int) string { return fmt.Sprintf("limit=%s value=1 refused=%d from=127.0.0.1\n", limit, n) }
				require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
				require.Contains(t, log.String(), told(1))
				s.expire(quietTime / 2)
				refused()
				require.Equal(t, 2, strings.Count(log.String(), "level=WARN"), log.String())
				require.Contains(t, log.String(), told(4)) // with those of the minute
			})
		}
	}
}

func (w world) refusesAt(t *testing.T, lim Limits, refused func(Stats) uint64) {
	s := w.start(t, spy{}, Options{Limits: lim})
	a, b := s.open(), s.open()
	c, err := net.Dial(s.Addr().Network(), s.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	got, _ := io.ReadAll(c)
	if !w.tls && !w.lies {
		require.Contains(t, string(got), "503")
	}
	require.NoError(t, c.Close())
	s.until("refused", func() bool { return refused(s.Stats()) == 1 })
	a.send(text("still there"))
	a.wantText("still there")
	require.NoError(t, b.Close())
	s.until("a place is free", func() bool { return s.Stats().Sockets == 1 })
	s.open()
	require.Equal(t, 2, s.Stats().Open)
	require.Equal(t, uint64(3), s.Stats().Accepted)
}

func TestHeadThatIsSlowIsClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{HandshakeTimeout: 5 * time.Second}})
		silent, slow := s.dial(), s.dial()
		slow.send([]byte(testHead[:10]))
		s.until("both are there", func() bool { return s.Stats().Sockets == 2 && s.Stats().BytesIn >= 10 })
		s.advance(4 * time.Second)
		slow.send([]byte(testHead[10:11])) // a byte now and then doesn't help
		s.heard(11)
		require.Equal(t, 2, s.Stats().Sockets)
		s.expire(time.Second)
		silent.wantGone()
		slow.wantGone()
		s.until("gone", func() bool { return s.Stats().Sockets == 0 })
		require.Equal(t, uint64(2), s.Stats().HandshakeTimeouts)
	})
}

func TestFrameThatIsSlowIsClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{MessageTimeout: 10 * time.Second, PingInterval: time.Hour}})
		p := s.open()
		base := len(testHead)
		frame := text("slow")
		p.send(concat(text("quick"), frame[:3]))
		p.wantText("quick")
		base += len(text("quick")) + 3
		s.heard(base)
		s.advance(9 * time.Second)
		p.send(frame[3:]) // in time
		p.wantText("slow")
		p.send(frame[:3]) // this one has its own time
		s.heard(base + len(frame))
		s.advance(9 * time.Second)
		p.send(frame[3:4])
		s.heard(base + len(frame) + 1)
		require.Empty(t, s.reasons)
		s.expire(time.Second)
		p.wantGone()
		require.Equal(t, ReasonMessageTimeout, s.reason())
		require.Equal(t, uint64(1), s.Stats().MessageTimeouts)
	})
}

// A message has one deadline, however it is cut: whole frames of it, and what comes between them,
// don't start the clock anew.
func TestMessageThatIsSlowIsClosedThoughItsFragmentsAreNot(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{MessageTimeout: 10 * time.Second, PingInterval: time.Hour}})
		p := s.open()
		sent := len(testHead)
		for _, frame := range [][]byte{
			masked(false, ws.OpText, "a"), masked(false, ws.OpContinuation, "b"),
			concat(masked(true, ws.OpPong, ""), masked(false, ws.OpContinuation, "c")),
		} {
			p.send(frame)
			sent += len(frame)
			s.heard(sent)
			require.Empty(t, s.reasons)
			s.advance(4 * time.Second)
		}
		p.wantGone()
		require.Equal(t, ReasonMessageTimeout, s.reason())
		require.Equal(t, uint64(1), s.Stats().MessageTimeouts)
	})
}

func TestSilentPeerIsPingedAndClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{PingInterval: 30 * time.Second, PongTimeout: 10 * time.Second}})
		p := s.open()
		s.wrote(p)
		read := len(testHead)
		pong := masked(true, ws.OpPong, "")
		for range 3 {
			s.expire(30 * time.Second)
			op, _ := p.frame()
			require.Equal(t, ws.OpPing, op)
			s.wrote(p)
			s.advance(9 * time.Second)
			p.send(pong)
			read += len(pong)
			s.heard(read)
			s.settled()
		}
		s.advance(29 * time.Second)
		require.Equal(t, uint64(3), s.Stats().Pings)
		s.expire(time.Second)
		op, _ := p.frame()
		require.Equal(t, ws.OpPing, op)
		s.wrote(p)
		require.Empty(t, s.reasons)
		s.expire(10 * time.Second)
		p.wantGone()
		require.Equal(t, ReasonPingTimeout, s.reason())
		require.Equal(t, uint64(1), s.Stats().PingTimeouts)
	})
}

// settled waits until what was read before has had its effects.
func (s *subject) settled() { s.path.wakeTimers(); s.path.wakeTimers() }

func TestPeerThatNeverReadsIsClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		big := []byte(strings.Repeat("x", 1<<20))
		s := w.start(t, spy{notify: func(c Conn, _ uint64) { c.Send(big) }}, Options{Limits: Limits{OutputBytes: 64 << 20, WriteTimeout: 10 * time.Second, PingInterval: time.Second}})
		p := s.open()
		id := <-s.ids
		for range 32 {
			s.Post(id, 1)
		}
		s.stuck()
		s.advance(9 * time.Second)
		require.Empty(t, s.reasons)
		s.expireUntilClosed(10 * time.Second)
		require.Equal(t, ReasonWriteTimeout, s.reason())
		require.Equal(t, uint64(1), s.Stats().WriteTimeouts)
		require.Zero(t, s.Stats().Pings) // silence means nothing while it cannot answer
		p.wantGone()
	})
}

// stuck waits until no more bytes go out: the socket is full, or the connection was given up before.
func (s *subject) stuck() {
	s.t.Helper()
	was, same := uint64(0), 0
	s.until("the socket is full", func() bool {
		s.settled()
		if now := s.Stats().BytesOut; now != was {
			was, same = now, 0
		}
		same++
		return was > 100_000 && same > 100 || len(s.reasons) > 0
	})
}

// expireUntilClosed expires a timeout, again if the machine was so slow that stuck was wrong.
func (s *subject) expireUntilClosed(d time.Duration) {
	s.t.Helper()
	s.until("closed", func() bool { s.expire(d); return len(s.reasons) > 0 })
}

func TestPeerThatReadsSlowlyIsKept(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		big := []byte(strings.Repeat("x", 1<<20))
		s := w.start(t, spy{notify: func(c Conn, _ uint64) { c.Send(big) }}, Options{Limits: Limits{OutputBytes: 64 << 20, WriteTimeout: 10 * time.Second}})
		p := s.open()
		id := <-s.ids
		for range 48 {
			s.Post(id, 1)
		}
		for range 4 { // much at once, for TCP opens its window in large steps
			s.stuck()
			s.advance(9 * time.Second)
			for range 12 {
				p.wantText(string(big))
			}
		}
		require.Empty(t, s.reasons)
	})
}

func TestPingFloodDoesNotGrowOutput(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{OutputBytes: 64 << 10, PauseBytes: 16 << 10, WriteTimeout: 10 * time.Second}})
		p := s.open()
		flood := []byte(strings.Repeat(string(masked(true, ws.OpPing, strings.Repeat("p", 125))), 1000))
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			for range 1000 {
				if _, err := p.Write(flood); err != nil {
					return
				}
			}
		}()
		s.stuck() // and reading is paused
		require.Zero(t, s.Stats().Overflows)
		require.Empty(t, s.reasons)
		s.expireUntilClosed(10 * time.Second) // and that doesn't defeat the deadline
		require.Equal(t, ReasonWriteTimeout, s.reason())
		<-wrote
	})
}

func TestNotReadingAndAskingOverflows(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		big := []byte(strings.Repeat("x", 64<<10))
		s := w.start(t, spy{notify: func(c Conn, _ uint64) { c.Send(big) }}, Options{Limits: Limits{OutputBytes: 256 << 10}})
		s.open()
		id := <-s.ids
		if w.portable || w.tls { // a stuck write is noticed by the tokens behind it only when it ends
			for range 1000 {
				s.Post(id, 1)
			}
			s.stuck()
			s.expireUntilClosed(10 * time.Second)
			require.Contains(t, []Reason{ReasonOverflow, ReasonWriteTimeout}, s.reason())
			return
		}
		for range 1000 {
			s.Post(id, 1)
		}
		require.Equal(t, ReasonOverflow, s.reason())
	})
}

func TestServersCloseThatIsNotAnswered(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{message: func(c Conn, _ []byte) { c.Close(1001, "bye") }}, Options{Limits: Limits{CloseTimeout: 3 * time.Second}})
		p := s.open()
		p.send(text(""))
		require.Equal(t, "bye", p.wantClose(1001))
		s.wrote(p)
		s.advance(2 * time.Second)
		require.Empty(t, s.reasons)
		s.expire(time.Second)
		require.Equal(t, ReasonCloseTimeout, s.reason())
		p.wantGone()
		require.Equal(t, uint64(1), s.Stats().CloseTimeouts)
	})
}

func TestPeerThatNeverEndsLingersOnlySoLong(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{CloseTimeout: 3 * time.Second}})
		p := s.open()
		p.send(closing(1000, ""))
		p.wantClose(1000)
		p.wantEnd() // its half is closed, ours isn't
		require.Equal(t, ReasonClientClosed, s.reason())
		s.settled()
		require.Equal(t, 1, s.Stats().Sockets)
		s.expire(3 * time.Second)
		s.until("gone", func() bool { return s.Stats().Sockets == 0 })
		require.Zero(t, s.Stats().CloseTimeouts)
	})
}

func TestResetEndsTheConnection(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		if w.network == "unix" {
			return // there is no RST
		}
		s := w.start(t, spy{}, Options{})
		p, early := s.open(), s.dial()
		for _, c := range []*peer{p, early} {
			require.NoError(t, c.raw.(*net.TCPConn).SetLinger(0))
			require.NoError(t, c.raw.Close())
		}
		require.Equal(t, ReasonReset, s.reason())
		s.until("gone", func() bool { return s.Stats().Sockets == 0 })
	})
}

func TestSetLimitsAppliesAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		p := s.open()
		p.send(text("hello"))
		p.wantText("hello")
		s.SetLimits(Limits{MessageBytes: 4, PingInterval: time.Second})
		s.settled()
		p.send(text("hello"))
		p.wantClose(1009)
	})
}

func TestTokensAreNeverLostAndKeepTheirOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		const posters, each, conns = 4, 2000, 8
		var mu sync.Mutex
		next := map[ConnID]*[posters]uint64{}
		var got atomic.Int64
		s := w.start(t, spy{notify: func(c Conn, token uint64) {
			mu.Lock()
			defer mu.Unlock()
			if next[c.ID()] == nil {
				next[c.ID()] = &[posters]uint64{}
			}
			n := &next[c.ID()][token>>32]
			require.Equal(t, *n, token&0xffffffff)
			*n++
			got.Add(1)
		}}, Options{})
		var ids []ConnID
		for range conns {
			s.open()
			ids = append(ids, <-s.ids)
		}
		var wg sync.WaitGroup
		for i := range uint64(posters) {
			wg.Go(func() {
				for n := range uint64(each) {
					for _, id := range ids {
						s.Post(id, i<<32|n)
					}
					s.Post(0, 1)
					s.Post(ConnID(n*7919), 1)
					s.Post(ids[0]+1, 1)
					s.Post(ids[0]|0xff<<56, 1)
				}
			})
		}
		wg.Wait()
		s.until("all delivered", func() bool { return got.Load() == posters*each*conns })
	})
}

// TestACrowdOfHandlersGoes: connections that are served by goroutines of their own need a handler each while all of
// them wait for the same.
func TestACrowdOfHandlersGoes(t *testing.T) {
	const crowd = 2 * instancesKept
	var inside sync.WaitGroup
	inside.Add(crowd)
	s := worlds[3].start(t, spy{notify: func(c Conn, _ uint64) {
		inside.Done()
		inside.Wait()
		c.Send([]byte("done"))
	}}, Options{})
	var ps []*peer
	for range crowd {
		ps = append(ps, s.open())
	}
	for range ps {
		s.Post(<-s.ids, 1)
	}
	for _, p := range ps {
		p.wantText("done")
	}
	path := s.path.(*portable)
	path.mu.Lock()
	defer path.mu.Unlock()
	require.Len(t, path.handlers, instancesKept)
}

// TestPostStorm has handlers post to each other across loops with a mutex held.
func TestPostStorm(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		const conns, hops = 16, 500
		var mu sync.Mutex
		var ids []ConnID
		var s *subject
		var done atomic.Int64
		s = w.start(t, spy{notify: func(c Conn, token uint64) {
			mu.Lock()
			defer mu.Unlock()
			if token == 0 {
				done.Add(1)
				c.Send([]byte("done"))
				return
			}
			s.Post(ids[int(token)%conns], token-1)
		}}, Options{})
		var peers []*peer
		for range conns {
			peers = append(peers, s.open())
			ids = append(ids, <-s.ids)
		}
		for _, id := range ids {
			s.Post(id, hops)
		}
		s.until("all chains end", func() bool { return done.Load() == conns })
		for range conns {
			peers[1].wantText("done") // token 1 is posted on to ids[1]
		}
	})
}

func TestTokenPostedFromOpenArrives(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		var s *subject
		ready := make(chan struct{})
		s = w.start(t, spy{
			open:    func(c Conn, _ *Request) *Refusal { <-ready; s.Post(c.ID(), 7); return nil },
			message: func(c Conn, _ []byte) { s.Post(c.ID(), 8) },
			notify:  func(c Conn, token uint64) { c.Send([]byte(fmt.Sprint(token))) },
		}, Options{})
		close(ready)
		p := s.open()
		p.wantText("7")
		p.send(text(""))
		p.wantText("8")
	})
}

func TestStaleNameNeverReachesAnother(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{notify: func(c Conn, token uint64) { c.Send([]byte(fmt.Sprint(token))) }}, Options{Loops: 1})
		seen := map[ConnID]bool{}
		for range 50 {
			p := s.open()
			id := <-s.ids
			require.NotZero(t, id)
			require.False(t, seen[id])
			seen[id] = true
			for old := range seen {
				if old != id {
					s.Post(old, 666)
				}
			}
			s.Post(id, 1)
			p.wantText("1")
			require.NoError(t, p.Close())
			s.reason()
			s.until("gone", func() bool { return s.Stats().Sockets == 0 })
		}
	})
}

func TestBroadcastReachesEveryoneInOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{notify: func(c Conn, token uint64) { c.Send([]byte(fmt.Sprint(token))) }}, Options{})
		idle := s.dial() // no WebSocket: nothing for it
		var ps []*peer
		for range 10 {
			ps = append(ps, s.open())
		}
		s.Broadcast(1)
		for range 10 {
			s.Post(<-s.ids, 2)
		}
		s.Broadcast(3)
		for _, p := range ps {
			p.wantText("1")
			p.wantText("2")
			p.wantText("3")
		}
		idle.send([]byte(testHead))
		idle.upgraded()
		idle.send(text("x"))
		idle.wantText("x")
	})
}

func TestStopAcceptingKeepsWebSockets(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		p, idle := s.open(), s.dial()
		s.until("both are there", func() bool { return s.Stats().Sockets == 2 })
		s.StopAccepting()
		s.StopAccepting()
		idle.wantGone()
		_, err := net.Dial(s.Addr().Network(), s.Addr().String())
		require.Error(t, err)
		p.send(text("still"))
		p.wantText("still")
		require.NoError(t, s.Close())
		p.wantGone()
		require.Equal(t, ReasonServerStopped, s.reason())
		s.Post(<-s.ids, 1)
		s.Broadcast(1)
		require.Zero(t, s.Stats().Open)
		require.Zero(t, s.Stats().Sockets)
	})
}

func TestCloseLeavesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		hang := make(chan struct{})
		s := w.start(t, spy{}, Options{HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(hang); <-r.Context().Done() })})
		before := descriptors(t)
		for range 20 {
			s.open()
			s.dial()
		}
		p := s.dial()
		p.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		<-hang
		require.NoError(t, s.Close())
		for range 20 {
			require.Equal(t, ReasonServerStopped, s.reason())
		}
		require.Zero(t, s.Stats().Sockets)
		require.Zero(t, s.Stats().Open)
		// What the server had is gone: its listener and loops, and its ends; ours are still there.
		require.LessOrEqual(t, descriptors(t), before+41)
	})
}

func TestHTTPIsHandedOver(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{HTTP: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Equal(t, w.tls, r.TLS != nil)
			_, _ = fmt.Fprintf(rw, "%s %s %d", r.Method, r.URL, len(b))
		})})
		get := "GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"
		body := strings.Repeat("b", 100_000)
		for _, c := range []struct{ sent, want string }{
			{get, "GET /x?y 0"},
			{get + get, "GET /x?y 0"}, // pipelined: one answer, then the end
			{"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + body, "POST /p 100000"},
			{"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST /p 5"},
		} {
			p := s.dial()
			p.send([]byte(c.sent))
			r := p.response()
			require.Equal(t, 200, r.StatusCode)
			require.True(t, r.Close)
			b, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Equal(t, c.want, string(b))
			p.wantEnd()
			require.NoError(t, p.Close())
		}
		s.until("gone", func() bool { return s.Stats().Sockets == 0 })
		require.Equal(t, uint64(4), s.Stats().HTTP)
	})
}

// TestBodyThatNeverComesEndsTheRequest has real deadlines, for they are net/http's: short ones.
func TestBodyThatNeverComesEndsTheRequest(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		failed := make(chan error, 1)
		s := w.start(t, spy{}, Options{Limits: Limits{MessageTimeout: tick, WriteTimeout: tick}, HTTP: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(rw).SetReadDeadline(time.Time{}) // as net/http does on its own
			_, err := io.ReadAll(r.Body)
			failed <- err
			rw.WriteHeader(http.StatusTeapot)
		})})
		for _, head := range []string{
			"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
		} {
			p := s.dial()
			p.send([]byte(head))
			require.ErrorIs(t, <-failed, os.ErrDeadlineExceeded)
			p.wantGone()
			s.until("gone", func() bool { return s.Stats().Sockets == 0 })
		}
	})
}

func TestDeadlinesOfHTTPCannotBeRemoved(t *testing.T) {
	a, b := net.Pipe()
	c := &readAhead{Conn: a, left: func() {}}
	c.bound(&Limits{MessageTimeout: tick, WriteTimeout: tick})
	require.NoError(t, c.SetDeadline(time.Time{}))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience))) // but moved
	go func() { _, _ = b.Write([]byte("y")) }()
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, b.Close())
}

func TestTLSSpokenToAPlainPort(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		p := s.dial()
		if w.tls {
			_, err := p.raw.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) // the reverse
			require.NoError(t, err)
			b, _ := io.ReadAll(p.raw)
			require.Contains(t, string(b), "400 Bad Request")
		} else {
			p.send([]byte{0x16, 3, 1, 0, 200, 1})
			p.wantGone()
		}
		s.until("counted", func() bool { return s.Stats().TLSErrors == 1 && s.Stats().Sockets == 0 })
	})
}

func TestInteropWithGorilla(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		d := gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) { return s.dial().Conn, nil }, EnableCompression: true, WriteBufferSize: 100}
		d.NetDialTLSContext = func(context.Context, string, string) (net.Conn, error) { return s.dial().Conn, nil }
		scheme := map[bool]string{false: "ws", true: "wss"}[w.tls]
		c, r, err := d.Dial(scheme+"://example.com/x", nil)
		require.NoError(t, err)
		require.Empty(t, r.Header.Get("Sec-WebSocket-Extensions"))
		for i := range 50 {
			m := strings.Repeat("gorilla", i*20) // in fragments of the write buffer's size
			require.NoError(t, c.WriteMessage(gorilla.TextMessage, []byte(m)))
			_, got, err := c.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, m, string(got))
		}
		require.NoError(t, c.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "bye")))
		_, _, err = c.ReadMessage()
		require.True(t, gorilla.IsCloseError(err, 1000))
		require.NoError(t, c.Close())
		require.Equal(t, ReasonClientClosed, s.reason())
	})
}

func TestInteropWithCoder(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return s.dial().Conn, nil }}
		tr.DialTLSContext = tr.DialContext
		scheme := map[bool]string{false: "ws", true: "wss"}[w.tls]
		c, _, err := coder.Dial(ctx, scheme+"://example.com/x", &coder.DialOptions{HTTPClient: &http.Client{Transport: tr}, CompressionMode: coder.CompressionContextTakeover})
		require.NoError(t, err)
		for i := range 50 {
			m := strings.Repeat("coder", i*20)
			require.NoError(t, c.Write(ctx, coder.MessageText, []byte(m)))
			_, got, err := c.Read(ctx)
			require.NoError(t, err)
			require.Equal(t, m, string(got))
		}
		c.CloseRead(ctx)
		require.NoError(t, c.Ping(ctx))
		require.NoError(t, c.Close(coder.StatusNormalClosure, ""))
		require.Equal(t, ReasonClientClosed, s.reason())
	})
}

func TestDoorForgetsAddresses(t *testing.T) {
	d, lim := newDoor(), Limits{ConnectionsPerAddress: 2}.orDefaults()
	var passes []pass
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		for range 2 {
			p, v := d.enter(a, lim)
			require.Equal(t, admitted, v)
			passes = append(passes, p)
		}
		_, v := d.enter(a, lim)
		require.Equal(t, fullAddress, v)
	}
	require.Equal(t, 2000, d.inside())
	for _, p := range passes {
		d.leave(p)
	}
	require.Zero(t, d.inside())
	require.Empty(t, d.index)
	_, v := d.enter(netip.Addr{}, Limits{Connections: 1}.orDefaults())
	require.Equal(t, admitted, v)
	_, v = d.enter(netip.Addr{}, Limits{Connections: 1}.orDefaults())
	require.Equal(t, fullHouse, v)
	require.Len(t, d.slab, 1001)
}

// Whoever has an IPv6 address has a network of them.
func TestDoorCountsIPv6ByNetwork(t *testing.T) {
	d, lim := newDoor(), Limits{ConnectionsPerAddress: 1}.orDefaults()
	for addr, want := range map[string]verdict{"2001:db8:0:1::1": admitted, "2001:db8:0:2::1": admitted, "::ffff:10.0.0.1": admitted} {
		_, v := d.enter(netip.MustParseAddr(addr), lim)
		require.Equal(t, want, v, addr)
	}
	for addr, want := range map[string]verdict{"2001:db8:0:1:8000::2": fullAddress, "::ffff:10.0.0.1": fullAddress, "::ffff:10.0.0.2": admitted} {
		_, v := d.enter(netip.MustParseAddr(addr), lim)
		require.Equal(t, want, v, addr)
	}
}

func TestConnIDsAreReadable(t *testing.T) {
	require.Equal(t, "1.5.3", connID(1, 5, 3).String())
}

func TestReasonsHaveTexts(t *testing.T) {
	for r := ReasonNone; r <= ReasonServerStopped; r++ {
		require.NotEmpty(t, r.String())
	}
	require.Equal(t, "unknown reason", Reason(200).String())
}
