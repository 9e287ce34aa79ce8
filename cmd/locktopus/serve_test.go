//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// program is the server as a process of its own.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string
	mu     sync.Mutex
	log    []string // guarded by mu
	exited chan struct{}
}

// how changes a command before it starts.
type how func(*exec.Cmd)

func withEnv(pairs ...string) how {
	return func(c *exec.Cmd) { c.Env = append(c.Env, pairs...) }
}

// start runs the program; it is gone when the test is over.
func start(t *testing.T, args []string, hows ...how) *program {
	t.Helper()
	path, err := exec.LookPath("locktopus")
	require.NoError(t, err)
	p := &program{t: t, cmd: exec.Command(path, args...), lines: make(chan string, 10000), exited: make(chan struct{})}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LOCKTOPUS_") && !strings.HasPrefix(e, "NOTIFY_SOCKET=") {
			p.cmd.Env = append(p.cmd.Env, e)
		}
	}
	p.cmd.Dir = t.TempDir()
	for _, h := range hows {
		h(p.cmd)
	}
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go p.follow(stderr)
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("log of the server:\n%s", p.text())
		}
	})
	return p
}

// serve starts a server on a port of the system's choosing with a state directory of its own, and
// returns once it listens.
func serve(t *testing.T, config string, hows ...how) *program {
	t.Helper()
	args := []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", t.TempDir()}
	if config != "" {
		path := filepath.Join(t.TempDir(), "my.toml")
		write(t, path, config)
		args = append(args, "-c", path)
	}
	p := start(t, args, hows...)
	p.await("msg=listening")
	return p
}

func (p *program) follow(stderr io.Reader) {
	for s := bufio.NewScanner(stderr); s.Scan(); {
		p.mu.Lock()
		p.log = append(p.log, s.Text())
		p.mu.Unlock()
		p.lines <- s.Text()
	}
	close(p.lines)
	p.cmd.Wait()
	close(p.exited)
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// await reads the log up to a line that holds text. Lines are read once.
func (p *program) await(text string) string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the server ended without logging %q", text)
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-deadline:
			p.t.Fatalf("the server doesn't log %q", text)
		}
	}
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

func (p *program) exits(code int) {
	p.t.Helper()
	for range p.lines { // to the end
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("the server doesn't end")
	}
	require.Equal(p.t, code, p.cmd.ProcessState.ExitCode(), "%v", p.cmd.ProcessState)
}

func (p *program) stopsWell() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.await("msg=stopped")
	p.exits(exitOK)
}

// next starts the server anew once it has ended: where it was, with what it has kept.
func (p *program) next() *program {
	p.t.Helper()
	args := slices.Clone(p.cmd.Args[1:])
	args[slices.Index(args, "127.0.0.1:0")] = p.address()
	n := start(p.t, args)
	n.await("msg=listening")
	return n
}

var addressOf = regexp.MustCompile(`msg=listening address=(\S+)`)

func (p *program) address() string {
	p.t.Helper()
	m := addressOf.FindStringSubmatch(p.text())
	require.NotNil(p.t, m)
	return m[1]
}

// holdLock connects a client that holds a lock until the test is over.
func (p *program) holdLock() *websocket.Conn {
	p.t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+p.address()+"/v1?namespace=test", nil)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { c.Close() })
	require.NoError(p.t, c.WriteMessage(websocket.TextMessage, []byte(`{"action":"lock","resources":[{"type":"write","path":["a"]}]}`)))
	_, msg, err := c.ReadMessage()
	require.NoError(p.t, err)
	require.Contains(p.t, string(msg), `"acquired"`)
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// output runs the program to its end.
func output(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := exec.Command("locktopus", args...)
	out, _ := cmd.CombinedOutput()
	require.Equal(t, code, cmd.ProcessState.ExitCode(), "%s", out)
	return string(out)
}

func TestServeListensAnswersAndStops(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := filepath.Join(t.TempDir(), "state")
		p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", dir})
		line := p.await("msg=listening")
		require.Contains(t, line, " state_dir="+dir)
		require.Contains(t, line, " tls=false")
		require.NotContains(t, p.text(), memoryOnly)
		require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", "http://"+p.address()+"/healthz"))
		require.Contains(t, output(t, exitFailed, "health", "--url", "http://"+p.address()+"/nothing"), "404")
		p.signal(sig)
		require.Contains(t, p.await("msg=\"stopping"), "drain=10s")
		p.await("msg=stopped")
		p.exits(exitOK)
	}
}

