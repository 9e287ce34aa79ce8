package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// The tests in this file print tables of what hostile plugins did, how long it took until they were ended, and
// how long others waited meanwhile. They assert the reasons and not the times; for these, on a machine that has
// nothing else to do:
//
//	go test -count=1 -v -run Harm ./internal/e2e -args -deaths 20 -good-calls 1000000
var (
	deaths    = flag.Int("deaths", 1, "how often each misdeed of a plugin is done; several also wait in between until overruns are forgiven")
	goodCalls = flag.Int("good-calls", 20_000, "how many calls a plugin allows before it goes bad")
)

// forgiving is how many round trips others make between two misdeeds that are measured: for as long, overruns
// count less than they would in a row.
const forgiving = 2000

// A trip is a lock and a release of a bystander's.
type trip struct{ begun, ended time.Time }

// bystanders lock without a break in a namespace of their own. Another connects and goes, so that there is
// garbage to collect.
type bystanders struct {
	t     *testing.T
	srv   *server
	stop  atomic.Bool
	all   sync.WaitGroup
	count atomic.Int64

	mu    sync.Mutex
	trips []trip // that weren't asked for yet; guarded by mu
}

func standBy(t *testing.T, srv *server) *bystanders {
	b := &bystanders{t: t, srv: srv}
	for k := range 4 {
		c := connect(t, dialRaw, srv.target("bystanders"))
		b.all.Go(func() { b.lock(c, k) })
	}
	b.all.Go(b.come)
	t.Cleanup(b.end)
	b.progress(1)
	return b
}

func (b *bystanders) end() {
	b.stop.Store(true)
	b.all.Wait()
}

func (b *bystanders) lock(c client, k int) {
	for !b.stop.Load() {
		begun := time.Now()
		if err := roundTrip(c, read("a", fmt.Sprint(k))); err != nil {
			b.t.Errorf("a bystander noticed: %v", err)
			return
		}
		b.mu.Lock()
		b.trips = append(b.trips, trip{begun, time.Now()})
		b.mu.Unlock()
		b.count.Add(1)
	}
}

func (b *bystanders) come() {
	for !b.stop.Load() {
		c, _, err := dialRaw(b.srv.target("bystanders"))
		if err == nil {
			err = roundTrip(c, read("b"))
			c.Drop()
		}
		if err != nil {
			b.t.Errorf("somebody could not come and go: %v", err)
			return
		}
	}
}

// progress waits until so many round trips have been made.
func (b *bystanders) progress(trips int64) {
	b.t.Helper()
	before := b.count.Load()
	eventually(b.t, "bystanders go on", func() bool { return b.t.Failed() || b.count.Load() >= before+trips })
}

// during gives the times of all trips that were made then, or begun, or ended. Older ones are forgotten.
func (b *bystanders) during(begun, ended time.Time) (took []time.Duration) {
	b.progress(8) // each has ended what it was at, more or less
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.trips {
		if x.ended.After(begun) && x.begun.Before(ended) {
			took = append(took, x.ended.Sub(x.begun))
		}
	}
	b.trips = b.trips[:0]
	return took
}

// A harm is a row of the table.
type harm struct {
	about, reason string
	deaths        []time.Duration
	others        []time.Duration
}

type harms []harm

func (h harms) String() string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ncase\treason\tdeath ms: median\tmax\tothers' ms: p99\tmax\tof")
	for _, x := range h {
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%d\n", x.about, x.reason, millis(x.deaths, 0.5), millis(x.deaths, 1), millis(x.others, 0.99), millis(x.others, 1), len(x.others))
	}
	w.Flush()
	return text.String()
}

// millis is a quantile.
func millis(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return float64(all[int(q*float64(len(all)-1))]) / float64(time.Millisecond)
}

