package server

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// witness is a Judge that keeps what it was asked at connect.
type witness struct {
	fakeJudge
	asked chan host.Connect
}

func newWitness() *witness {
	w := &witness{asked: make(chan host.Connect, 1)}
	w.active = true
	w.connect = func(q *host.Connect) (host.Identity, host.Verdict) {
		w.asked <- *q
		return host.Identity{}, allowed
	}
	return w
}

// told is what it was asked about a client that has its answer.
func (w *witness) told(t testing.TB) host.Connect {
	select {
	case q := <-w.asked:
		return q
	default:
		require.FailNow(t, "plugins weren't asked")
		panic("unreachable")
	}
}

// upgrade says a head, the WebSocket's own headers added, and returns the answer.
func upgrade(t testing.TB, conn net.Conn, target string, headers ...string) *http.Response {
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: locks.example:9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", target, strings.Join(append(headers, ""), "\r\n"))
	require.NoError(t, err)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	return r
}

func dial(t testing.TB, s *Server) net.Conn {
	conn, err := net.Dial(s.Addr().Network(), s.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestPluginsSeeAClientAsItConnects(t *testing.T) {
	j := newWitness()
	s := serveLoopback(t, Options{NewJudge: func() Judge { return j }})
	conn := dial(t, s)
	const query = "namespace=n&token=a%20b+c&token=&b=2&Token=%C3%A9&a=1&token=x%00y"
	r := upgrade(t, conn, "/v1?"+query, "X-Z: 3", "authorization: Bearer abc", "X-A: 1", "x-a:  2 ", "X-A: 1", "X-Empty:", "X-Raw: \xff\t\xe9")
	require.Equal(t, http.StatusSwitchingProtocols, r.StatusCode)
	require.Equal(t, host.Connect{
		Namespace: "n", Remote: conn.LocalAddr().String(), URLPath: "/v1", RawQuery: query,
		Fields: []host.Field{
			{Kind: host.Header, Name: "authorization", Value: "Bearer abc"},
			{Kind: host.Header, Name: "host", Value: "locks.example:9"},
			{Kind: host.Header, Name: "x-a", Value: "1"},
			{Kind: host.Header, Name: "x-a", Value: "2"},
			{Kind: host.Header, Name: "x-a", Value: "1"},
			{Kind: host.Header, Name: "x-empty", Value: ""},
			{Kind: host.Header, Name: "x-raw", Value: "\xff\t\xe9"},
			{Kind: host.Header, Name: "x-z", Value: "3"},
			{Kind: host.Query, Name: "Token", Value: "é"},
			{Kind: host.Query, Name: "a", Value: "1"},
			{Kind: host.Query, Name: "b", Value: "2"},
			{Kind: host.Query, Name: "namespace", Value: "n"},
			{Kind: host.Query, Name: "token", Value: "a b c"},
			{Kind: host.Query, Name: "token", Value: ""},
			{Kind: host.Query, Name: "token", Value: "x\x00y"},
		},
	}, j.told(t))
}

func TestAddressesAreToldAsText(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1:80": "192.0.2.1:80", "[2001:db8::1]:9": "[2001:db8::1]:9"} {
		require.Equal(t, want, remoteText(netip.MustParseAddrPort(addr)))
	}
	require.Empty(t, remoteText(netip.AddrPort{}))
}

func TestClientOfAUnixSocketHasNoAddress(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	j := newWitness()
	var remote atomic.Pointer[string]
	j.request = func(q *host.Request) host.Verdict { remote.Store(&q.Remote); return allowed }
	s := serveLoopback(t, Options{Listener: ln, NewJudge: func() Judge { return j }})
	c := dialRaw(t, s)
	q := j.told(t)
	require.Empty(t, q.Remote)
	require.False(t, q.TLS)
	c.send(c.lock)
	c.expect(`"acquired"}`)
	require.Empty(t, *remote.Load())
}

// The answers of plugins as a client sees them, on the loops and on the portable path.
func TestRefusalOfPluginsIsAnHTTPAnswer(t *testing.T) {
	server, _, trust := certificates(t)
	for name, conf := range map[string]*tls.Config{"plain": nil, "tls": server} {
		t.Run(name, func(t *testing.T) {
			var verdict atomic.Pointer[host.Verdict]
			newJudge := func() Judge {
				return &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) { return host.Identity{}, *verdict.Load() }}
			}
			s := serveLoopback(t, Options{TLS: conf, NewJudge: newJudge})
			for _, tt := range []struct {
				verdict   host.Verdict
				status    int
				challenge string
				body      string
			}{
				{host.Verdict{Plugin: "p", Reason: []byte("no\r\n\r\ntoken")}, 401, `Bearer realm="locktopus"`, "denied by plugin \"p\": no token\n"},
				{host.Verdict{Plugin: "p", Code: 3}, 403, "", "denied by plugin \"p\" (code 3)\n"},
				{host.Verdict{Plugin: "p", Outcome: host.Failed}, 503, "", "plugin \"p\" could not judge this client; try again later\n"},
				{host.Verdict{Plugin: "p", Outcome: host.TooLong}, 431, "", "the request is longer than plugin \"p\" can be asked about: send fewer or shorter headers and parameters\n"},
			} {
				verdict.Store(&tt.verdict)
				conn := dial(t, s)
				if conf != nil {
					conn = tls.Client(conn, &tls.Config{RootCAs: trust, ServerName: "locks.example"})
				}
				r := upgrade(t, conn, "/v1?namespace=n")
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, tt.status, r.StatusCode)
				require.Equal(t, tt.challenge, r.Header.Get("WWW-Authenticate"))
				require.Equal(t, tt.body, string(body))
			}
			require.Zero(t, s.spaces.count())
			require.EqualValues(t, 4, s.net.Stats().RefusedUpgrades)
		})
	}
}

