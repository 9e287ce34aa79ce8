package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws/wsutil"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

const (
	inspectA = `{"op":"inspect","id":%d,"path":["a"]}`
	watchA   = `{"op":"watch","id":%d,"path":["a"]}`
)

// TestV2InspectAndWatchSeeBothVersions has clients of both lock one path.
func TestV2InspectAndWatchSeeBothVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), nil)
		n.run()
		defer n.s.Close()
		watcher, c, old := n.connectV2(t), n.connectV2(t), n.mustConnect(t, "namespace=n&abandon-timeout-ms=1000")
		watcher.greet(t, helloV2)
		w := c.greet(t, `{"op":"hello","name":"worker"}`)
		watcher.say(fmt.Sprintf(watchA, 1))
		require.Equal(t, []string{`{"id":1,"state":"watching","locks":[]}`}, watcher.heard())
		old.say(writeA)
		pass(5 * time.Millisecond)
		c.say(lockV2(3, `,"note":"a note"`))
		n.deliver(0)
		resources := `"resources":[{"type":"write","path":["a"]}]`
		mine := func(more string) string {
			return fmt.Sprintf(`{"session":%q,"name":"worker","lock":3,"note":"a note",%s,%s}`, w.Session, more, resources)
		}
		require.Equal(t, []string{
			`{"watch":1,"n":1,"change":"acquired","locks":[{"session":"v1","lock":1,"token":"1","state":"acquired",` + resources + `}]}`,
			`{"watch":1,"n":2,"change":"enqueued","locks":[` + mine(`"state":"enqueued","since_ms":0`) + `]}`,
		}, watcher.heard())
		pass(5 * time.Millisecond)
		watcher.say(fmt.Sprintf(inspectA, 2))
		require.Equal(t, []string{
			`{"id":2,"state":"inspected","locks":[{"session":"v1","lock":1,"token":"1","state":"acquired",` + resources + `},` +
				strings.TrimSuffix(mine(`"state":"enqueued","since_ms":5`), "}") +
				`,"waits_for":[{"session":"v1","lock":1,"type":"write","path":["a"],"state":"acquired"}]}]}`,
		}, watcher.heard())
		old.drop()
		pass(999 * time.Millisecond)
		n.deliver(0)
		require.Empty(t, watcher.heard())
		pass(2 * time.Millisecond)
		n.deliver(0)
		require.Equal(t, []string{
			`{"watch":1,"n":3,"change":"ended","locks":[{"session":"v1","lock":1,"token":"1","state":"released",` + resources + `}]}`,
			`{"watch":1,"n":4,"change":"acquired","locks":[` + mine(`"token":"2","state":"acquired","since_ms":0`) + `]}`,
		}, watcher.heard())
		pass(20 * time.Second)
		n.deliver(0)
		require.Contains(t, strings.Join(watcher.heard(), " "), `"expired"`, "its own session, which was silent")
	})
}

// TestV2WatchersAreToldOnTheirOwnCalls also where the change is theirs.
func TestV2WatchersAreToldOnTheirOwnCalls(t *testing.T) {
	n := newFake(testSettings(), nil)
	c := n.connectV2(t)
	c.greet(t, helloV2)
	c.say(fmt.Sprintf(watchA, 1))
	c.heard()
	c.say(lockV2(2, ""))
	said := c.heard()
	require.Len(t, said, 2)
	require.Equal(t, `{"id":2,"state":"acquired","token":"1"}`, said[0])
	require.Contains(t, said[1], `{"watch":1,"n":1,"change":"acquired","locks":[`)
	require.Zero(t, n.waiting())
	c.say(`{"op":"unwatch","id":3,"watch":1}`)
	require.Equal(t, []string{`{"id":3,"state":"unwatched"}`}, c.heard())
	c.say(`{"op":"release","id":4,"lock":2}`)
	require.Len(t, c.heard(), 1)
}

