package server

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// TestOthersAreShownToThoseWhoMayInspectThem: names, notes and paths of who is in the way are not for everybody.
func TestOthersAreShownToThoseWhoMayInspectThem(t *testing.T) {
	secret := func(q *host.Request) bool {
		for _, r := range q.Resources {
			if len(r.Path) > 1 && string(r.Path[1]) == "secret" {
				return true
			}
		}
		return false
	}
	verdict := allowed
	var asked []host.Operation
	rewrite := false
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		asked = append(asked, q.Operation)
		switch {
		case q.Operation == host.Inspect && rewrite:
			q.Resources[0].Path = [][]byte{[]byte("elsewhere")}
			return allowed
		case q.Operation == host.Inspect && secret(q):
			return verdict
		}
		return allowed
	}}
	n := j.serve(testSettings())
	a, b := n.connectV2(t), n.connectV2(t)
	a.greet(t, `{"op":"hello","name":"worker-7"}`)
	b.greet(t, helloV2)
	id := 0
	ask := func() []string {
		id++
		asked = nil
		b.say(fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"write","path":["a"]}],"wait_ms":0}`, id))
		return b.heard()
	}
	const public = `{"session":"worker-7","lock":1,"note":"deploy","type":"read","path":["a"],"state":"acquired","since_ms":0}`
	const hidden = `{"session":"worker-7","lock":2,"type":"read","path":["a","secret"],"state":"acquired","since_ms":0}`
	a.say(`{"op":"lock","id":1,"resources":[{"type":"read","path":["a"]}],"note":"deploy"}`)
	require.Contains(t, a.heard()[0], "acquired")
	require.Equal(t, []string{`{"id":1,"state":"unavailable","blockers":[` + public + `]}`}, sinceZero(ask()))
	require.Equal(t, []host.Operation{host.Lock, host.Inspect}, asked)
	a.say(`{"op":"lock","id":2,"resources":[{"type":"read","path":["a","secret"]}]}`)
	require.Contains(t, a.heard()[0], "acquired")
	require.Equal(t, []string{`{"id":2,"state":"unavailable","blockers":[` + public + `,` + hidden + `]}`}, sinceZero(ask()))
	require.Equal(t, []host.Operation{host.Lock, host.Inspect}, asked, "all are asked about at once")
	for _, verdict = range []host.Verdict{{}, {Outcome: host.Denied}, {Outcome: host.Failed}, {Outcome: host.TooLong}} {
		require.Equal(t, []string{fmt.Sprintf(`{"id":%d,"state":"unavailable","blockers":[%s]}`, id+1, public)}, sinceZero(ask()), "%v", verdict)
		require.Equal(t, []host.Operation{host.Lock, host.Inspect, host.Inspect, host.Inspect}, asked)
	}
	a.say(`{"op":"release","id":3,"lock":1}`)
	require.Equal(t, []string{fmt.Sprintf(`{"id":%d,"state":"unavailable","blockers":[]}`, id+1)}, ask())
	require.Equal(t, []host.Operation{host.Lock, host.Inspect}, asked)
	verdict, rewrite = allowed, true
	require.Equal(t, []string{fmt.Sprintf(`{"id":%d,"state":"unavailable","blockers":[]}`, id+1)}, ask(), "whose path this is now nobody knows")
}

// sinceZero puts 0 for all times.
func sinceZero(said []string) []string {
	for i := range said {
		for {
			at := strings.Index(said[i], `"since_ms":`)
			if at < 0 {
				break
			}
			end := at + strings.IndexAny(said[i][at:], "},")
			said[i] = said[i][:at] + `"since":0` + said[i][end:]
		}
		said[i] = strings.ReplaceAll(said[i], `"since":0`, `"since_ms":0`)
	}
	return said
}

// TestNothingIsAskedWhileARequestIsStillToBeDone: plugins hold its paths, which the next question would overwrite.
func TestNothingIsAskedWhileARequestIsStillToBeDone(t *testing.T) {
	j := &fakeJudge{active: true}
	n := j.serve(testSettings())
	c := n.connectV2(t)
	c.greet(t, helloV2)
	conn := c.w.connection(c)
	list := []wire.V2Blocker{{Session: []byte("s"), Path: [][]byte{[]byte("a")}}}
	require.Len(t, c.w.shown(conn, list), 1)
	require.Equal(t, 1, j.requests)
	c.w.effects.Undone = true
	require.Empty(t, c.w.shown(conn, list))
	require.Equal(t, 1, j.requests)
	c.w.effects.Undone, conn.client = false, nil
	require.Empty(t, c.w.shown(conn, list), "nobody knows who this is")
	require.Equal(t, 1, j.requests)
}

// TestRequestsAreLoggedWithTheirOwnPaths, and not with those that plugins were asked about for the answer.
func TestRequestsAreLoggedWithTheirOwnPaths(t *testing.T) {
	var log strings.Builder
	set := testSettings()
	set.LogLocks = true
	j := &fakeJudge{active: true}
	n := j.serveOf(Options{Settings: set, Log: slog.New(slog.NewTextHandler(&log, nil))})
	c := n.connectV2(t)
	c.greet(t, helloV2)
	c.say(`{"op":"lock","id":1,"resources":[{"type":"read","path":["mine","below"]}]}`)
	log.Reset()
	c.say(`{"op":"lock","id":2,"resources":[{"type":"write","path":["mine"]}],"wait_ms":0}`)
	require.Equal(t, 3, j.requests)
	require.Contains(t, log.String(), "mine")
	require.NotContains(t, log.String(), "below")
}
