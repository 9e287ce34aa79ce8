package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// TestMain lets the test's program be the ceiling too, as bench itself is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == ceilingArg {
		exitOn(serveCeiling(os.Stderr))
		return
	}
	os.Exit(m.Run())
}

// small are options of a run that only shows that everything works.
func small(t *testing.T) options {
	module, err := filepath.Abs("testdata/allow.wasm")
	require.NoError(t, err)
	plugins := filepath.Join(t.TempDir(), "plugins.toml")
	require.NoError(t, os.WriteFile(plugins, fmt.Appendf(nil, "[[plugins]]\nname = \"allow\"\npath = %q\nhooks = [\"authorize\"]\n", module), 0o600))
	opt, err := parseOptions([]string{
		"-conns", "3,40", "-idle", "100", "-crowd", "100", "-held", "0,500", "-churn", "2000", "-seconds", "0.02", "-repeats", "2",
		"-plugins", plugins, "-out", "",
	}, io.Discard)
	require.NoError(t, err)
	opt.settle = 100 * time.Millisecond
	return opt
}

// loaded runs bench, and reads the report it wrote.
func loaded(t *testing.T, opt options) *report.Report {
	var out bytes.Buffer
	opt.out = t.TempDir()
	require.NoError(t, run(t.Context(), opt, &out))
	t.Logf("\n%s", &out)
	r, err := report.Load(filepath.Join(opt.out, "results.json"))
	require.NoError(t, err)
	return r
}

func TestEachLoadRunsAgainstTheRealServer(t *testing.T) {
	opt := small(t)
	r := loaded(t, opt)
	values := map[string]report.Metric{ // that a slice has however short it was
		"u": report.Pairs, "c": report.Pairs, "r": report.Pairs, "m": report.Pairs, "rate": report.Pairs, "flat": report.Pairs,
		"churn": report.AfterToBase, "cancel": report.Cleared, "storm": report.Back, "idle": report.Served, "depth": report.Pairs,
		"plugins": report.Pairs, "engine": report.EngineTime,
	}
	seen := map[string]int{}
	for _, row := range r.Rows {
		seen[row.Load]++
		for _, s := range row.Slices {
			v, ok := s.Values[values[row.Load]]
			require.True(t, ok && v >= 0, "%s, %s, %s: %s is %v", row.Load, row.Case, row.Candidate, values[row.Load], v)
		}
		if row.Load != "churn" && row.Load != "idle" {
			require.Len(t, row.Slices, opt.repeats, "%s, %s", row.Load, row.Case)
		}
	}
	for load := range values {
		require.Positive(t, seen[load], "load %s", load)
	}
	require.Equal(t, 2*(1+2+1), seen["u"])
	require.Equal(t, 2*2, seen["c"])
}

func TestAFixedRateIsKept(t *testing.T) {
	opt := small(t)
	opt.loads, opt.rate, opt.conns, opt.slice, opt.repeats = []string{"rate"}, 500, []int{20}, 200*time.Millisecond, 1
	r := loaded(t, opt)
	require.Len(t, r.Rows, 2, "ours and the ceiling's")
	for _, row := range r.Rows {
		require.EqualValues(t, 500, row.Slices[0].Values[report.Arrivals], row.Candidate)
	}
}

func TestARunThatIsCancelledLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	opt := small(t)
	out := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }) // at the first line
	require.ErrorIs(t, run(ctx, opt, out), context.Canceled)
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	for _, f := range left {
		require.NotContains(t, f.Name(), "locktopus-bench", "the directory of the run")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// standIn answers every message with one text, or with none.
type standIn struct {
	ceiling
	text string
}

func (s standIn) Message(c wsnet.Conn, _ []byte) {
	if s.text != "" {
		c.Send([]byte(s.text))
	}
}

// against drives a few clients of a script against a stand-in until something is wrong.
func against(t *testing.T, script func(*fleet) script, text string, stall time.Duration) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := wsnet.Serve(ln, wsnet.Options{NewHandler: func() wsnet.Handler { return standIn{text: text} }})
	require.NoError(t, err)
	defer s.Close()
	f, err := newFleet(t.Context(), nil, stall)
	require.NoError(t, err)
	defer f.close()
	f.script = script(f)
	require.NoError(t, f.connect(s.Addr().String(), 3, usual(1)))
	require.NoError(t, f.begin(1))
	return f.finish()
}

func own(*fleet) script { return ownPaths{} }

