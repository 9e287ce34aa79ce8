package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listens is for the start of a server. Built with the race detector, one compiles a plugin in Go for many seconds.
const listens = 5 * time.Minute

// setup says how a server is started; the zero value is a plain one with a state directory of its own.
type setup struct {
	config   string        // TOML
	stateDir string        // "": a fresh one
	env      []string      // NAME=value, besides the test's own
	within   time.Duration // it must listen; listens if that is longer
}

// server is one process of the program under test.
type server struct {
	t     testing.TB
	cmd   *exec.Cmd
	addr  string // HOST:PORT, once it listens
	state string
	log   *transcript
	gone  chan struct{} // closed once the process has been waited for
}

// noteSources opens the files that the program is made of, once. The go command remembers which files
// a test has opened; it wouldn't notice otherwise that a result is of an older program.
var noteSources = sync.OnceValue(func() error {
	return filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" || d.Name() == "node_modules":
			return fs.SkipDir
		case filepath.Ext(path) != ".go" && filepath.Ext(path) != ".toml":
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return f.Close()
	})
})

// start runs a server until the test ends, which must find it able to stop by itself.
func start(t testing.TB, s setup) *server {
	t.Helper()
	require.NoError(t, noteSources())
	if s.stateDir == "" {
		s.stateDir = t.TempDir()
	}
	config := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(config, []byte(s.config), 0o600))
	srv := &server{
		t: t, state: s.stateDir, log: newTranscript(), gone: make(chan struct{}),
		cmd: command("serve", "-c", config, "--listen", "127.0.0.1:0", "--state-dir", s.stateDir),
	}
	srv.cmd.Env = append(srv.cmd.Env, s.env...)
	srv.cmd.Stderr = srv.log
	require.NoError(t, srv.cmd.Start())
	go func() {
		srv.cmd.Wait() // judged by stop, from ProcessState
		srv.log.end()
		close(srv.gone)
	}()
	t.Cleanup(srv.stop)
	select {
	case srv.addr = <-srv.log.listening:
	case <-srv.gone:
		t.Fatalf("the server ended before it listened: %v\n%s", srv.cmd.ProcessState, srv.log)
	case <-time.After(max(s.within, listens)):
		t.Fatalf("the server doesn't listen\n%s", srv.log)
	}
	return srv
}

// command is a run of the program that doesn't know of the test's own settings.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = environment()
	return cmd
}

// environment is the test's own without what is meant for locktopus: the test's own seed among that.
// The race detector needn't wait a second at the end for goroutines that might still report.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LOCKTOPUS_") })
	return append(env, "GORACE=atexit_sleep_ms=0")
}

// stop asks the server to go and judges how it went: it must exit 0 by itself.
func (s *server) stop() {
	s.t.Helper()
	if s.running() {
		s.signal(syscall.SIGTERM)
		s.wait()
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			s.t.Errorf("the server ended with %v, want exit code 0", s.cmd.ProcessState)
		}
	}
	text := s.log.String()
	if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
		s.t.Error("the server's log holds a panic or a data race")
	}
	if s.t.Failed() {
		s.t.Logf("log of the server at %s:\n%s", s.addr, text)
	}
}

func (s *server) running() bool {
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal %v: %v", sig, err)
	}
}

// wait returns when the process has ended, which it must within patience.
func (s *server) wait() {
	s.t.Helper()
	select {
	case <-s.gone:
	case <-time.After(patience):
		s.signal(syscall.SIGQUIT) // its goroutines tell why
		select {
		case <-s.gone:
		case <-time.After(patience):
			s.cmd.Process.Kill()
			<-s.gone
		}
		s.t.Errorf("the server didn't end in %v and was killed", patience)
	}
}

// kill ends the process as a power failure would.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.gone
}

// get asks for a page.
func (s *server) get(path string) (status int, body string) {
	s.t.Helper()
	resp, err := httpClient.Get("http://" + s.addr + path)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(text)
}

// httpClient keeps no connection, so that none is counted where connections are.
var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// statistics is the answer of /stats.
type statistics struct {
	LastGroupID                   uint64
	GroupsPending, GroupsAcquired int
	Locks, LockrefCount           int
	PathCount, Users              int
	Bytes                         int64
}

// stats returns a namespace's numbers; all zero when nobody uses it.
func (s *server) stats(namespace string) statistics {
	s.t.Helper()
	status, body := s.get("/stats?namespace=" + url.QueryEscape(namespace))
	if status == http.StatusNotFound {
		return statistics{}
	}
	require.Equal(s.t, http.StatusOK, status, body)
	var st statistics
	dec := json.NewDecoder(strings.NewReader(body))
	dec.DisallowUnknownFields()
	require.NoError(s.t, dec.Decode(&st), body)
	return st
}

// status reads a number of the status page, such as "connections".
func (s *server) status(name string) int {
	s.t.Helper()
	_, body := s.get("/")
	m := regexp.MustCompile(`(?m)^` + name + `\s+(\d+)$`).FindStringSubmatch(body)
	require.NotNil(s.t, m, "no %q in %q", name, body)
	var n int
	fmt.Sscan(m[1], &n)
	return n
}

// eventually asks again and again until ok says yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// transcript keeps the end of what a server logs and notices the line that says where it listens.
type transcript struct {
	listening chan string // receives the address, once
	pipe      *io.PipeWriter
	read      chan struct{} // closed when the last line was read

	collections atomic.Int64 // of garbage, where the runtime was told to say so
	mu          sync.Mutex   // guards what follows
	text        bytes.Buffer
}

const transcriptBytes = 1 << 20

// collectionLine is how Go's runtime tells of a collection with GODEBUG=gctrace=1.
var collectionLine = regexp.MustCompile(`^gc \d+ @`)

var listeningLine = regexp.MustCompile(`msg=listening\b.* address=(\S+)`)

func newTranscript() *transcript {
	r, w := io.Pipe()
	l := &transcript{listening: make(chan string, 1), pipe: w, read: make(chan struct{})}
	go l.scan(r)
	return l
}

func (l *transcript) Write(p []byte) (int, error) { return l.pipe.Write(p) }

func (l *transcript) end() {
	l.pipe.Close()
	<-l.read
}

func (l *transcript) scan(r io.Reader) {
	defer close(l.read)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if collectionLine.MatchString(line) {
			l.collections.Add(1)
			at := strings.Index(line, "time=")
			if at < 0 {
				continue
			}
			line = line[at:] // the runtime writes its own piece by piece, and the log may come in between
		}
		l.keep(line)
		if m := listeningLine.FindStringSubmatch(line); m != nil {
			select {
			case l.listening <- m[1]:
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *transcript) keep(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len() > 2*transcriptBytes {
		l.text.Next(l.text.Len() - transcriptBytes)
	}
	l.text.WriteString(line)
}

// since is what was logged after the first so many bytes. It needs all of it to be kept.
func (l *transcript) since(bytes int) string { return l.String()[bytes:] }

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