func TestPluginsSeeWhatTLSProves(t *testing.T) {
	server, client, trust := certificates(t)
	leaf, err := x509.ParseCertificate(client.Certificate[0])
	require.NoError(t, err)
	basics := []host.Field{{Kind: host.Fact, Name: "server-name", Value: "locks.example"}, {Kind: host.Fact, Name: "version", Value: "1.3"}}
	proved := []host.Field{
		{Kind: host.Fact, Name: "alpn", Value: "http/1.1"},
		{Kind: host.Fact, Name: "fingerprint-sha256", Value: fmt.Sprintf("%x", sha256.Sum256(client.Certificate[0]))},
		{Kind: host.Fact, Name: "issuer", Value: "CN=Test CA"},
		{Kind: host.Fact, Name: "not-after", Value: fmt.Sprint(leaf.NotAfter.Unix())},
		{Kind: host.Fact, Name: "san-dns", Value: "b.example"},
		{Kind: host.Fact, Name: "san-dns", Value: "a.example"},
		{Kind: host.Fact, Name: "san-email", Value: "alice@example.com"},
		{Kind: host.Fact, Name: "san-ip", Value: "192.0.2.7"},
		{Kind: host.Fact, Name: "san-ip", Value: "2001:db8::7"},
		{Kind: host.Fact, Name: "san-uri", Value: "spiffe://example.com/alice"},
		{Kind: host.Fact, Name: "serial", Value: "1208925819614629174706176"}, // 2^80
		{Kind: host.Fact, Name: "server-name", Value: "locks.example"},
		{Kind: host.Fact, Name: "subject", Value: `CN=alice\, really,OU=a+OU=b,O=Example`},
		{Kind: host.Fact, Name: "subject-cn", Value: "alice, really"},
		{Kind: host.Fact, Name: "subject-o", Value: "Example"},
		{Kind: host.Fact, Name: "subject-ou", Value: "a"},
		{Kind: host.Fact, Name: "subject-ou", Value: "b"},
		{Kind: host.Fact, Name: "version", Value: "1.2"},
	}
	for _, tt := range []struct {
		name   string
		auth   tls.ClientAuthType
		client *tls.Config
		want   []host.Field
	}{
		{"a certificate that was verified", tls.RequireAndVerifyClientCert, &tls.Config{Certificates: []tls.Certificate{client}, MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, proved},
		{"one that anybody could have made", tls.RequireAnyClientCert, &tls.Config{Certificates: []tls.Certificate{client}}, basics},
		{"none", tls.VerifyClientCertIfGiven, &tls.Config{}, basics},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := server.Clone()
			conf.ClientAuth = tt.auth
			j := newWitness()
			s := serveLoopback(t, Options{TLS: conf, NewJudge: func() Judge { return j }})
			tt.client.RootCAs, tt.client.ServerName = trust, "locks.example"
			r := upgrade(t, tls.Client(dial(t, s), tt.client), "/v1?namespace=n")
			require.Equal(t, http.StatusSwitchingProtocols, r.StatusCode)
			q := j.told(t)
			require.True(t, q.TLS)
			require.Equal(t, len(tt.want) > len(basics), q.Verified)
			require.Equal(t, host.Fact, q.Fields[len(q.Fields)-1].Kind)
			require.Equal(t, tt.want, q.Fields[len(q.Fields)-len(tt.want):])
			require.NotEqual(t, host.Fact, q.Fields[len(q.Fields)-len(tt.want)-1].Kind)
		})
	}
}

