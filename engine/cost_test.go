package engine

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a call costs is counted here, not timed: in steps, which are entries into functions and rounds
// of loops. Between two of them there is nothing that takes longer the more is locked. They are counted
// in a build of their own, of sources into which the test has written the counting, so that the engine
// that users run knows nothing of it.

// countSteps is the counter of that build; nil in an ordinary one.
var countSteps func() uint64

// counterSource completes the build.
const counterSource = `package engine

var steps uint64

func init() { countSteps = func() uint64 { return steps } }
`

// TestCostsDoNotDependOnWhatElseIsLocked is doc.go's "What it costs".
func TestCostsDoNotDependOnWhatElseIsLocked(t *testing.T) {
	if countSteps == nil {
		runCounting(t)
		return
	}
	for _, c := range flat {
		t.Run(c.name, func(t *testing.T) {
			few, many := c.at(t, c.few), c.at(t, c.many)
			t.Logf("with %d: %v; with %d: %v", c.few, few, c.many, many)
			require.LessOrEqual(t, many.mean(), 1.25*few.mean()+chainSteps, "the mean")
			require.LessOrEqual(t, many.most(), few.most()+longestChains+uint64(c.many/chunkLen*3), "the longest call")
		})
	}
}

// What the chains of the hash table may take more, in all of a call: on average, and if a call meets the
// longest ones. Once in a while a call also gives back chunks, of which there is one in 1024 items of each
// kind: that is the only thing that grows with what is locked, and at ten million locks it is as much
// as three slices of a release.
const (
	chainSteps    = 5
	longestChains = 100
)

// runCounting runs the calling test again in a build that counts.
func runCounting(t *testing.T) {
	overlay := map[string]map[string]string{"Replace": {}}
	dir := t.TempDir()
	add := func(path string, text []byte) {
		copied, err := filepath.Abs(path)
		require.NoError(t, err)
		overlay["Replace"][copied] = filepath.Join(dir, path)
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), text, 0o600))
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range files {
		if !strings.HasSuffix(path, "_test.go") {
			add(path, counting(t, path))
		}
	}
	add("counter_test.go", []byte(counterSource))
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	at := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(at, list, 0o600))
	out, err := exec.Command("go", "test", "-overlay", at, "-run", "^"+t.Name()+"$", "-count=1", "-v", ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, len(flat), strings.Count(string(out), "--- PASS: "+t.Name()+"/"), "%s", out)
	t.Logf("%s", out)
}

// counting is a source file with a step counted at the beginning of each function and of each round of a
// loop. Lines stay where they are.
func counting(t *testing.T, path string) []byte {
	set := token.NewFileSet()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	require.NoError(t, err)
	var bodies []int // where they begin
	ast.Inspect(file, func(n ast.Node) bool {
		var body *ast.BlockStmt
		switch n := n.(type) {
		case *ast.FuncDecl:
			body = n.Body
		case *ast.FuncLit:
			body = n.Body
		case *ast.ForStmt:
			body = n.Body
		case *ast.RangeStmt:
			body = n.Body
		}
		if body != nil {
			bodies = append(bodies, set.Position(body.Lbrace).Offset+1)
		}
		return true
	})
	slices.Sort(bodies)
	for _, at := range slices.Backward(bodies) {
		text = slices.Insert(text, at, []byte(" steps++; ")...)
	}
	return text
}

// calls are what single calls of one kind cost.
type calls []uint64

// tooManySteps is what no call takes, so that a test of a slow engine ends.
const tooManySteps = 50_000

// count makes a call and counts its steps.
func (c *calls) count(t *testing.T, call func()) {
	before := countSteps()
	call()
	n := countSteps() - before
	if n > tooManySteps {
		t.Fatalf("a call took %d steps", n)
	}
	*c = append(*c, n)
}

func (c calls) mean() float64 {
	sum := uint64(0)
	for _, n := range c {
		sum += n
	}
	return float64(sum) / float64(len(c))
}

func (c calls) most() uint64 { return slices.Max(c) }

func (c calls) String() string {
	return fmt.Sprintf("%.1f steps, the longest call %d", c.mean(), c.most())
}

// rounds is how often each kind of call is made.
const rounds = 5000

