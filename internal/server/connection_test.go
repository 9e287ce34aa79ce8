package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

const (
	opWrite = iota
	opRead
	opRelease
	opDrop
	opDeliver
	opKinds
)

// Steps that only plugins make.
const (
	opRefused    = opKinds + iota // they don't let a request through
	opMovedWrite                  // they say that it means another path
	opMovedRead
	opExpire // the client's authentication ends
	opKindsJudged
)

// The step of an administrator: the client's lock is taken, or else one that was left behind.
const (
	opTake = opKindsJudged + iota
	opKindsAll
)

// Connections of version 1 against a model: every script of so many steps of so many clients of one
// namespace is played, with grants delivered early, late or never before the next step,
// connections lost at any point, and abandoned locks released.
func TestEveryShortScriptOfConnectionsFollowsTheModel(t *testing.T) {
	playEach(t, newFake(testSettings(), fence.Memory()), opKinds, 2, 5)
	playEach(t, newFake(testSettings(), fence.Memory()), opKinds, 3, 4)
}

// The same with plugins that refuse requests and say that paths mean others, and with clients whose
// time ends.
func TestEveryShortScriptOfJudgedSessionsFollowsTheModel(t *testing.T) {
	playEach(t, newScripted(), opKindsJudged, 2, 4)
	playEach(t, newScripted(), opKindsJudged, 3, 3)
}

// playEach plays every script of so many steps of so many clients.
func playEach(t *testing.T, n *fakeNet, kinds, clients, steps int) {
	played := 0
	eachScript(clients*kinds+1, make([]int, steps), 0, func(script []int) {
		played++
		playScript(t, n, clients, kinds, script)
	})
	t.Logf("%d clients, %d steps: %d scripts", clients, steps, played)
}

func TestRandomScriptsOfJudgedSessionsFollowTheModel(t *testing.T) {
	const clients = 4
	r, n := testseed.Rand(t), newScripted()
	for range 300 {
		script := make([]int, 100)
		for i := range script {
			script[i] = r.IntN(clients*opKindsJudged + 1)
		}
		playScript(t, n, clients, opKindsJudged, script)
	}
}

// The same without plugins, but with an administrator.
func TestEveryShortScriptWithAnAdministratorFollowsTheModel(t *testing.T) {
	for _, size := range []struct{ clients, steps int }{{2, 4}, {3, 3}} {
		n := newFake(testSettings(), fence.Memory())
		eachScript(size.clients*(opKinds+1)+1, make([]int, size.steps), 0, func(script []int) {
			playScript(t, n, size.clients, opKindsAll, administered(script, size.clients))
		})
	}
}

func TestRandomScriptsWithAnAdministratorFollowTheModel(t *testing.T) {
	const clients = 4
	r, n := testseed.Rand(t), newScripted()
	for range 300 {
		script := make([]int, 100)
		for i := range script {
			script[i] = r.IntN(clients*opKindsAll + 1)
		}
		playScript(t, n, clients, opKindsAll, script)
	}
}

// administered numbers a script's steps anew: those that only plugins make are left out of it.
func administered(script []int, clients int) []int {
	out := make([]int, len(script))
	for i, op := range script {
		c, op := op/(opKinds+1), op%(opKinds+1)
		if op == opKinds {
			op = opTake
		}
		out[i] = c*opKindsAll + op
		if c == clients {
			out[i] = clients * opKindsAll // what is abandoned is released
		}
	}
	return out
}

// newScripted is a server whose plugins do as a script says.
func newScripted() *fakeNet {
	j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) {
		return host.Identity{Authenticated: true, Principal: "p", TTL: time.Hour}, allowed
	}}
	return j.serve(testSettings())
}

// tomorrow is a time at which everything abandoned is due.
func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

// eachScript fills script from depth on with every sequence of ops. The highest op releases what is
// abandoned; twice in a row would be the same as once.
func eachScript(ops int, script []int, depth int, play func([]int)) {
	if depth == len(script) {
		play(script)
		return
	}
	for op := range ops {
		if op == ops-1 && depth > 0 && script[depth-1] == op {
			continue
		}
		script[depth] = op
		eachScript(ops, script, depth+1, play)
	}
}

