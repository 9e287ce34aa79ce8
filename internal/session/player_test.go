package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// player plays scripts on a twin: clients that lock, lose connections, resume, retry and die.
type player struct {
	*twin
	clients []*client
}

// client is one that knows its session, and sends what wasn't answered again.
type client struct {
	c      *conn
	secret string
	sent   []Request
}

func newPlayer(t require.TestingT) *player { return &player{twin: newTwin(t, testLimits)} }

func (p *player) client(k int) *client {
	for len(p.clients) <= k {
		c := p.open(wire.V2None)
		p.clients = append(p.clients, &client{c: c, secret: c.model.secrets[0]})
	}
	return p.clients[k]
}

// ask sends a request.
func (p *player) ask(k int, r Request) {
	c := p.client(k)
	if c.c.gone {
		return
	}
	c.sent = append(c.sent, r)
	p.do(c.c, r)
}

// again sends its nth request from the last again.
func (p *player) again(k, back int) {
	c := p.client(k)
	if c.c.gone || len(c.sent) <= back {
		return
	}
	p.do(c.c, c.sent[len(c.sent)-1-back])
}

// alive is the id of the nth lock of a client, or of one that it hasn't.
func (p *player) alive(k, n int) uint64 {
	c := p.client(k)
	if c.c.model == nil || len(c.c.model.alive) == 0 {
		return uint64(n + 1)
	}
	return c.c.model.alive[n%len(c.c.model.alive)].id
}

func (p *player) resume(k int) {
	c := p.client(k)
	fresh := p.twin.resume(c.c, c.secret, fmt.Sprintf("secret-%d", len(p.conns)))
	if fresh.gone {
		return
	}
	c.c, c.secret = fresh, fresh.model.secrets[0]
}

// lostWelcome is a resume whose answer is lost: the client comes again with the secret that it has.
func (p *player) lostWelcome(k int) {
	c := p.client(k)
	fresh := p.twin.resume(c.c, c.secret, fmt.Sprintf("lost-%d", len(p.conns)))
	if fresh.gone {
		return
	}
	event := c.c.event
	c.c = fresh
	fresh.event = event // it has seen nothing of what came
}

func (p *player) lose(k int) {
	if c := p.client(k); !c.c.gone {
		p.detach(c.c)
	}
}

func (p *player) stranger(rs ...engine.Resource) {
	for owner, h := range p.foreign {
		p.releaseForeign(owner, h)
		return
	}
	p.lockForeign(uint64(len(p.script)+1), rs)
}

func with(r Request, change func(*Request)) Request {
	change(&r)
	return r
}

// steps are what short scripts are made of.
var steps = map[string]func(p *player){
	"a locks": func(p *player) { p.ask(0, lockRequest(p.client(0).c.nextID, write("x"))) },
	"b locks": func(p *player) { p.ask(1, lockRequest(p.client(1).c.nextID, write("x"))) },
	"b reads": func(p *player) {
		p.ask(1, with(lockRequest(p.client(1).c.nextID, read("x", "y")), func(r *Request) { r.WaitMS, r.LeaseMS = 400, 300 }))
	},
	"b leaves": func(p *player) {
		p.ask(1, with(lockRequest(p.client(1).c.nextID, write("x")), func(r *Request) { r.Leave = true }))
	},
	"a leases": func(p *player) {
		p.ask(0, with(lockRequest(p.client(0).c.nextID, write("x")), func(r *Request) { r.WaitMS, r.LeaseMS = 0, 400 }))
	},
	"a releases": func(p *player) { p.ask(0, request(wire.V2Release, p.client(0).c.nextID, p.alive(0, 0))) },
	"b releases": func(p *player) { p.ask(1, request(wire.V2Release, p.client(1).c.nextID, p.alive(1, 0))) },
	"a renews":   func(p *player) { p.ask(0, request(wire.V2Renew, p.client(0).c.nextID, p.alive(0, 0))) },
	"a upgrades": func(p *player) { p.ask(0, request(wire.V2Upgrade, p.client(0).c.nextID, p.alive(0, 0))) },
	"b upgrades": func(p *player) {
		p.ask(1, with(request(wire.V2Upgrade, p.client(1).c.nextID, p.alive(1, 0)), func(r *Request) { r.WaitMS = 400 }))
	},
	"a downgrades": func(p *player) { p.ask(0, request(wire.V2Downgrade, p.client(0).c.nextID, p.alive(0, 0))) },
	"a reads":      func(p *player) { p.ask(0, lockRequest(p.client(0).c.nextID, read("x"))) },
	"a again":      func(p *player) { p.again(0, 0) },
	"b again":      func(p *player) { p.again(1, 0) },
	"b loses":      func(p *player) { p.lose(1) },
	"b resumes":    func(p *player) { p.resume(1) },
	"b's welcome":  func(p *player) { p.lostWelcome(1) },
	"a resumes":    func(p *player) { p.resume(0) },
	"b is taken":   func(p *player) { p.revoke(p.client(1).c, p.alive(1, 0)) },
	"a is ended":   func(p *player) { p.endSession(p.client(0).c) },
	"a says bye":   func(p *player) { p.ask(0, request(wire.V2Bye, p.client(0).c.nextID, 0)) },
	"b watches":    func(p *player) { p.ask(1, looking(wire.V2Watch, p.client(1).c.nextID, path("x"))) },
	"some time":    func(p *player) { p.pass(400) },
	"a session's":  func(p *player) { p.pass(1000) },
	"stranger":     func(p *player) { p.stranger(read()) },
}

