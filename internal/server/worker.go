package server

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// Close codes of v1.
const (
	codeGoingAway = 1001 // RFC 6455, 7.4.1: the server is going down
	codeTryLater  = 1013 // IANA's registry of close codes: not now, and not the client's fault
	codeFault     = 3000 // the client broke the protocol, or may not do this, after a text that says which
)

// Tokens that aren't fencing ids: those start at 1 and are below 2^63.
const (
	tokenLook    = 0                // look at the server's stage
	tokenExpired = math.MaxUint64   // the client's authentication has expired
	tokenCollect = tokenExpired - 1 // v2: there is something to tell
	tokenNoHello = tokenExpired - 2 // v2: the client had time enough to say who it is
	tokenRevoked = tokenExpired - 3 // v1: an administrator has released the connection's lock
	tokenCovered = tokenExpired - 4 // v2: the disk was written, or can't be, for which a hello waits
)

const tooManyConnections = "the server has as many connections as it may have (limits.connections)"

// refusal is an error that ends a connection, and no fault of its client's protocol.
type refusal struct {
	code uint16 // of the close frame
	text string
}

func (r *refusal) Error() string { return r.text }

// worker serves the connections of one loop. It holds the memory that one call needs, so that a
// message allocates nothing: wsnet runs one call of a worker at a time.
type worker struct {
	s         *Server
	judge     Judge // nil: there are no plugins, ever
	parser    wire.V1Parser
	resources []engine.Resource
	question  host.Request
	effects   session.Effects
	parser2   wire.V2Parser
	request   session.Request
	explain   func(error) error // see explained; made once, as each making allocates
	out       []byte
}

func (s *Server) newWorker() *worker {
	w := &worker{s: s}
	w.explain = func(err error) error { return explained(err, w.request.Resources, w.request.Wanted) }
	if s.newJudge != nil {
		w.judge = s.newJudge()
	}
	return w
}

