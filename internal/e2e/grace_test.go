package e2e

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	locktopus "github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// shortLived has sessions, and so a grace period, that tests can wait for.
const shortLived = "[sessions]\nttl_default = \"6s\"\n[server]\ndrain = \"1s\"\n[limits]\nclose_timeout = \"1s\"\n"

// dialGo is our own client, at an address.
func dialGo(t *testing.T, addr string) *locktopus.Client {
	t.Helper()
	c, err := locktopus.Dial(t.Context(), "ws://"+addr+"/v2?namespace=n", &locktopus.Options{TTL: 6 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// cutOffHolder is a lock whose client can't reach the server, nor be reached, from now on, and doesn't know it.
func cutOffHolder(t *testing.T, srv *server) *locktopus.Lock {
	t.Helper()
	wire := testserver.NewWire(t, srv.addr)
	lock, err := dialGo(t, wire.Addr()).Lock(t.Context(), locktopus.Write("a"))
	require.NoError(t, err)
	wire.Hold(true)
	return lock
}

// TestAKilledServersLocksAreNotGivenAwayBeforeTheirHoldersKnow: a client that is cut off believes in its lock until
// its session's time is over, and so long the next server grants nothing.
func TestAKilledServersLocksAreNotGivenAwayBeforeTheirHoldersKnow(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	srv := start(t, setup{stateDir: state, config: shortLived})
	holder := cutOffHolder(t, srv)
	srv.kill()
	next := start(t, setup{stateDir: state, config: shortLived})
	require.Contains(t, next.log.String(), `level=WARN msg="the last server has not told all of its clients that their locks are lost: no lock is granted until they must know (state.grace)" for=`)
	_, body := next.get("/healthz")
	require.Contains(t, body, "ok, but no lock is granted for another ")
	old := connect(t, dialGorilla, next.target("n"))
	id := old.mustEnqueue(write("elsewhere"))
	c := dialGo(t, next.addr)
	_, err := c.TryLock(t.Context(), locktopus.Read("a", "b"))
	var busy *locktopus.UnavailableError
	require.ErrorAs(t, err, &busy)
	require.Equal(t, "server", busy.Blockers[0].Session)
	require.Contains(t, busy.Blockers[0].Note, "grace period after a restart")
	require.NoError(t, holder.Err(), "the test is too slow to mean anything")
	lock, err := c.Lock(t.Context(), locktopus.Read("a", "b"))
	require.NoError(t, err)
	require.ErrorIs(t, holder.Err(), locktopus.ErrDeadline, "two believe in a lock")
	require.Greater(t, lock.Token(), holder.Token())
	old.mustBeGranted(id)
	_, body = next.get("/healthz")
	require.Equal(t, "ok\n", body)
	require.Contains(t, next.log.String(), "the grace period after the restart is over")
}

// TestWithoutGraceAKilledServersLocksAreGivenAway: somebody else has the lock while its holder believes in it. Only
// the token tells.
func TestWithoutGraceAKilledServersLocksAreGivenAway(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	srv := start(t, setup{stateDir: state, config: shortLived})
	holder := cutOffHolder(t, srv)
	srv.kill()
	next := start(t, setup{stateDir: state, config: shortLived + "[state]\ngrace = false\n"})
	require.Contains(t, next.log.String(), "(state.grace is false)")
	lock, err := dialGo(t, next.addr).TryLock(t.Context(), locktopus.Write("a"))
	require.NoError(t, err)
	require.NoError(t, holder.Err())
	require.Greater(t, lock.Token(), holder.Token())
}

// TestARestartMakesNobodyWait: those who hold something are told, and answer. Others needn't be.
func TestARestartMakesNobodyWait(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	srv := start(t, setup{stateDir: state, config: shortLived})
	holder, err := dialGo(t, srv.addr).Lock(t.Context(), locktopus.Write("a"))
	require.NoError(t, err)
	waits, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	waiter := dialGo(t, srv.addr)
	go func() {
		_, err := waiter.Lock(waits, locktopus.Write("a"))
		waited <- err
	}()
	eventually(t, "somebody waits", func() bool { return srv.stats("n").GroupsPending == 1 })
	srv.stop()
	var lost *locktopus.LostError
	require.ErrorAs(t, holder.Err(), &lost, "it is told")
	require.Equal(t, "shutdown", lost.State)
	require.NotContains(t, srv.log.String(), "may believe in their locks")

	next := start(t, setup{stateDir: state, config: shortLived})
	require.NotContains(t, next.log.String(), "has not told all of its clients")
	_, err = dialGo(t, next.addr).TryLock(t.Context(), locktopus.Write("a"))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
}

// TestARestartWaitsForThoseWhoCannotBeTold, and for as long only as they may believe.
func TestARestartWaitsForThoseWhoCannotBeTold(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	srv := start(t, setup{stateDir: state, config: shortLived})
	holder := cutOffHolder(t, srv)
	_, err := dialGo(t, srv.addr).Lock(t.Context(), locktopus.Write("b"))
	require.NoError(t, err)
	srv.signal(syscall.SIGTERM)
	srv.wait()
	require.Regexp(t, `"clients that could not be told may believe in their locks: .*" for=\S+ in=n\n`, srv.log.String())
	next := start(t, setup{stateDir: state, config: shortLived})
	require.Regexp(t, `no lock is granted until they must know \(state.grace\)" for=\S+ in=n\n`, next.log.String())
	elsewhere := connect(t, dialGorilla, next.target("elsewhere"))
	elsewhere.mustAcquire(write("a"))
	require.NoError(t, holder.Err(), "the test is too slow to mean anything")
	_, err = dialGo(t, next.addr).Lock(t.Context(), locktopus.Write("a"))
	require.NoError(t, err)
	require.ErrorIs(t, holder.Err(), locktopus.ErrDeadline)
	next.stop()

	last := start(t, setup{stateDir: state, config: shortLived})
	require.NotContains(t, last.log.String(), "has not told all of its clients")
}

// TestAStopThatTheDiskIsNotToldOfIsLikeACrash for the next server, and the log and the exit code say so.
func TestAStopThatTheDiskIsNotToldOfIsLikeACrash(t *testing.T) {
	t.Parallel()
	needs := setup{stateDir: t.TempDir(), config: shortLived}
	srv := start(t, needs)
	greet(t, srv, "n", "it holds nothing")
	inTheWay := filepath.Join(needs.stateDir, "fence.tmp", "x")
	require.NoError(t, os.MkdirAll(inTheWay, 0o700))
	srv.signal(syscall.SIGTERM)
	srv.wait()
	require.Equal(t, 1, srv.cmd.ProcessState.ExitCode())
	require.Contains(t, srv.log.String(), "closing the state directory failed: the next server may wait for more clients, and for longer, than it must (state.grace)")
	require.NoError(t, os.RemoveAll(filepath.Dir(inTheWay)))
	next := start(t, needs)
	require.Contains(t, next.log.String(), ` in="all namespaces"`)
}

// TestAStopInTheGraceDoesNotWaitForIt: who waits could get nothing before the end of the drain.
func TestAStopInTheGraceDoesNotWaitForIt(t *testing.T) {
	t.Parallel()
	needs := setup{stateDir: t.TempDir(), config: "[sessions]\nttl_default = \"10m\"\nttl_max = \"10m\"\n[server]\ndrain = \"5m\"\n"}
	srv := start(t, needs)
	greet(t, srv, "n", "holder")
	srv.kill()
	next := start(t, needs)
	waits, _ := greet(t, next, "n", "waits")
	waits.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`)
	heard(t, waits, `"enqueued"`)
	old := connect(t, dialGorilla, next.target("n"))
	old.mustEnqueue(write("a"))
	next.signal(syscall.SIGTERM)
	heard(t, waits, `"error":"shutdown"`)
	for _, c := range []client{waits, old} {
		_, err := c.Recv()
		require.NoError(t, wantClosed(err, 1001))
	}
	next.wait()
	require.Zero(t, next.cmd.ProcessState.ExitCode())
	require.NotContains(t, next.log.String(), "the drain time was over")
	require.Contains(t, next.log.String(), "may believe in their locks")
}

// TestAnAdministratorEndsTheGrace who knows that no client is left, for the next server, too, as long as there are no
// others that may be cut off, with the names that "locktopus ls" shows.
func TestAnAdministratorEndsTheGrace(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	needs := setup{stateDir: state, config: administered.config, env: administered.env}
	srv := start(t, needs)
	lost, _ := greet(t, srv, "n", "lost")
	lost.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`)
	heard(t, lost, `"acquired"`)
	srv.kill()
	next := start(t, needs)
	alice, _ := greet(t, next, "n", "alice")
	alice.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`)
	heard(t, alice, `"enqueued"`)
	run := func(args ...string) string {
		cmd := command(args...)
		cmd.Env = append(cmd.Env, "LOCKTOPUS_ADMIN_URL="+next.adminURL(), "LOCKTOPUS_ADMIN_TOKEN="+adminToken, "LOCKTOPUS_URL=ws://"+next.addr+"/v2?namespace=n")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Regexp(t, `(?m)^acquired +\S+ +\d+ +server +1 +- +write ""  # "grace period after a restart, until \d\d:\d\d:\d\d UTC"$`, run("ls"))
	require.Regexp(t, `(?m)^  waits for server, lock 1: write "", acquired for .*, note "grace period after a restart, until `, run("inspect", "a"))
	require.Regexp(t, `^released in namespace n: write "", acquired for .* by session server, lock 1, note "grace`, run("release", "server", "1", "--reason", "it was the only one"))
	heard(t, alice, `^{"event":1,"lock":1,"state":"acquired"`)
	require.Contains(t, run("release", "--namespace", "m", "server", "1", "--reason", "there is none"), "; nobody uses the namespace at present")

	bob, _ := greet(t, next, "other", "bob")
	bob.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`)
	heard(t, bob, `"enqueued"`)
	alice.send(`{"op":"bye","id":2}`)
	heard(t, alice, `"bye"`)
	next.stop()
	next = start(t, needs)
	require.Contains(t, next.log.String(), ` in="all namespaces but m, n"`)
	alice, _ = greet(t, next, "n", "alice")
	alice.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`)
	heard(t, alice, `"acquired"`)
	bob, _ = greet(t, next, "other", "bob")
	bob.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}],"wait_ms":0}`)
	heard(t, bob, `"unavailable"`)
	next.kill()
	next = start(t, needs)
	require.Contains(t, next.log.String(), ` in="all namespaces"`, "there are new holders")
	alice, _ = greet(t, next, "n", "alice")
	alice.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}],"wait_ms":0}`)
	heard(t, alice, `"unavailable"`)
}