// meanConfig has a hostile plugin asked by one hook, in the namespaces of its misdeeds, and a good one
// wherever bystanders are.
func meanConfig(t *testing.T, hook string, deeds []hostile.Deed) string {
	names := map[string]bool{hostile.Allows: true, "g0*": true}
	for _, d := range deeds {
		names[d.Namespace] = true
	}
	var quoted []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		quoted = append(quoted, strconv.Quote(n))
	}
	return fmt.Sprintf("[[plugins]]\nname = \"mean\"\npath = %q\nhooks = [%q]\nlog_lines = 10\nnamespaces = [%s]\n", moduleFile(t, hostile.Guest), hook, strings.Join(quoted, ", ")) +
		plugin("own", ownPaths, "authorize", "bystanders")
}

// collecting has the server collect garbage whenever there is some, and say so.
var collecting = []string{"GOGC=1", "GODEBUG=gctrace=1"}

func moduleFile(t *testing.T, module []byte) string {
	path := filepath.Join(t.TempDir(), "plugin.wasm")
	require.NoError(t, os.WriteFile(path, module, 0o600))
	return path
}

// TestPluginsThatMisbehaveHarmNobody has a plugin do each misdeed there is, in each hook, while collections of
// garbage are forced and others lock. What it should have judged doesn't pass, its client is told why, it is
// counted, nothing is left, and the plugin is asked again.
func TestPluginsThatMisbehaveHarmNobody(t *testing.T) {
	for _, hook := range []string{"authenticate", "authorize", "normalize"} {
		t.Run(hook, func(t *testing.T) {
			deeds := slices.Concat(hostile.Endless, hostile.Deep, hostile.Trapping, hostile.Wrong, hostile.WrongFor(hook))
			srv := start(t, setup{config: meanConfig(t, hook, deeds), env: collecting})
			others := standBy(t, srv)
			table := harms{quiet(others)}
			for _, d := range deeds {
				table = append(table, misbehave(t, srv, others, hook, d))
				if t.Failed() {
					break
				}
			}
			others.end()
			t.Logf("%s, %d collections of garbage: %v", hook, srv.log.collections.Load(), table)
		})
	}
}

// quiet is how long bystanders wait when nobody misbehaves.
func quiet(others *bystanders) harm {
	begun := time.Now()
	others.progress(1000)
	return harm{about: "nothing", others: others.during(begun, time.Now())}
}

// misbehave has a plugin do one misdeed, as often as it is to, and over one collection of garbage at least.
func misbehave(t *testing.T, srv *server, others *bystanders, hook string, d hostile.Deed) harm {
	t.Helper()
	h := harm{about: d.About, reason: d.Reason}
	collected := srv.log.collections.Load()
	for k := 0; k < *deaths || srv.log.collections.Load() == collected; k++ {
		before := countsOf(t, srv, "mean")
		begun := time.Now()
		told := provoke(t, srv, hook, d.Namespace)
		ended := time.Now()
		h.deaths = append(h.deaths, ended.Sub(begun))
		reason := d.Reason
		if strings.Contains(told, hostile.Slow) && slices.Contains(hostile.Deep, d) {
			reason = hostile.Slow // it is deep enough a little later
		}
		require.Contains(t, told, reason, d.About)
		require.Greater(t, countsOf(t, srv, "mean")[reason], before[reason], "%s is counted", d.About)
		h.others = append(h.others, others.during(begun, ended)...)
		eventually(t, "nothing is left of it", func() bool { return srv.stats(d.Namespace) == statistics{} })
		eventually(t, "the plugin is asked again after "+d.About, func() bool { return provoke(t, srv, hook, hostile.Allows) == "" })
		if *deaths > 1 {
			others.progress(forgiving)
		}
	}
	return h
}

var countLine = regexp.MustCompile(`(\d+) (traps|overruns|breaches)`)

// countsOf are a plugin's counters, by the reasons that clients are told.
func countsOf(t *testing.T, srv *server, plugin string) map[string]int {
	t.Helper()
	_, page := srv.get("/")
	_, line, found := strings.Cut(page, "plugin       "+plugin+": ")
	require.True(t, found, page)
	line, _, _ = strings.Cut(line, "\n")
	counts := map[string]int{}
	for _, m := range countLine.FindAllStringSubmatch(line, -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		counts[map[string]string{"traps": hostile.Failed, "overruns": hostile.Slow, "breaches": hostile.Breach}[m[2]]] = n
	}
	require.Len(t, counts, 3, line)
	return counts
}

