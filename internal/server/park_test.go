package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// onDisk runs a test in virtual time, with a server that keeps its state in a directory.
func onDisk(t *testing.T, test func(t *testing.T, n *fakeNet, dir string)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f, err := fence.Open(dir, 100, nil)
		require.NoError(t, err)
		n := newFake(testSettings(), f)
		n.run()
		t.Cleanup(func() {
			require.NoError(t, n.s.Close())
			require.NoError(t, f.Close())
		})
		test(t, n, dir)
	})
}

func TestAHelloWaitsUntilItsSessionIsCovered(t *testing.T) {
	onDisk(t, func(t *testing.T, n *fakeNet, _ string) {
		a := n.connectV2(t)
		a.say(helloV2)
		a.say(lockV2(1, ""))
		require.Empty(t, a.heard(), "nobody waits for the disk but the client")
		synctest.Wait()
		n.deliver(0)
		heard := a.heard()
		require.Len(t, heard, 2)
		require.Contains(t, heard[0], `"ttl_ms":15000,`)
		require.Equal(t, `{"id":1,"state":"acquired","token":"1"}`, heard[1])
		require.True(t, n.s.fence.Covers(15*time.Second))
		require.False(t, n.s.fence.Covers(15*time.Second+1))

		b := n.connectV2(t)
		b.greet(t, `{"op":"hello","ttl_ms":15000}`) // at once
		c := n.connectV2(t)
		c.say(`{"op":"hello","ttl_ms":15001,"name":"c"}`)
		require.Empty(t, c.heard())
		synctest.Wait()
		n.deliver(0)
		require.Contains(t, c.heard()[0], `"ttl_ms":15001,`)
		infos, _, err := n.s.AdminSessions("n", "", 10)
		require.NoError(t, err)
		require.Equal(t, "c", infos[2].Name)
		n.connectV2(t).greet(t, `{"op":"hello","ttl_ms":30000}`) // the next step
		require.False(t, n.s.fence.Covers(30*time.Second+1))
	})
}

func TestStepsOfWhatIsCovered(t *testing.T) {
	const first, most = 15 * time.Second, time.Hour
	for _, c := range []struct{ ttl, want time.Duration }{
		{time.Second, first}, {first, first}, {first + 1, 2 * first}, {2 * first, 2 * first}, {time.Minute, time.Minute},
		{33 * time.Minute, most}, {most, most}, {most + 1, most + 1}, // as the limit was lowered just now
	} {
		require.Equal(t, c.want, stepOf(c.ttl, first, most), c.ttl)
	}
	require.Equal(t, time.Second, stepOf(time.Millisecond, 100*time.Millisecond, time.Hour))
	require.Equal(t, 200*time.Millisecond, stepOf(time.Millisecond, 100*time.Millisecond, 200*time.Millisecond))
}

// TestWhatComesBehindAParkedHelloIsBounded, at the limit and one byte past it.
func TestWhatComesBehindAParkedHelloIsBounded(t *testing.T) {
	for _, past := range []int{0, 1} {
		onDisk(t, func(t *testing.T, n *fakeNet, _ string) {
			set := testSettings()
			set.Net.MessageBytes = 1000
			n.s.Reload(set)
			one := `{"op":"renew","id":1}`
			a := n.connectV2(t)
			a.say(helloV2)
			a.say(one)
			a.say(`{"op":"renew","id":2}` + strings.Repeat(" ", 1000-2*len(one)-lengthBytes+past))
			if past > 0 {
				require.Equal(t, []string{`{"error":"malformed","message":"op: more than 1000 bytes have come behind the hello before it was answered (limits.message_bytes): wait for the welcome"}`}, a.heard())
				require.Equal(t, uint16(3000), a.closing)
				return
			}
			require.Empty(t, a.heard())
			synctest.Wait()
			n.deliver(0)
			heard := a.heard()
			require.Len(t, heard, 3)
			require.Contains(t, heard[2], `{"id":2,"state":"renewed"`)
		})
	}
}

// TestFaultsBehindAParkedHelloAreFaults, as they would be without waiting.
func TestFaultsBehindAParkedHelloAreFaults(t *testing.T) {
	onDisk(t, func(t *testing.T, n *fakeNet, _ string) {
		a := n.connectV2(t)
		a.say(helloV2)
		a.say(lockV2(1, ""))
		a.say(helloV2)
		a.say(lockV2(2, ""))
		synctest.Wait()
		n.deliver(0)
		heard := a.heard()
		require.Len(t, heard, 3)
		require.Contains(t, heard[1], `{"id":1,"state":"acquired"`)
		require.Contains(t, heard[2], "this connection has said hello already")
		require.Equal(t, uint16(3000), a.closing)
	})
}