// certificates are a server's configuration, a client's certificate, and the authority of both.
func certificates(t testing.TB) (server *tls.Config, client tls.Certificate, trust *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	sign := func(c *x509.Certificate) []byte {
		c.NotAfter = authority.NotAfter
		der, err := x509.CreateCertificate(rand.Reader, c, authority, key.Public(), key)
		require.NoError(t, err)
		return der
	}
	root, err := x509.ParseCertificate(sign(authority))
	require.NoError(t, err)
	trust = x509.NewCertPool()
	trust.AddCert(root)
	own := tls.Certificate{PrivateKey: key, Certificate: [][]byte{sign(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"locks.example"}})}}
	client = tls.Certificate{PrivateKey: key, Certificate: [][]byte{sign(&x509.Certificate{
		SerialNumber:   new(big.Int).Lsh(big.NewInt(1), 80),
		Subject:        pkix.Name{CommonName: "alice, really", Organization: []string{"Example"}, OrganizationalUnit: []string{"b", "a"}},
		DNSNames:       []string{"b.example", "a.example"},
		EmailAddresses: []string{"alice@example.com"},
		IPAddresses:    []net.IP{net.IPv4(192, 0, 2, 7), net.ParseIP("2001:db8::7")},
		URIs:           []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/alice"}},
		ExtKeyUsage:    []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})}}
	return &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: trust, NextProtos: []string{"http/1.1"}}, client, trust
}

var meant = []byte("meant")

// lonely is a Judge that panics if two of its calls overlap. Each rewrites paths in memory of its own.
type lonely struct {
	busy atomic.Bool
	path [][]byte
}

func (l *lonely) Active() bool { return true }

func (l *lonely) enter() {
	if l.busy.Swap(true) {
		panic("two calls of one Judge overlap")
	}
}

func (l *lonely) Authenticate(*host.Connect) (host.Identity, host.Verdict) {
	l.enter()
	defer l.busy.Store(false)
	return host.Identity{Authenticated: true, Principal: "p", TTL: time.Hour}, allowed
}

func (l *lonely) Judge(q *host.Request) host.Verdict {
	l.enter()
	defer l.busy.Store(false)
	if q.Identity.Principal != "p" {
		return host.Verdict{}
	}
	l.path = append(l.path[:0], meant)
	q.Resources[0].Path = l.path
	return allowed
}

// Connections of the portable path are served at once, each call with a worker of its own for that
// long: no two share a Judge then.
func TestJudgesAreNotSharedByWorkers(t *testing.T) {
	const clients, rounds = 16, 30
	server, _, trust := certificates(t)
	for name, conf := range map[string]*tls.Config{"loops": nil, "portable": server} {
		t.Run(name, func(t *testing.T) {
			s := serveLoopback(t, Options{TLS: conf, NewJudge: func() Judge { return &lonely{} }})
			conns := make([]*rawClient, clients)
			for i := range conns {
				conn := dial(t, s)
				if conf != nil {
					conn = tls.Client(conn, &tls.Config{RootCAs: trust, ServerName: "locks.example"})
				}
				conns[i] = newRaw(t, conn)
			}
			var inside atomic.Int32
			var wg sync.WaitGroup
			for _, c := range conns {
				wg.Go(func() {
					for range rounds {
						c.send(c.lock)
						c.expect(`"acquired"}`)
						if inside.Add(1) != 1 {
							t.Error("two hold what plugins say is one path")
						}
						inside.Add(-1)
						c.send(c.release)
						c.expect(`"ready"}`)
					}
				})
			}
			wg.Wait()
			require.Equal(t, clients, s.expiries.count())
			require.NoError(t, s.Close())
			require.Zero(t, s.expiries.count())
		})
	}
}

