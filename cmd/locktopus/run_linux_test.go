package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
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
	return s.start(func(*exec.Cmd) {}, script, flags...)
}

// start is run with a command that is changed before.
func (s *stage) start(change func(*exec.Cmd), script string, flags ...string) *running {
	s.t.Helper()
	self, err := exec.LookPath("locktopus")
	require.NoError(s.t, err)
	args := append([]string{"run", "-w", "a"}, flags...)
	if !slices.Contains(flags, "--ttl") {
		args = append(args, "--ttl", "2s", "--grace", "500ms")
	}
	r := &running{t: s.t, cmd: exec.Command(self, append(args, "--", "sh", "-c", script)...)}
	r.cmd.Env = append(os.Environ(), envURL+"="+s.url, envAuthorization+"=Bearer secret")
	r.cmd.Stderr = &r.stderr
	r.cmd.WaitDelay = patience // whoever holds the output is gone, or that is a fault
	r.stdin, err = r.cmd.StdinPipe()
	require.NoError(s.t, err)
	out, err := r.cmd.StdoutPipe()
	require.NoError(s.t, err)
	r.lines = bufio.NewReader(out)
	change(r.cmd)
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
	require.Equal(r.t, code, shellCode(r.cmd), "%s", r.stderr.String())
	return string(rest)
}

// shellCode is how a shell calls what a program has ended with.
func shellCode(cmd *exec.Cmd) int {
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// alive says whether a process does anything still.
func alive(pid int) bool {
	state := stateOf(pid)
	return state != "" && state != "Z" && state != "X"
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
			require.Equal(t, 1, strings.Count(r.stderr.String(), "the server has not been heard, and the lock is about to end"), "%s", r.stderr.String())
			require.NotContains(t, r.stderr.String(), "while the command was running")
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
	require.Regexp(t, `^locktopus run: (the lock was lost while the command was running|ending the command): the lock is lost: revoked: on fire\n$`, r.stderr.String())
}

// TestRunEndsTheCommandWhenItsLockIsTaken, if it has to be with SIGKILL.
func TestRunEndsTheCommandWhenItsLockIsTaken(t *testing.T) {
	s := newStage(t)
	r := s.run(stubborn)
	pid := r.pid()
	s.revoke("a")
	r.exits(exitLost)
	require.False(t, alive(pid))
	require.Equal(t, `locktopus run: ending the command: the lock is lost: revoked: on fire
locktopus run: killing the command, which has not ended in time
`, r.stderr.String())
}

// TestRunSaysThatTheServerWasRestarted, and once.
func TestRunSaysThatTheServerWasRestarted(t *testing.T) {
	s := newStage(t)
	r := s.run(`echo $$; exec sleep 600`)
	r.pid()
	_, again := testserver.Serve(t, nil)
	s.wire.Lead(again)
	s.wire.Cut()
	r.exits(exitLost)
	require.Equal(t, "locktopus run: ending the command: the lock is lost: gone: the server was restarted\n", r.stderr.String())
}

// TestRunIsGrantedLessThanItAsksFor, and says so before it waits. What it can't do then is refused.
func TestRunIsGrantedLessThanItAsksFor(t *testing.T) {
	_, address := testserver.Serve(t, func(o *server.Options) { o.Settings.Sessions.TTLMax = 6 * time.Second })
	s := &stage{t: t, url: "ws://" + address + "/v2?namespace=run"}
	for ttl, want := range map[string]string{
		"6s": "",
		"7s": "locktopus run: warning: the server grants 6s where --ttl asks for 7s (the server's sessions.ttl_max)\n",
	} {
		r := s.run(`echo done`, "--ttl", ttl)
		require.Equal(t, "done\n", r.exits(0))
		require.Equal(t, want, r.stderr.String())
	}
	r := s.run(`echo done`, "--ttl", "9s", "--grace", "2s")
	require.Equal(t, "done\n", r.exits(0))
	r = s.run(`echo done`, "--ttl", "9s", "--grace", "2001ms")
	require.Empty(t, r.exits(exitUsage))
	require.Equal(t, "locktopus run: --grace is too long for what the server grants: 2.001s is more than a third of 6s, though --ttl asks for 9s (the server's sessions.ttl_max)\n", r.stderr.String())
}

func TestRunPassesSignalsOn(t *testing.T) {
	heedHangups(t)
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

// heedHangups lets programs that a test starts notice SIGHUP, also where the tests run under nohup.
func heedHangups(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(heard) })
}

