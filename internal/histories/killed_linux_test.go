package histories

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/oracle"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// TestHistoriesOfKilledServers kills the server twice while clients work, and starts it again at once. Nobody may
// believe in a lock that somebody has got from the next one. Clients of version 1 are not among them: nobody waits for
// these.
func TestHistoriesOfKilledServers(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	seed := testseed.New(t)
	s := &mortal{t: t, state: t.TempDir(), grace: true, kills: &kills{}}
	s.start()
	w := newWire(t, s.address, seed, false)
	n := &namespace{t: t, wire: w, name: "killed", seed: seed, kills: s.kills}
	var killer sync.WaitGroup
	killer.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 200))
		for range 2 {
			pause(time.Duration(rng.Int64N(int64(*length))) / 2)
			s.kill()
			s.start()
			w.lead(s.address)
		}
	})
	n.live(strangers+regulars, 2**length)
	killer.Wait()
	n.server = s.address
	n.settle()
	t.Log(n.summary())
	if err := Check(append(n.history(), s.guards(oracle.Now())...), judgement); err != nil {
		t.Errorf("%v\n%s", err, n.trace())
	}
}

// TestGraceIsNeeded has a client that is cut off when the server is killed, and another one that gets its lock from
// the next: with the grace, when the first one knows that it is lost. Without, that must be found.
func TestGraceIsNeeded(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	for _, c := range []struct {
		name    string
		wanted  oracle.Resource
		upgrade bool
		grace   bool
	}{
		{"a lock", write("a"), false, true},
		{"a lock without grace", write("a"), false, false},
		{"permits without grace", permit(3, 2, "a"), false, false},
		{"an upgraded lock without grace", read("a"), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &mortal{t: t, state: t.TempDir(), grace: c.grace, kills: &kills{}}
			s.start()
			w := newWire(t, s.address, 0, true)
			ttl := 30 * time.Second // nobody waits for this
			if c.grace {
				ttl = 4 * time.Second
			}
			cutOff, goesOn := newStranger(w, "cut off", ttl), newStranger(w, "goes on", time.Minute)
			cutOff.kills = s.kills
			mine := cutOff.begin(t, c.wanted)
			cutOff.await(t, func() bool { return mine.held })
			if c.upgrade {
				cutOff.upgrade(t, mine)
			}
			s.kill()
			s.start()
			w.lead(s.address)
			theirs := goesOn.begin(t, c.wanted)
			goesOn.await(t, func() bool { return theirs.held })
			cutOff.believe()
			for _, s := range []*stranger{cutOff, goesOn} {
				require.NoError(t, s.live(time.Time{}))
			}
			judgeFault(t, append(append(cutOff.history, goesOn.history...), s.guards(oracle.Now())...), c.grace)
		})
	}
}

// mortal is a server in a process of its own, with a state directory: killed, it leaves that to the next one.
type mortal struct {
	t       testing.TB
	state   string
	grace   bool
	address string
	cmd     *exec.Cmd
	kills   *kills
	began   []oracle.Moment // when each of them listened
}

func (s *mortal) start() {
	x := task{State: s.state, Grace: s.grace}
	s.cmd = x.command(s.t)
	said := &lines{}
	s.cmd.Stderr = said
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Error(err)
		return
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	cmd := s.cmd
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	in := bufio.NewScanner(out)
	if !in.Scan() {
		s.t.Errorf("the server doesn't listen: %s", said.text)
	}
	s.address = in.Text()
	s.began = append(s.began, oracle.Now())
}

func (s *mortal) kill() {
	s.kills.add(oracle.Now())
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// guards are the locks that the servers had of their own when they began, for which those wait who come. Of when they end
// nothing is claimed here.
func (s *mortal) guards(now oracle.Moment) (all []*Record) {
	for k, at := range s.kills.at {
		if !s.grace {
			break
		}
		r := &Record{Client: "server", Resources: []oracle.Resource{write()}, Asked: at, Answered: s.began[k+1], Ended: at, Gone: now}
		if k+2 < len(s.began) {
			r.Gone = s.began[k+2]
		}
		all = append(all, r)
	}
	return all
}

// serve is such a server, which says its address and goes on until it is killed. What the program does with a state
// directory and its settings is internal/e2e's to test.
func (x *task) serve() error {
	f, err := fence.Open(x.State, 1_000_000, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, address, err := testserver.Start(func(o *server.Options) {
		o.Fence = f
		o.Settings.Sessions.TTLMin, o.Settings.Sessions.TTLDefault = 10*time.Millisecond, 250*time.Millisecond
		if x.Grace {
			o.Grace = f.Debt()
		}
	})
	if err != nil {
		return err
	}
	fmt.Println(address)
	select {}
}
