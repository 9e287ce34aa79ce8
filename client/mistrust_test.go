package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// liar is a server that says what a script wants, whoever is there.
type liar struct {
	t     *testing.T
	http  *httptest.Server
	made  atomic.Int32 // connections
	plays func(n int32, w *words)
}

// words are a connection of a liar's.
type words struct {
	t      *testing.T
	socket *websocket.Conn
}

func newLiar(t *testing.T, plays func(n int32, w *words)) *liar {
	t.Helper()
	x := &liar{t: t, plays: plays}
	x.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"locktopus.v2"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer socket.CloseNow()
		x.plays(x.made.Add(1), &words{t, socket})
	}))
	t.Cleanup(x.http.Close)
	return x
}

func (x *liar) dial(o client.Options) *client.Client {
	x.t.Helper()
	o.BackoffMin, o.BackoffMax = time.Millisecond, 10*time.Millisecond
	c, err := client.Dial(soon(x.t), "ws"+strings.TrimPrefix(x.http.URL, "http")+"/v2?namespace=n", &o)
	require.NoError(x.t, err)
	x.t.Cleanup(func() { _ = c.Close() })
	return c
}

// hears is the client's next message; nil: it has gone.
func (w *words) hears() map[string]any {
	_, text, err := w.socket.Read(context.Background())
	if err != nil {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		w.t.Error(err)
	}
	return m
}

func (w *words) says(texts ...string) {
	for _, text := range texts {
		_ = w.socket.Write(context.Background(), websocket.MessageText, []byte(text))
	}
}

// untilGone has a connection go on until its client ends it.
func (w *words) untilGone() {
	for m := w.hears(); m != nil; m = w.hears() {
		if m["op"] == "bye" {
			w.says(fmt.Sprintf(`{"id":%v,"state":"bye"}`, m["id"]))
		}
	}
}

const liarsWelcome = `{"op":"welcome","session":"s1","secret":"x1","ttl_ms":60000,"epoch":"e1","durable":true,"last_id":0,"locks":[],"event":0}`

// TestAServerThatContradictsItselfIsNotBelieved: one that was put back to an older state, perhaps, welcomes a session
// back with less than it has told of it. The session's locks are lost, with the reason, and what waits begins anew.
func TestAServerThatContradictsItselfIsNotBelieved(t *testing.T) {
	const both = `"locks":[{"lock":1,"state":"acquired","token":"5"},{"lock":2,"state":"enqueued"}]`
	for why, welcome := range map[string]string{
		"its last event is 1, and it has told 2 already":                     `"session":"s1","epoch":"e1","last_id":2,"event":1,` + both,
		"request 1 is the last that it knows, and it has answered 2 already": `"session":"s1","epoch":"e1","last_id":1,"event":2,` + both,
		"it was restarted, and a restart ends all sessions":                  `"session":"s1","epoch":"e2","last_id":2,"event":2,` + both,
		"it goes on with another session than the client's":                  `"session":"s9","epoch":"e1","last_id":2,"event":2,` + both,
		"its first event is 9, and its last one 3":                           `"session":"s1","epoch":"e1","last_id":2,"event":3,"first_event":9,` + both,
		"its event 9 follows 2":                                              `"session":"s1","epoch":"e1","last_id":2,"event":9,` + both,
	} {
		t.Run(why, func(t *testing.T) {
			t.Cleanup(func() { goleak.VerifyNone(t) })
			x := newLiar(t, func(n int32, w *words) {
				hello := w.hears()
				switch n {
				case 1:
					w.says(liarsWelcome)
					w.hears()
					w.says(`{"id":1,"state":"acquired","token":"5"}`)
					w.hears()
					w.says(`{"id":2,"state":"enqueued","ahead":1}`, `{"event":1,"lock":90,"state":"expired"}`, `{"event":2,"lock":91,"state":"expired"}`)
					return // and the connection with it
				case 2:
					if hello["resume"] == nil {
						t.Error("the session isn't gone on with")
					}
					w.says(`{"op":"welcome","secret":"x2","ttl_ms":60000,"durable":true,` + welcome + `}`)
					if strings.Contains(why, "follows") {
						w.says(`{"event":9,"lock":92,"state":"expired"}`)
					}
				default:
					if hello["resume"] != nil {
						t.Error("a session that is in doubt is gone on with")
					}
					w.says(strings.ReplaceAll(liarsWelcome, "s1", "s2"))
					if m := w.hears(); m == nil || m["op"] != "lock" {
						t.Errorf("got %v instead of the request that waits", m)
					}
					w.says(`{"id":1,"state":"acquired","token":"6"}`)
				}
				w.untilGone()
			})
			c := x.dial(client.Options{})
			held, err := c.Lock(soon(t), client.Write("a"))
			require.NoError(t, err)
			next, err := c.Lock(soon(t), client.Write("b"))
			require.NoError(t, err)
			lost, ok := errors.AsType[*client.LostError](context.Cause(held.Context()))
			require.True(t, ok, "%v", context.Cause(held.Context()))
			require.Equal(t, "gone", lost.State)
			require.Equal(t, "the server contradicts itself, as one would that was put back to an older state: "+why, lost.Message)
			require.EqualValues(t, 6, next.Token())
			require.Equal(t, "s2", c.Session())
		})
	}
}

