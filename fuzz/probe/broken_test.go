package probe

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// toy is a small lock server, obviously right until a flaw makes it wrong: that is what a probe must find.
type toy struct {
	flaw string
	net  *wsnet.Server

	mu     sync.Mutex // guards what follows
	spaces map[string][]*toyRequest
	conns  map[wsnet.ConnID]*toyConn
	last   uint64
	grants int
}

type toyConn struct {
	space   string
	abandon time.Duration
	request *toyRequest // alive
}

type toyRequest struct {
	id        uint64
	owner     wsnet.ConnID
	resources []oracle.Resource
	granted   bool
	told      bool
}

// startToy serves on loopback until the test ends.
func startToy(t *testing.T, flaw string) Target {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	y := &toy{flaw: flaw, spaces: map[string][]*toyRequest{}, conns: map[wsnet.ConnID]*toyConn{}}
	s, err := wsnet.Serve(ln, wsnet.Options{NewHandler: func() wsnet.Handler { return y }, Ready: func(n *wsnet.Server) { y.net = n }, Loops: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return Target{URL: &url.URL{Scheme: "ws", Host: ln.Addr().String(), Path: "/v1"}}
}

func (y *toy) Open(c wsnet.Conn, r *wsnet.Request) *wsnet.Refusal {
	q, err := url.ParseQuery(r.RawQuery)
	ms, errMS := strconv.ParseUint(q.Get("abandon-timeout-ms"), 10, 31)
	space := q.Get("namespace")
	if bad := err != nil || errMS != nil || space == "" || strings.Contains(space, "\n") || !utf8.ValidString(space) || r.Path != "/v1"; bad && y.flaw != "upgrades anything" {
		return &wsnet.Refusal{Status: 400, Body: "no"}
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.conns[c.ID()] = &toyConn{space: space, abandon: time.Duration(ms) * time.Millisecond}
	return nil
}

func (y *toy) Message(c wsnet.Conn, msg []byte) {
	y.mu.Lock()
	defer y.mu.Unlock()
	t := y.conns[c.ID()]
	m, err := meaningOf(string(msg))
	switch {
	case err == nil && m.action == wire.V1Lock && (t.request == nil || y.flaw == "forgets what a connection has"):
		y.lock(c, t, m.resources)
	case err == nil && m.action == wire.V1Release && t.request != nil:
		y.release(c, t)
	case y.flaw == "ignores faults":
	default:
		y.fault(c, t)
	}
}

func (y *toy) fault(c wsnet.Conn, t *toyConn) {
	if y.flaw != "says nothing to faults" {
		c.Send([]byte("communication error: that is no request here"))
	}
	code := uint16(3000)
	if y.flaw == "closes with another code" {
		code = 1002
	}
	c.Close(code, "")
	for id := range y.conns {
		if id != c.ID() && y.flaw == "blames somebody else" {
			y.net.Post(id, tokenBlame)
		}
	}
	y.leave(t)
}

// tokenBlame is a token that closes its connection.
const tokenBlame = 1 << 62

func (y *toy) lock(c wsnet.Conn, t *toyConn, rs []oracle.Resource) {
	y.last++
	switch {
	case y.flaw == "gives the same id again" && y.last%7 == 0:
		y.last--
	case y.flaw == "gives ids that go back" && y.last%7 == 0:
		y.last -= 3
	}
	r := &toyRequest{id: y.last, owner: c.ID(), resources: rs}
	t.request = r
	y.spaces[t.space] = append(y.spaces[t.space], r)
	state := "enqueued"
	if y.mayHold(t.space, r) && y.flaw != "lets everybody wait" {
		r.granted, r.told, state = true, true, "acquired"
	}
	y.answer(c, r.id, "lock", state)
	if y.flaw == "lets everybody wait" {
		y.promote(t.space)
	}
}

func (y *toy) release(c wsnet.Conn, t *toyConn) {
	r := t.request
	if y.flaw == "is silent when it releases" && r.id%5 == 0 {
		return
	}
	if r.granted && !r.told && y.flaw != "tells of what was released" {
		y.answer(c, r.id, "lock", "acquired")
	}
	y.answer(c, r.id, "release", "ready")
	t.request = nil
	y.forget(t.space, r)
}

func (y *toy) answer(c wsnet.Conn, id uint64, action, state string) {
	text := answer{id, action, state}.String()
	switch y.flaw {
	case "says more than it may":
		text = strings.TrimSuffix(text, "}") + `,"by":"me"}`
	case "answers with another id":
		if action == "release" {
			text = answer{id + 1, action, state}.String()
		}
	case "writes ids as numbers":
		text = fmt.Sprintf(`{"id":%d,"action":%q,"state":%q}`, id, action, state)
	}
	c.Send([]byte(text))
}

// mayHold is the rule, or what a flaw makes of it.
func (y *toy) mayHold(space string, r *toyRequest) bool {
	for _, q := range y.spaces[space] {
		if q == r && y.flaw != "lets the last one overtake" {
			return true
		}
		blocks := q != r && oracle.Conflict(q.resources, r.resources)
		switch y.flaw {
		case "lets readers overtake writers":
			blocks = blocks && (q.granted || slices.ContainsFunc(r.resources, func(x oracle.Resource) bool { return x.Write }))
		case "lets the last one overtake":
			blocks = blocks && q.granted
		case "knows no trees":
			blocks = blocks && slices.ContainsFunc(q.resources, func(a oracle.Resource) bool {
				return slices.ContainsFunc(r.resources, func(b oracle.Resource) bool { return slices.Equal(a.Path, b.Path) })
			})
		case "looks at first resources only":
			blocks = blocks && oracle.Conflict(q.resources[:1], r.resources[:1])
		case "grants twice as much":
			blocks = blocks && q.id%5 != 0
		}
		if blocks {
			return false
		}
	}
	return true
}

// promote grants what may be granted now.
func (y *toy) promote(space string) {
	queue := slices.Clone(y.spaces[space])
	if y.flaw == "lets the last one overtake" {
		slices.Reverse(queue)
	}
	for _, r := range queue {
		if r.granted || !y.mayHold(space, r) {
			continue
		}
		r.granted = true
		if y.grants++; y.flaw == "drops a grant" && y.grants%3 == 0 {
			continue
		}
		owner := r.owner
		if y.flaw == "tells somebody else" && y.grants%3 == 0 {
			for id := range y.conns {
				owner = cmp.Or(owner, id)
				if id != r.owner && y.conns[id].space == space {
					owner = id
				}
			}
		}
		y.net.Post(owner, r.id)
	}
}

func (y *toy) forget(space string, r *toyRequest) {
	y.spaces[space] = slices.DeleteFunc(y.spaces[space], func(q *toyRequest) bool { return q == r })
	y.promote(space)
}

func (y *toy) Notify(c wsnet.Conn, token uint64) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if token == tokenBlame {
		c.Close(1001, "")
		y.leave(y.conns[c.ID()])
		return
	}
	r := y.conns[c.ID()].request
	if (y.flaw == "tells somebody else" || y.flaw == "tells of what was released") && (r == nil || r.id != token) {
		y.answer(c, token, "lock", "acquired")
		return
	}
	if r == nil || r.id != token || r.told {
		return
	}
	r.told = true
	y.answer(c, token, "lock", "acquired")
	if y.flaw == "tells twice" {
		y.answer(c, token, "lock", "acquired")
	}
}

func (y *toy) Closed(c wsnet.Conn, _ wsnet.Reason) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.leave(y.conns[c.ID()])
	delete(y.conns, c.ID())
}

// leave is what becomes of a lost connection's request.
func (y *toy) leave(t *toyConn) {
	r := t.request
	t.request = nil
	switch {
	case r == nil:
	case !r.told && y.flaw == "keeps who waited and has gone", r.told && y.flaw == "keeps what was abandoned":
	case !r.told, y.flaw == "forgets the abandon timeout":
		y.forget(t.space, r)
	default:
		time.AfterFunc(t.abandon, func() {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.forget(t.space, r)
		})
	}
}

// flaws are what can be wrong with a server, and what a finding must say.
var flaws = map[string]string{
	"grants twice as much":          `is before it`,
	"lets the last one overtake":    `is before it|nothing is before|overtook|and gets|waits for an answer`,
	"lets readers overtake writers": `is before it|overtook|at once`,
	"knows no trees":                `is before it`,
	"looks at first resources only": `is before it|before the abandon timeout of`,
	"drops a grant":                 `should know .*nothing came`,
	"tells twice":                   `is .*"acquired"}|gets .*"acquired"}`,
	"tells of what was released":    `"acquired"}|and gets`,
	"tells somebody else":           `"acquired"}|nothing came`,
	"lets everybody wait":           `must wait .* and nothing is before it`,
	"gives the same id again":       `got id \d+, after \d+ was given`,
	"gives ids that go back":        `got id \d+, after \d+ was given`,
	"answers with another id":       `the answer is .*"release","state":"ready"}, not`,
	"writes ids as numbers":         `is no answer of protocol v1`,
	"says more than it may":         `is no answer of protocol v1`,
	"is silent when it releases":    `nothing came`,
	"forgets what a connection has": `broke the protocol; the answer is`,
	"ignores faults":                `broke the protocol`,
	"says nothing to faults":        `waits to be told so: closed with code 3000`,
	"closes with another code":      `must be closed with code \[3000\]: closed with code 1002`,
	"blames somebody else":          `closed with code 1001`,
	"forgets the abandon timeout":   `before the abandon timeout of`,
	"keeps who waited and has gone": `nothing came`,
	"keeps what was abandoned":      `nothing came`,
	"upgrades anything":             `the answer is 101`,
}

func TestASoundServerHasNoFindings(t *testing.T) {
	target := startToy(t, "")
	rep, err := Run(t.Context(), Options{Target: target, Seed: 1, Rounds: 60, Time: time.Hour})
	require.NoError(t, err)
	require.Empty(t, rep.Findings)
	require.Equal(t, 60, rep.Rounds)
}

func TestEachFlawIsFound(t *testing.T) {
	for flaw, want := range flaws {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			target := startToy(t, flaw)
			rep, err := Run(t.Context(), Options{Target: target, Seed: 1, Rounds: 300, Time: time.Hour, Patience: time.Second})
			if err != nil { // the very first look was enough
				require.Regexp(t, want, err.Error())
				return
			}
			require.NotEmpty(t, rep.Findings, "%d rounds", rep.Rounds)
			f := rep.Findings[0]
			require.Regexp(t, want, f.Err.Error())
			t.Logf("round %d, %d steps: %v", f.Round, len(f.Script), f.Err)
		})
	}
}