func TestV2WatchesEndWithTheirConnection(t *testing.T) {
	n := newFake(testSettings(), nil)
	watcher, c := n.connectV2(t), n.connectV2(t)
	w := watcher.greet(t, helloV2)
	c.greet(t, helloV2)
	watcher.say(fmt.Sprintf(watchA, 1))
	again := n.connectV2(t)
	again.greet(t, w.resume(0))
	c.say(lockV2(1, ""))
	n.deliver(0)
	require.Contains(t, watcher.heard()[1], "taken_over")
	require.Empty(t, again.heard())
	again.say(fmt.Sprintf(watchA, 1))
	require.Contains(t, again.heard()[0], `{"id":1,"state":"watching","locks":[{`, "sent again it begins anew")
	c.say(`{"op":"bye","id":2}`)
	n.deliver(0)
	require.Contains(t, again.heard()[0], `{"watch":1,"n":1,"change":"ended"`)
	require.Empty(t, watcher.heard())
}

func TestV2WatchesNeedMemory(t *testing.T) {
	set := testSettings()
	n := newFake(set, nil)
	c := n.connectV2(t)
	c.greet(t, helloV2)
	set.MemoryBytes = 1
	n.s.Reload(set)
	c.say(fmt.Sprintf(watchA, 1))
	require.Contains(t, c.heard()[0], `{"id":1,"error":"try_later","message":"the requests of all namespaces`)
	c.say(fmt.Sprintf(inspectA, 2))
	require.Contains(t, c.heard()[0], "inspected")
}

// TestOneGoroutineDoesWhatIsLeftOver however many calls leave something over.
func TestOneGoroutineDoesWhatIsLeftOver(t *testing.T) {
	n := newFake(testSettings(), nil)
	c := n.connectV2(t)
	c.greet(t, helloV2)
	ns, users := n.s.spaces.find("n")
	ns.advancing = true
	for range 3 {
		ns.mu.Lock()
		n.s.finish(ns, &session.Effects{More: true})
	}
	_, now := n.s.spaces.find("n")
	require.Equal(t, users+1, now, "none was begun")
	n.s.advance(ns)
	require.False(t, ns.advancing)
	ns.mu.Lock()
	n.s.finish(ns, &session.Effects{More: true})
	n.s.work.Wait()
	require.False(t, ns.advancing)
}

// TestV2ClientsHaveTheirTurn has one connection to be told very much: it is told that in several calls.
func TestV2ClientsHaveTheirTurn(t *testing.T) {
	const many = 3 * 1024 * roundsMax
	n := newFake(testSettings(), nil)
	c := n.connectV2(t)
	w := c.greet(t, helloV2)
	for id := range many {
		c.say(fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"read","path":["a"]}]}`, id+1))
	}
	c.heard()
	_, err := n.s.AdminEnd("n", w.Session, "enough")
	require.NoError(t, err)
	n.s.work.Wait()
	told, calls := 0, 0
	for ; n.waiting() > 0; calls++ {
		n.deliver(0)
		said := c.heard()
		require.LessOrEqual(t, len(said), 1024*(roundsMax+1)+1)
		told += len(said)
	}
	require.Equal(t, many+1, told)
	require.Equal(t, 3, calls)
	require.NotZero(t, c.closing)
}

// TestOneOutcomeLetsClientsLook asks twice: a retry of what was denied is denied.
func TestOneOutcomeLetsClientsLook(t *testing.T) {
	var verdict host.Verdict
	ops := map[string]host.Operation{inspectA: host.Inspect, watchA: host.Watch}
	for ask, op := range ops {
		j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
			if q.Operation == host.Lock {
				return allowed
			}
			require.Equal(t, op, q.Operation)
			require.Len(t, q.Resources, 1)
			require.Equal(t, host.Read, q.Resources[0].Mode)
			return verdict
		}}
		n := j.serve(settingsV2())
		holder := n.connectV2(t)
		holder.say(helloV2)
		holder.say(writeV2)
		eachVerdict(func(v host.Verdict) {
			verdict = v
			c := n.connectV2(t)
			c.say(helloV2)
			c.heard()
			for range 2 {
				c.say(fmt.Sprintf(ask, 1))
				said := strings.Join(c.heard(), "\n")
				require.Equal(t, v.Outcome == host.Allowed, strings.Contains(said, `"session"`), "%+v: %s", v, said)
				require.Equal(t, v.Outcome != host.Allowed, isRefusal(said), "%+v: %s", v, said)
				require.Equal(t, v.Outcome == host.Failed, strings.Contains(said, `"try_later"`), "%+v: %s", v, said)
			}
			c.say(`{"op":"bye","id":2}`)
			c.drop()
		})
	}
}

// TestClientsLookAtWhatPathsMean: plugins put another path in the place of the one that is asked for.
func TestClientsLookAtWhatPathsMean(t *testing.T) {
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		for i := range q.Resources {
			for k, seg := range q.Resources[i].Path {
				q.Resources[i].Path[k] = []byte(strings.ToLower(string(seg)))
			}
		}
		return allowed
	}}
	n := j.serve(settingsV2())
	c := n.connectV2(t)
	c.greet(t, helloV2)
	c.say(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`)
	c.say(`{"op":"inspect","id":2,"path":["A"]}`)
	c.say(`{"op":"watch","id":3,"path":["A"]}`)
	c.say(`{"op":"release","id":4,"lock":1}`)
	said := c.heard()
	require.Len(t, said, 5)
	require.Contains(t, said[1], `"path":["a"]`)
	require.Contains(t, said[2], `"path":["a"]`)
	require.Contains(t, said[4], `"change":"ended"`)
}