// TestALockThatTheServerNoLongerListsIsLost, and one whose token was a later one, though nothing was missed.
func TestALockThatTheServerNoLongerListsIsLost(t *testing.T) {
	for list, why := range map[string]string{
		`[]`: "it ended while there was no connection",
		`[{"lock":1,"state":"acquired","token":"4"}]`: "the server says that its token is 4, and has said 5 already",
		`[{"lock":1,"state":"enqueued"}]`:             "the server says that its token is 0, and has said 5 already",
	} {
		released := make(chan map[string]any, 1)
		x := newLiar(t, func(n int32, w *words) {
			w.hears()
			if n == 1 {
				w.says(liarsWelcome)
				w.hears()
				w.says(`{"id":1,"state":"acquired","token":"5"}`)
				return
			}
			w.says(`{"op":"welcome","session":"s1","secret":"x2","ttl_ms":60000,"epoch":"e1","last_id":1,"event":0,"locks":` + list + `}`)
			released <- w.hears()
			w.untilGone()
		})
		c := x.dial(client.Options{})
		held, err := c.Lock(soon(t), client.Write("a"))
		require.NoError(t, err)
		<-held.Done()
		require.Equal(t, &client.LostError{State: "gone", Message: why}, context.Cause(held.Context()))
		m := <-released
		require.Equal(t, []any{"release", 1.0}, []any{m["op"], m["lock"]}, "in case that the list is wrong")
		require.NoError(t, c.Close())
	}
}

// TestARestartIsToldFromASilence: why a session is gone.
func TestARestartIsToldFromASilence(t *testing.T) {
	w := newWorld(t)
	c := w.dial(client.Options{BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond})
	held, err := c.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	epoch := c.Epoch()
	_, again := testserver.Serve(t, nil)
	w.wire.Lead(again)
	w.wire.Cut()
	<-held.Done()
	require.Equal(t, &client.LostError{State: "gone", Message: "the server was restarted"}, context.Cause(held.Context()))
	_, _, err = c.Inspect(soon(t), nil, 0, "")
	require.NoError(t, err)
	require.NotEqual(t, epoch, c.Epoch())
}

// TestASilenceIsToldFromARestart: the server hasn't heard from the session in time, or has ended it.
func TestASilenceIsToldFromARestart(t *testing.T) {
	for why, meanwhile := range map[string]func(*bubble, *client.Client){
		"the server has not heard from the session in time (10s)":     func(*bubble, *client.Client) { <-time.After(2 * faultTTL) },
		"the server has ended the session while it was not connected": func(b *bubble, c *client.Client) { endSession(b.t, b.server, c.Session()) },
	} {
		inBubble(t, func(b *bubble) {
			n := b.line()
			c := n.client(client.Options{TTL: faultTTL})
			n.instead(refused)
			n.cut()
			asked := make(chan error)
			go func() { _, _, err := c.Inspect(background, nil, 0, ""); asked <- err }()
			synctest.Wait()
			meanwhile(b, c)
			n.instead(nil)
			require.Equal(b.t, &client.LostError{State: "gone", Message: why}, <-asked)
		})
	}
}

func endSession(t *testing.T, s *server.Server, id string) {
	_, err := s.AdminEnd("test", id, "enough")
	require.NoError(t, err)
}

// TestWhatIsNoServerForClientsIsTold: it is somebody else's address, with whatever is likely wrong.
func TestWhatIsNoServerForClientsIsTold(t *testing.T) {
	page := func(status int, kind, realm, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			if realm != "" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	plain := httptest.NewServer(page(502, "text/html", "", "<h1>502</h1>"))
	defer plain.Close()
	secure := httptest.NewTLSServer(page(200, "text/plain", "", "hello"))
	defer secure.Close()
	administrators := httptest.NewServer(page(401, "application/json", "locktopus-admin", `{"error":"denied"}`))
	defer administrators.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	for address, want := range map[string]string{
		"wss://" + host(plain):            "it doesn't speak TLS there: is it ws:// instead of wss://? (",
		"ws://" + host(secure):            "Client sent an HTTP request to an HTTPS server.",
		"ws://" + host(plain):             `says "502 Bad Gateway", as a proxy would that can't reach the lock server behind it`,
		"ws://" + host(administrators):    "is the listener for administrators (admin.listen): connect to the one for clients (server.listen)",
		"wss://" + silent.Addr().String(): "it has hung up before any TLS: is it ws:// instead of wss://? (",
		"ws://" + silent.Addr().String():  "it has hung up without an answer: is it wss:// instead of ws://, or another server? (",
	} {
		_, err := client.Dial(soon(t), address+"/v2?namespace=n", nil)
		require.ErrorContains(t, err, want)
		require.False(t, client.Denied(err))
		if want[:3] == "it " {
			require.ErrorContains(t, err, "locktopus: cannot connect to "+address+": ")
		}
	}
}

// TestAWelcomeThatFailsNamesTheServer.
func TestAWelcomeThatFailsNamesTheServer(t *testing.T) {
	for text, want := range map[string]string{
		`{"op":"welcome"`: "its welcome is not understood",
		`{"op":"what"}`:   "its first message is no welcome",
		``:                "",
	} {
		x := newLiar(t, func(_ int32, w *words) {
			w.hears()
			if text != "" {
				w.says(text)
			}
		})
		address := "ws" + strings.TrimPrefix(x.http.URL, "http")
		_, err := client.Dial(soon(t), address+"/v2?namespace=n", nil)
		require.ErrorContains(t, err, "locktopus: cannot connect to "+address+": "+want)
	}
}

// TestAReleaseThatCrossesARevocationTellsWhy: the event came first, and only it has the reason.
func TestAReleaseThatCrossesARevocationTellsWhy(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		c := n.client(client.Options{})
		lock, err := c.Lock(background, client.Write("a"))
		require.NoError(b.t, err)
		pass := n.silence()
		_, err = b.server.AdminRelease("test", c.Session(), lock.ID(), "on fire")
		require.NoError(b.t, err)
		released := make(chan error, 1)
		go func() { released <- lock.Release(background) }()
		synctest.Wait()
		pass()
		require.Equal(b.t, &client.LostError{State: "revoked", Message: "on fire"}, <-released)
	})
}