// flat are kinds of calls that cost the same beside few others and beside many.
var flat = []struct {
	name      string
	few, many int
	at        func(t *testing.T, n int) calls
}{
	{"lock and release beside held locks", 0, 1_000_000, besideHeldLocks},
	{"lock and release beside waiting requests", 1, 300_000, besideWaiting},
	{"hand-off in a queue", 1, 1_000_000, handOff},
	{"cancel in the middle of a queue", 3, 1_000_000, cancelInside},
	{"cancel at the end of a queue", 3, 1_000_000, cancelLast},
	{"a reader comes and goes among readers", 1, 1_000_000, amongReaders},
	{"a permit is handed on, waiting ones behind it", 1, 1_000_000, permitsWaiting},
	{"a permit comes and goes beside granted ones", 1000, 1_000_000, permitsGranted},
	{"a request is refused", 0, 100_000, refused},
	{"numbers are asked for", 0, 100_000, asked},
	{"locks are added to locks", 1000, 1_000_000, added},
	{"locks are released in no order, down to none", 1000, 300_000, emptied},
	{"a node of many children is locked and released", 1, 300_000, aboveChildren},
	{"a slice of a release with waiters behind it", 20_000, 1_000_000, sliced},
	{"upgrade and downgrade beside held locks", 0, 300_000, changedBeside},
	{"upgrade and downgrade ahead of waiting requests", 1, 300_000, changedAhead},
	{"an upgrade that waits for one of many readers, and is cancelled", 2, 300_000, upgradeOfOne},
	{"a page of an inspection", 200, 300_000, inspected},
	{"the first blockers in a queue", 50, 300_000, firstBlockers},
	{"a deadlock is looked for beside held locks", 0, 300_000, soughtBeside},
}

func own(path ...any) []Resource {
	var segments []string
	for _, p := range path {
		segments = append(segments, fmt.Sprint(p))
	}
	return []Resource{resource(Write, segments...)}
}

// holding is an engine with n locks that have nothing to do with one another.
func holding(t *testing.T, n int) *Engine {
	e := New(Limits{}, 0)
	for i := range n {
		mustLock(t, e, own("held", i%1000, i))
	}
	return e
}

func lockAndRelease(t *testing.T, e *Engine, rs func(i int) []Resource) (c calls) {
	for i := range rounds {
		var h Handle
		request := rs(i)
		c.count(t, func() { h = mustLock(t, e, request) })
		c.count(t, func() { mustRelease(t, e, h) })
	}
	return c
}

func besideHeldLocks(t *testing.T, n int) calls {
	return lockAndRelease(t, holding(t, n), func(i int) []Resource { return own("held", i%1000, "mine", i) })
}

func besideWaiting(t *testing.T, n int) calls {
	e := New(Limits{}, 0)
	for range n {
		mustLock(t, e, own("busy"))
		mustLock(t, e, []Resource{resource(Read, "busy"), resource(Read, "busier")})
		mustLock(t, e, own("busier"))
	}
	return lockAndRelease(t, e, func(i int) []Resource { return own("free", i%1000, i) })
}

// queued is an engine with a queue of n requests behind one that is acquired.
func queued(t *testing.T, n int, rs []Resource) (*Engine, []Handle) {
	e := New(Limits{}, 0)
	queue := make([]Handle, n+1)
	for i := range queue {
		queue[i] = mustLock(t, e, rs)
	}
	return e, queue
}

func handOff(t *testing.T, n int) (c calls) {
	rs := own("group", "entity", "id")
	e, queue := queued(t, n, rs)
	for i := range rounds {
		c.count(t, func() { require.Len(t, mustRelease(t, e, queue[i%(n+1)]).Grants, 1) })
		c.count(t, func() { queue[i%(n+1)] = mustLock(t, e, rs) })
	}
	return c
}

func cancelInside(t *testing.T, n int) (c calls) {
	rs := own("group", "entity", "id")
	e, queue := queued(t, n, rs)
	for range rounds {
		c.count(t, func() { mustRelease(t, e, queue[n/2]) })
		queue[n/2] = mustLock(t, e, rs)
	}
	return c
}

func cancelLast(t *testing.T, n int) calls {
	rs := own("group", "entity", "id")
	e, _ := queued(t, n, rs)
	return lockAndRelease(t, e, func(int) []Resource { return rs })
}

func amongReaders(t *testing.T, n int) (c calls) {
	rs := []Resource{resource(Read, "group", "entity", "id")}
	e, queue := queued(t, n, rs)
	r := rand.New(rand.NewPCG(1, 1))
	for range rounds {
		k := r.IntN(len(queue))
		c.count(t, func() { mustRelease(t, e, queue[k]) })
		c.count(t, func() { queue[k] = mustLock(t, e, rs) })
	}
	return c
}

func permitsWaiting(t *testing.T, n int) (c calls) {
	rs := []Resource{{Mode: Permit, Path: [][]byte{[]byte("pool")}, Limit: 1, Weight: 1}}
	e, queue := queued(t, n, rs)
	for i := range rounds {
		c.count(t, func() { require.Len(t, mustRelease(t, e, queue[i%(n+1)]).Grants, 1) })
		c.count(t, func() { queue[i%(n+1)] = mustLock(t, e, rs) })
	}
	return c
}

func permitsGranted(t *testing.T, n int) (c calls) {
	rs := []Resource{{Mode: Permit, Path: [][]byte{[]byte("pool")}, Limit: 1 << 20, Weight: 1}}
	e, queue := queued(t, n, rs)
	r := rand.New(rand.NewPCG(1, 1))
	for range rounds {
		k := r.IntN(len(queue))
		c.count(t, func() { mustRelease(t, e, queue[k]) })
		c.count(t, func() { queue[k] = mustLock(t, e, rs) })
	}
	return c
}