// Open decides on an upgrade: the stage, the address, the origin, the parameters, and then, as that
// costs most, what plugins say.
func (w *worker) Open(c wsnet.Conn, r *wsnet.Request) *wsnet.Refusal {
	set := w.s.settings.Load()
	if w.s.stage.Load() != serving {
		return &wsnet.Refusal{Status: 503, Body: errGoingDown.Error()}
	}
	if r.Path != "/v1" && r.Path != "/v2" {
		return &wsnet.Refusal{Status: 404, Body: fmt.Sprintf("no WebSocket endpoint at %q: connect to /v1?namespace=NAME or /v2?namespace=NAME", r.Path)}
	}
	if origin := r.Header.Get("Origin"); !set.allows(origin) {
		return &wsnet.Refusal{Status: 403, Body: fmt.Sprintf("origin %q is not allowed here (server.allowed_origins)", origin)}
	}
	if r.Path == "/v2" {
		return w.openV2(c, r, set)
	}
	p, err := set.parseV1(r.RawQuery)
	if err != nil {
		return &wsnet.Refusal{Status: 400, Body: err.Error()}
	}
	from := originOf(r.Remote.Addr())
	if w.s.abandoned.from(from) > set.Abandoned {
		return &wsnet.Refusal{Status: 503, Body: "clients of this address have left more locks behind than they may (limits.abandoned_per_address); try again when their abandon timeouts have run out"}
	}
	who, refused := w.authenticate(r, &p)
	if refused != nil {
		return refused
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
	*conn = connection{ns: ns, from: from, abandon: p.abandon, client: who}
	c.SetUser(uint64(i))
	w.s.opened()
	w.s.limitTime(c.ID(), who)
	if set.LogClients {
		w.logClient(c, r, &p, who)
	}
	return nil
}

// logClient logs who has connected. Queries, headers and what plugins keep of a client may hold
// credentials: they stay out of the log.
func (w *worker) logClient(c wsnet.Conn, r *wsnet.Request, p *params, who *client) {
	log := w.s.log.With("conn", c.ID(), "namespace", p.namespace, "remote", r.Remote, "abandon_timeout", p.abandon)
	if who != nil {
		log = log.With("principal", who.identity.Principal, "ttl", who.identity.TTL)
	}
	log.Info("client connected")
}

// Message takes one request of a client.
func (w *worker) Message(c wsnet.Conn, msg []byte) {
	conn := w.connection(c)
	if conn.v2 != nil {
		w.messageV2(c, conn, msg)
		return
	}
	w.parser.Values = w.s.settings.Load().MessageValues
	r, err := w.parser.Parse(msg)
	switch {
	case err != nil:
	case r.Action == wire.V1Lock:
		err = w.lock(c, conn, r)
	default:
		err = w.release(c, conn)
	}
	if err != nil {
		w.fail(c, conn, err)
	}
}

// Notify takes up a token: a grant made on another connection's call, the wish that the connection
// look at the server's stage, or the end of its client's authentication.
func (w *worker) Notify(c wsnet.Conn, token uint64) {
	conn := w.connection(c)
	if conn.v2 != nil {
		w.notifyV2(c, conn, token)
		return
	}
	switch token {
	case tokenLook:
		w.look(c, conn)
		return
	case tokenExpired:
		w.expire(c, conn)
		return
	case tokenRevoked:
		if err := w.bereave(conn); err != nil {
			w.fail(c, conn, err)
		}
		return
	}
	if token < conn.id || conn.state != wire.V1Enqueued {
		return // of a lock before, or told already: see release
	}
	conn.id = token
	w.tell(c, conn, wire.V1Lock, wire.V1Acquired)
	if w.s.settings.Load().LogLocks {
		w.logLock(c, conn, "lock acquired after waiting")
	}
}

// Closed ends a connection. A lock the client was told to have outlives it for the abandon timeout; a
// request it was never told to have goes at once, even if it was granted meanwhile: nobody can
// believe to hold it.
func (w *worker) Closed(c wsnet.Conn, why wsnet.Reason) {
	conn := w.connection(c)
	ns := conn.ns
	w.s.forgetTime(conn.client)
	if conn.v2 != nil {
		w.closedV2(c, conn, why)
	} else {
		w.part(c, conn)
	}
	w.s.connections.give(uint32(c.User()))
	w.s.spaces.leave(ns)
	if w.s.settings.Load().LogClients {
		w.s.log.Info("client disconnected", "conn", c.ID(), "namespace", ns.name, "reason", why)
	}
	w.s.closed()
}

func (w *worker) connection(c wsnet.Conn) *connection { return w.s.connections.at(uint32(c.User())) }

var errNotReady = errors.New("lock is not allowed now: this connection has a lock, release it first")

// lock enqueues a request and tells what came of it.
func (w *worker) lock(c wsnet.Conn, conn *connection, r wire.V1Request) error {
	if conn.state != wire.V1Ready {
		return errNotReady
	}
	if w.s.stage.Load() != serving {
		return errGoingDown
	}
	w.convert(r.Resources)
	if w.judges() {
		if err := w.authorize(conn); err != nil {
			return err
		}
	}
	placed, err := w.enqueue(uint64(c.ID()), conn.ns)
	if err != nil {
		return explained(err, r.Resources, w.resources)
	}
	conn.lock, conn.id = placed.Handle, placed.Seq
	state := wire.V1Enqueued
	if placed.Acquired {
		conn.id, state = placed.Token, wire.V1Acquired
	}
	w.tell(c, conn, wire.V1Lock, state)
	if w.s.settings.Load().LogLocks {
		w.logLock(c, conn, "lock "+state.String(), "resources", resourcesText(w.resources))
	}
	return nil
}

// enqueue gives the worker's resources to the engine. An id is drawn only when it was reserved
// durably: none may ever be given twice, also over a crash.
func (w *worker) enqueue(owner uint64, ns *namespace) (engine.Placed, error) {
	if w.s.memory.Load() >= w.s.settings.Load().MemoryBytes {
		return engine.Placed{}, errNoMemory
	}
	ns.mu.Lock()
	if !w.s.mayDraw(ns) {
		ns.mu.Unlock()
		return engine.Placed{}, errNoIDs
	}
	placed, err := ns.lockV1(w.s.now(), owner, w.resources, &w.effects)
	w.s.finish(ns, &w.effects)
	return placed, err
}

// convert puts a message's resources into the engine's form. Nothing is copied but slice headers:
// the engine reads the paths during the call.
func (w *worker) convert(rs []wire.Resource) {
	w.resources = w.resources[:0]
	for i := range rs {
		w.resources = append(w.resources, engine.Resource{Mode: modeOf(rs[i].Type), Path: rs[i].Path, Limit: rs[i].Limit, Weight: rs[i].Weight})
	}
}

func modeOf(t wire.Type) engine.Mode {
	switch t {
	case wire.Write:
		return engine.Write
	case wire.Permit:
		return engine.Permit
	}
	return engine.Read
}

var errNothingToRelease = errors.New("release is not allowed now: this connection has no lock")

// release gives the connection's lock up, or takes its request out of the queue. A grant that
// crossed it on its way is told first.
func (w *worker) release(c wsnet.Conn, conn *connection) error {
	if conn.state == wire.V1Ready {
		return errNothingToRelease
	}
	released, ok := w.s.release(conn.ns, conn.lock, &w.effects)
	if !ok {
		return w.bereave(conn)
	}
	if released.Acquired && conn.state == wire.V1Enqueued {
		conn.id = released.Token
		w.tell(c, conn, wire.V1Lock, wire.V1Acquired)
	}
	w.tell(c, conn, wire.V1Release, wire.V1Ready)
	if w.s.settings.Load().LogLocks {
		w.logLock(c, conn, "lock released")
	}
	conn.forget()
	w.look(c, conn)
	return nil
}

// tell sends the connection's new state.
func (w *worker) tell(c wsnet.Conn, conn *connection, action wire.V1Action, state wire.V1State) {
	conn.state = state
	w.out = wire.AppendV1(w.out[:0], conn.id, action, state)
	c.Send(w.out)
}

// logLock writes a line about the connection's lock. Callers ask first whether locks are logged at all,
// because making the arguments allocates.
func (w *worker) logLock(c wsnet.Conn, conn *connection, what string, more ...any) {
	w.s.log.With("conn", c.ID(), "namespace", conn.ns.name, "id", conn.id).Info(what, more...)
}

// fail ends a connection that broke the protocol, or whose request the server can't or mustn't serve:
// a text that says why, the close code, and its lock goes the way of any lost connection's.
func (w *worker) fail(c wsnet.Conn, conn *connection, err error) {
	w.out = wire.AppendV1Error(w.out[:0], err)
	c.Send(w.out)
	var r *refusal
	if errors.As(err, &r) {
		w.hangUp(c, conn, r.code, "")
	} else {
		w.hangUp(c, conn, codeFault, "")
		w.s.faults.Add(1)
	}
	if w.s.settings.Load().LogClients {
		w.s.log.Info("client refused", "conn", c.ID(), "namespace", conn.ns.name, "error", err)
	}
	w.part(c, conn)
}

// look closes a connection that the server has no more use for: while draining one without a
// lock, or that waits for one in vain, afterwards all.
func (w *worker) look(c wsnet.Conn, conn *connection) {
	switch stage := w.s.stage.Load(); {
	case stage == ending, stage == draining && (conn.state == wire.V1Ready || w.s.inVain(conn.ns)):
		w.hangUp(c, conn, codeGoingAway, "the server is shutting down")
	}
}

// hangUp closes a connection from our side. No end of its client's authentication is waited for any more.
func (w *worker) hangUp(c wsnet.Conn, conn *connection, code uint16, reason string) {
	c.Close(code, reason)
	w.s.forgetTime(conn.client)
}

// part takes a connection's lock from it.
func (w *worker) part(c wsnet.Conn, conn *connection) {
	if conn.state != wire.V1Ready && w.bereave(conn) != nil {
		return
	}
	if conn.state == wire.V1Acquired && conn.abandon > 0 {
		w.s.spaces.share(conn.ns)
		w.s.abandoned.add(time.Now().Add(conn.abandon), abandonment{ns: conn.ns, lock: conn.lock, from: conn.from})
	} else if conn.state != wire.V1Ready {
		w.s.release(conn.ns, conn.lock, &w.effects)
	}
	if conn.state != wire.V1Ready && w.s.settings.Load().LogLocks {
		w.logLock(c, conn, "connection lost with a lock "+conn.state.String(), "abandon_timeout", conn.abandon)
	}
	conn.forget()
}
