package probe

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// toyV2 is a lock server of version 2 that is right, as far as the packages are that it is made of, until a flaw makes
// it wrong: in what it takes requests for, in what it says, or in what it doesn't do.
type toyV2 struct {
	flaw string
	net  *wsnet.Server
	born time.Time

	mu     sync.Mutex // guards what follows
	spaces map[string]*session.Space
	conns  map[wsnet.ConnID]*toyAttachment
	proofs map[string]*toyProof
	bred   int // texts that nobody can guess, or so
	asked  int // requests for locks
	said   int // messages
	parser wire.V2Parser
	fx     session.Effects
	open   bool
}

type toyAttachment struct {
	space   *session.Space
	session *session.Session
	tries   int
	over    bool
}

// startToyV2 serves on loopback until the test ends.
func startToyV2(t *testing.T, flaw string) Target {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	y := &toyV2{flaw: flaw, born: time.Now(), spaces: map[string]*session.Space{}, conns: map[wsnet.ConnID]*toyAttachment{}, proofs: map[string]*toyProof{}, open: true}
	s, err := wsnet.Serve(ln, wsnet.Options{NewHandler: func() wsnet.Handler { return y }, Ready: func(n *wsnet.Server) { y.net = n }, Loops: 1})
	require.NoError(t, err)
	ticks := time.NewTicker(time.Millisecond)
	var ticking sync.WaitGroup
	ticking.Go(func() {
		for range ticks.C {
			if !y.tick() {
				return
			}
		}
	})
	t.Cleanup(func() {
		y.mu.Lock()
		y.open = false
		y.mu.Unlock()
		ticking.Wait()
		ticks.Stop()
		require.NoError(t, s.Close())
	})
	return Target{URL: &url.URL{Scheme: "ws", Host: ln.Addr().String(), Path: "/v2"}}
}

func (y *toyV2) is(flaw string) bool { return y.flaw == flaw }

func (y *toyV2) now() int64 { return int64(time.Since(y.born)) }

// tick lets time pass. False: no more.
func (y *toyV2) tick() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, space := range y.spaces {
		at, ok := space.Next()
		late := y.now()
		if y.is("ends what waits too early") {
			late += int64(2 * time.Millisecond)
		}
		if ok && at <= late && !y.is("never ends anything") {
			space.Tick(at, &y.fx)
			y.wake()
		}
	}
	return y.open
}

func (y *toyV2) wake() {
	for _, id := range y.fx.Wake {
		y.net.Post(wsnet.ConnID(id), 1)
	}
}

