package server

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// greetingsMax is how many hellos of one connection may fail: to go on with a session that isn't there, for example.
const greetingsMax = 3

// hello begins a session or goes on with one, once plugins have said who this is.
func (w *worker) hello(c wsnet.Conn, conn *connection, h *wire.V2Greeting) {
	if w.s.stage.Load() != serving && !h.Resume {
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2GoingDown, Message: []byte(errGoingDown.Error())}, codeGoingAway)
		return
	}
	if w.identify(c, conn, h) {
		w.enter(c, conn, h)
	}
}

// enter begins a session or goes on with one for a client that was let in.
func (w *worker) enter(c wsnet.Conn, conn *connection, h *wire.V2Greeting) {
	var err error
	if h.Resume {
		err = w.resume(c, conn, h)
	} else {
		err = w.begin(c, conn, h)
	}
	switch {
	case err == nil:
		w.s.greetings.remove(conn.v2.greeting)
		w.welcome(c, conn)
		return
	case errors.Is(err, session.ErrPrincipal):
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2NotAllowed, Message: []byte(err.Error())}, codeDenied)
		return
	}
	if u, waits := errors.AsType[*uncovered](err); waits {
		w.park(c, conn, h, u.span)
		return
	}
	no, ours := errors.AsType[*refusal](err)
	if ours {
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2TryLater, Message: []byte(no.text)}, no.code)
		return
	}
	m := &wire.V2Message{Error: wire.V2NoSession, Message: []byte(err.Error()), Epoch: w.s.epoch}
	if !h.Resume {
		m.Error, m.Epoch = wire.V2Limit, nil
	}
	if conn.v2.tries++; conn.v2.tries == greetingsMax {
		w.failV2(c, conn, m, codeFault)
		return
	}
	w.say(c, m)
}

var (
	errSessions     = &refusal{codeTryLater, "the server has as many sessions as it may have (limits.sessions); try again later"}
	errSessionsFrom = &refusal{codeTryLater, "this address has as many sessions as it may have (limits.sessions_per_address), " +
		"also those that have no connection at the moment; end some with bye, or try again later"}
)

func (w *worker) begin(c wsnet.Conn, conn *connection, h *wire.V2Greeting) error {
	set := w.s.settings.Load()
	if w.s.memory.Load() >= set.MemoryBytes {
		return errNoMemory
	}
	defer w.s.living.Add(-1) // by then finish has counted the session, if there is one
	if w.s.living.Add(1) > int64(set.SessionsMax) {
		return errSessions
	}
	if n := w.s.homes.add(conn.from, 1); set.SessionsFrom > 0 && n > set.SessionsFrom {
		w.s.homes.add(conn.from, -1)
		return errSessionsFrom
	}
	ns := conn.ns
	ns.mu.Lock()
	w.s.spaceOf(ns)
	ttl := ns.space.Granted(h.TTLMS)
	span := stepOf(ttl, set.Sessions.TTLDefault, set.Sessions.TTLMax)
	w.s.spans.add(span, 1) // before it is asked whether it is covered: see fence.Relax
	var err error
	if !w.s.fence.Covers(ttl) {
		ns.mu.Unlock()
		err = &uncovered{span}
	} else {
		conn.v2.session, err = ns.space.Open(w.s.now(), uint64(c.ID()), session.Hello{
			ID: randomText(), Secret: []byte(randomText()), Principal: principalOf(conn), Remote: conn.v2.remote,
			Name: h.Name, TTL: h.TTLMS, Home: uint64(conn.from), Span: int64(span),
		}, &w.effects)
		w.s.finish(ns, &w.effects)
	}
	if err != nil {
		w.s.homes.add(conn.from, -1)
		w.s.spans.add(span, -1)
	}
	return err
}

func (w *worker) resume(c wsnet.Conn, conn *connection, h *wire.V2Greeting) error {
	ns := conn.ns
	ns.mu.Lock()
	w.s.spaceOf(ns)
	var err error
	conn.v2.session, err = ns.space.Resume(w.s.now(), uint64(c.ID()), session.Resumption{
		ID: string(h.Session), Secret: h.Secret, New: []byte(randomText()), Principal: principalOf(conn), Remote: conn.v2.remote,
		Event: h.Event,
	}, &w.effects)
	w.s.finish(ns, &w.effects)
	return err
}

// identify asks plugins who says hello. False: the connection is over.
func (w *worker) identify(c wsnet.Conn, conn *connection, h *wire.V2Greeting) bool {
	q := conn.v2.connect
	if !w.judges() {
		return true
	}
	if q == nil { // it connected when there were no plugins
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2TryLater, Message: []byte(errOlder.Error())}, codeTryLater)
		return false
	}
	fields := q.Fields
	for _, cr := range h.Credentials {
		q.Fields = append(q.Fields, host.Field{Kind: host.Credential, Name: string(cr.Name), Value: string(cr.Value)})
	}
	slices.SortStableFunc(q.Fields[len(fields):], func(a, b host.Field) int { return strings.Compare(a.Name, b.Name) })
	id, v := w.judge.Authenticate(q)
	clear(q.Fields[len(fields):])
	q.Fields = fields
	if v.Outcome != host.Allowed {
		w.turnAway(c, conn, &v)
		return false
	}
	conn.client = &client{identity: id, remote: q.Remote}
	return true
}

// turnAway ends the connection of a client that plugins don't let in.
func (w *worker) turnAway(c wsnet.Conn, conn *connection, v *host.Verdict) {
	no := w.s.refuse(v)
	switch v.Outcome {
	case host.Failed:
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2TryLater, Message: []byte(no.Body)}, codeTryLater)
	case host.TooLong:
		w.failV2(c, conn, &wire.V2Message{Error: wire.V2Limit, Message: []byte(no.Body)}, codeFault)
	default:
		w.failV2(c, conn, &wire.V2Message{
			Error: wire.V2NotAllowed, Message: []byte(oneLine(v.Reason)), Plugin: []byte(v.Plugin), Code: int64(v.Code),
		}, codeDenied)
	}
}

// principalOf is who a connection's client is; empty if nobody said so.
func principalOf(conn *connection) string {
	if conn.client == nil {
		return ""
	}
	return conn.client.identity.Principal
}

// welcome sends what a hello has led to.
func (w *worker) welcome(c wsnet.Conn, conn *connection) {
	a := conn.v2
	a.connect = nil
	w.s.limitTime(c.ID(), conn.client)
	fx := &w.effects
	fx.Welcome.Epoch, fx.Welcome.Durable = w.s.epoch, w.s.fence.Dir() != ""
	fx.Welcome.MessageBytes, fx.Welcome.MessageValues = w.s.messageBytes(), cmp.Or(w.s.settings.Load().MessageValues, wire.V2Values)
	w.out = wire.AppendV2Welcome(w.out[:0], &fx.Welcome)
	c.Send(w.out)
	w.tellV2(c, conn)
	w.lookV2(c, conn)
}
