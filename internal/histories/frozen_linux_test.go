package histories

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestHistoriesOfFrozenProcesses has clients that are processes of their own, and stops them, for longer than their
// sessions live, wherever they happen to be: pongs, renewals and the library's own watch over its time stop with them.
func TestHistoriesOfFrozenProcesses(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	seed := testseed.New(t)
	address := serve(t)
	w := newWire(t, address, seed, false)
	n := &namespace{t: t, server: address, name: "frozen", seed: seed}
	clients := startProcesses(t, n, w.address())
	var history, owed []*Record
	for _, p := range clients {
		told := p.wait(t)
		history, owed = append(history, told.History...), append(owed, told.Owed...)
	}
	n.awaitEmpty()
	now := oracle.Now()
	for _, r := range owed {
		r.Gone = now
	}
	history = append(history, owed...)
	t.Log(summary(history))
	require.NoError(t, Check(history, judgement))
}

// processes are the clients that run, by their places in a namespace.
var processes = []int{0, 1, strangers, strangers + 1, strangers + regulars}

// task makes the test's own program one client, or a server.
type task struct {
	Namespace, Server, Address string
	Seed                       uint64
	Client                     int
	Length                     time.Duration

	State string // the state directory of a server
	Grace bool   // of a server: it waits for clients of the one before
}

// command is a run of the test's own program, which ends with it.
func (x *task) command(t testing.TB) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	text, err := json.Marshal(x)
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), taskEnv+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also one that is stopped
	return cmd
}

// report is what such a program says when it is done.
type report struct {
	History, Owed []*Record
	Clock         clock
}

const taskEnv = "HISTORIES_TASK"

func init() {
	text := os.Getenv(taskEnv)
	if text == "" {
		return
	}
	var x task
	err := json.Unmarshal([]byte(text), &x)
	if err == nil {
		err = x.do()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (x *task) do() error {
	if x.State != "" {
		return x.serve()
	}
	n := &namespace{server: x.Server, name: x.Namespace, seed: x.Seed}
	if err := n.client(x.Client, x.Address)(time.Now().Add(x.Length)); err != nil {
		return err
	}
	told := report{History: n.history(), Clock: readClock()}
	for _, p := range n.regulars {
		told.Owed = append(told.Owed, p.owed...)
	}
	for _, c := range n.elders {
		told.Owed = append(told.Owed, c.owed...)
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// process is one that runs, and is stopped now and then.
type process struct {
	name   string
	cmd    *exec.Cmd
	out    *json.Decoder
	said   *lines
	stops  int
	frozen sync.WaitGroup
	done   context.Context
	finish context.CancelFunc // ends the stopping
}

// lines is what a process complains about.
type lines struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func startProcesses(t *testing.T, n *namespace, address string) (all []*process) {
	for _, k := range processes {
		x := task{Namespace: n.name, Server: n.server, Address: address, Seed: n.seed, Client: k, Length: *length}
		p := &process{name: fmt.Sprint("client ", k), cmd: x.command(t), said: &lines{}}
		p.done, p.finish = context.WithCancel(context.Background())
		p.cmd.Stderr = p.said
		out, err := p.cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, p.cmd.Start())
		p.out = json.NewDecoder(out)
		t.Cleanup(func() {
			p.finish()
			p.frozen.Wait()
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		})
		p.frozen.Go(func() { p.freeze(rand.New(rand.NewPCG(n.seed, uint64(k)+100))) })
		all = append(all, p)
	}
	return all
}

// freeze stops the process again and again until it is done.
func (p *process) freeze(rng *rand.Rand) {
	for {
		select {
		case <-p.done.Done():
			return
		case <-time.After(time.Duration(rng.IntN(1500)) * time.Millisecond):
		}
		if p.cmd.Process.Signal(syscall.SIGSTOP) != nil {
			return
		}
		p.stops++
		select {
		case <-p.done.Done():
		case <-time.After(time.Duration(rng.IntN(2500)) * time.Millisecond):
		}
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// wait is what the process tells, in this one's time.
func (p *process) wait(t *testing.T) (told report) {
	err := p.out.Decode(&told)
	p.finish()
	p.frozen.Wait()
	require.NoError(t, p.cmd.Wait(), "%s: %s", p.name, p.said.text)
	require.NoError(t, err, "%s: %s", p.name, p.said.text)
	earliest, latest := told.Clock.to(readClock())
	for _, r := range append(told.History, told.Owed...) {
		r.shift(earliest, latest)
	}
	t.Logf("%s was stopped %d times", p.name, p.stops)
	return told
}

// clock says when the process began, on a clock that all processes have: between these.
type clock struct{ Earliest, Latest time.Duration }

// readClock looks several times, as it may be interrupted between a look at one clock and at the other one.
func readClock() (best clock) {
	for k := range 1000 {
		before := time.Duration(oracle.Now())
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic(err)
		}
		now := time.Duration(ts.Nano())
		after := time.Duration(oracle.Now())
		if k == 0 || after-before < best.Latest-best.Earliest {
			best = clock{now - after, now - before}
		}
	}
	return best
}

// to is what a moment of one process is later, at least and at most, in another one.
func (c clock) to(other clock) (earliest, latest oracle.Moment) {
	return oracle.Moment(c.Earliest - other.Latest), oracle.Moment(c.Latest - other.Earliest)
}

// shift moves a record to another process's time. What was before a moment is before the earliest that this can be.
func (r *Record) shift(earliest, latest oracle.Moment) {
	move := func(by oracle.Moment, ms ...*oracle.Moment) {
		for _, m := range ms {
			if *m != 0 {
				*m += by
			}
		}
	}
	move(earliest, &r.Asked, &r.Ended)
	move(latest, &r.Answered, &r.Told, &r.Gone)
	for _, c := range r.Changes {
		move(earliest, &c.Asked, &c.Ended)
		move(latest, &c.Answered, &c.Told, &c.Gone)
	}
}
