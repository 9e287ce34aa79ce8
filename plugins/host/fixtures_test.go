package host

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allHooks in the order of their numbers.
var allHooks = []Hooks{Authenticate, Authorize, Normalize}

func (h Hooks) name() string {
	return map[Hooks]string{Authenticate: "authenticate", Authorize: "authorize", Normalize: "normalize"}[h]
}

// patient limits are for guests that are to end by themselves, on a machine that may be busy.
var patient = Limits{Call: time.Hour, Init: time.Hour}

// impatient limits are for guests that never end.
var impatient = Limits{Call: time.Millisecond, Init: time.Hour}

// mean is the guest that does what a question's namespace says.
func mean(t testing.TB, hooks Hooks, l Limits) Spec {
	return Spec{Name: "mean", Path: file(t, hostile.Guest), Hooks: hooks, Limits: l}
}

// put asks a hook about one resource. Nothing but the namespace matters.
func put(c *Caller, hook Hooks, namespace string) Verdict {
	if hook == Authenticate {
		_, v := c.Authenticate(&Connect{Namespace: namespace})
		return v
	}
	return c.Judge(&Request{Namespace: namespace, Identity: &alice, Operation: Lock, Resources: oneOf("a")})
}

// unmended ends the replacing of instances, which takes its time. The test does it, with renew.
func unmended(g *Gate) *Gate {
	for _, p := range g.current.Load().plugins {
		close(p.stop)
		p.mending.Wait()
		p.stop = make(chan struct{})
	}
	return g
}

// renew replaces the instances that are gone, of plugins that nobody else mends.
func renew(t testing.TB, g *Gate) {
	t.Helper()
	for _, p := range g.current.Load().plugins {
		for len(p.work) > 0 {
			s := <-p.work
			s.bury()
			require.True(t, p.replace(s))
		}
	}
}

// mended waits until all plugins have all their instances.
func mended(g *Gate) {
	for _, p := range g.current.Load().plugins {
		for p.stats().Instances < len(p.slots) {
			runtime.Gosched()
		}
	}
}

// A recorder is a log that tests can read.
type recorder struct {
	mu    sync.Mutex
	lines []line // guarded by mu
}

type line struct {
	level slog.Level
	text  string // the message and the attributes
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	text := rec.Message
	rec.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line{rec.Level, text})
	return nil
}

// all lines so far; they are forgotten.
func (r *recorder) all() []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func (r *recorder) text() string {
	var b strings.Builder
	for _, l := range r.all() {
		fmt.Fprintln(&b, l.level, l.text)
	}
	return b.String()
}

// recorded is Options with a log.
func recorded(o Options) (Options, *recorder) {
	r := &recorder{}
	o.Log = slog.New(r)
	return o, r
}

// file writes a module into a file of its own.
func file(t testing.TB, module []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin.wasm")
	require.NoError(t, os.WriteFile(path, module, 0o600))
	return path
}

// oneOf are resources for a question: normalize is about those.
func oneOf(segments ...string) []Resource { return []Resource{{Mode: Write, Path: path(segments...)}} }
