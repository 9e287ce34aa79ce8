package wsnet

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/ws"
)

// headEnd finds the end of a request head, its blank line included, the way net/http and ws.Upgrader
// do: a line may end in LF alone. It returns 0 while there is none. The first from bytes of b are
// known to hold no end.
func headEnd(b []byte, from int) int {
	for i := max(0, from-2); i < len(b); i++ {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0
		}
		i += j
		switch rest := b[i+1:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 2
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 3
		}
	}
	return 0
}

// headFacts is what a request head says that must be known before it is decided who answers it.
type headFacts struct {
	websocket  bool // it asks for an upgrade to WebSocket
	malformed  bool // a line that two readers might understand differently
	body       bool // it announces one, which would be taken for frames
	connection bool // Connection names Upgrade
	badHost    bool
	badKey     bool

	hosts, keys, versions int // header lines
}

// scanHead looks through a whole request head. ws.Upgrader would answer a plain GET with 400 and
// HTTP/1.0 with 505; both are net/http's to answer: a server ignores Upgrade in HTTP/1.0 (RFC 9110
// section 7.8). It also accepts folded lines, and spaces before a colon (RFC 9112 sections 5.1 and
// 5.2: reject them), any key of 24 bytes (RFC 6455 section 4.2.1: 16 bytes in base64), and repeated
// headers of which it takes the last.
func scanHead(head []byte) (f headFacts) {
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	version := line[bytes.LastIndexByte(line, ' ')+1:]
	if string(version) == "HTTP/1.0" {
		return f
	}
	// ws.Upgrader reads the version as numbers, of which it takes 1.10, 01.1 and 1.< for some.
	f.malformed = !isVersion(version) || bytes.Count(line, []byte(" ")) != 2 || !isFieldValue(line)

	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		f.malformed = f.malformed || !ok || !isToken(name) || !isFieldValue(value)
		f.add(name, bytes.TrimSpace(value))
	}
	return f
}

// add takes note of a header line. Those that hold lists may come on several, which mean the same
// as one: RFC 9110 section 5.3.
func (f *headFacts) add(name, value []byte) {
	switch strings.ToLower(string(name)) {
	case "upgrade":
		f.websocket = f.websocket || hasToken(value, "websocket")
	case "connection":
		f.connection = f.connection || hasToken(value, "Upgrade")
	case "host":
		f.hosts++
		f.badHost = f.badHost || !isHost(value)
	case "sec-websocket-key":
		f.keys++
		f.badKey = f.badKey || !isKey(value)
	case "sec-websocket-version":
		f.versions++
	case "content-length":
		f.body = f.body || string(value) != "0"
	case "transfer-encoding":
		f.body = true
	}
}

// objection is why an upgrade request is refused, of what ws.Upgrader would let pass; empty: nothing.
func (f *headFacts) objection() string {
	switch {
	case f.malformed:
		return "malformed header"
	case f.hosts != 1, f.badHost: // RFC 9112 section 3.2
		return "exactly one valid Host is needed"
	case !f.connection: // RFC 6455 section 4.2.1
		return "Connection must name Upgrade"
	case f.keys != 1, f.badKey: // RFC 6455 sections 4.2.1 and 11.3.1
		return "exactly one Sec-WebSocket-Key is needed, 16 bytes in base64"
	case f.versions != 1: // RFC 6455 sections 4.2.1 and 11.3.5
		return "exactly one Sec-WebSocket-Version is needed"
	case f.body: // RFC 9110 section 7.8: an upgrade comes behind the whole request
		return "an upgrade request must have no body"
	}
	return ""
}

const plainUpgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n"

// plainHead is a copy of a head that has nothing objectionable, its Upgrade and Connection in the
// only form that ws.Upgrader knows: once each, and no list in Upgrade.
func plainHead(head []byte) []byte {
	dst, first := make([]byte, 0, len(head)+len(plainUpgrade)), true
	for line := range bytes.Lines(head) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch {
		case first:
			dst, first = append(append(dst, line...), plainUpgrade...), false
		case bytes.EqualFold(name, []byte("Upgrade")), bytes.EqualFold(name, []byte("Connection")):
		default:
			dst = append(dst, line...)
		}
	}
	return dst
}

