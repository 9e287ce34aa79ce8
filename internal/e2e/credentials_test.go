package e2e

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/example"
)

// startPatient starts a server with an example that is configured as its README says, but for the time that
// a call may take: enough on a machine that does other things as well.
func startPatient(t *testing.T, folder, more string) *server {
	t.Helper()
	x := example.Read(t, filepath.Join("../../plugins/examples", folder))
	x.Config = strings.Replace(x.Config, `call_timeout = "50ms"`, `call_timeout = "1s"`, 1)
	require.Contains(t, x.Config, `"1s"`)
	return start(t, setup{config: x.ConfigOf(t, x.Make(t)) + more})
}

// refusedBecause connects, which must fail, and returns the status and what the client was told.
func refusedBecause(t *testing.T, dial dialer, to target) (status int, said string) {
	t.Helper()
	_, resp, err := dial(to)
	require.Error(t, err)
	require.NotNil(t, resp, "%v", err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, resp.StatusCode == http.StatusUnauthorized, resp.Header.Get("WWW-Authenticate") != "")
	return resp.StatusCode, strings.TrimSuffix(string(body), "\n")
}

// Keys of the README of jwt.
const (
	jwtSecret  = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	jwtPrivate = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
)

// claims are a token's, such as the README's configuration wants them, for some time from now on.
func claims(name string, long time.Duration, roles ...string) map[string]any {
	return map[string]any{"iss": "https://login.example", "aud": "locktopus", "sub": name, "roles": roles, "exp": time.Now().Add(long).Unix()}
}

func keyBytes(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return b
}

// token signs claims with the key of the README that goes with alg.
func token(t testing.TB, alg string, claims map[string]any) string {
	t.Helper()
	kid := map[string]string{"EdDSA": "2026-11"}[alg]
	if kid == "" {
		kid = "batch"
	}
	body, err := json.Marshal(claims)
	require.NoError(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(fmt.Appendf(nil, `{"typ":"JWT","alg":%q,"kid":%q}`, alg, kid)) + "." + encode(body)
	var signature []byte
	switch alg {
	case "EdDSA":
		signature = ed25519.Sign(ed25519.NewKeyFromSeed(keyBytes(t, jwtPrivate)), []byte(signed))
	case "HS256":
		mac := hmac.New(sha256.New, keyBytes(t, jwtSecret))
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	}
	return signed + "." + encode(signature)
}

func TestJWTExample(t *testing.T) {
	srv := startPatient(t, "jwt", "[log]\nclients = true\n")
	libraries := map[string]dialer{"gorilla": dialGorilla, "coder": dialCoder}
	var good string
	for name, dial := range libraries {
		for _, alg := range []string{"EdDSA", "HS256"} {
			to := srv.target("n")
			to.token = token(t, alg, claims("alice", time.Hour, "dev", "team-a"))
			require.Equal(t, acquired, told(t, dial, to, write("a")), "%s %s", name, alg)
			good = to.token
		}
		expired, future, elsewhere := claims("alice", -time.Minute), claims("alice", time.Hour), claims("alice", time.Hour)
		future["nbf"] = time.Now().Add(time.Hour).Unix()
		elsewhere["aud"] = "billing"
		for _, bad := range []struct{ token, want string }{
			{"", `denied by plugin "jwt" (code 1): a token is needed: Authorization: Bearer TOKEN`},
			{"x", `denied by plugin "jwt" (code 2): the token doesn't have three parts, with dots between them`},
			{good + "A", `denied by plugin "jwt" (code 4): the token's signature is wrong`},
			{token(t, "none", claims("alice", time.Hour)), `denied by plugin "jwt" (code 4): the token's alg isn't that of its key`},
			{token(t, "EdDSA", expired), `denied by plugin "jwt" (code 5): the token has expired`},
			{token(t, "EdDSA", future), `denied by plugin "jwt" (code 5): the token isn't valid yet`},
			{token(t, "HS256", elsewhere), `denied by plugin "jwt" (code 6): the token's aud doesn't name this server`},
		} {
			to := srv.target("n")
			to.token = bad.token
			status, said := refusedBecause(t, dial, to)
			require.Equal(t, http.StatusUnauthorized, status)
			require.Equal(t, bad.want, said)
		}
	}
	status, said := refusedBecause(t, dialRaw, srv.target("n"))
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, `denied by plugin "jwt" (code 1): a token is needed: Authorization: Bearer TOKEN`, said)
	require.Contains(t, srv.log.String(), "the token has expired")
	for _, part := range append(strings.Split(good, "."), jwtSecret[:16]) {
		require.NotContains(t, srv.log.String(), part, "what is secret isn't logged")
	}
}

