package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	return options{
		plugins: plugins,
		loads:   loads, conns: []int{3, 40}, idle: 100, slice: 20 * time.Millisecond, repeats: 2,
		json: filepath.Join(t.TempDir(), "out.json"), stall: 10 * time.Second, settle: 100 * time.Millisecond,
	}
}

func TestEachLoadRunsAgainstTheRealServer(t *testing.T) {
	var out bytes.Buffer
	opt := small(t)
	require.NoError(t, run(t.Context(), opt, &out))
	t.Logf("\n%s", &out)
	text, err := os.ReadFile(opt.json)
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(text, &r))
	require.Len(t, r.Loads, 8)
	for _, l := range r.Loads {
		require.Len(t, l.Repeats, opt.repeats)
		for _, rep := range l.Repeats {
			require.Positive(t, rep.Server.Messages)
			require.Equal(t, l.Name != "c", rep.Ceiling != nil)
			require.Equal(t, l.Name == "c", rep.Server.HandOff != nil)
		}
	}
	require.Equal(t, opt.idle, r.Idle.Held)
	require.Equal(t, opt.idle, r.Idle.PingedTwice)
	require.Equal(t, opt.idle, r.Idle.Served)
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

// against drives a few clients of u against a stand-in until something is wrong.
func against(t *testing.T, text string, stall time.Duration) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := wsnet.Serve(ln, wsnet.Options{NewHandler: func() wsnet.Handler { return standIn{text: text} }})
	require.NoError(t, err)
	defer s.Close()
	b := &bench{ctx: t.Context(), opt: options{stall: stall}, out: io.Discard}
	f, err := b.newFleet(&ownPaths{}, s.Addr().String(), 3, 1, func(i int) string { return lockMessage("own", i) })
	require.NoError(t, err)
	defer f.close()
	require.NoError(t, f.begin(1))
	return f.finish()
}

func TestAWrongAnswerIsAnErrorAndNoFigure(t *testing.T) {
	for _, text := range []string{string(ceilingReady), `{"id":"1","action":"lock","state":"enqueued"}`, "communication error: no"} {
		require.ErrorIs(t, against(t, text, 10*time.Second), errAnswer)
	}
}

func TestASilentServerIsGivenUp(t *testing.T) {
	require.ErrorIs(t, against(t, "", 100*time.Millisecond), errStalled)
}

func TestATapeGivesAnyMessagesInARow(t *testing.T) {
	lock := appendFrame(nil, frameText, []byte(lockMessage("own", 7)))
	release := appendFrame(nil, frameText, []byte(releaseMessage))
	tp := newTape(lockMessage("own", 7), pipelined)
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

func TestBadFlagsAreSentences(t *testing.T) {
	for _, args := range [][]string{
		{"-loads", "x"}, {"-conns", "0"}, {"-conns", "many"}, {"-idle", "1"}, {"-seconds", "11"},
		{"-repeats", "0"}, {"-stall", "1ms"}, {"surplus"}, {"-unknown"},
	} {
		_, err := parseOptions(args, io.Discard)
		require.Error(t, err, "%v", args)
	}
	opt, err := parseOptions([]string{"-loads", "idle,u", "-conns", "5", "-seconds", "0.5"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []string{"idle", "u"}, opt.loads)
	require.Equal(t, 500*time.Millisecond, opt.slice)
}