// The end of an authentication from the timer to the client's socket.
func TestAuthenticationEndsOnTheWire(t *testing.T) {
	server, _, trust := certificates(t)
	for name, conf := range map[string]*tls.Config{"loops": nil, "portable": server} {
		t.Run(name, func(t *testing.T) {
			j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) {
				return host.Identity{TTL: 1}, allowed
			}}
			s := serveLoopback(t, Options{TLS: conf, NewJudge: func() Judge { return j }})
			conn := dial(t, s)
			if conf != nil {
				conn = tls.Client(conn, &tls.Config{RootCAs: trust, ServerName: "locks.example"})
			}
			c := &rawClient{t: t, conn: conn, buf: make([]byte, 4096)}
			c.send([]byte(rawHead))
			c.expect(expired + "\x88\x02\x0b\xb8") // a close frame with code 3000
			require.Zero(t, s.expiries.count())
		})
	}
}

func TestValuesOfAMessageHaveALimit(t *testing.T) {
	set := testSettings()
	set.MessageValues = 9
	n := newFake(set, nil)
	old, c := n.mustConnect(t, "namespace=n"), n.connectV2(t)
	c.say(helloV2)
	require.Contains(t, c.heard()[0], `"message_values":9}`)
	c.say(`{"op":"lock","id":1,"resources":[{"type":"read","path":["a","b","c"]}]}`) // 3 members, 1 resource of 2, 3 segments
	require.Contains(t, c.heard()[0], `"acquired"`, "at the limit")
	old.say(`{"action":"lock","resources":[{"type":"read","path":["a","b","c","d"]}]}`)
	require.Contains(t, old.heard()[0], `"acquired"`, "at the limit")
	old.say(release)

	set.MessageValues = 8 // for the next message
	n.s.Reload(set)
	old.heard()
	old.say(`{"action":"lock","resources":[{"type":"read","path":["a","b","c","d"]}]}`)
	require.Contains(t, old.heard()[0], "communication error: ")
	require.EqualValues(t, codeFault, old.closing)
	c.say(`{"op":"lock","id":2,"resources":[{"type":"read","path":["a","b","c"]}]}`)
	require.Contains(t, c.heard()[0], `"error":"malformed"`)
	require.EqualValues(t, codeFault, c.closing)
}

func TestALimitOfTheEngineIsNamedAsItsSetting(t *testing.T) {
	const two = `[{"type":"read","path":["a","bb"]},{"type":"read","path":["c"]}]`
	for key, limits := range map[string]engine.Limits{
		"limits.resources":          {Resources: 1},
		"limits.path_segments":      {PathSegments: 1},
		"limits.segment_bytes":      {SegmentBytes: 1},
		"limits.namespace_requests": {Requests: 1},
		"limits.namespace_bytes":    {Bytes: 300},
	} {
		set := testSettings()
		set.Engine = limits
		n := newFake(set, nil)
		if limits.Requests == 1 {
			n.mustConnect(t, "namespace=n").say(readA)
		}
		old, c := n.mustConnect(t, "namespace=n"), n.connectV2(t)
		old.say(`{"action":"lock","resources":` + two + `}`)
		require.Regexp(t, `^communication error: .* \(`+key+`\)$`, old.heard()[0])
		c.greet(t, helloV2)
		c.say(`{"op":"lock","id":1,"resources":` + two + `}`)
		require.Regexp(t, `"message":".* \(`+key+`\)"}$`, c.heard()[0])
	}
}