// isVersion says whether b is a version of HTTP: RFC 9112 section 2.3.
func isVersion(b []byte) bool {
	return len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && isDigit(b[5]) && b[6] == '.' && isDigit(b[7])
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isHost says whether a Host could be one: the characters of a host and a port, RFC 3986 section 3.2.
func isHost(v []byte) bool {
	for _, c := range v {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"#,/<>?@\^`+"`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

// isToken says whether b is a header field's name. RFC 9110 section 5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return len(b) > 0
}

// isFieldValue says whether b may be a header field's value: no control characters but the tab.
// RFC 9110 section 5.5.
func isFieldValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// hasToken says whether a comma-separated list holds the token, in any case.
func hasToken(list []byte, token string) bool {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if bytes.EqualFold(bytes.TrimSpace(part), []byte(token)) {
			return true
		}
	}
	return false
}

// isKey says whether a Sec-WebSocket-Key is 16 bytes in base64.
func isKey(v []byte) bool {
	var raw [18]byte
	if len(v) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], v)
	return err == nil && n == 16
}

// upgrader answers upgrade requests that lie in memory. It belongs to one handler and keeps its
// scratch. As ws.Upgrader's connection it ends exactly at the blank line: the upgrader reads ahead,
// and would swallow frames that came with the request.
type upgrader struct {
	ws  ws.Upgrader
	in  []byte // the head as it is to see it, what it hasn't read of that
	out []byte
	req Request
	t   *turn
	no  *Refusal
}

// errRefused carries Open's refusal out of ws.Upgrader; its text is never sent.
var errRefused = errors.New("refused by the handler")

func newUpgrader() *upgrader {
	u := &upgrader{}
	u.ws = ws.Upgrader{
		ReadBufferSize: 4096,
		OnRequest:      u.onRequest,
		OnHost:         func(host []byte) error { u.req.Host = string(host); return nil },
		OnHeader: func(k, v []byte) error {
			u.req.Header.Add(string(k), string(v))
			return nil
		},
		ProtocolCustom:  u.onProtocols,
		OnBeforeUpgrade: u.onBeforeUpgrade,
	}
	return u
}

// Read implements io.Reader for ws.Upgrader.
func (u *upgrader) Read(p []byte) (int, error) {
	if len(u.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, u.in)
	u.in = u.in[n:]
	return n, nil
}

// Write implements io.Writer for ws.Upgrader.
func (u *upgrader) Write(p []byte) (int, error) {
	u.out = append(u.out, p...)
	return len(p), nil
}

// answer decides on an upgrade request and appends the answer, and what Open sent, to t.out. The
// turn is open afterwards, or lingers. RFC 6455 section 4.2.
func (u *upgrader) answer(t *turn, head []byte, facts headFacts, remote netip.AddrPort, state *tls.ConnectionState) {
	u.t, u.out, u.no = t, u.out[:0], nil
	u.req = Request{Header: http.Header{}, Remote: remote, TLS: state}
	if why := facts.objection(); why != "" {
		u.no = &Refusal{Status: http.StatusBadRequest, Body: why}
	} else {
		u.in = plainHead(head)
		if _, err := u.ws.Upgrade(u); err != nil && u.no == nil {
			u.no = refusalOf(err)
		}
	}
	if u.no == nil {
		t.out = slices.Insert(t.out, 0, u.out...)
	} else {
		t.stats.refusedUpgrades.Add(1)
		t.opened, t.out = false, appendRefusal(t.out[:0], u.no)
		t.linger(ReasonNone)
	}
	u.t, u.in, u.req = nil, nil, Request{}
}

func (u *upgrader) onRequest(uri []byte) error {
	to, err := url.ParseRequestURI(string(uri))
	if err != nil {
		return ws.RejectConnectionError(ws.RejectionStatus(http.StatusBadRequest), ws.RejectionReason("malformed request target"))
	}
	u.req.Path, u.req.RawQuery = to.Path, to.RawQuery
	return nil
}

// onProtocols collects what is offered; Open chooses. RFC 6455 section 11.3.4: the header may
// appear several times.
func (u *upgrader) onProtocols(v []byte) (string, bool) {
	for part := range bytes.SplitSeq(v, []byte(",")) {
		part = bytes.TrimSpace(part)
		if !isToken(part) {
			return "", false
		}
		u.req.Protocols = append(u.req.Protocols, string(part))
	}
	return "", true
}

// onBeforeUpgrade is called when all checks are passed: it is the handler's turn to decide. What
// it sends goes to t.out and must wait for the answer to get in front of it.
func (u *upgrader) onBeforeUpgrade() (ws.HandshakeHeader, error) {
	t := u.t
	t.state, t.blocked = stateOpen, true
	u.no = t.handler.Open(t, &u.req)
	t.blocked = false
	if u.no != nil {
		return nil, errRefused
	}
	t.opened = true
	if u.req.Protocol == "" {
		return nil, nil
	}
	if !slices.Contains(u.req.Protocols, u.req.Protocol) { // 4.2.2: one of those offered
		panic("wsnet: Open chose a subprotocol that the client didn't offer")
	}
	return ws.HandshakeHeaderString("Sec-WebSocket-Protocol: " + u.req.Protocol + "\r\n"), nil
}

// refusalOf turns an error of ws.Upgrader into what we answer.
func refusalOf(err error) *Refusal {
	var rejected *ws.ConnectionRejectedError
	if errors.As(err, &rejected) && rejected.StatusCode() >= 400 {
		return &Refusal{Status: rejected.StatusCode(), Body: rejected.Error()}
	}
	return &Refusal{Status: http.StatusBadRequest, Body: "malformed request"}
}

// appendRefusal appends an HTTP answer after which the connection closes.
func appendRefusal(dst []byte, r *Refusal) []byte {
	if r.Status < 400 || r.Status > 999 {
		panic("wsnet: a Refusal's status must be an HTTP error")
	}
	if (r.Status == http.StatusUnauthorized) != (r.Challenge != "") || !isFieldValue([]byte(r.Challenge)) {
		panic("wsnet: a Refusal has a Challenge, a header's value, exactly if its status is 401")
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(append(dst, ' '), http.StatusText(r.Status)...)
	switch r.Status {
	case http.StatusUpgradeRequired: // RFC 6455 section 4.4: name the version that is understood
		dst = append(dst, "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"...)
	case http.StatusUnauthorized: // RFC 9110 section 11.6.1
		dst = append(append(dst, "\r\nWWW-Authenticate: "...), r.Challenge...)
	case http.StatusMethodNotAllowed: // RFC 9110 section 15.5.6
		dst = append(dst, "\r\nAllow: GET"...)
	}
	dst = append(dst, "\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(r.Body)+1), 10)
	dst = append(append(dst, "\r\n\r\n"...), r.Body...)
	return append(dst, '\n')
}

// headIsTLS is what headStatus says of a TLS handshake.
const headIsTLS = -1

// headStatus judges a request head of which b is known so far, end bytes long or unfinished (0):
// an HTTP status to refuse it with, headIsTLS, or 0 if there is nothing to object to.
func headStatus(b []byte, end int, lim *Limits) int {
	switch {
	case len(b) > 0 && b[0] == 0x16: // a TLS record of the handshake: RFC 8446 section 5.1
		return headIsTLS
	case len(b) > 0 && (b[0] < 'A' || b[0] > 'z') && b[0] != '\r' && b[0] != '\n':
		return http.StatusBadRequest
	case end > lim.HeaderBytes, end == 0 && len(b) >= lim.HeaderBytes:
		return http.StatusRequestHeaderFieldsTooLarge
	}
	return 0
}

// appendHeadError appends the answer to a request head that cannot be accepted for its size or shape.
func appendHeadError(dst []byte, status int) []byte {
	return appendRefusal(dst, &Refusal{Status: status, Body: strings.ToLower(http.StatusText(status))})
}
