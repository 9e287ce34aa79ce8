package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// Judge asks the plugins; *host.Caller is one. Each worker has its own and makes one call at a time.
type Judge interface {
	// Active says whether there is any plugin to ask.
	Active() bool
	// Authenticate asks who a client is that wants to connect.
	Authenticate(*host.Connect) (host.Identity, host.Verdict)
	// Judge puts what the paths of a request really mean in their place, and asks whether its client
	// may have them.
	Judge(*host.Request) host.Verdict
}

var _ Judge = (*host.Caller)(nil)

// A client is who stands behind a connection. One that connected when there were no plugins is nil.
type client struct {
	identity host.Identity
	remote   string                     // "ip:port"; empty for unix sockets
	expiry   *appointment[wsnet.ConnID] // nil: the identity holds as long as the connection
}

// judgements counts what came of asking the plugins.
type judgements struct {
	deniedClients, deniedRequests atomic.Uint64
	failedClients, failedRequests atomic.Uint64 // not judged, and so not let in
	expired                       atomic.Uint64 // authentications
}

var (
	errOlder   = &refusal{codeTryLater, "this connection is older than the server's plugins: connect again"}
	errExpired = &refusal{codeFault, "the authentication of this connection has expired: connect again"}
)

// challenge tells a client that wasn't let in what it could show: RFC 6750 section 3.
const challenge = `Bearer realm="locktopus"`

func (w *worker) judges() bool { return w.judge != nil && w.judge.Active() }

// authenticate asks the plugins who wants to connect. The client is nil if there are none.
func (w *worker) authenticate(r *wsnet.Request, p *params) (*client, *wsnet.Refusal) {
	if !w.judges() {
		return nil, nil
	}
	q := connectOf(r, p)
	id, v := w.judge.Authenticate(q)
	if v.Outcome == host.Allowed {
		return &client{identity: id, remote: q.Remote}, nil
	}
	no := w.s.refuse(&v)
	if w.s.settings.Load().LogClients {
		w.s.log.Info("client refused", "namespace", p.namespace, "remote", r.Remote, "error", no.Body)
	}
	return nil, no
}

// refuse is the answer to a client that plugins don't let in.
func (s *Server) refuse(v *host.Verdict) *wsnet.Refusal {
	switch v.Outcome {
	case host.Failed:
		s.judged.failedClients.Add(1)
		return &wsnet.Refusal{Status: http.StatusServiceUnavailable, Body: failure(v, "client")}
	case host.TooLong:
		return &wsnet.Refusal{
			Status: http.StatusRequestHeaderFieldsTooLarge,
			Body:   fmt.Sprintf("the request is longer than %s can be asked about: send fewer or shorter headers and parameters", judgeName(v)),
		}
	}
	s.judged.deniedClients.Add(1)
	if v.Code == host.CodeForbidden {
		return &wsnet.Refusal{Status: http.StatusForbidden, Body: denial(v)}
	}
	return &wsnet.Refusal{Status: http.StatusUnauthorized, Challenge: challenge, Body: denial(v)}
}

// authorize has the plugins judge the worker's resources, and replaces their paths by what they mean.
// The new ones are good until the judge's next call.
func (w *worker) authorize(conn *connection) error {
	if conn.client == nil {
		return errOlder
	}
	if v := w.ask(conn, host.Lock); v.Outcome != host.Allowed {
		return w.s.deny(&v)
	}
	return nil
}

// ask puts a question about the worker's resources to the plugins, and replaces their paths by what they mean
// if the answer is that they are allowed.
func (w *worker) ask(conn *connection, op host.Operation) host.Verdict {
	q := &w.question
	*q = host.Request{
		Namespace: conn.ns.name,
		Identity:  &conn.client.identity,
		Remote:    conn.client.remote,
		Operation: op,
		Resources: q.Resources[:0],
	}
	for i := range w.resources {
		q.Resources = append(q.Resources, host.Resource{Mode: judgedMode(w.resources[i].Mode), Path: w.resources[i].Path})
	}
	v := w.judge.Judge(q)
	if v.Outcome == host.Allowed {
		for i := range w.resources {
			w.resources[i].Path = q.Resources[i].Path
		}
	}
	return v
}

func judgedMode(m engine.Mode) host.Mode {
	switch m {
	case engine.Read:
		return host.Read
	case engine.Write:
		return host.Write
	case engine.Permit:
		return host.Permit
	}
	panic("server: a resource has an unknown mode")
}

// deny is the error of a request that plugins don't let through.
func (s *Server) deny(v *host.Verdict) error {
	switch v.Outcome {
	case host.Failed:
		s.judged.failedRequests.Add(1)
		return &refusal{codeTryLater, failure(v, "request")}
	case host.TooLong:
		return fmt.Errorf("the request is longer than %s can be asked about: send fewer resources or shorter paths", judgeName(v))
	}
	s.judged.deniedRequests.Add(1)
	return &refusal{codeFault, denial(v)}
}

// denial is, for example: denied by plugin "acl" (code 7): not yours
func denial(v *host.Verdict) string {
	text := "denied by " + judgeName(v)
	if v.Code != 0 {
		text += fmt.Sprintf(" (code %d)", v.Code)
	}
	if reason := oneLine(v.Reason); reason != "" {
		text += ": " + reason
	}
	return text
}