// TestV2SlowWatchersHurtOnlyThemselves has one that doesn't read, one that does, and a client that locks.
func TestV2SlowWatchersHurtOnlyThemselves(t *testing.T) {
	s := serveLoopback(t, Options{})
	set := testSettings()
	set.Net.OutputBytes, set.Net.PauseBytes, set.Net.WriteTimeout = 64<<10, 16<<10, time.Hour
	set.Sessions.TTLDefault = time.Hour
	s.Reload(set)
	slow, quick, c := dialRawV2(t, s), dialRawV2(t, s), dialRawV2(t, s)
	for _, w := range []*rawClient{slow, quick} {
		w.send(clientFrame(`{"op":"watch","id":1,"path":["a"]}`))
		w.expect(`"locks":[]}`)
	}
	told := make(chan uint64)
	go followWatch(quick.conn, told)
	var resources []string
	for k := range 20 {
		resources = append(resources, fmt.Sprintf(`{"type":"write","path":["a","%d%s"]}`, k, strings.Repeat("x", 1000)))
	}
	long, id := strings.Join(resources, ","), uint64(0)
	for s.net.Stats().Overflows == 0 {
		id++
		c.send(clientFrame(fmt.Sprintf(`{"op":"lock","id":%d,"resources":[%s]}`, id, long)))
		c.expect(`"}`)
		require.Equal(t, id, <-told) // or it might be slow as well, on a busy machine
		id++
		c.send(clientFrame(fmt.Sprintf(`{"op":"release","id":%d,"lock":%d}`, id, id-1)))
		c.expect(`"released"}`)
		require.Equal(t, id, <-told)
		require.Less(t, id, uint64(100_000), "the one that doesn't read is cut off some time")
	}
	c.send(clientFrame(fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"write","path":["a"]}],"note":"the last one"}`, id+1)))
	c.expect(`"}`)
	require.Equal(t, id+1, <-told, "the one that reads is told all")
}

// followWatch reads changes until the last one, and says with each how many there were; 0: something was wrong.
func followWatch(conn net.Conn, told chan<- uint64) {
	n := uint64(0)
	r := bufio.NewReader(conn)
	for {
		text, err := wsutil.ReadServerText(struct {
			io.Reader
			io.Writer
		}{r, conn})
		var m struct {
			Watch, N uint64
			Change   string
		}
		n++
		if err != nil || json.Unmarshal(text, &m) != nil || m.Watch != 1 || m.N != n {
			told <- 0
			return
		}
		told <- n
		if bytes.Contains(text, []byte("the last one")) {
			return
		}
	}
}
