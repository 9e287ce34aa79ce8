package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// stage is a server, a wire to it that can be cut for good, and somebody else who isn't on that wire.
type stage struct {
	t      *testing.T
	server *server.Server
	wire   *testserver.Wire
	url    string // over the wire
	rival  *client.Client
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t}
	var address string
	s.server, address = newServer(t)
	s.wire = testserver.NewWire(t, s.server.Addr().String())
	s.url = "ws://" + s.wire.Addr() + "/v2?namespace=run"
	var err error
	s.rival, err = client.Dial(s.ctx(), address+"?namespace=run", &client.Options{Name: "rival"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.rival.Close()) })
	return s
}

func (s *stage) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// take waits until the rival has a path.
func (s *stage) take(path string) *client.Lock {
	s.t.Helper()
	l, err := s.rival.Lock(s.ctx(), client.Write(path))
	require.NoError(s.t, err)
	return l
}

// revoke takes the lock of whoever has a path.
func (s *stage) revoke(path string) {
	s.t.Helper()
	locks, _, err := s.rival.Inspect(s.ctx(), []string{path}, 1, "")
	require.NoError(s.t, err)
	require.Len(s.t, locks, 1)
	_, err = s.server.AdminRelease("run", locks[0].Session, locks[0].Lock, "on fire")
	require.NoError(s.t, err)
}

// waits returns when somebody is in the queue for a path.
func (s *stage) waits(path string) {
	s.t.Helper()
	eventually(s.t, "somebody waits", func() bool {
		locks, _, err := s.rival.Inspect(s.ctx(), []string{path}, 10, "")
		require.NoError(s.t, err)
		for _, l := range locks {
			if l.State == "enqueued" {
				return true
			}
		}
		return false
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// running is locktopus run.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Reader // of the command's output
	stderr bytes.Buffer  // read it once it has ended
}

// run starts a shell script under a lock of the path "a", for a time that is short.
func (s *stage) run(script string, flags ...string) *running {
	s.t.Helper()
	self, err := exec.LookPath("locktopus")
	require.NoError(s.t, err)
	args := append([]string{"run", "--ttl", "2s", "--grace", "500ms", "-w", "a"}, flags...)
	r := &running{t: s.t, cmd: exec.Command(self, append(args, "--", "sh", "-c", script)...)}
	r.cmd.Env = append(os.Environ(), envURL+"="+s.url, envAuthorization+"=Bearer secret")
	r.cmd.Stderr = &r.stderr
	r.cmd.WaitDelay = patience // whoever holds the output is gone, or that is a fault
	r.stdin, err = r.cmd.StdinPipe()
	require.NoError(s.t, err)
	out, err := r.cmd.StdoutPipe()
	require.NoError(s.t, err)
	r.lines = bufio.NewReader(out)
	require.NoError(s.t, r.cmd.Start())
	s.t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

// line is the next line of the command's output.
func (r *running) line() string {
	r.t.Helper()
	text, err := r.lines.ReadString('\n')
	require.NoError(r.t, err)
	return strings.TrimSpace(text)
}

func (r *running) pid() int {
	r.t.Helper()
	pid, err := strconv.Atoi(r.line())
	require.NoError(r.t, err)
	return pid
}

// exits waits for the end, and returns what was printed since.
func (r *running) exits(code int) string {
	r.t.Helper()
	rest, _ := io.ReadAll(r.lines)
	_ = r.cmd.Wait()
	require.Equal(r.t, code, r.cmd.ProcessState.ExitCode(), "%s", r.stderr.String())
	return string(rest)
}

// alive says whether a process does anything still.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[0]
	return state != "Z" && state != "X"
}

// stubborn is a shell that prints its process id and doesn't end on SIGTERM.
const stubborn = `trap "" TERM; echo $$; while :; do sleep 0.01; done`

// TestRunEndsTheCommandBeforeTheLockEnds cuts the wire for good. When somebody else gets the lock, nobody of the
// command's is left, whatever they do.
func TestRunEndsTheCommandBeforeTheLockEnds(t *testing.T) {
	for name, script := range map[string]string{
		"ends when it is told to":      `echo $$; exec sleep 600`,
		"tidies up and says 0":         `trap "exit 0" TERM; echo $$; while :; do sleep 0.01; done`,
		"doesn't listen":               stubborn,
		"has a child that doesn't":     `sh -c '` + stubborn + `' & wait`,
		"leaves a child that doesn't":  `sh -c '` + stubborn + `' & trap "exit 0" TERM; while :; do sleep 0.01; done`,
		"is stopped":                   `echo $$; kill -STOP $$; sleep 600`,
		"is stopped and won't listen":  `trap "" TERM; echo $$; kill -STOP $$; while :; do sleep 0.01; done`,
		"has more and more children":   `trap "" TERM; echo $$; while :; do (sleep 5; sleep 600) & sleep 0.01; done`,
		"went into a group of its own": `set -m; sh -c 'exit 0' & wait; echo $$; exec sleep 600`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			r := s.run(script)
			pid := r.pid()
			s.wire.Shut(true)
			s.wire.Cut()
			s.take("a")
			require.False(t, alive(pid), "somebody else has the lock")
			r.exits(exitLost)
			require.Contains(t, r.stderr.String(), "locktopus run: the lock was lost while the command was running: ")
		})
	}
}