func TestNothingDurableIsSaidLoudly(t *testing.T) {
	p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", ""})
	require.Contains(t, p.await(memoryOnly), "level=WARN")
	p.await("msg=listening")
	p.stopsWell()
}

func TestLogAsJSON(t *testing.T) {
	p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", ""}, withEnv("LOCKTOPUS_LOG_FORMAT=json"))
	require.Regexp(t, `^\{"time":.*"msg":"listening","address":"127.0.0.1:[0-9]+"`, p.await(`"msg":"listening"`))
	p.signal(syscall.SIGTERM)
	p.exits(exitOK)
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	p := serve(t, "server.drain = \"1h\"")
	p.holdLock()
	p.signal(syscall.SIGTERM)
	p.await("msg=\"stopping")
	p.signal(syscall.SIGHUP)
	p.await("nothing was reloaded: the server is stopping")
	p.signal(syscall.SIGINT)
	require.Contains(t, p.await("stopped at once by a second signal"), "signal=interrupt")
	p.exits(exitFailed)
}

func TestDrainTimeEndsTheWait(t *testing.T) {
	p := serve(t, "server.drain = \"100ms\"\nlimits.close_timeout = \"100ms\"")
	p.holdLock()
	p.signal(syscall.SIGTERM)
	p.await("the drain time was over before all clients had finished")
	p.await("msg=stopped")
	p.exits(exitOK)
}

func TestPortInUse(t *testing.T) {
	p := serve(t, "")
	text := output(t, exitFailed, "serve", "--listen", p.address(), "--state-dir", t.TempDir())
	require.Contains(t, text, "cannot listen on "+p.address()+": another process already does (another locktopus?); stop it, or choose another address with --listen or server.listen")
	p.stopsWell()
}

func TestStateDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", dir})
	p.await("msg=listening")
	text := output(t, exitFailed, "serve", "--listen", "127.0.0.1:0", "--state-dir", dir)
	require.Contains(t, text, dir)
	require.Contains(t, text, fmt.Sprint(p.cmd.Process.Pid))
	write(t, filepath.Join(t.TempDir(), "my.toml"), "")
	t.Setenv("LOCKTOPUS_STATE_DIR", dir)
	require.Equal(t, "defaults: ok\n", output(t, exitOK, "config", "check"), "a running server is no fault of its configuration")
	p.stopsWell()
}

func TestReloadSaysWhatChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my.toml")
	write(t, path, "[log]\nlevel = \"info\"\n")
	p := start(t, []string{"serve", "-c", path, "--listen", "127.0.0.1:0", "--state-dir", t.TempDir()})
	p.await("msg=listening")

	write(t, path, "[server]\nloops = 3\nallowed_origins = [\"https://a.example\"]\n[limits]\nmessage_bytes = 9000\n[log]\nlevel = \"error\"\nformat = \"json\"\n")
	p.signal(syscall.SIGHUP)
	require.Contains(t, p.await("setting=server.loops"), `level=WARN msg="setting changed, but needs a restart" setting=server.loops in_effect=0 configured=3`)
	require.Contains(t, p.await("setting=server.allowed_origins"), `from="[\"*\"]" to="[\"https://a.example\"]"`)
	require.Contains(t, p.await("setting=limits.message_bytes"), `level=INFO msg="setting changed" setting=limits.message_bytes from=65_536 to=9000`)
	p.await("setting=log.level")
	p.await("setting=log.format")
	require.Contains(t, p.await("msg=reloaded"), "changed=3 need_restart=2")

	// The level is "error" now; faults are errors and change nothing.
	write(t, path, "[log]\nlevel = \"loud\"\nfoo = 1\n")
	p.signal(syscall.SIGHUP)
	require.Contains(t, p.await("log.level must be"), path+":2:9: ")
	require.Contains(t, p.await("unknown key"), path+":3:1: ")
	require.Contains(t, p.await("nothing was reloaded: the configuration is faulty"), "faults=2")

	// What still needs a restart is told at each reload; back to "info" is told although it was off.
	write(t, path, "[server]\nloops = 3\n")
	p.signal(syscall.SIGHUP)
	p.await("setting=server.loops")
	p.await("setting=server.allowed_origins")
	p.await("setting=limits.message_bytes")
	require.Contains(t, p.await("setting=log.level"), `from="\"error\"" to="\"info\""`)
	require.Contains(t, p.await("msg=reloaded"), "changed=3 need_restart=1")
	p.stopsWell()
}

func TestReloadReachesTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my.toml")
	write(t, path, "")
	p := start(t, []string{"serve", "-c", path, "--listen", "127.0.0.1:0", "--state-dir", ""})
	p.await("msg=listening")
	head := http.Header{"Origin": {"https://b.example"}}
	dial := func() error {
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+p.address()+"/v1?namespace=test", head)
		if err == nil {
			require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
			return c.Close()
		}
		return err
	}
	require.NoError(t, dial())
	write(t, path, "server.allowed_origins = [\"https://a.example\"]")
	p.signal(syscall.SIGHUP)
	p.await("msg=reloaded")
	require.Error(t, dial())
	p.stopsWell()
}

func TestUnixSocketAndItsStaleRemains(t *testing.T) {
	dir, err := os.MkdirTemp("", "locktopus") // t.TempDir can be longer than a socket's path may be
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	sock := filepath.Join(dir, "l.sock")
	p := start(t, []string{"serve", "--listen", "unix:" + sock, "--state-dir", ""})
	p.await("msg=listening")
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", "unix:"+sock))
	text := output(t, exitFailed, "serve", "--listen", "unix:"+sock, "--state-dir", "")
	require.Contains(t, text, "cannot listen on unix:"+sock+": another process already does")

	p.signal(syscall.SIGKILL)
	<-p.exited
	require.FileExists(t, sock)
	p = start(t, []string{"serve", "--listen", "unix:" + sock, "--state-dir", ""})
	p.await("msg=listening")
	p.stopsWell()
	require.NoFileExists(t, sock)

	write(t, sock, "somebody's file")
	text = output(t, exitFailed, "serve", "--listen", "unix:"+sock, "--state-dir", "")
	require.Contains(t, text, "cannot listen on unix:"+sock)
	require.FileExists(t, sock)
}

// passSockets starts the program as systemd would: with its sockets as descriptors 3 and up, and its
// own pid in the environment, which only a process in its place can know.
func passSockets(t *testing.T, listeners ...*net.TCPListener) how {
	return func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
		c.Env = append(c.Env, fmt.Sprintf("LISTEN_FDS=%d", len(listeners)))
		for _, ln := range listeners {
			f, err := ln.File()
			require.NoError(t, err)
			t.Cleanup(func() { f.Close() })
			c.ExtraFiles = append(c.ExtraFiles, f)
		}
	}
}

func listenTCP(t *testing.T) *net.TCPListener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

func TestSocketActivation(t *testing.T) {
	ln := listenTCP(t)
	p := start(t, []string{"serve", "--state-dir", ""}, passSockets(t, ln))
	p.await("using the socket that the service manager passed; server.listen is not used")
	require.Contains(t, p.await("msg=listening"), "address="+ln.Addr().String())
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", "http://"+ln.Addr().String()+"/healthz"))
	p.stopsWell()

	p = start(t, []string{"serve", "--state-dir", ""}, passSockets(t, listenTCP(t), listenTCP(t)))
	p.await("the service manager passed 2 sockets; give the socket unit one ListenStream")
	p.exits(exitFailed)
}