// TestRunLeavesTheQueueOnASignal and doesn't start anything.
func TestRunLeavesTheQueueOnASignal(t *testing.T) {
	heedHangups(t)
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

// TestABlankBehindCredentialsIsNotTheirs, such as the end of the line in the file that they are from. A line break within
// is a fault of whoever set the variable.
func TestABlankBehindCredentialsIsNotTheirs(t *testing.T) {
	p := process{environ: []string{envAuthorization + "=Bearer abc\r\n"}}
	var o client.Options
	require.NoError(t, (&dialFlags{header: http.Header{}}).options(p, &o))
	require.Equal(t, "Bearer abc", o.Header.Get("Authorization"))
	p.environ[0] = envAuthorization + "=Bearer\nabc"
	require.EqualError(t, (&dialFlags{header: http.Header{}}).options(p, &o), "LOCKTOPUS_AUTHORIZATION of the environment must be the value of a header, in one line")
}

// TestAServerThatStandsStillIsNamed: whoever asks may have several.
func TestAServerThatStandsStillIsNamed(t *testing.T) {
	d := &dialFlags{url: "ws://127.0.0.1:1/v2?namespace=n"}
	_, err := d.address(process{})
	require.NoError(t, err)
	require.Equal(t, "ws://127.0.0.1:1/v2 doesn't answer", d.said(context.DeadlineExceeded))
}

// TestPeopleSeeWhereACommandRuns, unless they are told something else, or the server takes no names.
func TestPeopleSeeWhereACommandRuns(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	for _, c := range []struct {
		flags []string
		bytes int
		want  string
	}{
		{nil, 128, "^" + regexp.QuoteMeta(host) + `:\d+$`},
		{[]string{"--name", "me"}, 128, "^me$"},
		{nil, 1, "^$"},
	} {
		_, address := testserver.Serve(t, func(o *server.Options) { o.Settings.Sessions.NameBytes = c.bytes })
		s := &stage{t: t, url: "ws://" + address + "/v2?namespace=run"}
		out := s.run(`locktopus ls --json a`, c.flags...).exits(0)
		var l client.LockInfo
		require.NoError(t, json.Unmarshal([]byte(out), &l))
		require.Regexp(t, c.want, l.Name)
	}
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

// TestACommandIsGoneBeforeTheNextServerComes: the real one, told to stop and started again. Whoever waits gets the lock
// from the second server, and nothing from the first, which needn't use up its time.
func TestACommandIsGoneBeforeTheNextServerComes(t *testing.T) {
	for drain, grace := range map[string]string{"4s": "1s", "1s": "800ms", "900ms": "1s", "50ms": "1s"} {
		t.Run("drain "+drain+", grace "+grace, func(t *testing.T) {
			t.Parallel()
			p := serve(t, "[server]\ndrain = \""+drain+"\"")
			s := &stage{t: t, url: "ws://" + p.address() + "/v2?namespace=run"}
			r := s.run(stubborn, "--ttl", "1m", "--grace", grace)
			pid := r.pid()
			rival := s.run(`echo $$; read line`)
			c, err := client.Dial(s.ctx(), s.url, nil)
			require.NoError(t, err)
			s.rival = c
			s.waits("a")
			require.NoError(t, c.Close())

			p.signal(syscall.SIGTERM)
			p.exits(exitOK)
			require.NotContains(t, p.text(), "the drain time was over")
			p.next()
			rival.pid()
			require.False(t, alive(pid), "somebody else has the lock")
			r.exits(exitLost)
			require.Regexp(t, `^locktopus run: ending the command: the server is shutting down, and the lock is about to end with it
locktopus run: killing the command, which has not ended in time
$`, r.stderr.String())
			require.NoError(t, rival.stdin.Close())
			rival.exits(1)
		})
	}
}

// TestACommandThatIsDoneInTimeDoesNotNoticeThatTheServerStops, and the server doesn't wait for longer.
func TestACommandThatIsDoneInTimeDoesNotNoticeThatTheServerStops(t *testing.T) {
	p := serve(t, "[server]\ndrain = \"1h\"")
	s := &stage{t: t, url: "ws://" + p.address() + "/v2?namespace=run"}
	r := s.run(`trap "echo told" TERM; echo $$; read line; exit 3`)
	r.pid()
	p.signal(syscall.SIGTERM)
	p.await(`msg="stopping`)
	require.NoError(t, r.stdin.Close())
	require.Empty(t, r.exits(3))
	require.Empty(t, r.stderr.String())
	p.exits(exitOK)
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

// TestCtrlCEndsTheScript that run stands in, as it would without run: at a command that has the keys, at one whose output
// goes down a pipe, and while run waits. Otherwise the script would go on as if nothing had happened.
func TestCtrlCEndsTheScript(t *testing.T) {
	self, err := exec.LookPath("locktopus")
	require.NoError(t, err)
	for _, line := range []string{
		`"$0" run -w a -- sh -c 'echo started; exec sleep 600'`,
		`"$0" run -w a -- sh -c 'echo started; exec sleep 600' | cat`,
		`"$0" run -w b -- sh -c '"$0" run -w a -- sh -c "echo started; exec sleep 600"; echo after >after' "$0"`,
		`"$0" run -w taken -- true`,
		`"$0" watch b`,
	} {
		s := newStage(t)
		s.take("taken")
		keyboard, tty := openTerminal(t)
		cmd := exec.Command("sh", "-c", line+`; echo after >after`, self)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), envURL+"="+s.url)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		require.NoError(t, cmd.Start())
		said := bufio.NewReader(keyboard)
		_, err := said.ReadString('\n') // it has started, says for whom it waits, or the heading
		require.NoError(t, err)
		_, err = keyboard.WriteString("\x03")
		require.NoError(t, err)
		_ = cmd.Wait()
		require.Equal(t, 130, shellCode(cmd), "%s", line)
		require.True(t, cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled(), "%s", line)
		require.NoFileExists(t, filepath.Join(cmd.Dir, "after"), "%s", line)
	}
}

// TestWithoutATerminalAnInterruptIsACode: whoever supervises it reads 130, and no shell needs more.
func TestWithoutATerminalAnInterruptIsACode(t *testing.T) {
	s := newStage(t)
	for _, script := range []string{`kill -INT $$`, `kill -INT "$PPID"; exec sleep 600`} {
		r := s.start(func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }, script)
		r.exits(130)
		require.Equal(t, 130, r.cmd.ProcessState.ExitCode(), "%s", script)
	}
}

