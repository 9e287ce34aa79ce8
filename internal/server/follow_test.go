package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// talker is a client over a socket that asks and is answered.
type talker struct {
	conn net.Conn
	r    *bufio.Reader
	id   uint64
}

func (s *Server) talk(t testing.TB, path string) *talker {
	conn, buffered, _, err := ws.Dial(t.Context(), "ws://"+s.Addr().String()+path+"?namespace=n")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	if buffered == nil {
		buffered = bufio.NewReader(conn)
	}
	return &talker{conn: conn, r: buffered}
}

func (c *talker) say(format string, args ...any) error {
	return wsutil.WriteClientText(c.conn, fmt.Appendf(nil, format, args...))
}

// hear reads the next message that has a text in it.
func (c *talker) hear(text string) (string, error) {
	for {
		msg, err := wsutil.ReadServerText(struct {
			io.Reader
			io.Writer
		}{c.r, c.conn})
		if err != nil || strings.Contains(string(msg), text) {
			return string(msg), err
		}
	}
}

// randomOld locks and releases with version 1, and leaves with a lock, or without.
func (c *talker) randomOld(r *rand.Rand) error {
	for range 100 {
		if err := c.say(`{"action":"lock","resources":[%s]}`, randomResource(r)); err != nil {
			return err
		}
		if r.IntN(2) == 0 {
			if _, err := c.hear(`"lock"`); err != nil {
				return err
			}
		}
		if err := c.say(`{"action":"release"}`); err != nil {
			return err
		}
		if _, err := c.hear(`"ready"`); err != nil {
			return err
		}
	}
	if r.IntN(2) == 0 {
		return c.conn.Close()
	}
	if err := c.say(`{"action":"lock","resources":[%s]}`, randomResource(r)); err != nil {
		return err
	}
	_, err := c.hear(`"lock"`)
	return err
}

// randomNew does all sorts of things to its locks, and leaves with some.
func (c *talker) randomNew(r *rand.Rand) error {
	var locks []uint64
	for range 200 {
		c.id++
		var err error
		if op := r.IntN(6); op < 2 || len(locks) == 0 {
			locks = append(locks, c.id)
			err = c.say(`{"op":"lock","id":%d,"wait_ms":%d,"resources":[%s]}`, c.id, r.IntN(2)*r.IntN(20), randomResource(r))
		} else {
			k := r.IntN(len(locks))
			err = c.say(`{"op":%q,"id":%d,"lock":%d}`, []string{"release", "release", "upgrade", "downgrade"}[op-2], c.id, locks[k])
			if op < 4 {
				locks[k] = locks[len(locks)-1]
				locks = locks[:len(locks)-1]
			}
		}
		if err != nil {
			return err
		}
		if _, err := c.hear(fmt.Sprintf(`{"id":%d,`, c.id)); err != nil {
			return err
		}
	}
	return nil
}

func randomResource(r *rand.Rand) string {
	kind, path := "read", []string{`"a"`, `"a","b"`, `"a","b","c"`, `"x"`, ``}[r.IntN(5)]
	if r.IntN(3) == 0 && path != "" {
		kind = "write"
	}
	return fmt.Sprintf(`{"type":%q,"path":[%s]}`, kind, path)
}

// table is what a watcher knows: each lock, by its session and number, as it was told last.
type table map[string]string

type seenV2 struct {
	State, Change, Next string
	Watch, N            uint64
	Locks               []map[string]any
}

func (b table) put(m *seenV2) {
	for _, l := range m.Locks {
		key := fmt.Sprint(l["session"], " ", l["lock"])
		delete(l, "since_ms")
		delete(l, "waits_for")
		text, _ := json.Marshal(l)
		if b[key] = string(text); m.Change == "ended" {
			delete(b, key)
		}
	}
}