func refused(t *testing.T, n int) (c calls) {
	e := holding(t, n)
	e.SetLimits(Limits{Resources: 1})
	rs := append(own("held", 1, 1), own("held", 2, 2)...)
	for range rounds {
		c.count(t, func() {
			_, err := e.Lock(1, rs)
			require.Error(t, err)
		})
	}
	return c
}

func asked(t *testing.T, n int) (c calls) {
	e := holding(t, n)
	for range rounds {
		c.count(t, func() { e.Stats() })
		c.count(t, func() { e.Bytes() })
	}
	return c
}

// added are the last of n locks that an engine gets: no call pays for the growth of tables.
func added(t *testing.T, n int) (c calls) {
	e := New(Limits{}, 0)
	for i := range n {
		rs := own("held", i%1000, i)
		c.count(t, func() { mustLock(t, e, rs) })
	}
	return c
}

func emptied(t *testing.T, n int) (c calls) {
	e := New(Limits{}, 0)
	held := make([]Handle, n)
	for i := range held {
		held[i] = mustLock(t, e, own("held", i%1000, i))
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(n, func(i, k int) { held[i], held[k] = held[k], held[i] })
	for _, h := range held {
		c.count(t, func() { mustRelease(t, e, h) })
	}
	return c
}

func aboveChildren(t *testing.T, n int) calls {
	e := New(Limits{}, 0)
	for i := range n {
		mustLock(t, e, []Resource{resource(Read, "parent", fmt.Sprint(i))})
	}
	return lockAndRelease(t, e, func(int) []Resource { return []Resource{resource(Read, "parent")} })
}

// sliced is a writer's release with n readers behind it, and all that is left over.
func sliced(t *testing.T, n int) (c calls) {
	e, queue := queued(t, 0, own("group", "entity"))
	rs := []Resource{resource(Read, "group", "entity", "id")}
	for range n {
		mustLock(t, e, rs)
	}
	more := false
	c.count(t, func() { more = mustRelease(t, e, queue[0]).More })
	for more {
		c.count(t, func() { _, more = e.Advance() })
	}
	return c[:len(c)-1] // the last one has what the others left
}

// changing upgrades and downgrades a request, again and again.
func changing(t *testing.T, e *Engine, h Handle) (c calls) {
	for range rounds {
		for _, change := range []func(Handle) (Changed, error){e.Upgrade, e.Downgrade} {
			c.count(t, func() {
				out, err := change(h)
				require.True(t, err == nil && !out.Pending && len(out.Grants) == 0)
			})
		}
	}
	return c
}

func changedBeside(t *testing.T, n int) calls {
	e := holding(t, n)
	return changing(t, e, mustLock(t, e, []Resource{resource(Read, "held", "1", "mine")}))
}

func changedAhead(t *testing.T, n int) calls {
	e := New(Limits{}, 0)
	h := mustLock(t, e, []Resource{resource(Read, "busy", "path")})
	for range n {
		mustLock(t, e, own("busy", "path"))
	}
	return changing(t, e, h)
}

func upgradeOfOne(t *testing.T, n int) (c calls) {
	e, queue := queued(t, n, []Resource{resource(Read, "busy", "path")})
	for i := range rounds {
		h := queue[i%len(queue)]
		c.count(t, func() {
			out, err := e.Upgrade(h)
			require.True(t, err == nil && out.Pending)
		})
		c.count(t, func() {
			_, err := e.CancelUpgrade(h)
			require.NoError(t, err)
		})
	}
	return c
}

func inspected(t *testing.T, n int) (c calls) {
	e, queue := queued(t, n, own("busy", "path"))
	path := [][]byte{[]byte("busy")}
	_, from, _ := e.Inspect(path, Cursor{}, 100)
	for i := range rounds {
		c.count(t, func() {
			views, _, more := e.Inspect(path, from, 50)
			require.True(t, len(views) == 50 && more)
		})
		if i < 40 {
			mustRelease(t, e, queue[i])
		}
	}
	return c
}

func firstBlockers(t *testing.T, n int) (c calls) {
	e, queue := queued(t, n, own("busy", "path"))
	for range rounds {
		c.count(t, func() {
			found, more, err := e.Blockers(queue[n], 10)
			require.True(t, len(found) == 10 && more && err == nil)
		})
		c.count(t, func() {
			ahead, more, err := e.Ahead(queue[n], 10)
			require.True(t, ahead == 10 && more && err == nil)
		})
	}
	return c
}

// everybody is a party of its own and waits for its last request.
type everybody struct{ last Handle }

func (everybody) Party(owner uint64) uint64 { return owner }
func (p everybody) Waiting(_ uint64, _ Handle, handles []Handle) []Handle {
	return append(handles, p.last)
}

func soughtBeside(t *testing.T, n int) (c calls) {
	e := holding(t, n)
	mustLock(t, e, own("mine"))
	who := everybody{mustLock(t, e, own("mine"))}
	for range rounds {
		c.count(t, func() {
			cycle, done := e.Cycle(7, who, 1000)
			require.True(t, done && len(cycle) == 0)
		})
	}
	return c
}