// TestACommandThatIsInterruptedAloneEndsNobodyElse: whoever told run so need not be told.
func TestACommandThatIsInterruptedAloneEndsNobodyElse(t *testing.T) {
	s := newStage(t)
	_, tty := openTerminal(t)
	self, err := exec.LookPath("locktopus")
	require.NoError(t, err)
	cmd := exec.Command("sh", "-c", `"$0" run -w a -- sh -c 'kill -INT "$PPID"; exec sleep 600'; echo after $? >after`, self)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), envURL+"="+s.url)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Run())
	said, err := os.ReadFile(filepath.Join(cmd.Dir, "after"))
	require.NoError(t, err)
	require.Equal(t, "after 130\n", string(said))
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

// TestWhoReadsTheOutputKeepsTheTerminal, as a pager in the same pipeline needs it, until the command wants to read.
func TestWhoReadsTheOutputKeepsTheTerminal(t *testing.T) {
	s := newStage(t)
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	lines := bufio.NewReader(out)
	says := func(want string) {
		text, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want+"\n", text)
	}
	cmd, keyboard, types, _ := s.runAtTerminalTo(in, `echo started; exec sleep 600`)
	says("started")
	group, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPGRP)
	require.NoError(t, err)
	require.Equal(t, cmd.Process.Pid, group, "who is in the foreground")
	types("\x03")
	_ = cmd.Wait()
	require.Equal(t, 130, shellCode(cmd))

	cmd, _, types, _ = s.runAtTerminalTo(in, `echo started; read x; echo "read $x"; read y <&2; echo "read $y"`)
	says("started")
	types("something\n")
	says("read something")
	types("more\n")
	says("read more")
	_ = cmd.Wait()
	require.Zero(t, cmd.ProcessState.ExitCode())
	require.NoError(t, in.Close())
}

