package server

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// Close codes of v2 besides those of internal/session.
const (
	codeDenied  = 3004
	codeNoHello = 3005
)

const subprotocolV2 = "locktopus.v2"

// attachment is what the server knows of a v2 connection: which session it belongs to, once it has said hello.
type attachment struct {
	session  *session.Session // nil: it has not
	connect  *host.Connect    // what plugins will be asked; nil: there were none, or they were asked
	greeting *appointment[wsnet.ConnID]
	parked   *parked // a hello that waits for the disk; nil: there is none
	remote   netip.AddrPort
	id       uint64 // of the connection
	tries    int    // hellos that failed
	drained  bool   // it was told that the server is shutting down
	farewell bool   // it was told that the server has shut down
	closing  bool   // it was told its last word
}

// openV2 accepts a connection of v2. Who it is is asked when it says hello: credentials may be there.
func (w *worker) openV2(c wsnet.Conn, r *wsnet.Request, set *Settings) *wsnet.Refusal {
	p, err := set.parseV2(r.RawQuery)
	if err != nil {
		return &wsnet.Refusal{Status: 400, Body: err.Error()}
	}
	switch {
	case slices.Contains(r.Protocols, subprotocolV2):
		r.Protocol = subprotocolV2
	case len(r.Protocols) > 0:
		return &wsnet.Refusal{Status: 400, Body: fmt.Sprintf("the subprotocol here is %q, but %q is asked for", subprotocolV2, r.Protocols)}
	}
	i, conn, ok := w.s.connections.take()
	if !ok {
		return &wsnet.Refusal{Status: 503, Body: tooManyConnections}
	}
	ns, err := w.s.spaces.join(p.namespace)
	if err != nil {
		w.s.connections.give(i)
		return &wsnet.Refusal{Status: 503, Body: err.Error()}
	}
	a := &attachment{id: uint64(c.ID()), remote: r.Remote}
	if w.judges() {
		a.connect = connectOf(r, &p)
	}
	*conn = connection{ns: ns, from: originOf(r.Remote.Addr()), v2: a}
	a.greeting = w.s.greetings.add(time.Now().Add(set.Net.HandshakeTimeout), c.ID())
	c.SetUser(uint64(i))
	w.s.opened()
	if set.LogClients {
		w.s.log.Info("client connected", "conn", c.ID(), "namespace", p.namespace, "remote", r.Remote, "protocol", 2)
	}
	return nil
}

// messageV2 takes one message of a v2 client.
func (w *worker) messageV2(c wsnet.Conn, conn *connection, msg []byte) {
	a := conn.v2
	switch {
	case a.closing:
		return
	case a.parked != nil:
		w.wait(c, conn, msg)
		return
	}
	w.parser2.Values = w.s.settings.Load().MessageValues
	r, err := w.parser2.Parse(msg)
	switch {
	case err != nil:
		w.malformed(c, conn, err)
	case r.Op == wire.V2Hello && a.session == nil:
		w.hello(c, conn, r.Hello)
	case r.Op == wire.V2Hello:
		w.malformed(c, conn, errSecondHello)
	case a.session == nil:
		w.malformed(c, conn, errNoHello)
	default:
		w.do(c, conn, &r)
	}
}

var (
	errNoHello     = errors.New(`op: the first message is a hello, such as {"op":"hello"}`)
	errSecondHello = errors.New("op: this connection has said hello already")
)

// malformed ends a connection whose client broke the protocol.
func (w *worker) malformed(c wsnet.Conn, conn *connection, err error) {
	w.s.faults.Add(1)
	w.failV2(c, conn, &wire.V2Message{Error: wire.V2Malformed, Message: []byte(err.Error())}, codeFault)
}

// failV2 tells a connection its last word.
func (w *worker) failV2(c wsnet.Conn, conn *connection, m *wire.V2Message, code uint16) {
	w.say(c, m)
	w.closeV2(c, conn, code)
	if w.s.settings.Load().LogClients {
		w.s.log.Info("client refused", "conn", c.ID(), "namespace", conn.ns.name, "code", m.Error, "error", oneLine(m.Message))
	}
}

func (w *worker) closeV2(c wsnet.Conn, conn *connection, code uint16) {
	conn.v2.closing = true
	w.hangUp(c, conn, code, "")
}

func (w *worker) say(c wsnet.Conn, m *wire.V2Message) {
	w.out = wire.AppendV2(w.out[:0], m)
	c.Send(w.out)
}

// roundsMax is how often one call goes on collecting what there is to tell.
const roundsMax = 4

// tellV2 sends what a call on the space has left for this connection, and what there is behind it. Where that
// doesn't end, as with a watch of a busy path, the other connections of the loop have their turn in between.
func (w *worker) tellV2(c wsnet.Conn, conn *connection) {
	w.sendV2(c, conn)
	for n := 0; w.effects.Rest && !conn.v2.closing; n++ {
		if n == roundsMax {
			w.s.net.Post(c.ID(), tokenCollect)
			return
		}
		w.collect(conn)
		w.sendV2(c, conn)
	}
}

func (w *worker) sendV2(c wsnet.Conn, conn *connection) {
	fx := &w.effects
	for i := range fx.Messages {
		m := &fx.Messages[i]
		m.Blockers, m.Cycle = w.shown(conn, m.Blockers), w.shown(conn, m.Cycle)
		w.say(c, m)
	}
	if fx.Close != 0 && !conn.v2.closing {
		w.closeV2(c, conn, fx.Close)
	}
}

