package host

import (
	"time"

	"github.com/tetratelabs/wazero/api"
)

// Caller asks the plugins on behalf of one goroutine at a time. It allocates nothing in a steady
// state, except for identities.
type Caller struct {
	gate    *Gate
	home    uint32 // the slot tried first
	penalty penalty
	clock   clock
	writer  writer

	work   []Resource // of the request in progress, normalized so far
	paths  paths      // what work points to
	reason [reasonBytes]byte
	denial denial
}

// Caller makes an asker of questions.
func (g *Gate) Caller() *Caller { return &Caller{gate: g, home: g.callers.Add(1) - 1} }

// Active says whether there is any plugin to ask.
func (c *Caller) Active() bool { return c.gate.current.Load() != nil }

var allowed = Verdict{Outcome: Allowed}

// texts that the host itself gives as reasons.
var (
	reasonClosed  = []byte("the server is shutting down")
	reasonUnknown = []byte("this connection is older than the plugin that authenticates clients: connect again")
)

// Authenticate asks who a client is: all plugins with that hook must allow it. The identity of the last
// one that names somebody holds, and the shortest of their times.
func (c *Caller) Authenticate(q *Connect) (Identity, Verdict) {
	for {
		gen := c.gate.current.Load()
		if gen == nil {
			return Identity{}, allowed
		}
		if id, v, ok := c.authenticate(gen, q); ok {
			return id, v
		}
	}
}

// authenticate isn't ok if the generation retired meanwhile.
func (c *Caller) authenticate(gen *generation, q *Connect) (id Identity, v Verdict, ok bool) {
	if gen.closed {
		return Identity{}, Verdict{Outcome: Failed, Reason: reasonClosed}, true
	}
	for _, p := range gen.plugins {
		if p.hooks&Authenticate == 0 || !p.covers(q.Namespace) {
			continue
		}
		next, err := c.who(p, q)
		if err == errRetired {
			return Identity{}, Verdict{}, false
		}
		if err != nil {
			return Identity{}, c.verdict(p, err), true
		}
		id = id.and(next)
	}
	return id, allowed, true
}

// and is what two plugins in a row know of a client.
func (id Identity) and(next Identity) Identity {
	if next.Principal == "" {
		next.Principal, next.Context = id.Principal, id.Context
	}
	if next.TTL == 0 || id.TTL > 0 && id.TTL < next.TTL {
		next.TTL = id.TTL
	}
	return next
}

// denial is the error of a call that ended in a denial. Its text is in the Caller.
type denial struct {
	code   uint8
	length int
}

func (*denial) Error() string { return "it denied" }

// who asks one plugin who a client is.
func (c *Caller) who(p *plugin, q *Connect) (id Identity, err error) {
	err = p.call(c, hookAuthenticate,
		func(w *writer) int { return w.authenticate(q, c.clock.unixMilli()) },
		func(i *instance, a answer) error {
			defer i.forget()
			if a.status != statusAllow {
				return c.refused(i, a)
			}
			b, ok := i.memory.Read(a.at, a.length)
			if a.length == 0 {
				b, ok = nil, true
			}
			if id, ok = readIdentityIf(ok, b); !ok {
				return errBreach
			}
			return nil
		})
	return id, err
}

func hookAuthenticate(i *instance) api.Function { return i.authenticate }
func hookAuthorize(i *instance) api.Function    { return i.authorize }
func hookNormalize(i *instance) api.Function    { return i.normalize }

func readIdentityIf(ok bool, b []byte) (Identity, bool) {
	if !ok {
		return Identity{}, false
	}
	return readIdentity(b)
}

// forget wipes credentials from the guest's buffer.
func (i *instance) forget() {
	if b, ok := i.memory.Read(i.buffer, bufferBytes); ok {
		clear(b)
	}
}

// Judge has a request's paths normalized by all plugins with that hook, one after the other, and then
// authorized by all with that one, in one generation of plugins. If it is allowed, the normalized
// paths are in q.Resources.
func (c *Caller) Judge(q *Request) Verdict {
	for {
		gen := c.gate.current.Load()
		if gen == nil {
			return allowed
		}
		if v, ok := c.judge(gen, q); ok {
			return v
		}
	}
}