// TestAStopIsForBoth: the wrapper is told to stop, as by Ctrl-Z where the terminal is its own, and the command stops with
// it. Were it to run on, it would do so without its lock.
func TestAStopIsForBoth(t *testing.T) {
	s := newStage(t)
	alone := func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
	r := s.start(alone, `echo $$; read line; exit 3`) // and starts nobody: a shell that does so just now doesn't stop
	pid := r.pid()
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTSTP))
	for _, p := range []int{pid, r.cmd.Process.Pid} {
		eventually(t, "both are stopped", func() bool { return stateOf(p) == "T" })
	}
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGCONT))
	require.NoError(t, r.stdin.Close())
	r.exits(3)
}

// TestWhoSitsAtATerminalIsToldWhoIsInTheWay, and nobody else is.
func TestWhoSitsAtATerminalIsToldWhoIsInTheWay(t *testing.T) {
	s := newStage(t)
	held := s.take("a")
	r := s.run(`exit 0`)
	s.waits("a")
	cmd, _, says := s.runAtTerminal(`echo started`)
	says(`locktopus run: waiting for write of "a", acquired by rival for `)
	require.NoError(t, held.Release(s.ctx()))
	says("started")
	_ = cmd.Wait()
	require.Zero(t, cmd.ProcessState.ExitCode())
	r.exits(0)
	require.Empty(t, r.stderr.String())
}

// TestWaitEndsThoughTheServerSaysNothing: its word is waited for, but not for ever.
func TestWaitEndsThoughTheServerSaysNothing(t *testing.T) {
	s := newStage(t)
	s.take("a")
	r := s.run(`exit 0`, "--ttl", "60s", "--wait", "2s")
	s.waits("a")
	s.wire.Hold(true)
	r.exits(exitNotObtained)
	require.Equal(t, "locktopus run: not to be had in time; the server hasn't said who is in the way\n", r.stderr.String())
}

// TestWhoWaitsIsToldThatTheServerIsGone, once, and that it is back. A lock that is there then is taken.
func TestWhoWaitsIsToldThatTheServerIsGone(t *testing.T) {
	s := newStage(t)
	held := s.take("a")
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	r := s.start(func(cmd *exec.Cmd) { cmd.Stderr = in }, `echo started`)
	require.NoError(t, in.Close())
	said := bufio.NewReader(out)
	s.waits("a")
	s.wire.Shut(true)
	s.wire.Cut()
	text, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Regexp(t, `^locktopus run: the server is gone since \d\d:\d\d:\d\d: waiting goes on when it is back\n$`, text)
	s.wire.Shut(false)
	text, err = said.ReadString('\n')
	require.NoError(t, err)
	require.Regexp(t, `^locktopus run: the server is back since \d\d:\d\d:\d\d: waiting goes on\n$`, text)
	require.NoError(t, held.Release(s.ctx()))
	require.Equal(t, "started\n", r.exits(0))
}

// TestRunUnderNohup: neither it nor the command ends when the terminal is gone.
func TestRunUnderNohup(t *testing.T) {
	s := newStage(t)
	signal.Ignore(syscall.SIGHUP) // which the programs that are started inherit
	defer signal.Reset(syscall.SIGHUP)
	r := s.run(`echo $$; read line; exit 3`)
	pid := r.pid()
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP))
	require.NoError(t, syscall.Kill(pid, syscall.SIGHUP))
	require.NoError(t, r.stdin.Close())
	r.exits(3)
}