// TestRunReleasesOnlyWhenTheGroupIsGone: the command ends and leaves somebody behind.
func TestRunReleasesOnlyWhenTheGroupIsGone(t *testing.T) {
	s := newStage(t)
	r := s.run(`sh -c '` + stubborn + `' & read wait; exit 3`)
	pid := r.pid()
	require.NoError(t, r.stdin.Close())
	s.take("a")
	require.False(t, alive(pid))
	r.exits(3)
}

// TestRunTellsALossThatTheCommandDidNotOutlive: the command ends by itself between the loss and the word of it.
func TestRunTellsALossThatTheCommandDidNotOutlive(t *testing.T) {
	s := newStage(t)
	r := s.run(`echo $$; read line; echo done`)
	r.pid()
	s.wire.Hold(true)
	s.revoke("a")
	s.take("a")
	require.NoError(t, r.stdin.Close())
	require.Equal(t, "done", r.line())
	s.wire.Hold(false)
	r.exits(exitLost)
	require.Contains(t, r.stderr.String(), "the lock is lost: revoked")
}

// TestRunEndsTheCommandWhenItsLockIsTaken, if it has to be with SIGKILL.
func TestRunEndsTheCommandWhenItsLockIsTaken(t *testing.T) {
	s := newStage(t)
	r := s.run(stubborn)
	pid := r.pid()
	s.revoke("a")
	r.exits(exitLost)
	require.False(t, alive(pid))
	require.Contains(t, r.stderr.String(), "the lock is lost: revoked: on fire")
}

func TestRunPassesSignalsOn(t *testing.T) {
	s := newStage(t)
	r := s.run(`trap "echo user" USR1; trap "echo hup" HUP; trap "echo int; exit 7" INT; echo $$; while :; do sleep 0.01; done`)
	r.pid()
	for _, c := range []struct {
		signal os.Signal
		says   string
	}{{syscall.SIGUSR1, "user"}, {syscall.SIGHUP, "hup"}, {syscall.SIGINT, "int"}} {
		require.NoError(t, r.cmd.Process.Signal(c.signal))
		require.Equal(t, c.says, r.line())
	}
	r.exits(7)
	s.take("a")
}

// TestRunLeavesTheQueueOnASignal and doesn't start anything.
func TestRunLeavesTheQueueOnASignal(t *testing.T) {
	for signal, code := range map[os.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129} {
		s := newStage(t)
		held := s.take("a")
		r := s.run(`echo started`)
		s.waits("a")
		require.NoError(t, r.cmd.Process.Signal(syscall.SIGUSR1)) // is for commands
		require.NoError(t, r.cmd.Process.Signal(signal))
		require.Empty(t, r.exits(code))
		locks, _, err := s.rival.Inspect(s.ctx(), []string{"a"}, 10, "")
		require.NoError(t, err)
		require.Len(t, locks, 1, "the rival's own")
		require.NoError(t, held.Release(s.ctx()))
	}
}

// TestTheCommandDiesWithRun, whatever kills that.
func TestTheCommandDiesWithRun(t *testing.T) {
	s := newStage(t)
	r := s.run(stubborn)
	pid := r.pid()
	require.NoError(t, r.cmd.Process.Kill())
	eventually(t, "the command is gone", func() bool { return !alive(pid) })
	_ = r.cmd.Wait()
}