// TestSystemdIsToldTheState reads the messages that systemd would get.
func TestSystemdIsToldTheState(t *testing.T) {
	dir, err := os.MkdirTemp("", "locktopus")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	sock := filepath.Join(dir, "n.sock")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	told := func() string {
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	p := serve(t, "server.drain = \"2s\"\nlimits.close_timeout = \"1s\"", withEnv("NOTIFY_SOCKET="+sock))
	require.Equal(t, "READY=1", told())
	p.signal(syscall.SIGHUP)
	require.Regexp(t, `^RELOADING=1\nMONOTONIC_USEC=[0-9]+\n$`, told())
	require.Equal(t, "READY=1", told())
	p.signal(syscall.SIGTERM)
	require.Equal(t, "STOPPING=1\nEXTEND_TIMEOUT_USEC=13000000", told())
	p.exits(exitOK)
}

func TestNoReaderOfTheLogIsNoReasonToEnd(t *testing.T) {
	p, log := unread(t)
	require.NoError(t, log.Close())
	p.signal(syscall.SIGHUP) // logs into nothing
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", "http://"+p.address()+"/healthz"))
	p.signal(syscall.SIGTERM)
	p.exits(exitOK)
}

// serial is the serial number of the certificate that the server shows, or why it shows none.
func serial(address string, tc *tls.Config) (string, error) {
	c, err := tls.Dial("tcp", address, tc)
	if err != nil {
		return "", err
	}
	defer c.Close()
	// With TLS 1.3 a refused client learns of it when it reads.
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		return "", fmt.Errorf("answer %q: %w", answer, err)
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func TestTLSAndItsRotation(t *testing.T) {
	dir := t.TempDir()
	cert, key, ca := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	authority := newAuthority(t)
	authority.issue(t, 1001, cert, key)
	path := filepath.Join(dir, "my.toml")
	settings := fmt.Sprintf("[server.tls]\ncert = %q\nkey = %q\n", cert, key)
	write(t, path, settings)
	p := start(t, []string{"serve", "-c", path, "--listen", "127.0.0.1:0", "--state-dir", ""})
	require.Contains(t, p.await("msg=listening"), "tls=true")
	trusting := &tls.Config{RootCAs: authority.pool(), ServerName: "localhost"}
	got, err := serial(p.address(), trusting)
	require.NoError(t, err)
	require.Equal(t, "1001", got)
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", "https://"+p.address()+"/healthz"))
	_, err = serial(p.address(), &tls.Config{RootCAs: authority.pool(), ServerName: "localhost", MaxVersion: tls.VersionTLS11})
	require.Error(t, err)

	// New files are taken over, faulty ones aren't.
	authority.issue(t, 1002, cert, key)
	p.signal(syscall.SIGHUP)
	p.await("TLS files reloaded for new connections")
	p.await("msg=reloaded")
	got, err = serial(p.address(), trusting)
	require.NoError(t, err)
	require.Equal(t, "1002", got)
	write(t, cert, "nonsense")
	write(t, path, settings+"[limits]\nmessage_bytes = 9000\n")
	p.signal(syscall.SIGHUP)
	require.Contains(t, p.await("server.tls.cert: "), path+":2:1: ")
	p.await("nothing was reloaded: the TLS files are faulty; the old certificate stays in use")
	got, err = serial(p.address(), trusting)
	require.NoError(t, err)
	require.Equal(t, "1002", got)

	// Client certificates can be asked for from now on.
	authority.issue(t, 1003, cert, key)
	write(t, ca, authority.pem)
	write(t, path, settings+fmt.Sprintf("client_ca = %q\n", ca))
	p.signal(syscall.SIGHUP)
	p.await("setting=server.tls.client_ca")
	p.await("msg=reloaded")
	_, err = serial(p.address(), trusting)
	require.Error(t, err)
	clientCert, clientKey := filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	authority.issue(t, 2001, clientCert, clientKey)
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	require.NoError(t, err)
	got, err = serial(p.address(), &tls.Config{RootCAs: authority.pool(), ServerName: "localhost", Certificates: []tls.Certificate{pair}})
	require.NoError(t, err)
	require.Equal(t, "1003", got)
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", "https://"+p.address()+"/healthz", "--cert", clientCert, "--key", clientKey))
	output(t, exitFailed, "health", "--url", "https://"+p.address()+"/healthz")
	stranger := newAuthority(t)
	stranger.issue(t, 3001, clientCert, clientKey)
	output(t, exitFailed, "health", "--url", "https://"+p.address()+"/healthz", "--cert", clientCert, "--key", clientKey)

	// Turning TLS off needs a restart.
	write(t, path, "")
	p.signal(syscall.SIGHUP)
	require.Contains(t, p.await("setting=server.tls.cert"), "needs a restart")
	p.await("msg=reloaded")
	_, err = serial(p.address(), &tls.Config{RootCAs: authority.pool(), ServerName: "localhost", Certificates: []tls.Certificate{pair}})
	require.NoError(t, err)
	p.stopsWell()
}
