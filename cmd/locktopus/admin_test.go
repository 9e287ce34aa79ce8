//go:build unix

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

const (
	oneToken     = "one-token-of-administrators"
	anotherToken = "another-token-of-administrators"
)

// administered starts a server with a listener for administrators, and returns where that is.
func administered(t *testing.T, token, more string) (p *program, address, file string) {
	dir := t.TempDir()
	file = filepath.Join(dir, "token")
	write(t, file, token+"\n")
	path := filepath.Join(dir, "my.toml")
	write(t, path, fmt.Sprintf("[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = %q\n%s", file, more))
	p = start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", t.TempDir(), "-c", path})
	m := regexp.MustCompile(`admin_address=(\S+)`).FindStringSubmatch(p.await("listening for administrators"))
	require.NotNil(t, m)
	return p, m[1], file
}

// askAdmin asks for a list.
func askAdmin(t *testing.T, url, token string, tc *tls.Config) (status int, body string) {
	r, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: tc, DisableKeepAlives: true}, Timeout: patience}).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func TestAdministratorsTokenIsReadAgainOnReload(t *testing.T) {
	p, address, file := administered(t, oneToken, "")
	p.await("msg=listening ")
	ask := func(token string) int {
		status, _ := askAdmin(t, "http://"+address+"/admin/v1/namespaces", token, nil)
		return status
	}
	require.Equal(t, []int{200, 401}, []int{ask(oneToken), ask(anotherToken)})
	write(t, file, "short")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.await("nothing was reloaded: there is no good token for administrators")
	require.Equal(t, []int{200, 401}, []int{ask(oneToken), ask(anotherToken)})
	write(t, file, anotherToken)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.await("administrators need another token now")
	require.Equal(t, []int{401, 200}, []int{ask(oneToken), ask(anotherToken)})
	require.NotContains(t, p.text(), oneToken)
	require.NotContains(t, p.text(), anotherToken)
	require.NotContains(t, p.text(), "unencrypted", "nobody else sees what crosses loopback")
}

// TestAdministratorsReleaseWhatHoldsUpTheDrain: they are heard until the server has ended.
func TestAdministratorsReleaseWhatHoldsUpTheDrain(t *testing.T) {
	p, address, _ := administered(t, oneToken, "[server]\ndrain = \"1h\"\n")
	listening := p.await("msg=listening ")
	server := regexp.MustCompile(` address=(\S+)`).FindStringSubmatch(listening)[1]
	c, _, err := websocket.DefaultDialer.Dial("ws://"+server+"/v1?namespace=n", nil)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(`{"action":"lock","resources":[{"type":"write","path":[]}]}`)))
	_, _, err = c.ReadMessage()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.await("stopping")
	status, body := askAdmin(t, "http://"+address+"/admin/v1/namespaces", oneToken, nil)
	require.Equal(t, 200, status)
	require.Contains(t, body, `"name":"n"`)
	r, err := http.NewRequest("POST", "http://"+address+"/admin/v1/release", strings.NewReader(
		`{"namespace":"n","session":"v1","lock":1,"reason":"we are leaving"}`))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+oneToken)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	<-p.exited
	require.Zero(t, p.cmd.ProcessState.ExitCode(), p.text())
	_, err = net.Dial("tcp", address)
	require.Error(t, err)
}

func TestAdministratorsPortInUseIsNamed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", t.TempDir()},
		withEnv("LOCKTOPUS_ADMIN_LISTEN="+ln.Addr().String(), "LOCKTOPUS_ADMIN_TOKEN="+oneToken))
	p.await("another process already does (another locktopus?); stop it, or choose another address with admin.listen")
	<-p.exited
	require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
}

func TestAdministrationIsUnderTheServersTLS(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t)
	cert, key := filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key")
	a.issue(t, 2, cert, key)
	p, address, _ := administered(t, oneToken, fmt.Sprintf("[server.tls]\ncert = %q\nkey = %q\n", cert, key))
	p.await("msg=listening ")
	status, _ := askAdmin(t, "https://"+address+"/admin/v1/namespaces", oneToken, &tls.Config{RootCAs: a.pool()})
	require.Equal(t, 200, status)

	ca := filepath.Join(dir, "ca.pem")
	write(t, ca, a.pem)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	reached := "nobody uses a namespace of this name"
	releaseSays(t, 1, reached, "--admin", "https://localhost:"+port, "--ca", ca)
	releaseSays(t, 69, "not another", "--admin", "https://"+address, "--ca", ca, "--server-name", "another")
	releaseSays(t, 1, reached, "--admin", "https://"+address, "--ca", ca, "--server-name", "localhost")
	releaseSays(t, 69, "unknown authority; --ca names the authority that it is from", "--admin", "https://"+address)
	releaseSays(t, 69, "cannot reach http://"+address+": it speaks TLS there: is it https:// instead of http://?", "--admin", "http://"+address)
}

// releaseSays runs locktopus release for nobody's lock.
func releaseSays(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	var stderr strings.Builder
	p := process{stdout: io.Discard, stderr: &stderr, environ: []string{"LOCKTOPUS_ADMIN_TOKEN=" + oneToken}}
	got := p.run(append([]string{"release", "s", "1", "--namespace", "n", "--reason", "why"}, args...))
	require.Equal(t, code, got, stderr.String())
	require.Contains(t, stderr.String(), text)
}

func TestAdministrationOverAUnixSocket(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", ""},
		withEnv("LOCKTOPUS_ADMIN_LISTEN=unix:"+socket, "LOCKTOPUS_ADMIN_TOKEN="+oneToken))
	p.await("msg=listening ")
	releaseSays(t, 1, "nobody uses a namespace of this name", "--admin", "unix:"+socket)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.exited
	require.NoFileExists(t, socket)
}

func TestATokenThatCrossesANetworkInTheOpenIsWarnedOf(t *testing.T) {
	p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", t.TempDir()},
		withEnv("LOCKTOPUS_ADMIN_LISTEN=0.0.0.0:0", "LOCKTOPUS_ADMIN_TOKEN="+oneToken))
	p.await("administrators' token crosses the network unencrypted")
	p.await("msg=listening ")
	require.NotContains(t, p.text(), oneToken)
}
