package e2e

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

const hostileSessionsConfig = hostileConfig + `
sessions_per_address = 600
`

// hostileSessions do with version 2 what no client does that means well.
var hostileSessions = map[string]func(h *intruder){
	"no hello":              func(h *intruder) { h.session("", "no_hello", 3005) },
	"a request for a hello": func(h *intruder) { h.session(`{"op":"renew","id":1}`, "malformed", 3000) },
	"two hellos": func(h *intruder) {
		h.session(`{"op":"hello"}`, "welcome", 0)
		h.session(`{"op":"hello"}`, "malformed", 3000)
	},
	"guessing secrets":     (*intruder).guess,
	"never reading events": func(h *intruder) { h.session(`{"op":"hello"}`, "welcome", 0); h.floodUntilGone(shortLocks(5000)) },
	"retries without end": func(h *intruder) {
		h.session(`{"op":"hello"}`, "welcome", 0)
		h.floodUntilGone(bytes.Repeat(frame(ws.OpText, true, []byte(`{"op":"release","id":1,"lock":1}`)), 500))
	},
	"a session that is taken over and over": (*intruder).juggle,
	"locks without end, and then bye":       (*intruder).hoard,
	"sessions that nobody ends":             (*intruder).litter,
}

// TestHostileSessionsHarmNobody is TestHostileClientsHarmNobody for version 2.
func TestHostileSessionsHarmNobody(t *testing.T) {
	harmNobody(t, hostileSessionsConfig, hostileSessions)
}

// session connects if need be, sends a message, and wants an answer with this in it, and then a close code if that
// isn't 0.
func (h *intruder) session(text, want string, code int) {
	if h.ws == nil {
		h.to.version = 2
		h.upgrade()
	}
	if text != "" {
		h.say(string(frame(ws.OpText, true, []byte(text))))
	}
	got, err := h.ws.Recv()
	if err != nil || !strings.Contains(got, `"`+want+`"`) || len(got) > 1<<16 {
		h.t.Errorf("%s is answered with %.200s, %v, want %s", text, got, err, want)
	}
	if code != 0 {
		_, err := h.ws.Recv()
		if err := wantClosed(err, code); err != nil {
			h.t.Error(err)
		}
		h.ended()
	}
}

// another is an intruder with a connection of its own.
func (h *intruder) another() *intruder { return h.from("") }

// from is another one at an address of this machine.
func (h *intruder) from(source string) *intruder {
	c, err := dialTCP(source, h.to.addr)
	if err != nil {
		h.t.Error(err)
		c, _ = net.Pipe()
		c.Close()
	}
	return &intruder{t: h.t, srv: h.srv, space: h.space, to: h.to, Conn: c}
}

// guess tries secrets of a session whose id it knows.
func (h *intruder) guess() {
	id, _ := h.begin(`{"op":"hello"}`)
	for k := range 40 {
		other := h.another()
		for try := range 3 {
			code := 0
			if try == 2 {
				code = 3000
			}
			guess := 3*k + try
			other.session(fmt.Sprintf(`{"op":"hello","resume":{"session":%q,"secret":"%032x"}}`, id, guess), "no_session", code)
			h.session(fmt.Sprintf(`{"op":"renew","id":%d}`, guess+1), "renewed", 0) // who owns it doesn't notice, and answers pings here
		}
		other.Close()
	}
}

// begin says hello and returns the session and its secret.
func (h *intruder) begin(hello string) (id, secret string) {
	if h.ws == nil {
		h.to.version = 2
		h.upgrade()
	}
	h.say(string(frame(ws.OpText, true, []byte(hello))))
	text, err := h.ws.Recv()
	if err != nil {
		h.t.Error(err)
	}
	fmt.Sscanf(text, `{"op":"welcome","session":%q,"secret":%q`, &id, &secret)
	if id == "" {
		h.t.Errorf("a hello is answered with %.200s", text)
	}
	return id, secret
}

// juggle has one connection after the other take its session over.
func (h *intruder) juggle() {
	id, secret := h.begin(`{"op":"hello"}`)
	h.session(lockV2(1, fmt.Sprintf("%p", h)), "acquired", 0)
	last := h
	for range 100 {
		next := h.another()
		_, secret = next.begin(fmt.Sprintf(`{"op":"hello","resume":{"session":%q,"secret":%q}}`, id, secret))
		last.session("", "taken_over", 3001)
		last.Close()
		last = next
	}
	last.session(lockV2(1, fmt.Sprintf("%p", h)), "acquired", 0)
	last.session(`{"op":"bye","id":2}`, "bye", 1000)
}

func lockV2(id int, path string) string {
	return fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"write","path":[%q]}]}`, id, path)
}

// shortLocks are requests for locks that end soon.
func shortLocks(n int) []byte {
	var b bytes.Buffer
	for id := range n {
		b.Write(frame(ws.OpText, true, fmt.Appendf(nil, `{"op":"lock","id":%d,"resources":[{"type":"read","path":["a"]}],"lease_ms":100}`, id+1)))
	}
	return b.Bytes()
}

// hoard takes many locks, for one of which another one waits, and leaves.
func (h *intruder) hoard() {
	const many = 20_000
	h = h.another()
	defer h.Close()
	h.begin(`{"op":"hello"}`)
	name := func(k int) string { return fmt.Sprintf("%p-%d", h, k) }
	go func() {
		for id := range many {
			if h.ws.Send(lockV2(id+1, name(id))) != nil {
				return
			}
		}
	}()
	for range many {
		if text, err := h.ws.Recv(); err != nil || !strings.Contains(text, "acquired") {
			h.t.Errorf("%.200s, %v", text, err)
			return
		}
	}
	waits := h.another()
	defer waits.Close()
	waits.begin(`{"op":"hello"}`)
	waits.session(lockV2(1, name(many-1)), "enqueued", 0)
	h.session(fmt.Sprintf(`{"op":"bye","id":%d}`, many+1), "bye", 1000)
	waits.session("", "acquired", 0)
	waits.session(`{"op":"bye","id":2}`, "bye", 1000)
}

// litter begins sessions that live for a minute, and hangs up, until the server has had enough of that. Others come
// from other addresses.
func (h *intruder) litter() {
	var turnedAway string
	for k := 0; turnedAway == "" && k < 700; k++ {
		other := h.from("127.0.0.2")
		other.to.version = 2
		other.upgrade()
		other.say(string(frame(ws.OpText, true, []byte(`{"op":"hello","ttl_ms":60000}`))))
		text, err := other.ws.Recv()
		if err != nil {
			h.t.Error(err)
			return
		}
		if !strings.Contains(text, "welcome") {
			turnedAway = text
		}
		other.Close()
	}
	if !strings.Contains(turnedAway, "limits.sessions_per_address") {
		h.t.Errorf("after 700 sessions an address is told %q", turnedAway)
	}
}