// TestNoSessionBeginsThatTheDiskDoesNotKnowOf: who says hello is told so, be the disk broken or silent.
func TestNoSessionBeginsThatTheDiskDoesNotKnowOf(t *testing.T) {
	const told = `{"error":"try_later","message":"the server cannot note on its disk how long this session may live, `
	onDisk(t, func(t *testing.T, n *fakeNet, dir string) {
		silent := n.connectV2(t)
		silent.say(helloV2)
		synctest.Wait()
		n.collect(0) // the disk's answer, which doesn't come in time
		pass(testSettings().Net.HandshakeTimeout)
		n.deliver(0)
		require.Contains(t, silent.heard()[0], told)
		require.Equal(t, uint16(1013), silent.closing)

		require.NoError(t, os.Remove(filepath.Join(dir, "lock")))
		connect := func() *fakeConn {
			c, refused := n.ask(v2Request("namespace=n"))
			require.Nil(t, refused)
			return c
		}
		broken := connect()
		broken.say(`{"op":"hello","ttl_ms":60000}`)
		synctest.Wait()
		n.deliver(0)
		require.Contains(t, broken.heard()[0], told)
		require.Equal(t, uint16(1013), broken.closing)
		again := connect()
		again.say(`{"op":"hello","ttl_ms":60000}`)
		require.Contains(t, again.heard()[0], told, "that is known by now")
		connect().greet(t, helloV2) // which was covered before
		require.Equal(t, int64(1), n.s.living.Load())
		require.Equal(t, 1, n.s.homes.from(again.w.connection(again).from))
	})
}

// TestOneLongSessionDoesNotMakeEachStartWait: once it is over nobody waits for it.
func TestOneLongSessionDoesNotMakeEachStartWait(t *testing.T) {
	onDisk(t, func(t *testing.T, n *fakeNet, _ string) {
		long, short := n.connectV2(t), n.connectV2(t)
		long.say(`{"op":"hello","ttl_ms":3600000}`)
		short.say(`{"op":"hello","ttl_ms":25000}`)
		synctest.Wait()
		n.deliver(0)
		require.Len(t, long.heard(), 1)
		require.Len(t, short.heard(), 1)
		pass(relaxPause + time.Second)
		require.True(t, n.s.fence.Covers(time.Hour))
		long.say(`{"op":"bye","id":1}`)
		short.drop()
		pass(relaxPause - 10*time.Second)
		n.connectV2(t).greet(t, `{"op":"hello","ttl_ms":20000}`)
		pass(10 * time.Second)
		require.False(t, n.s.fence.Covers(30*time.Second+1))
		require.True(t, n.s.fence.Covers(30*time.Second), "there is one of them")
		pass(relaxPause)
		require.Zero(t, n.s.living.Load())
		require.Empty(t, n.s.spans.counts)
		require.True(t, n.s.fence.Covers(15*time.Second), "who comes next needn't wait")
		require.False(t, n.s.fence.Covers(15*time.Second+1))
	})
}

// TestStrangersDoNotMakeTheNextStartWait: for how long it has to is up to those whom plugins let in.
func TestStrangersDoNotMakeTheNextStartWait(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f, err := fence.Open(dir, 100, nil)
		require.NoError(t, err)
		defer f.Close()
		verdict := host.Verdict{Outcome: host.Denied}
		j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) { return host.Identity{}, verdict }}
		n := j.serveOf(Options{Settings: testSettings(), Fence: f})
		stranger := n.connectV2(t)
		stranger.say(helloV2)
		require.Contains(t, stranger.heard()[0], `"denied"`)
		synctest.Wait()
		require.False(t, f.Covers(time.Millisecond))

		verdict = allowed
		a := n.connectV2(t)
		a.say(helloV2)
		synctest.Wait()
		n.deliver(0)
		require.Contains(t, a.heard()[0], `"welcome"`)
		require.Equal(t, 2, j.connects, "nobody is asked twice")
	})
}

func TestAParkedHelloMayBeLostOrCutShort(t *testing.T) {
	onDisk(t, func(t *testing.T, n *fakeNet, _ string) {
		gone, stays := n.connectV2(t), n.connectV2(t)
		gone.say(helloV2)
		stays.say(helloV2)
		gone.drop()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.s.Shutdown(ctx) }()
		synctest.Wait()
		require.Contains(t, stays.heard()[0], `"error":"shutdown"`)
		n.deliver(0)
		require.Empty(t, stays.heard())
		stays.drop()
		require.NoError(t, <-done)
		cancel()
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, owed(n))
		require.Empty(t, n.s.lobby.those)
	})
}