func (y *toyV2) Open(c wsnet.Conn, r *wsnet.Request) *wsnet.Refusal {
	q, err := url.ParseQuery(r.RawQuery)
	name := q.Get("namespace")
	if bad := err != nil || name == "" || strings.Contains(name, "\n") || !utf8.ValidString(name) || r.Path != "/v2"; bad && !y.is("upgrades anything") {
		return &wsnet.Refusal{Status: 400, Body: "no"}
	}
	for _, p := range r.Protocols {
		if r.Protocol = p; p != "locktopus.v2" && !y.is("speaks anything") {
			return &wsnet.Refusal{Status: 400, Body: "no"}
		}
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.spaces[name] == nil {
		y.spaces[name] = session.New(engine.New(engine.Limits{}, 0), session.Defaults)
	}
	y.conns[c.ID()] = &toyAttachment{space: y.spaces[name]}
	return nil
}

func (y *toyV2) text() string {
	if y.bred++; y.is("gives the same secret again") {
		return fmt.Sprintf("%08d", y.bred&^1)
	}
	return fmt.Sprintf("%08d", y.bred)
}

func (y *toyV2) Message(c wsnet.Conn, msg []byte) {
	y.mu.Lock()
	defer y.mu.Unlock()
	a := y.conns[c.ID()]
	r, err := y.parser.Parse(bytes.Clone(msg))
	switch {
	case a.over:
	case err != nil || (r.Op == wire.V2Hello) != (a.session == nil):
		y.malformed(c, a)
	case r.Op == wire.V2Hello:
		y.hello(c, a, r.Hello)
	default:
		y.request(c, a, &session.Request{V2Request: r, Wanted: y.wanted(&r)})
	}
}

func (y *toyV2) malformed(c wsnet.Conn, a *toyAttachment) {
	if y.is("ignores faults") {
		return
	}
	if !y.is("says nothing to faults") {
		c.Send([]byte(`{"error":"malformed","message":"that is no request here"}`))
	}
	y.end(c, a, 3000)
	if y.is("ends a session that breaks the protocol") && a.session != nil {
		a.space.End(y.now(), a.session, "", &y.fx)
		y.wake()
	}
}

func (y *toyV2) end(c wsnet.Conn, a *toyAttachment, code uint16) {
	if y.is("closes with another code") {
		code = 1002
	}
	a.over = true
	c.Close(code, "")
}

func (y *toyV2) hello(c wsnet.Conn, a *toyAttachment, h *wire.V2Greeting) {
	var err error
	if h.Resume {
		fresh := y.text()
		event := h.Event
		switch {
		case y.is("keeps its secrets"):
			fresh = string(h.Secret)
		case y.is("tells again what was seen") && event > 0:
			event--
		case y.is("tells nothing that was missed"):
			event = 1 << 40
		}
		a.session, err = a.space.Resume(y.now(), uint64(c.ID()), session.Resumption{ID: string(h.Session), Secret: y.proof(h), New: []byte(fresh), Event: event}, &y.fx)
	} else {
		a.session, err = a.space.Open(y.now(), uint64(c.ID()), session.Hello{ID: y.text(), Secret: []byte(y.text()), Name: h.Name, TTL: h.TTLMS}, &y.fx)
	}
	y.wake()
	if err == nil {
		y.fx.Welcome.Epoch = []byte("e")
		y.fx.Welcome.MessageBytes, y.fx.Welcome.MessageValues = 65536, 8192
		y.prove(&y.fx.Welcome)
		y.say(c, string(wire.AppendV2Welcome(nil, &y.fx.Welcome)))
		y.tell(c, a)
		return
	}
	code := `{"error":"no_session","message":"no","epoch":"e"}`
	if !h.Resume {
		code = `{"error":"limit","message":"no"}`
	}
	y.say(c, code)
	if a.tries++; a.tries == 3 && !y.is("lets guess for ever") {
		y.end(c, a, 3000)
	}
}

// proof is the secret of a hello, or what a flaw makes of it.
func (y *toyV2) proof(h *wire.V2Greeting) []byte {
	p := y.proofs[string(h.Session)]
	if p == nil {
		return h.Secret
	}
	known := slices.Index(p.told, string(h.Secret))
	last := len(p.told) - 1
	switch {
	case known >= 0 && known < last-1 && y.is("takes old secrets"):
		return []byte(p.told[last])
	case known >= 0 && known == last-1 && y.is("gives another secret to who lost one"):
		return []byte(p.told[last])
	case known >= 0 && known < last && y.is("forgets who lost a welcome"):
		return nil
	}
	return h.Secret
}

// prove notes the secret of a welcome.
func (y *toyV2) prove(w *wire.V2Welcome) {
	if y.proofs[string(w.Session)] == nil {
		y.proofs[string(w.Session)] = &toyProof{}
	}
	p := y.proofs[string(w.Session)]
	if !slices.Contains(p.told, string(w.Secret)) {
		p.told = append(p.told, string(w.Secret))
	}
}

// toyProof is what a session's client can prove itself with, or could.
type toyProof struct{ told []string }

// wanted is what a request is taken for.
func (y *toyV2) wanted(r *wire.V2Request) (rs []engine.Resource) {
	if r.Op != wire.V2Lock {
		return nil
	}
	y.asked++
	for i, x := range r.Resources {
		e := engine.Resource{Mode: engine.Mode(x.Type), Path: x.Path, Limit: x.Limit, Weight: x.Weight}
		switch {
		case y.is("takes writes for reads") && y.asked%3 == 0 && e.Mode == engine.Write:
			e.Mode = engine.Read
		case y.is("takes reads for writes") && e.Mode == engine.Read:
			e.Mode = engine.Write
		case y.is("knows no trees"):
			e.Path = [][]byte{bytes.Join(x.Path, []byte{0})}
		case y.is("looks at first resources only") && i > 0:
			continue
		case y.is("takes permits for reads") && e.Mode == engine.Permit:
			e = engine.Resource{Mode: engine.Read, Path: x.Path}
		case y.is("forgets weights") && e.Mode == engine.Permit:
			e.Weight = 1
		}
		rs = append(rs, e)
	}
	return rs
}

// request does a request, or what a flaw makes of it.
func (y *toyV2) request(c wsnet.Conn, a *toyAttachment, r *session.Request) {
	switch {
	case y.is("waits for ever"):
		r.WaitMS = wire.V2None
	case y.is("never waits") && r.Op == wire.V2Lock:
		r.WaitMS = 0
	case y.is("lets nobody leave"):
		r.Leave = false
	case y.is("knows no parties"):
		r.Party = 0
	case y.is("sees no deadlocks") && r.Op == wire.V2Lock:
		r.Party = r.ID
	case y.is("forgets leases"):
		r.LeaseMS = wire.V2None
	case y.is("forgets notes"):
		r.Note = nil
	case y.is("downgrades what it should take back"):
		r.Upgrade = 0
	case y.is("does retries again") && r.Op == wire.V2Release:
		r.ID += 1 << 40
	case y.is("releases nothing") && r.Op == wire.V2Bye:
		y.say(c, fmt.Sprintf(`{"id":%d,"state":"bye"}`, r.ID))
		y.end(c, a, 1000)
		return
	case y.is("is silent when it releases") && r.Op == wire.V2Release && y.asked%5 == 0:
		return
	}
	for again := true; again; again = y.fx.Undone && !a.over {
		a.space.Do(y.now(), a.session, uint64(c.ID()), r, &y.fx)
		y.wake()
		y.tell(c, a)
	}
	y.rest(c, a)
}

func (y *toyV2) rest(c wsnet.Conn, a *toyAttachment) {
	for y.fx.Rest && !a.over {
		a.space.Collect(y.now(), a.session, uint64(c.ID()), &y.fx)
		y.tell(c, a)
	}
}

// tell says what there is to tell.
func (y *toyV2) tell(c wsnet.Conn, a *toyAttachment) {
	for i := range y.fx.Messages {
		y.say(c, string(wire.AppendV2(nil, &y.fx.Messages[i])))
	}
	if y.fx.Close != 0 && !a.over {
		y.end(c, a, y.fx.Close)
	}
}

// slips are what is said wrong, now and then.
var slips = map[string]struct {
	of    string // a regular expression
	wrong string // what it becomes
	every int    // so many
	want  string // a regular expression for the finding
}{
	"drops a grant":              {`^{"event".*"acquired".*`, ``, 3, `nothing came .* "acquired"|nothing came .* "upgraded"`},
	"drops an event":             {`^{"event".*`, ``, 3, `nothing came .* event|it is told event`},
	"tells an event twice":       {`^({"event".*)`, "$1\n$1", 3, `it is told event|gets {"event"`},
	"leaves event numbers out":   {`^{"event":(\d+)`, `{"event":1$1`, 2, `it is told event 1`},
	"answers twice":              {`^({"id".*"released".*)`, "$1\n$1", 3, `no answer is owed|"released"}`},
	"answers with another id":    {`^{"id":(\d+)`, `{"id":1$1`, 7, `"id" is 1\d+, not|gets {"id"`},
	"gives tokens that go back":  {`"token":"\d+"`, `"token":"1"`, 5, `token 1`},
	"writes tokens as numbers":   {`"token":"(\d+)"`, `"token":$1`, 1, `"token" is \d+`},
	"gives the same slot again":  {`"slots":\[\d`, `"slots":[0`, 1, `is somebody else's`},
	"says more than it may":      {`^{"id":`, `{"by":"me","id":`, 1, `the protocol has no "by" here`},
	"counts wrong":               {`"ahead":\d+`, `"ahead":9`, 1, `"ahead" is 9, not`},
	"blames nobody":              {`"blockers":\[.*\]`, `"blockers":[]`, 1, `0 are named of`},
	"blames somebody else":       {`"blockers":\[{"session":"[^"]*"`, `"blockers":[{"session":"me"`, 1, `isn't in the way`},
	"names half of a cycle":      {`"cycle":\[({[^}]*}).*\]`, `"cycle":[$1]`, 1, `the cycle doesn't end where it began`},
	"forgets a lock in welcomes": {`("welcome".*"locks":\[){[^}]*},?`, `$1`, 1, `isn't listed`},
	"forgets events in welcomes": {`("welcome".*),"event":\d+`, `$1,"event":0`, 1, `"event" is 0, not`},
	"forgets ids in welcomes":    {`("welcome".*),"last_id":\d+`, `$1,"last_id":0`, 1, `"last_id" is 0, not`},
	"takes over without a word":  {`^{"error":"taken_over".*`, ``, 1, `it waits for the error "taken_over"`},
	"inspects half":              {`("inspected","locks":\[).*\]`, `$1]`, 1, `isn't told|is gone before its time`},
	"misses a change":            {`^{"watch".*`, ``, 3, `it waits for changes|"n" is`},
	"miscalls changes":           {`"change":"upgraded"`, `"change":"acquired"`, 1, `the change is "acquired", not "upgraded"`},
	"lists nothing":              {`"listed","locks":\[.*\]`, `"listed","locks":[]`, 1, `isn't listed`},
	"expires in another way":     {`"state":"expired"`, `"state":"revoked"`, 1, `"state" is revoked, not expired`},
	"cancels in another way":     {`"state":"canceled"`, `"state":"released"`, 1, `released`},
	"says another end":           {`"state":"unavailable"`, `"state":"timeout"`, 1, `is timeout, not unavailable`},
	"welcomes as somebody else":  {`"welcome","session":"`, `"welcome","session":"x`, 5, `"session" is x|"no_session"`},
	"refuses as another run":     {`("no_session".*"epoch":)"e"`, `$1"f"`, 1, `the epoch was "e" before`},
	"forgets to mention leases":  {`,"lease_ms":\d+`, ``, 1, `there is no "lease_ms"`},
	"never says upgraded":        {`^{"event".*"upgraded".*`, ``, 1, `nothing came .* "upgraded"`},
}

func (y *toyV2) say(c wsnet.Conn, text string) {
	if slip, ok := slips[y.flaw]; ok {
		if re := regexp.MustCompile(slip.of); re.MatchString(text) {
			if y.said++; y.said%slip.every == 0 {
				text = re.ReplaceAllString(text, slip.wrong)
			}
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			c.Send([]byte(line))
		}
	}
}

func (y *toyV2) Notify(c wsnet.Conn, _ uint64) {
	y.mu.Lock()
	defer y.mu.Unlock()
	a := y.conns[c.ID()]
	if a.session == nil || a.over {
		return
	}
	a.space.Collect(y.now(), a.session, uint64(c.ID()), &y.fx)
	y.tell(c, a)
	y.rest(c, a)
}

func (y *toyV2) Closed(c wsnet.Conn, _ wsnet.Reason) {
	y.mu.Lock()
	defer y.mu.Unlock()
	a := y.conns[c.ID()]
	delete(y.conns, c.ID())
	switch {
	case a.session == nil:
	case y.is("ends sessions with their connections"):
		a.space.End(y.now(), a.session, "", &y.fx)
		y.wake()
	case !y.is("doesn't notice who leaves"):
		a.space.Detach(y.now(), a.session, uint64(c.ID()), &y.fx)
		y.wake()
	}
}

// flawsV2 are those that aren't slips, and what a finding must say.
var flawsV2 = map[string]string{
	"ends what waits too early":               `that is .* too early|has ended .* before the time`,
	"never ends anything":                     `nothing came .* "timeout" of lock`,
	"upgrades anything":                       `the answer is 101`,
	"speaks anything":                         `another subprotocol: the answer is 101`,
	"gives the same secret again":             `isn't new`,
	"ignores faults":                          `waits for the error "malformed"`,
	"says nothing to faults":                  `closed with code 3000 ""; it waits for the error "malformed"`,
	"ends a session that breaks the protocol": `"no_session"|"ahead" is|is acquired, not`,
	"closes with another code":                `closed with code 1002`,
	"keeps its secrets":                       `the secret isn't new`,
	"takes old secrets":                       `"error" in {"op":"welcome"|there is no "error"`,
	"gives another secret to who lost one":    `is welcomed with another new one`,
	"forgets who lost a welcome":              `"no_session"`,
	"tells again what was seen":               `it is told event \d+, and the last one was`,
	"tells nothing that was missed":           `nothing came .* event \d+`,
	"lets guess for ever":                     `must be closed with code \[3000\]`,
	"takes writes for reads":                  `is acquired, not`,
	"takes reads for writes":                  `is (enqueued|unavailable|deadlock), not|has token 1, but`,
	"knows no trees":                          `is acquired, not`,
	"looks at first resources only":           `is acquired, not|isn't told|there is no "slots"|"ahead" is`,
	"takes permits for reads":                 `there is no "slots"`,
	"forgets weights":                         `is acquired, not|there is no "error"|"ahead"`,
	"waits for ever":                          `is enqueued, not unavailable|nothing came .* "timeout"`,
	"never waits":                             `is unavailable, not enqueued`,
	"lets nobody leave":                       `wasn't to wait without|"event" is`,
	"doesn't notice who leaves":               `wasn't to wait without`,
	"knows no parties":                        `not deadlock|is deadlock, not`,
	"sees no deadlocks":                       `not deadlock`,
	"forgets leases":                          `there is no "lease_ms"|there is no "error"`,
	"forgets notes":                           `the note|there is no "error"`,
	"downgrades what it should take back":     `the state is "downgraded"`,
	"does retries again":                      `"id" is \d{10,}, not`,
	"releases nothing":                        `is (unavailable|enqueued), not acquired|is acquired, not (unavailable|enqueued)|isn't there|isn't in the way|"ahead" is`,
	"is silent when it releases":              `nothing came .* the answer to request`,
	"ends sessions with their connections":    `"no_session"|"ahead" is|is acquired, not`,
}

func TestASoundServerOfVersion2HasNoFindings(t *testing.T) {
	rep, err := Run(t.Context(), Options{Target: startToyV2(t, ""), Seed: 1, Rounds: 60, Time: time.Hour})
	require.NoError(t, err)
	for _, f := range rep.Findings {
		t.Errorf("round %d: %v\n%s", f.Round, f.Err, f.Text)
	}
	require.Equal(t, 60, rep.Rounds)
}

func TestEachFlawOfVersion2IsFound(t *testing.T) {
	wants := maps.Clone(flawsV2)
	for flaw, slip := range slips {
		wants[flaw] = slip.want
	}
	for flaw, want := range wants {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			rep, err := Run(t.Context(), Options{Target: startToyV2(t, flaw), Seed: 1, Rounds: 300, Time: time.Hour, Patience: 2 * time.Second, asFound: true})
			if err != nil { // the very first look was enough
				require.Regexp(t, want, err.Error())
				return
			}
			require.NotEmpty(t, rep.Findings, "%d rounds", rep.Rounds)
			f := rep.Findings[0]
			require.Regexp(t, want, f.Err.Error())
			t.Logf("round %d: %v", f.Round, f.Err)
		})
	}
}
