package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// pages serves what isn't a WebSocket: for people, for monitors, for browsers that ask first.
func (s *Server) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.statusPage)
	mux.HandleFunc("GET /healthz", s.healthPage)
	mux.HandleFunc("GET /metrics", s.metricsPage)
	mux.HandleFunc("GET /stats", s.statsPage)
	mux.HandleFunc("GET /stats_v1", s.statsPage)
	mux.HandleFunc("GET /v1", s.upgradePage)
	mux.HandleFunc("GET /v2", s.upgradePage)
	return s.crossOrigin(mux)
}

// crossOrigin lets pages of allowed origins read the answers, and answers their OPTIONS requests.
func (s *Server) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); origin != "" && s.settings.Load().allows(origin) {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
			if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
				h.Set("Access-Control-Allow-Headers", asked)
			}
		}
		if r.Method == http.MethodOptions {
			h.Set("Allow", "GET, HEAD, OPTIONS")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) statusPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	ids := "reserved durably: they never repeat, also over restarts"
	if s.fence.Dir() == "" {
		ids = "kept in memory only (state.dir is empty): they start again when the server does"
	}
	st := s.net.Stats()
	fmt.Fprintf(w, `Locktopus %s, a lock server

connections  %d
sockets      %d (those of connections, of HTTP requests, and of who has not said yet)
sessions     %d of version 2
namespaces   %d
memory       %d bytes for lock requests
left behind  %d locks of lost connections
fencing ids  %s
%s
since the start
accepted     %d connections, %d messages, %d bytes in, %d bytes out
refused      %d connections (all together), %d (of one address), %d upgrades
faults       %d of clients, %d of WebSocket, %d of TLS
deadlocks    %d (requests and upgrades that were refused as they would have closed one)
too slow     %d handshakes, %d messages, %d readers, %d without a pong, %d closing
%s
/v2?namespace=NAME                        WebSocket: sessions with any number of locks
/v1?namespace=NAME&abandon-timeout-ms=T   WebSocket: one lock for each connection
/metrics                                  the server in numbers, as Prometheus reads them
/stats?namespace=NAME                     a namespace in numbers (JSON)
/healthz                                  is the server able to grant locks?
`, s.version, s.open.Load(), st.Sockets, s.living.Load(), s.spaces.count(), s.memory.Load(), s.abandoned.count(), ids, s.graceText("grace        %s\n"),
		st.Accepted, st.Messages, st.BytesIn, st.BytesOut,
		st.RefusedConnections, st.RefusedPerAddress, st.RefusedUpgrades,
		s.faults.Load(), st.ProtocolErrors, st.TLSErrors, s.stuck.Load(),
		st.HandshakeTimeouts, st.MessageTimeouts, st.WriteTimeouts+st.Overflows, st.PingTimeouts, st.CloseTimeouts,
		s.pluginsText())
}

// graceText says for how long no lock is granted, in a format; it is empty if they are.
func (s *Server) graceText(format string) string {
	owed := s.grace.owed()
	left, where := owed.Others, ""
	if left == 0 {
		left = owed.Longest()
		waiting := 0
		for _, named := range owed.Named {
			if named > 0 {
				waiting++
			}
		}
		where = fmt.Sprintf(" in %d of the namespaces", waiting)
	}
	if left == 0 {
		return ""
	}
	return fmt.Sprintf(format, fmt.Sprintf("no lock is granted%s for another %v: clients of the server before may believe in theirs until then (state.grace)",
		where, left.Round(100*time.Millisecond)))
}

// pluginsText is the plugins' part of the status page, empty if there are none.
func (s *Server) pluginsText() string {
	if s.plugins == nil {
		return ""
	}
	all, j := s.plugins(), &s.judged
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `
plugins
denied       %d connections, %d requests
not judged   %d connections, %d requests
expired      %d authentications
`, j.deniedClients.Load(), j.deniedRequests.Load(), j.failedClients.Load(), j.failedRequests.Load(), j.expired.Load())
	for _, p := range all {
		fmt.Fprintf(&b, "plugin       %s: %d calls, %d denied, %d traps, %d overruns, %d breaches, %d missing, %d replaced\n",
			p.Name, p.Calls, p.Denied, p.Traps, p.Overruns, p.Breaches, p.Missing, p.Replaced)
	}
	return b.String()
}

// healthPage says whether locks can be granted. Ids that are reserved already go on when no more can
// be: that is a warning, and no reason to restart a server whose clients hold locks. Nor is a grace period, which a
// restart would begin anew. Sessions count once there are clients that want any.
func (s *Server) healthPage(w http.ResponseWriter, _ *http.Request) {
	err := s.fence.Err()
	switch id := s.noID.Load(); {
	case id != 0 && !s.fence.Allows(id) && err != nil:
		plain(w, http.StatusServiceUnavailable, "no locks are granted: fencing ids cannot be reserved: "+err.Error())
	case id != 0 && !s.fence.Allows(id):
		plain(w, http.StatusServiceUnavailable, "no locks are granted: the next fencing ids are being reserved")
	case err != nil && s.parked.Load() && !s.fence.Covers(s.settings.Load().Sessions.TTLDefault):
		plain(w, http.StatusServiceUnavailable, "no session of version 2 begins, as the disk cannot be told of it: "+err.Error())
	case err != nil:
		plain(w, http.StatusOK, "ok, but not for long: fencing ids cannot be reserved: "+err.Error())
	default:
		plain(w, http.StatusOK, "ok"+s.graceText(", but %s"))
	}
}

// upgradePage answers a request for v1 or v2 that isn't a WebSocket upgrade, its own faults first.
func (s *Server) upgradePage(w http.ResponseWriter, r *http.Request) {
	parse := s.settings.Load().parseV1
	if r.URL.Path == "/v2" {
		parse = s.settings.Load().parseV2
	}
	if _, err := parse(r.URL.RawQuery); err != nil {
		plain(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Upgrade", "websocket")
	plain(w, http.StatusUpgradeRequired, "this endpoint speaks WebSocket: connect with a WebSocket client (ws:// or wss://)")
}

// statsV1 is a namespace in numbers, at one moment. Its names are those that v1's users know; each
// lock request is a group, each of its resources a lock.
type statsV1 struct {
	LastGroupID    uint64 // the highest fencing id so far
	GroupsPending  int    // requests that wait
	GroupsAcquired int    // requests that are acquired, abandoned ones included
	Locks          int    // resources of all requests
	LockrefCount   int    // entries in the tree: one for each path segment and one for each path
	PathCount      int    // nodes of the tree, its root included
	Users          int    // connections, abandoned locks, and one if there are sessions
	Bytes          int64  // memory in use for all that
}

func (s *Server) statsPage(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get(paramNamespace)
	if err := s.settings.Load().checkNamespace(name); err != nil {
		plain(w, http.StatusBadRequest, err.Error())
		return
	}
	ns, users := s.spaces.find(name)
	if ns == nil {
		plain(w, http.StatusNotFound, "nobody uses a namespace of this name")
		return
	}
	ns.mu.Lock()
	es, last := ns.engine.Stats(), ns.engine.Last()
	ns.mu.Unlock()
	s.spaces.leave(ns)
	st := statsV1{
		LastGroupID: last, GroupsPending: es.Waiting, GroupsAcquired: es.Acquired, Locks: es.Resources,
		LockrefCount: es.Entries, PathCount: es.Nodes, Users: users, Bytes: es.Bytes,
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(st); err != nil {
		s.log.Debug("statistics not sent", "error", err)
	}
}

// plain answers with a sentence.
func plain(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, sentence)
}