// TestRunEndsTheCommandThoughNobodyReadsWhy: standard error is a pipe whose reader has gone, or stands still.
func TestRunEndsTheCommandThoughNobodyReadsWhy(t *testing.T) {
	for name, be := range map[string]func(t *testing.T, out, in *os.File){
		"gone":         func(t *testing.T, out, _ *os.File) { require.NoError(t, out.Close()) },
		"stands still": func(t *testing.T, _, in *os.File) { fill(t, in) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			out, in, err := os.Pipe()
			require.NoError(t, err)
			defer out.Close()
			r := s.start(func(cmd *exec.Cmd) { cmd.Stderr = in }, `sh -c '`+stubborn+`' & wait`)
			pid := r.pid()
			be(t, out, in)
			require.NoError(t, in.Close())
			s.revoke("a")
			r.exits(exitLost)
			require.False(t, alive(pid))
		})
	}
}

// fill writes to a pipe until nothing more goes in.
func fill(t *testing.T, in *os.File) {
	t.Helper()
	fd := int(in.Fd())
	require.NoError(t, unix.SetNonblock(fd, true))
	defer func() { require.NoError(t, unix.SetNonblock(fd, false)) }()
	for n := 1 << 12; n > 0; {
		if _, err := unix.Write(fd, make([]byte, n)); err != nil {
			require.ErrorIs(t, err, unix.EAGAIN)
			n /= 2
		}
	}
}

// TestRunEndsTheCommandThoughItMayNotWrite: it is in the background of a terminal that stops whoever writes from there.
func TestRunEndsTheCommandThoughItMayNotWrite(t *testing.T) {
	s := newStage(t)
	cmd, _, says := s.runAtTerminal(`stty tostop; echo started; exec sleep 600`)
	says("started")
	s.revoke("a")
	says("locktopus run: ending the command: the lock is lost: revoked: on fire")
	_ = cmd.Wait()
	require.Equal(t, exitLost, cmd.ProcessState.ExitCode())
}

// TestTheCommandInheritsNoSignalThatRunIgnores.
func TestTheCommandInheritsNoSignalThatRunIgnores(t *testing.T) {
	s := newStage(t)
	ours, err := exec.Command("grep", "SigIgn", "/proc/self/status").Output()
	require.NoError(t, err)
	require.Equal(t, string(ours), s.run(`grep SigIgn /proc/self/status`).exits(0))
}

// TestOrphansAreBuriedWhileTheCommandRuns: one that runs for months and leaves daemons mustn't fill the table of
// processes.
func TestOrphansAreBuriedWhileTheCommandRuns(t *testing.T) {
	s := newStage(t)
	r := s.run(`for i in 1 2 3 4 5; do (setsid sh -c 'echo $$; exit 0' &); done; read line`)
	for range 5 {
		pid := r.pid()
		eventually(t, "it is buried", func() bool { return stateOf(pid) == "" })
	}
	require.NoError(t, r.stdin.Close())
	r.exits(1)
}

// stateOf is a process's, as /proc has it; "" if there is none.
func stateOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[0]
}

// runAtTerminal runs a shell script at a terminal of its own. types is for what is typed there, says waits for a line.
func (s *stage) runAtTerminal(script string) (cmd *exec.Cmd, types, says func(string)) {
	s.t.Helper()
	cmd, _, types, says = s.runAtTerminalTo(nil, script)
	return cmd, types, says
}

// runAtTerminalTo is runAtTerminal with another standard output, and gives the terminal.
func (s *stage) runAtTerminalTo(stdout *os.File, script string) (cmd *exec.Cmd, keyboard *os.File, types, says func(string)) {
	s.t.Helper()
	keyboard, tty := openTerminal(s.t)
	self, err := exec.LookPath("locktopus")
	require.NoError(s.t, err)
	cmd = exec.Command(self, "run", "--ttl", "2s", "-w", "a", "--", "sh", "-c", script)
	cmd.Env = append(os.Environ(), envURL+"="+s.url)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if stdout != nil {
		cmd.Stdout = stdout
	}
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
	return cmd, keyboard, types, says
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