// provoke has the hostile plugin asked in a namespace and returns what its victim was told; nothing if the lock
// was acquired.
func provoke(t *testing.T, srv *server, hook, namespace string) string {
	t.Helper()
	c, resp, err := dialRaw(srv.target(namespace, 0))
	if err != nil {
		require.NotNil(t, resp, "%v", err)
		require.Equal(t, "authenticate", hook)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	defer c.Drop()
	require.NoError(t, c.Send(lockText(write("a"))))
	text, err := c.Recv()
	require.NoError(t, err)
	if a, err := parseAnswer(text); err == nil {
		require.Equal(t, acquired, a.state)
		require.NoError(t, c.Send(releaseText))
		_, err := c.Recv()
		require.NoError(t, err)
		return ""
	}
	_, err = c.Recv()
	require.NoError(t, wantClosed(err, 1013))
	return text
}

// TestBadModulesHarmNobody puts each module that can't be used in the place of one that is, and has the server
// load it. It says why not, and goes on with the old one, which others are using all the time.
func TestBadModulesHarmNobody(t *testing.T) {
	path := moduleFile(t, hostile.Good.Module())
	config := plugin("p", path, "authorize", "*") + "init_timeout = \"300ms\"\n[server]\nplugins_poll = \"0s\"\n"
	srv := start(t, setup{config: config, env: collecting})
	others := standBy(t, srv)
	table := harms{quiet(others)}
	replace := func(m hostile.Module, told string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path+".new", m.Make(), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
		said := len(srv.log.String())
		begun := time.Now()
		srv.signal(syscall.SIGHUP)
		eventually(t, told+" by "+m.About, func() bool { return strings.Contains(srv.log.since(said), told) })
		ended := time.Now()
		require.Contains(t, srv.log.since(said), m.Says, m.About)
		table = append(table, harm{m.About, m.Says, []time.Duration{ended.Sub(begun)}, others.during(begun, ended)})
	}
	for _, m := range hostile.Modules() {
		if m.Config == "" { // else the configuration's file would have to change, too
			replace(m, "nothing was reloaded")
		}
	}
	replace(hostile.Module{About: "as much to compile as may be", Make: hostile.Heavy}, "msg=reloaded")
	others.end()
	t.Logf("%d collections of garbage: %v", srv.log.collections.Load(), table)
}

// TestPluginThatGoesBadHarmsNobody after very many good calls of one instance.
func TestPluginThatGoesBadHarmsNobody(t *testing.T) {
	srv := start(t, setup{config: meanConfig(t, "authorize", nil), env: collecting})
	others := standBy(t, srv)
	namespace := hostile.GoesBad(uint32(*goodCalls))
	conn, _, err := dialRaw(srv.target(namespace, 0))
	require.NoError(t, err)
	defer conn.Drop()
	c := conn.(*rawClient)
	begun := time.Now()
	const atOnce = 100
	batch := bytes.Repeat(append(frame(ws.OpText, true, []byte(lockText(read()))), frame(ws.OpText, true, []byte(releaseText))...), atOnce)
	for left := *goodCalls; left > 0; left -= atOnce {
		n := min(left, atOnce)
		require.NoError(t, c.write(batch[:len(batch)/atOnce*n]))
		for range 2 * n {
			text, err := c.Recv()
			require.NoError(t, err)
			require.NotContains(t, text, "error")
		}
	}
	good := time.Since(begun)
	begun = time.Now()
	require.NoError(t, c.Send(lockText(read())))
	text, err := c.Recv()
	require.NoError(t, err)
	ended := time.Now()
	require.Contains(t, text, hostile.Slow)
	eventually(t, "a new instance allows again", func() bool { return provoke(t, srv, "authorize", namespace) == "" })
	t.Logf("%d good calls in %v, %v", *goodCalls, good, harms{{"an empty loop, then", hostile.Slow, []time.Duration{ended.Sub(begun)}, others.during(begun, ended)}})
}
