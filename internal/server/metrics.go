package server

import (
	"fmt"
	"net/http"
	"strings"
)

// metricsPage is the server in numbers, in the text format (version 0.0.4) that Prometheus and its like read.
func (s *Server) metricsPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	var m metrics
	s.presentMetrics(&m)
	s.countedMetrics(&m)
	s.pluginMetrics(&m)
	if _, err := w.Write(m.text); err != nil {
		s.log.Debug("metrics not sent", "error", err)
	}
}

// metrics is text in that format.
type metrics struct{ text []byte }

// sample is one number. The label is written like `kind="tls"`; "" is none.
type sample struct {
	label string
	value float64
}

// add adds a metric. The names of counters end with _total.
func (m *metrics) add(name, help string, samples ...sample) {
	kind := "gauge"
	if strings.HasSuffix(name, "_total") {
		kind = "counter"
	}
	m.text = fmt.Appendf(m.text, "# HELP locktopus_%s %s\n# TYPE locktopus_%s %s\n", name, help, name, kind)
	for _, x := range samples {
		if x.label != "" {
			x.label = "{" + x.label + "}"
		}
		m.text = fmt.Appendf(m.text, "locktopus_%s%s %g\n", name, x.label, x.value)
	}
}

// one is the sample of a metric that has only one.
func one[N int | int64 | uint64](n N) sample { return sample{value: float64(n)} }

// of is one of several.
func of[N int | int64 | uint64](name, value string, n N) sample {
	return sample{name + `="` + labelEscapes.Replace(value) + `"`, float64(n)}
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// presentMetrics are those that say how things are.
func (s *Server) presentMetrics(m *metrics) {
	held, waiting := 0, 0
	for _, ns := range s.spaces.all() {
		ns.mu.Lock()
		st := ns.engine.Stats()
		ns.mu.Unlock()
		held, waiting = held+st.Acquired, waiting+st.Waiting
	}
	failing := 0
	if s.fence.Err() != nil {
		failing = 1
	}
	owed := s.grace.owed()
	m.add("info", "The program.", of("version", s.version, 1))
	m.add("start_time_seconds", "When it was started, in Unix time.", sample{value: float64(s.born.UnixMilli()) / 1000})
	m.add("connections", "WebSocket connections.", one(s.open.Load()))
	m.add("sockets", "Connections of any kind, also of HTTP requests and of who has not said yet.", one(s.net.Stats().Sockets))
	m.add("sessions", "Sessions of version 2.", one(s.living.Load()))
	m.add("namespaces", "Namespaces that somebody uses.", one(s.spaces.count()))
	m.add("requests", "Lock requests that are there.", of("state", "held", held), of("state", "waiting", waiting))
	m.add("requests_bytes", "Memory that they take (limits.memory_bytes).", one(s.memory.Load()))
	m.add("abandoned_locks", "Locks of version 1 whose connections are lost.", one(s.abandoned.count()))
	m.add("state_failing", "1 while the state directory can't be written to.", one(failing))
	m.add("grace_seconds", "How much longer no lock is granted in some namespace, as clients of the server before may believe in theirs.",
		sample{value: owed.Longest().Seconds()})
}

// countedMetrics are those that count from the start.
func (s *Server) countedMetrics(m *metrics) {
	st := s.net.Stats()
	m.add("accepted_total", "Connections.", one(st.Accepted))
	m.add("messages_total", "Messages from clients.", one(st.Messages))
	m.add("received_bytes_total", "Bytes from clients.", one(st.BytesIn))
	m.add("sent_bytes_total", "Bytes to clients.", one(st.BytesOut))
	m.add("refused_total", "Connections that were refused, as there were too many or too many of an address, and HTTP upgrades.",
		of("what", "connection", st.RefusedConnections), of("what", "address", st.RefusedPerAddress), of("what", "upgrade", st.RefusedUpgrades))
	m.add("faults_total", "Faults of clients: in what they ask for, in WebSocket, in TLS.",
		of("kind", "request", s.faults.Load()), of("kind", "websocket", st.ProtocolErrors), of("kind", "tls", st.TLSErrors))
	m.add("too_slow_total", "Clients that took too long to shake hands, to send a message, to read, to answer a ping, to close.",
		of("what", "handshake", st.HandshakeTimeouts), of("what", "message", st.MessageTimeouts),
		of("what", "read", st.WriteTimeouts+st.Overflows), of("what", "ping", st.PingTimeouts), of("what", "close", st.CloseTimeouts))
	m.add("deadlocks_total", "Requests and upgrades that were refused, as they would have closed a deadlock.", one(s.stuck.Load()))
}

// pluginMetrics are those of plugins, if there are any.
func (s *Server) pluginMetrics(m *metrics) {
	if s.plugins == nil {
		return
	}
	all := s.plugins()
	if len(all) == 0 {
		return
	}
	j := &s.judged
	m.add("denied_total", "What plugins have denied.",
		of("what", "connection", j.deniedClients.Load()), of("what", "request", j.deniedRequests.Load()))
	m.add("unjudged_total", "What was refused, as plugins had failed to judge it.",
		of("what", "connection", j.failedClients.Load()), of("what", "request", j.failedRequests.Load()))
	m.add("expired_identities_total", "Connections and sessions that ended with what a plugin had said of their client.", one(j.expired.Load()))
	var calls, denials, failures, replaced []sample
	for _, p := range all {
		calls = append(calls, of("plugin", p.Name, p.Calls))
		denials = append(denials, of("plugin", p.Name, p.Denied))
		replaced = append(replaced, of("plugin", p.Name, p.Replaced))
		for _, x := range [...]sample{of("kind", "trap", p.Traps), of("kind", "overrun", p.Overruns), of("kind", "breach", p.Breaches), of("kind", "missing", p.Missing)} {
			failures = append(failures, sample{of("plugin", p.Name, 0).label + "," + x.label, x.value})
		}
	}
	m.add("plugin_calls_total", "Calls since a plugin was loaded.", calls...)
	m.add("plugin_denials_total", "Calls that a plugin has answered with a denial.", denials...)
	m.add("plugin_failures_total", "Calls that failed, by what became of them.", failures...)
	m.add("plugin_replaced_instances_total", "Instances that took the place of those that failed.", replaced...)
}