// TestRunHidesItsCredentials from the command, and tells it of the lock.
func TestRunHidesItsCredentials(t *testing.T) {
	s := newStage(t)
	first := s.take("a")
	require.NoError(t, first.Release(s.ctx()))
	out := s.run(`env`).exits(0)
	require.NotContains(t, out, "secret")
	require.Contains(t, out, fmt.Sprintf("\n%s=%d\n", envToken, first.Token()+1))
	require.Contains(t, out, "\n"+envURL+"="+s.url+"\n", "for what it may run itself")
}

// TestRunIsDeniedByAPlugin.
func TestRunIsDeniedByAPlugin(t *testing.T) {
	plugin, err := filepath.Abs(ownPaths)
	require.NoError(t, err)
	p := serve(t, "[[plugins]]\nname = \"own\"\npath = "+strconv.Quote(plugin)+"\nhooks = [\"authorize\"]\n")
	s := &stage{t: t, url: "ws://" + p.address() + "/v2?namespace=run"}
	r := s.run(`echo started`)
	require.Empty(t, r.exits(exitDenied))
	require.Contains(t, r.stderr.String(), `locktopus run: denied by plugin "own"`)
}

// TestTheServerIsKilledWhileTheCommandRuns: the real one, with SIGKILL.
func TestTheServerIsKilledWhileTheCommandRuns(t *testing.T) {
	p := serve(t, "")
	s := &stage{t: t, url: "ws://" + p.address() + "/v2?namespace=run"}
	r := s.run(stubborn)
	pid := r.pid()
	require.NoError(t, p.cmd.Process.Kill())
	r.exits(exitLost)
	require.False(t, alive(pid))
}

// TestTheCommandHasTheTerminal: it may read from it, and Ctrl-C and Ctrl-Z are for it.
func TestTheCommandHasTheTerminal(t *testing.T) {
	s := newStage(t)
	cmd, types, says := s.runAtTerminal(`trap "echo interrupted; exit 5" INT; read x; echo "read $x"; while :; do sleep 0.01; done`)
	types("something\n")
	says("read something")
	types("\x03")
	says("interrupted")
	_ = cmd.Wait()
	require.Equal(t, 5, cmd.ProcessState.ExitCode())
}

// TestACommandThatWasStoppedForTooLongDoesNotGoOn: the command stops itself, as editors do at Ctrl-Z, and run with it,
// which keeps the lock. When they go on, somebody else has it.
func TestACommandThatWasStoppedForTooLongDoesNotGoOn(t *testing.T) {
	s := newStage(t)
	on := filepath.Join(t.TempDir(), "on")
	cmd, _, _ := s.runAtTerminal(`kill -TSTP $$; echo on >` + on)
	wait := func() (status unix.WaitStatus) {
		_, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil)
		require.NoError(t, err)
		return status
	}
	require.True(t, wait().Stopped())
	s.take("a")
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.Equal(t, exitLost, wait().ExitStatus())
	require.NoFileExists(t, on)
}

// TestACommandThatWasStoppedForAMomentGoesOn.
func TestACommandThatWasStoppedForAMomentGoesOn(t *testing.T) {
	s := newStage(t)
	cmd, types, says := s.runAtTerminal(`echo started; read x; echo "read $x"; exit 4`)
	says("started")
	types("\x1a")
	var status unix.WaitStatus
	_, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	types("something\n")
	says("read something")
	_ = cmd.Wait()
	require.Equal(t, 4, cmd.ProcessState.ExitCode())
}

// runAtTerminal runs a shell script at a terminal of its own. types is for what is typed there, says waits for a line.
func (s *stage) runAtTerminal(script string) (cmd *exec.Cmd, types, says func(string)) {
	s.t.Helper()
	keyboard, tty := openTerminal(s.t)
	self, err := exec.LookPath("locktopus")
	require.NoError(s.t, err)
	cmd = exec.Command(self, "run", "--ttl", "2s", "-w", "a", "--", "sh", "-c", script)
	cmd.Env = append(os.Environ(), envURL+"="+s.url)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(keyboard)
	types = func(text string) {
		_, err := keyboard.WriteString(text)
		require.NoError(s.t, err)
	}
	says = func(want string) {
		for {
			text, err := lines.ReadString('\n')
			require.NoError(s.t, err, "before %q", want)
			if strings.Contains(text, want) {
				return
			}
		}
	}
	return cmd, types, says
}

// openTerminal makes a terminal: what is written to the first is typed at the second.
func openTerminal(t *testing.T) (keyboard, tty *os.File) {
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = keyboard.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tty.Close() })
	return keyboard, tty
}