// core are the steps that longer scripts are made of.
var core = []string{
	"a leases", "a reads", "a releases", "a upgrades", "a resumes", "b locks", "b leaves", "b reads", "b upgrades",
	"b again", "b loses", "b resumes", "some time", "a session's",
}

// TestEveryShortScript plays all scripts of three steps, and of four out of some.
func TestEveryShortScript(t *testing.T) {
	playAll(t, slices.Sorted(maps.Keys(steps)), 3)
	if !testing.Short() {
		playAll(t, core, 4)
	}
}

func playAll(t *testing.T, names []string, length int) {
	count := 0
	script := make([]string, length)
	var play func(n int)
	play = func(n int) {
		if n < length {
			for _, name := range names {
				script[n] = name
				play(n + 1)
			}
			return
		}
		count++
		p := newPlayer(t)
		p.client(0)
		p.client(1)
		for _, name := range script {
			steps[name](p)
		}
		p.end()
	}
	play(0)
	t.Logf("%d scripts of %d steps", count, length)
}

// randomStep does one of many more things.
func (p *player) randomStep(r *rand.Rand) {
	k := r.IntN(3)
	c := p.client(k)
	if c.c.session != nil && c.c.session.state != living && r.IntN(3) == 0 {
		p.clients[k] = &client{c: p.open(int64(r.IntN(1500) - 1))}
		return
	}
	id := c.c.nextID
	switch n := r.IntN(116); {
	case n < 35:
		p.ask(k, p.randomLock(r, id+uint64(r.IntN(2))))
	case n < 55:
		p.ask(k, request(wire.V2Release, id, p.alive(k, r.IntN(5))))
	case n < 62:
		q := request(wire.V2Renew, id, p.alive(k, r.IntN(5))*uint64(r.IntN(3)))
		if q.Lock != 0 && r.IntN(2) == 0 {
			q.LeaseMS = int64(r.IntN(300))
		}
		p.ask(k, q)
	case n < 64:
		p.ask(k, request(wire.V2Locks, id, 0))
	case n < 65:
		p.ask(k, request(wire.V2Bye, id, 0))
	case n < 74:
		p.randomUpgrade(r, k)
	case n < 80:
		p.again(k, r.IntN(9))
	case n < 84:
		p.lose(k)
	case n < 88:
		if r.IntN(2) == 0 {
			p.lose(k)
		}
		p.resume(k)
	case n < 89:
		p.lostWelcome(k)
	case n < 90:
		p.twin.resume(c.c, "a guess", "another")
	case n < 93:
		p.stranger(p.randomResource(r))
	case n < 97:
		p.pass(int64(r.IntN(1 << r.IntN(11))))
	case n < 100:
		p.passAtOnce(int64(r.IntN(1 << r.IntN(11))))
	case n < 112:
		p.randomLook(r, k)
	case n < 115:
		p.revoke(c.c, p.alive(k, r.IntN(5)))
	default:
		p.endSession(c.c)
	}
}

func (p *player) randomUpgrade(r *rand.Rand, k int) {
	q := request(wire.V2Upgrade, p.client(k).c.nextID, p.alive(k, r.IntN(5)))
	if r.IntN(3) == 0 {
		q.WaitMS = int64(r.IntN(300) * r.IntN(2))
	}
	if r.IntN(3) == 0 {
		q.Op, q.WaitMS = wire.V2Downgrade, wire.V2None
		if l := p.client(k).c.model.lock(q.Lock); l != nil {
			q.Upgrade = l.upgrade * uint64(r.IntN(2))
		}
	}
	p.ask(k, q)
}

func (p *player) randomLock(r *rand.Rand, id uint64) Request {
	q := lockRequest(id, p.randomResource(r))
	for r.IntN(3) == 0 {
		q.Wanted = append(q.Wanted, p.randomResource(r))
	}
	if r.IntN(2) == 0 {
		q.WaitMS = int64(r.IntN(300) * r.IntN(4))
	}
	if r.IntN(2) == 0 {
		q.LeaseMS = int64(5 + r.IntN(300))
	}
	if r.IntN(3) == 0 {
		q.Party = uint64(r.IntN(3))
	}
	q.Leave = r.IntN(4) == 0
	q.Note = []byte("a note of more than one block that is more than sixty bytes long, you see")[:r.IntN(11)]
	return q
}

func (p *player) randomResource(r *rand.Rand) engine.Resource {
	x := engine.Resource{Mode: engine.Mode(r.IntN(3)), Path: path("a", "b", "a")[:r.IntN(4)]}
	if r.IntN(2) == 0 {
		x.Path = path("c", "d")[:r.IntN(3)]
	}
	if x.Mode == engine.Permit {
		x.Limit, x.Weight = 3, uint32(r.IntN(3)+1)
		if r.IntN(20) == 0 {
			x.Limit = 2
		}
	}
	return x
}

func TestRandomScriptsAgreeWithTheModel(t *testing.T) {
	seed := testseed.New(t)
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for round := range rounds {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		p := newPlayer(t)
		p.lazy = round%2 == 0
		for range 150 {
			p.randomStep(r)
		}
		p.end()
	}
}

// FuzzSpaceAgreesWithTheModel plays what the bytes say.
func FuzzSpaceAgreesWithTheModel(f *testing.F) {
	for i := range 8 {
		f.Add([]byte{byte(i), 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233})
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		p := newPlayer(t)
		p.lazy = len(script)%2 == 0
		for i := range script[:min(len(script), 60)] {
			p.randomStep(rand.New(rand.NewPCG(uint64(script[i]), uint64(i))))
		}
		p.end()
	})
}