// failure is, for example: plugin "acl" could not judge this request: it took too long; try again later
func failure(v *host.Verdict, what string) string {
	text := fmt.Sprintf("%s could not judge this %s", judgeName(v), what)
	if reason := oneLine(v.Reason); reason != "" {
		text += ": " + reason
	}
	return text + "; try again later"
}

func judgeName(v *host.Verdict) string {
	if v.Plugin == "" {
		return "the server's plugins"
	}
	return fmt.Sprintf("plugin %q", v.Plugin)
}

// oneLine makes a plugin's text fit to stand in an answer or a log: what doesn't show, line breaks
// and marks that turn the direction of writing among it, becomes a space, and several become one.
func oneLine(text []byte) string {
	shown := strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, string(text))
	return strings.Join(strings.Fields(shown), " ")
}

// limitKeys are the settings that limit what the engine takes.
var limitKeys = map[engine.Reason]string{
	engine.TooManyResources: "limits.resources",
	engine.TooManySegments:  "limits.path_segments",
	engine.SegmentTooLong:   "limits.segment_bytes",
	engine.TooManyRequests:  "limits.namespace_requests",
	engine.TooManyBytes:     "limits.namespace_bytes",
}

// explained is an error of the engine for a client. It names the setting that is behind it, and says so if it is about a
// path that the client hasn't sent: plugins may have put another in its place.
func explained(err error, sent []wire.Resource, taken []engine.Resource) error {
	e, ok := errors.AsType[*engine.RequestError](err)
	if !ok {
		return err
	}
	if key := limitKeys[e.Reason]; key != "" {
		err = fmt.Errorf("%w (%s)", err, key)
	}
	if e.Resource < 0 || samePath(sent[e.Resource].Path, taken[e.Resource].Path) {
		return err
	}
	return fmt.Errorf("%w: that is the path which the server's plugins have put in the place of the one sent", err)
}

// samePath says whether two paths are one in memory.
func samePath(a, b [][]byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// limitTime has a connection told when its client's authentication ends, if it does.
func (s *Server) limitTime(id wsnet.ConnID, who *client) {
	if who != nil && who.identity.TTL > 0 {
		who.expiry = s.expiries.add(time.Now().Add(who.identity.TTL), id)
	}
}

// forgetTime takes back what limitTime did, so that a connection leaves nothing behind.
func (s *Server) forgetTime(who *client) {
	if who != nil && who.expiry != nil {
		s.expiries.remove(who.expiry)
		who.expiry = nil
	}
}

// expire ends a connection whose client's authentication has come to its end.
func (w *worker) expire(c wsnet.Conn, conn *connection) {
	if conn.client.expiry == nil {
		return // closing already
	}
	w.s.judged.expired.Add(1)
	w.fail(c, conn, errExpired)
}

const otherMeaning = "the server's plugins don't take this lock's paths for what they took them for when it was locked: release it and lock again"

// judgeUpgrade has plugins judge the writes that an upgrade makes of a lock's reads, as if they were asked for
// by a lock request.
func (w *worker) judgeUpgrade(conn *connection, q *session.Request) *session.Refusal {
	if !w.judges() {
		return nil
	}
	conn.ns.mu.Lock()
	w.resources = conn.ns.space.Reads(conn.v2.session, conn.v2.id, &q.V2Request, w.resources[:0])
	conn.ns.mu.Unlock()
	if len(w.resources) == 0 {
		return nil
	}
	for i := range w.resources {
		w.resources[i].Mode = engine.Write
	}
	known := slices.Clone(w.resources)
	if no := w.judgeV2(conn, host.Lock); no != nil {
		return no
	}
	for i := range known {
		if !equalPaths(known[i].Path, w.resources[i].Path) {
			return &session.Refusal{Code: wire.V2NotAllowed, Text: otherMeaning}
		}
	}
	return nil
}

// judgePath has plugins judge who wants to look at a path, and what it means.
func (w *worker) judgePath(conn *connection, q *session.Request, op host.Operation) *session.Refusal {
	w.resources = append(w.resources[:0], engine.Resource{Mode: engine.Read, Path: q.Path})
	no := w.judgeV2(conn, op)
	q.Path = w.resources[0].Path
	return no
}

// judgeV2 has plugins judge the worker's resources.
func (w *worker) judgeV2(conn *connection, op host.Operation) *session.Refusal {
	if !w.judges() {
		return nil
	}
	if conn.client == nil {
		return &session.Refusal{Code: wire.V2TryLater, Text: errOlder.text}
	}
	v := w.ask(conn, op)
	if v.Outcome == host.Allowed {
		return nil
	}
	no := w.s.deny(&v)
	switch v.Outcome {
	case host.Failed:
		return &session.Refusal{Code: wire.V2TryLater, Text: no.Error()}
	case host.TooLong:
		return &session.Refusal{Code: wire.V2Limit, Text: no.Error()}
	}
	return &session.Refusal{Code: wire.V2NotAllowed, Text: oneLine(v.Reason), Plugin: v.Plugin, Number: int64(v.Code)}
}