// judge isn't ok if the generation retired meanwhile.
func (c *Caller) judge(gen *generation, q *Request) (Verdict, bool) {
	if gen.closed {
		return Verdict{Outcome: Failed, Reason: reasonClosed}, true
	}
	rs := q.Resources
	if gen.hooks&Normalize != 0 {
		c.work = append(c.work[:0], q.Resources...)
		rs = c.work
	}
	for _, hook := range [...]Hooks{Normalize, Authorize} {
		for _, p := range gen.plugins {
			if p.hooks&hook == 0 || !p.covers(q.Namespace) {
				continue
			}
			if err := c.askOf(p, hook, q, rs); err == errRetired {
				return Verdict{}, false
			} else if err != nil {
				return c.verdict(p, err), true
			}
		}
	}
	if p := gen.stranger(q); p != nil {
		return Verdict{Outcome: Denied, Plugin: p.name, Reason: reasonUnknown}, true
	}
	copy(q.Resources, rs)
	clear(c.work)
	return allowed, true
}

// stranger is a plugin that would have authenticated the client if it had been there when the client
// connected; nil: there is none.
func (gen *generation) stranger(q *Request) *plugin {
	if gen.hooks&Authenticate == 0 || q.Identity.Authenticated {
		return nil
	}
	for _, p := range gen.plugins {
		if p.hooks&Authenticate != 0 && p.covers(q.Namespace) {
			return p
		}
	}
	return nil
}

// askOf asks one plugin one thing about a request.
func (c *Caller) askOf(p *plugin, hook Hooks, q *Request, rs []Resource) error {
	if hook == Authorize {
		return p.call(c, hookAuthorize,
			func(w *writer) int { return w.authorize(q, rs, c.clock.unixMilli()) },
			func(i *instance, a answer) error {
				if a.status == statusAllow {
					return nil
				}
				return c.refused(i, a)
			})
	}
	return p.call(c, hookNormalize,
		func(w *writer) int { return w.normalize(q, rs) },
		func(i *instance, a answer) error { return c.normalized(i, a, rs) })
}

// normalized takes the answer to normalize.
func (c *Caller) normalized(i *instance, a answer, rs []Resource) error {
	switch a.status {
	case statusAllow:
		return nil
	case statusRewritten:
		b, ok := i.memory.Read(a.at, a.length)
		if !ok || !c.paths.read(b, rs, *c.gate.bounds.Load()) {
			return errBreach
		}
		return nil
	}
	return c.refused(i, a)
}

// refused takes an answer that doesn't allow. All that isn't well-formed is a breach.
func (c *Caller) refused(i *instance, a answer) error {
	if a.status != statusDeny && a.status != statusFault {
		return errBreach
	}
	text, ok := i.text(a)
	if !ok {
		return errBreach
	}
	n := copy(c.reason[:], text)
	if a.status == statusFault {
		i.plugin.faulted(c.reason[:n])
		return errFault
	}
	c.denial = denial{a.code, n}
	return &c.denial
}

// verdict is what an error of plugin.call means.
func (c *Caller) verdict(p *plugin, err error) Verdict {
	if d, ok := err.(*denial); ok {
		return Verdict{Outcome: Denied, Plugin: p.name, Code: d.code, Reason: c.reason[:d.length]}
	}
	v := Verdict{Outcome: Failed, Plugin: p.name, Reason: c.reason[:copy(c.reason[:], err.Error())]}
	if err == errTooLong {
		v.Outcome = TooLong
	}
	return v
}

// clock tells the time in milliseconds. It asks for the time of day once a second, and in between for
// the monotonic time only, which costs half as much.
type clock struct {
	wall int64         // Unix milliseconds
	at   time.Duration // monotonic, of wall
}

const clockGoodFor = time.Second

func (c *clock) unixMilli() int64 {
	now := monotonic()
	if c.wall == 0 || now-c.at > clockGoodFor {
		c.wall, c.at = time.Now().UnixMilli(), now
		return c.wall
	}
	return c.wall + (now - c.at).Milliseconds()
}