func TestAWrongAnswerIsAnErrorAndNoFigure(t *testing.T) {
	for _, text := range []string{string(ceilingReady), `{"id":"1","action":"lock","state":"enqueued"}`, "communication error: no"} {
		require.ErrorIs(t, against(t, own, text, 10*time.Second), errAnswer)
	}
}

func TestASilentServerIsGivenUp(t *testing.T) {
	require.ErrorIs(t, against(t, own, "", 100*time.Millisecond), errStalled)
}

func TestATapeGivesAnyMessagesInARow(t *testing.T) {
	lock := appendFrame(nil, frameText, []byte(lockMessage("own", 7)))
	release := appendFrame(nil, frameText, []byte(releaseMessage))
	tp := tapeOf(lockMessage("own", 7), pipelined)
	for first := range 3 {
		for n := range pipelined + 1 {
			var want []byte
			for i := first; i < first+n; i++ {
				want = append(want, [][]byte{lock, release}[i%2]...)
			}
			require.Equal(t, string(want), string(tp.take(first, n)))
		}
	}
}

func TestATapeIsRenumbered(t *testing.T) {
	var ch churning
	tp := ch.tape(1)
	for _, n := range []uint64{0, 7, 1_000_001, 999_999_999_999} {
		tp.renumber(n)
		want := appendFrame(nil, frameText, []byte(lockOf("write", "bench", "new", fmt.Sprintf("%012d", n))))
		require.Equal(t, want, tp.take(0, 1))
	}
}

func TestHandOffsRunFromAReleaseToTheNextGrantOfThePath(t *testing.T) {
	now := time.Millisecond
	h := newHandOver(2)
	h.now = func() time.Duration { return now }
	grant := func(place int, a answer) {
		_, err := h.answered(&client{place: place}, a)
		require.NoError(t, err)
	}
	grant(0, acquired) // and releases at once
	grant(2, enqueued)
	now += 5 * time.Millisecond
	grant(1, acquired) // the other path's first
	now += 2 * time.Millisecond
	grant(2, acquired)
	require.EqualValues(t, 1, h.times.TotalCount())
	require.InEpsilon(t, 7*time.Millisecond, h.times.Max(), 0.01)
	var s report.Slice
	require.NoError(t, h.values(&s))
	require.InEpsilon(t, 7000, s.Values["hand-off-p99 us"], 0.01)
}

func TestReadMostlyReadsMostly(t *testing.T) {
	r := newReadMostly(1)
	r.now = func() time.Duration { return 1 }
	c := &client{tape: r.tape(0)}
	writes := 0
	for range 10_000 {
		_, err := r.answered(c, ready)
		require.NoError(t, err)
		if c.tape == r.write {
			writes++
		}
		_, err = r.answered(c, acquired)
		require.NoError(t, err)
	}
	require.InDelta(t, 500, writes, 100)
	require.EqualValues(t, writes, r.writing.TotalCount())
	require.EqualValues(t, 10_000-writes, r.reading.TotalCount())
}

// TestLocksThatComeLateCountFromTheirTime lets the clock of an open loop run on while nobody looks.
func TestLocksThatComeLateCountFromTheirTime(t *testing.T) {
	f, err := newFleet(t.Context(), nil, time.Second)
	require.NoError(t, err)
	defer f.close()
	f.clients = make([]client, 1)
	a := newArrivals(1, 1000)
	a.fleet = f
	require.NoError(t, a.begin())
	a.next = f.now() - time.Hour // a lock was meant to be asked for long ago, and the client is free only now
	c := &f.clients[0]
	a.intended[0] = a.next
	c.sent, c.open = 1, 1
	c.open--
	_, err = a.answered(c, acquired)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Duration(a.locks.Max()), longest-longest/100, "an hour counts as the longest there is")
}

func TestAPeerThatIsNotInstalledSaysHowToGetIt(t *testing.T) {
	p := peerServer{needs: []string{"no-such-program"}, apt: "some-package"}
	require.EqualError(t, p.missing(), "no-such-program isn't installed: apt-get install some-package")
	p.needs = []string{"/no/such/*/file"}
	require.EqualError(t, p.missing(), "file isn't installed: apt-get install some-package")
}

func TestProcessesOfAServerThatForksAreCounted(t *testing.T) {
	children, err := childrenOf(os.Getppid())
	require.NoError(t, err)
	require.Contains(t, children, os.Getpid())
	all, err := (&process{spec: spec{forks: true}, cmd: nil}).cpuOf(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, all)
}