// modelRequest is a request as the rules see it.
type modelRequest struct {
	id        uint64
	path      string // what the one that was sent means
	write     bool
	abandoned bool
	told      bool // acquired, and the client knows
	taken     bool // by an administrator, and the client doesn't know
	before    bool // it was acquired before it was taken
}

// modelClient is a client as it sees itself.
type modelClient struct {
	conn    *fakeConn
	request *modelRequest
}

type play struct {
	t       testing.TB
	script  []int
	kinds   int // of each client's steps
	n       *fakeNet
	clients []modelClient
	queue   []*modelRequest // alive, in order
	left    int             // locks whose abandon timeout is running
	lastID  uint64
}

// playScript plays one script. The server is the same for all: each leaves it empty, and the next
// one's ids go on where the last one's ended.
func playScript(t testing.TB, n *fakeNet, clients, kinds int, script []int) {
	p := &play{t: t, script: script, kinds: kinds, n: n, clients: make([]modelClient, clients), lastID: n.s.spaces.floor}
	for i := range p.clients {
		p.clients[i].conn = p.n.mustConnect(t, "namespace=n")
	}
	for _, op := range script {
		if op == clients*kinds {
			p.expire()
			continue
		}
		p.step(&p.clients[op/kinds], op%kinds)
	}
	p.finish()
}

func (p *play) step(c *modelClient, op int) {
	switch op {
	case opWrite, opRead:
		if c.request == nil {
			p.lock(c, op == opWrite, "a")
		}
	case opMovedWrite, opMovedRead:
		if c.request == nil {
			p.lock(c, op == opMovedWrite, "b")
		}
	case opRefused:
		if c.request == nil {
			p.refuse(c)
		}
	case opExpire:
		c.conn.w.Notify(c.conn, tokenExpired)
		p.expect(c, "communication error: "+errExpired.text)
		p.ended(c, codeFault)
	case opRelease:
		if c.request != nil {
			p.release(c)
		}
	case opDrop:
		p.drop(c)
	case opDeliver:
		p.n.deliver(c.conn.id)
		p.hear(c)
	case opTake:
		p.take(c)
	}
}

const whyTaken = "why not"

// take has an administrator release a client's lock, or one that was left behind.
func (p *play) take(c *modelClient) {
	r := c.request
	for i := 0; r == nil && i < len(p.queue); i++ {
		if p.queue[i].abandoned {
			r = p.queue[i]
		}
	}
	if r == nil {
		return
	}
	_, err := p.n.s.AdminRelease("n", "v1", r.id, whyTaken)
	if r.taken {
		require.ErrorIs(p.t, err, ErrNoLock, "%v", p.script)
		return
	}
	require.NoError(p.t, err, "%v", p.script)
	r.taken, r.before = true, p.acquired(r)
	p.forget(r)
}

// bereaved checks that a client was told that its lock was taken, and its connection closed.
func (p *play) bereaved(c *modelClient) {
	require.True(p.t, c.request != nil && c.request.taken, "%v: nobody has taken a lock", p.script)
	p.expect(c, "communication error: "+revoked(whyTaken).text)
	p.ended(c, codeFault)
}

// acquired is the rule: no earlier live request conflicts.
func (p *play) acquired(r *modelRequest) bool {
	for _, earlier := range p.queue {
		if earlier == r {
			return true
		}
		if earlier.path == r.path && (earlier.write || r.write) {
			return false
		}
	}
	panic("not alive")
}

func (p *play) lock(c *modelClient, write bool, path string) {
	p.judge(func(q *host.Request) host.Verdict {
		if path == "b" {
			q.Resources[0].Path = [][]byte{[]byte(path)}
		}
		return allowed
	})
	p.lastID++
	r := &modelRequest{id: p.lastID, write: write, path: path}
	p.queue = append(p.queue, r)
	c.request = r
	r.told = p.acquired(r)
	c.conn.say(map[bool]string{true: writeA, false: readA}[write])
	p.expect(c, answer(r.id, "lock", map[bool]string{true: "acquired", false: "enqueued"}[r.told]))
}

// judge has plugins answer the next request, if there are plugins.
func (p *play) judge(f func(*host.Request) host.Verdict) {
	if p.n.judge != nil {
		p.n.judge.request = f
	}
}

