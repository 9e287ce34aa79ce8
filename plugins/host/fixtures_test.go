package host

import (
	"bytes"
	"context"
	"encoding/binary"
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

// hostile is the guest that does what a question's namespace says.
func hostile(hooks Hooks, l Limits) Spec {
	return Spec{Name: "hostile", Path: "testdata/hostile.wasm", Hooks: hooks, Limits: l}
}

// Namespaces that the hostile guest understands; testdata/hostile.wat has them all.
const (
	allows      = "o"
	loops       = "l"
	unreachable = "A"
)

// answers is the namespace that has the hostile guest return this.
func answers(result uint64) string {
	return string(binary.LittleEndian.AppendUint64([]byte("="), result))
}

// result is what hooks return, the reverse of unpack.
func result(a answer) uint64 {
	return uint64(a.status) | uint64(a.code)<<8 | uint64(a.length)<<16 | uint64(a.at)<<32
}

// hostileBuffer is where the hostile guest has its buffer, and namespaceAt where in it the namespace of a
// question without entries begins.
const (
	hostileBuffer = 65536
	hostileMemory = 3 * pageBytes // at the start
	namespaceAt   = hostileBuffer + headerBytes
)

// saying is the namespace that has the hostile guest answer with these bytes, which lie in the question.
func saying(s status, code uint8, text string) string {
	a := answer{s, code, uint32(len(text)), namespaceAt + 9}
	return answers(result(a)) + text
}

// put asks a hook, and nothing but the namespace matters.
func put(c *Caller, hook Hooks, namespace string) Verdict {
	if hook == Authenticate {
		_, v := c.Authenticate(&Connect{Namespace: namespace})
		return v
	}
	return c.Judge(&Request{Namespace: namespace, Identity: &alice, Operation: Lock})
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

// A recipe is what the guest of testdata/steps.wat does before it is asked anything.
type recipe struct {
	step, how byte
	minor     uint32
	buffer    uint32
	init      uint64
}

// goodRecipe is one that can be loaded.
var goodRecipe = recipe{buffer: 65536, init: uint64(statusAllow)}

func (r recipe) module(t testing.TB) []byte {
	bin, err := os.ReadFile("testdata/steps.wasm")
	require.NoError(t, err)
	at := bytes.Index(bin, []byte("RECIPE\x00\x00........"))
	require.Positive(t, at)
	bin[at+8], bin[at+9] = r.step, r.how
	le.PutUint32(bin[at+12:], r.minor)
	le.PutUint32(bin[at+16:], r.buffer)
	le.PutUint64(bin[at+24:], r.init)
	return bin
}

// file writes a module into a file of its own.
func file(t testing.TB, module []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin.wasm")
	require.NoError(t, os.WriteFile(path, module, 0o600))
	return path
}

// refused is the error of a module that must not be loaded. Nothing of it may be left.
func refused(t testing.TB, spec Spec) string {
	t.Helper()
	g := New(Options{})
	defer g.Close()
	err := g.Load([]Spec{spec})
	require.Error(t, err)
	require.Nil(t, g.current.Load())
	return err.Error()
}