// TestConnectionsEndWithTheirTokens has a token that is good for four seconds or five, with the leeway of the README.
func TestConnectionsEndWithTheirTokens(t *testing.T) {
	srv := startPatient(t, "jwt", "")
	to := srv.target("n", 0)
	to.token = token(t, "HS256", claims("alice", 5*time.Second-30*time.Second))
	c := connect(t, dialGorilla, to)
	held := c.mustAcquire(write("a"))
	require.NotEmpty(t, held)
	require.Equal(t, "communication error: the authentication of this connection has expired: connect again", c.mustFault())
	eventually(t, "nothing is left of it", func() bool { return srv.stats("n") == statistics{} })
	status, said := refusedBecause(t, dialGorilla, to)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, `denied by plugin "jwt" (code 5): the token has expired`, said)
}

func TestMTLSExample(t *testing.T) {
	ca := newAuthority(t)
	ca.leaf("server")
	x := example.Read(t, "../../plugins/examples/mtls")
	gone := ca.certificate(&x509.Certificate{DNSNames: []string{"old.hosts.example.org"}})
	x.Config = regexp.MustCompile(`revoked = .*`).ReplaceAllString(x.Config, fmt.Sprintf("revoked = [\"%X\"]", sha256.Sum256(gone.Certificate[0])))
	srv := start(t, setup{config: x.ConfigOf(t, x.Make(t)) + plugin("own", ownPaths, "authorize", "*") + ca.config(true)})
	named := func(like *x509.Certificate) target {
		to := srv.target("n")
		to.tls = ca.trust(ca.certificate(like))
		return to
	}
	workload := named(&x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/runner"}}})
	machine := named(&x509.Certificate{DNSNames: []string{"db-1.hosts.example.org"}, Subject: pkix.Name{CommonName: "runner"}})
	const notOwn = `communication error: denied by plugin "own" (code 1): only what is below your own name is yours to write`
	for _, dial := range []dialer{dialGorilla, dialCoder} {
		require.Equal(t, acquired, told(t, dial, workload, write("runner", "x")))
		require.Equal(t, notOwn, told(t, dial, workload, write("db-1")))
		require.Equal(t, acquired, told(t, dial, machine, write("db-1")))
		require.Equal(t, notOwn, told(t, dial, machine, write("runner")))
		for _, bad := range []struct {
			to     target
			status int
			want   string
		}{
			{named(&x509.Certificate{Subject: pkix.Name{CommonName: "runner"}}), 401, "(code 2): the certificate has no name that is taken here"},
			{named(&x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org.evil.net", Path: "/runner"}}}), 401, "(code 2): the certificate has no name that is taken here"},
			{named(&x509.Certificate{DNSNames: []string{"a.hosts.example.org", "b.hosts.example.org"}}), 401, "(code 2): the certificate has more than one name that is taken here"},
			{target{addr: srv.addr, query: workload.query, tls: ca.trust(gone)}, 403, "(code 3): this certificate is revoked"},
		} {
			status, said := refusedBecause(t, dial, bad.to)
			require.Equal(t, bad.status, status)
			require.Equal(t, `denied by plugin "mtls" `+bad.want, said)
		}
	}
	strange := newAuthority(t).certificate(&x509.Certificate{DNSNames: []string{"db-1.hosts.example.org"}})
	_, _, err := dialGorilla(target{addr: srv.addr, query: workload.query, tls: ca.trust(strange)})
	require.Error(t, err, "the server itself trusts nobody else")
}

// TestMTLSWithoutCertificates has a server that asks for none.
func TestMTLSWithoutCertificates(t *testing.T) {
	ca := newAuthority(t)
	ca.leaf("server")
	for _, encrypted := range []bool{false, true} {
		more, want := "", "connect with TLS and show a certificate"
		if encrypted {
			more, want = ca.config(false), "show a certificate that this server trusts"
		}
		srv := startExample(t, "mtls", more)
		to := srv.target("n")
		if encrypted {
			to.tls = ca.trust(ca.certificate(&x509.Certificate{DNSNames: []string{"db-1.hosts.example.org"}}))
		}
		status, said := refusedBecause(t, dialGorilla, to)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, `denied by plugin "mtls" (code 1): `+want, said)
	}
}