// refuse has plugins refuse a request, in each way in turn. It leaves no trace, and no id is drawn.
func (p *play) refuse(c *modelClient) {
	v := refusals[p.n.judge.requests%len(refusals)]
	p.judge(func(q *host.Request) host.Verdict {
		q.Resources[0].Path = nil // whatever was put there on the way
		return v.verdict
	})
	c.conn.say(writeA)
	p.expect(c, "communication error: "+v.text)
	p.ended(c, v.code)
}

// ended checks that the server has closed a connection, which is lost then.
func (p *play) ended(c *modelClient, code uint16) {
	if c.conn.closing != code {
		p.t.Fatalf("script %v: closed with %d, want %d", p.script, c.conn.closing, code)
	}
	p.drop(c)
}

func (p *play) release(c *modelClient) {
	if c.request.taken {
		c.conn.say(release)
		p.bereaved(c)
		return
	}
	var want []string
	if p.acquired(c.request) && !c.request.told {
		want = append(want, answer(c.request.id, "lock", "acquired"))
	}
	c.conn.say(release)
	p.expect(c, append(want, answer(c.request.id, "release", "ready"))...)
	p.forget(c.request)
	c.request = nil
}

func (p *play) drop(c *modelClient) {
	if r := c.request; r != nil && r.taken {
		// It is in nobody's way any more.
	} else if r != nil && r.told {
		r.abandoned = true
		p.left++
	} else if r != nil {
		p.forget(r)
	}
	c.request = nil
	c.conn.drop()
	c.conn = p.n.mustConnect(p.t, "namespace=n")
}

func (p *play) expire() {
	p.n.s.abandoned.handOver(tomorrow)
	p.left = 0
	for _, r := range append([]*modelRequest(nil), p.queue...) {
		if r.abandoned {
			p.forget(r)
		}
	}
}

func (p *play) forget(r *modelRequest) {
	for i := range p.queue {
		if p.queue[i] == r {
			p.queue = append(p.queue[:i:i], p.queue[i+1:]...)
			return
		}
	}
}

// hear takes what a delivered post led to: the grant of a request that is acquired, once.
func (p *play) hear(c *modelClient) {
	if len(c.conn.sent) == 0 {
		return
	}
	r := c.request
	if r != nil && r.taken && (r.told || !r.before || c.conn.closing == codeFault) {
		if !r.told && r.before && len(c.conn.sent) == 2 { // the grant was on its way
			require.Equal(p.t, answer(r.id, "lock", "acquired"), c.conn.sent[0], "%v", p.script)
			c.conn.sent = c.conn.sent[1:]
		}
		p.bereaved(c)
		return
	}
	require.True(p.t, r != nil && !r.told && (r.before || p.acquired(r)), "%v: a grant out of turn: %q", p.script, c.conn.sent)
	r.told = true
	p.expect(c, answer(r.id, "lock", "acquired"))
}

func (p *play) expect(c *modelClient, want ...string) {
	got := c.conn.heard()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Fatalf("script %v: heard %q, want %q", p.script, got, want)
	}
}

// finish delivers what is left: everyone must know exactly what the rule says. Then all leave, and
// nothing may be left of the namespace.
func (p *play) finish() {
	if got := p.n.s.abandoned.count(); got != p.left {
		p.t.Fatalf("script %v: %d locks are waited for, want %d", p.script, got, p.left)
	}
	p.n.deliver(0)
	for i := range p.clients {
		c := &p.clients[i]
		p.hear(c)
		if c.request != nil && c.request.told != p.acquired(c.request) {
			p.t.Fatalf("script %v: client %d was told %v of request %d", p.script, i, c.request.told, c.request.id)
		}
		c.conn.drop()
	}
	p.n.s.abandoned.handOver(tomorrow)
	if p.n.s.spaces.count() != 0 || p.n.s.connections.live != 0 || p.n.s.open.Load() != 0 || p.n.s.memory.Load() != 0 || len(p.n.s.abandoned.counts) != 0 || p.n.s.expiries.count() != 0 {
		p.t.Fatalf("script %v: something is left behind", p.script)
	}
	if p.n.s.spaces.floor != p.lastID {
		p.t.Fatalf("script %v: the next namespace would start at %d, not above %d", p.script, p.n.s.spaces.floor, p.lastID)
	}
}