// TestV2WatchFollowsManyClients has clients of both versions lock on all loops, and compares what a watch makes up
// with an inspection when they are done.
func TestV2WatchFollowsManyClients(t *testing.T) {
	seed := testseed.New(t)
	s := serveLoopback(t, Options{Loops: 4})
	set := testSettings()
	set.Sessions.TTLDefault = time.Hour
	s.Reload(set)
	watcher := s.talk(t, "/v2")
	require.NoError(t, watcher.say(helloV2))
	var clients sync.WaitGroup
	for k := range 8 {
		r := rand.New(rand.NewPCG(seed, uint64(k)))
		play, c := (*talker).randomOld, s.talk(t, []string{"/v1", "/v2"}[k%2])
		if k%2 == 1 {
			play = (*talker).randomNew
			require.NoError(t, c.say(helloV2))
		}
		clients.Go(func() {
			if err := play(c, r); err != nil {
				t.Errorf("client %d: %v", k, err)
			}
		})
	}
	require.NoError(t, watcher.say(`{"op":"watch","id":1,"path":["a","b"]}`))
	done := make(chan struct{})
	go func() {
		clients.Wait()
		watcher.say(`{"op":"lock","id":2,"resources":[{"type":"read","path":["a","b"]}],"note":"the end","wait_ms":600000}`)
		close(done)
	}()
	b := table{}
	told := uint64(0)
	for end := false; !end; {
		text, err := watcher.hear(`"locks":[`)
		require.NoError(t, err)
		var m seenV2
		require.NoError(t, json.Unmarshal([]byte(text), &m))
		if m.Watch != 0 {
			told++
			require.Equal(t, told, m.N)
			require.NotEqual(t, "lagged", m.Change)
		}
		if m.Watch != 0 || m.State == "watching" {
			b.put(&m)
		}
		end = m.Watch != 0 && strings.Contains(text, `"note":"the end"`)
	}
	<-done
	require.Greater(t, told, uint64(100), "too few to mean anything")
	inspected := table{}
	require.NoError(t, watcher.say(`{"op":"inspect","id":3,"path":["a","b"],"limit":1000}`))
	for {
		text, err := watcher.hear(`"locks":[`)
		require.NoError(t, err)
		var m seenV2
		require.NoError(t, json.Unmarshal([]byte(text), &m))
		if m.State == "inspected" {
			inspected.put(&m)
			break
		}
		b.put(&m) // what was granted by the end of others, meanwhile
	}
	require.Equal(t, inspected, b)
}

// TestV2AnswersHaveRoom has a client ask for very much and read none of it for a while: it isn't cut off, as no
// request is read while more waits than limits.pause_reading_bytes, and an answer has room behind that.
func TestV2AnswersHaveRoom(t *testing.T) {
	const asks = 300
	s := serveLoopback(t, Options{})
	set := testSettings()
	set.Net.OutputBytes, set.Net.PauseBytes, set.Net.WriteTimeout = 64<<10, 16<<10, time.Hour
	set.Sessions.TTLDefault = time.Hour
	set.Sessions.AnswerBytes = 47 << 10
	s.Reload(set)
	c := s.talk(t, "/v2")
	require.NoError(t, c.say(helloV2))
	for id := range 200 {
		require.NoError(t, c.say(`{"op":"lock","id":%d,"resources":[{"type":"write","path":["a",%q]}],"note":"a note"}`, id+1, fmt.Sprint(strings.Repeat("long", 100), id)))
		_, err := c.hear(`"acquired"`)
		require.NoError(t, err)
	}
	sent := make(chan error)
	go func() {
		for id := range asks {
			op := []string{`"op":"inspect","limit":1000`, `"op":"watch"`, `"op":"inspect"`}[id%3]
			if id >= 100 {
				op = `"op":"inspect"`
			}
			if err := c.say(`{%s,"id":%d,"path":["a"]}`, op, id+1000); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for st := s.net.Stats(); st.Messages <= 201+4 && st.Overflows == 0; st = s.net.Stats() {
		runtime.Gosched() // some are answered, and it reads nothing
	}
	for id := range asks {
		text, err := c.hear(fmt.Sprintf(`{"id":%d,`, id+1000))
		require.NoError(t, err, "answer %d", id)
		require.Contains(t, text, `"next":"`)
		require.Greater(t, len(text), 20<<10)
		require.Less(t, len(text), 48<<10)
	}
	require.NoError(t, <-sent)
	require.Zero(t, s.net.Stats().Overflows)
}
