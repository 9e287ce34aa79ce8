package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority is a certificate authority of a test, with its files in a directory.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{t: t, dir: t.TempDir(), key: key}
	a.cert, _ = a.issue(&x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test authority"},
	}, nil, key)
	a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// issue signs a certificate; without a parent it signs itself.
func (a *authority) issue(c, parent *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, []byte) {
	a.n++
	c.SerialNumber = big.NewInt(a.n)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return parsed, der
}

// leaf makes NAME.pem and NAME.key, for a server on loopback and for clients.
func (a *authority) leaf(name string) tls.Certificate {
	made := a.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	secret, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	require.NoError(a.t, err)
	a.write(name+".pem", "CERTIFICATE", made.Certificate[0])
	a.write(name+".key", "PRIVATE KEY", secret)
	return made
}

// certificate makes one with a key of its own, for servers and clients.
func (a *authority) certificate(like *x509.Certificate) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	like.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	_, der := a.issue(like, a.cert, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

func (a *authority) write(file, kind string, der []byte) {
	require.NoError(a.t, os.WriteFile(a.path(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// trust is a client's configuration that believes this authority.
func (a *authority) trust(own ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: own}
}

func (a *authority) config(clients bool) string {
	text := fmt.Sprintf("[server.tls]\ncert = %q\nkey = %q\n", a.path("server.pem"), a.path("server.key"))
	if clients {
		text += fmt.Sprintf("client_ca = %q\n", a.path("ca.pem"))
	}
	return text
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.leaf("server")
	srv := start(t, setup{config: ca.config(false)})
	for _, name := range []string{"gorilla", "coder"} {
		t.Run(name, func(t *testing.T) {
			to := srv.target(t.Name(), 0)
			to.tls = ca.trust()
			holder, waiter := connect(t, dialers[name], to), connect(t, dialers[name], to)
			held := holder.mustAcquire(write("a", "b"))
			id := waiter.mustEnqueue(write("a"))
			holder.release(held)
			waiter.mustBeGranted(id)
			again := holder.mustEnqueue(read())
			waiter.Drop()
			holder.mustBeGranted(again)
			holder.send(releaseText + "!")
			holder.mustFault()
		})
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.trust(), DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("https://" + srv.addr + "/")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "Locktopus")
}

// Half a handshake and plain text on a TLS port end with the handshake's deadline at the latest.
func TestTLSPortEndsWhatIsNoTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.leaf("server")
	srv := start(t, setup{config: ca.config(false) + "[limits]\nhandshake_timeout = \"1s\"\n"})
	to := srv.target(t.Name())
	to.tls = ca.trust()
	good := connect(t, dialGorilla, to)
	for _, text := range []string{"", "\x16\x03\x01", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x00\x00\x00\x00"} {
		c, err := dialTCP("", srv.addr)
		require.NoError(t, err)
		_, err = c.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, awaitEOF(c), "%q", text)
		c.Close()
		good.release(good.mustAcquire(write()))
	}
}

func TestClientCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	ca.leaf("server")
	own, foreign := ca.leaf("client"), stranger.leaf("client")
	srv := start(t, setup{config: ca.config(true)})
	for _, name := range []string{"gorilla", "coder"} {
		t.Run(name, func(t *testing.T) {
			to := srv.target(t.Name())
			to.tls = ca.trust(own)
			c := connect(t, dialers[name], to)
			c.release(c.mustAcquire(write()))
			for _, certs := range [][]tls.Certificate{nil, {foreign}} {
				to.tls = ca.trust(certs...)
				_, _, err := dialers[name](to)
				require.Error(t, err)
			}
			c.release(c.mustAcquire(write()))
		})
	}
}

// SIGHUP takes up a renewed certificate; who is connected stays so.
func TestCertificateIsRenewedWhileServing(t *testing.T) {
	old, renewed := newAuthority(t), newAuthority(t)
	old.leaf("server")
	srv := start(t, setup{config: old.config(false)})
	to := srv.target(t.Name())
	to.tls = old.trust()
	before := connect(t, dialGorilla, to)
	renewed.leaf("server")
	for _, file := range []string{"server.pem", "server.key"} {
		text, err := os.ReadFile(renewed.path(file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(old.path(file), text, 0o600))
	}
	srv.signal(syscall.SIGHUP)
	to.tls = renewed.trust()
	eventually(t, "the new certificate is shown", func() bool {
		c, _, err := dialGorilla(to)
		if err == nil {
			c.Drop()
		}
		return err == nil
	})
	before.release(before.mustAcquire(write()))
}