// collect asks the space what there is to tell.
func (w *worker) collect(conn *connection) {
	ns := conn.ns
	ns.mu.Lock()
	ns.space.Collect(w.s.now(), conn.v2.session, conn.v2.id, &w.effects)
	w.s.finish(ns, &w.effects)
}

// do has a request judged and done.
func (w *worker) do(c wsnet.Conn, conn *connection, r *wire.V2Request) {
	q := &w.request
	*q = session.Request{V2Request: *r, Explain: w.explain}
	if refusal := w.refuseV2(conn, q); refusal != nil {
		q.Refusal = refusal
	}
	w.place(conn, q)
	for w.effects.Undone && !conn.v2.closing {
		w.sendV2(c, conn)
		w.place(conn, q)
	}
	if w.s.settings.Load().LogLocks {
		w.logV2(c, conn, q)
	}
	w.tellV2(c, conn) // which may ask plugins: what they made of the request is gone then
	if w.s.stage.Load() != serving {
		w.lookV2(c, conn)
	}
}

// place gives a request to the space.
func (w *worker) place(conn *connection, q *session.Request) {
	ns := conn.ns
	ns.mu.Lock()
	if (q.Op == wire.V2Lock || q.Op == wire.V2Upgrade) && q.Refusal == nil && !w.s.mayDraw(ns) {
		q.Refusal = &session.Refusal{Code: wire.V2TryLater, Text: errNoIDs.text}
	}
	ns.space.Do(w.s.now(), conn.v2.session, conn.v2.id, q, &w.effects)
	w.s.finish(ns, &w.effects)
}

// refuseV2 says why a request must not be done; nil: it may.
func (w *worker) refuseV2(conn *connection, q *session.Request) *session.Refusal {
	switch q.Op {
	case wire.V2Lock:
		w.convert(q.Resources)
		q.Wanted = w.resources
		switch {
		case w.s.stage.Load() != serving:
			return &session.Refusal{Code: wire.V2Draining, Text: errGoingDown.text}
		case w.s.memory.Load() >= w.s.settings.Load().MemoryBytes:
			return &session.Refusal{Code: wire.V2TryLater, Text: errNoMemory.text}
		}
		return w.judgeV2(conn, host.Lock)
	case wire.V2Upgrade:
		if w.s.memory.Load() >= w.s.settings.Load().MemoryBytes {
			return &session.Refusal{Code: wire.V2TryLater, Text: errNoMemory.text}
		}
		return w.judgeUpgrade(conn, q)
	case wire.V2Inspect:
		return w.judgePath(conn, q, host.Inspect)
	case wire.V2Watch:
		if w.s.memory.Load() >= w.s.settings.Load().MemoryBytes {
			return &session.Refusal{Code: wire.V2TryLater, Text: errNoMemory.text}
		}
		return w.judgePath(conn, q, host.Watch)
	}
	return nil
}

// lookV2 tells a connection what the server's stage means for it.
func (w *worker) lookV2(c wsnet.Conn, conn *connection) {
	a := conn.v2
	stage := w.s.stage.Load()
	if stage == serving || a.closing {
		return
	}
	if stage == ending || a.session == nil || w.locks(conn) == 0 || w.s.inVain(conn.ns) {
		a.farewell = true
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2GoingDown, Message: []byte(errGoingDown.text)}, codeGoingAway)
		return
	}
	if !a.drained {
		a.drained = true
		w.say(c, &wire.V2Message{Notice: "draining", Millis: time.Until(time.Unix(0, w.s.drainEnd.Load())).Milliseconds()})
	}
}

func (w *worker) locks(conn *connection) int {
	conn.ns.mu.Lock()
	defer conn.ns.mu.Unlock()
	return conn.v2.session.Locks()
}

// notifyV2 takes up a token for a v2 connection.
func (w *worker) notifyV2(c wsnet.Conn, conn *connection, token uint64) {
	switch a := conn.v2; {
	case a.closing:
	case token == tokenLook:
		w.lookV2(c, conn)
	case token == tokenExpired && conn.client != nil && conn.client.expiry != nil:
		w.s.judged.expired.Add(1)
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2NotAllowed, Message: []byte(errExpired.text)}, codeDenied)
	case token == tokenCovered && a.parked != nil:
		w.unpark(c, conn)
	case token == tokenNoHello && a.parked != nil:
		w.failUncovered(c, conn)
	case token == tokenNoHello && a.session == nil:
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2NoHello, Message: []byte("no hello has come in time (limits.handshake_timeout)")}, codeNoHello)
	case token == tokenCollect && a.session != nil:
		w.collect(conn)
		w.tellV2(c, conn)
	}
}

// closedV2 ends a connection. Its session lives on for its time. Who has answered the closing handshake has read
// what was said before it.
func (w *worker) closedV2(c wsnet.Conn, conn *connection, why wsnet.Reason) {
	a := conn.v2
	w.s.greetings.remove(a.greeting)
	if a.parked != nil {
		w.s.lobby.leave(c.ID())
	}
	if a.session == nil {
		return
	}
	ns := conn.ns
	ns.mu.Lock()
	if a.farewell && why == wsnet.ReasonServerClosed {
		ns.space.Farewell(a.session, a.id)
	}
	ns.space.Detach(w.s.now(), a.session, a.id, &w.effects)
	w.s.finish(ns, &w.effects)
}

// logV2 logs a request that was done.
func (w *worker) logV2(c wsnet.Conn, conn *connection, q *session.Request) {
	log := w.s.log.With("conn", c.ID(), "namespace", conn.ns.name, "session", conn.v2.session.ID(), "request", q.ID)
	if q.Op == wire.V2Lock {
		log = log.With("resources", resourcesText(q.Wanted))
	}
	log.Info(q.Op.String())
}
