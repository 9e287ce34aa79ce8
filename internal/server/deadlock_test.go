package server

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// clientsV2 are some that have said hello, named A, B and so on.
func clientsV2(t *testing.T, n *fakeNet, count int) (all []*fakeConn) {
	for k := range count {
		c := n.connectV2(t)
		c.greet(t, fmt.Sprintf(`{"op":"hello","name":"%c"}`, 'A'+k))
		all = append(all, c)
	}
	return all
}

// gets says something and wants its answer to begin like this.
func (c *fakeConn) gets(t *testing.T, message, answer string) string {
	t.Helper()
	c.say(message)
	heard := c.heard()
	require.NotEmpty(t, heard)
	last := sinceZero(heard[len(heard)-1:])[0]
	require.Contains(t, last, answer)
	return last
}

const (
	isAcquired = `"state":"acquired"`
	isEnqueued = `"state":"enqueued"`
)

func TestTwoThatWantWhatTheOtherHasAreADeadlock(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := clientsV2(t, n, 2)
	a, b := two[0], two[1]
	a.gets(t, lockOn(1, "write", "a", ""), isAcquired)
	b.gets(t, lockOn(1, "write", "b", `,"note":"deploy"`), isAcquired)
	b.gets(t, lockOn(2, "read", "a", ""), isEnqueued)
	a.gets(t, lockOn(2, "write", "b", `,"wait_ms":0`), `{"id":2,"state":"unavailable"`)
	require.Equal(t, `{"id":3,"state":"deadlock","cycle":[`+
		`{"session":"B","lock":1,"note":"deploy","type":"write","path":["b"],"state":"acquired","since_ms":0},`+
		`{"session":"A","lock":1,"type":"write","path":["a"],"state":"acquired","since_ms":0}]}`,
		a.gets(t, lockOn(3, "write", "b", `,"wait_ms":1000`), ""))
	a.gets(t, lockOn(3, "write", "b", ""), `{"id":3,"state":"deadlock"}`) // a retry
	a.gets(t, `{"op":"release","id":4,"lock":1}`, `"released"`)
	require.Equal(t, []string{`{"event":1,"lock":2,"state":"acquired","token":"3"}`}, b.hear(), "the rest goes on")
	a.gets(t, lockOn(5, "write", "b", ""), isEnqueued)
}

// TestRefusedDeadlocksAreCounted, of requests and of upgrades, and no retry of theirs.
func TestRefusedDeadlocksAreCounted(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := clientsV2(t, n, 2)
	a, b := two[0], two[1]
	counted := func(want int) {
		t.Helper()
		require.Contains(t, n.page(t, "/"), fmt.Sprintf("\ndeadlocks    %d (", want))
	}
	a.gets(t, lockOn(1, "read", "r", ""), isAcquired)
	b.gets(t, lockOn(1, "read", "r", ""), isAcquired)
	b.gets(t, lockOn(2, "write", "b", ""), isAcquired)
	a.gets(t, lockOn(2, "write", "b", `,"wait_ms":0`), `"unavailable"`)
	a.gets(t, lockOn(3, "write", "b", ""), isEnqueued)
	counted(0)
	b.gets(t, `{"op":"upgrade","id":3,"lock":1}`, `"error":"deadlock"`)
	counted(1)
	b.gets(t, lockOn(4, "write", "r", ""), `"state":"deadlock"`)
	counted(2)
	b.gets(t, lockOn(4, "write", "r", ""), `"state":"deadlock"`) // a retry
	b.gets(t, `{"op":"renew","id":5}`, `"renewed"`)
	counted(2)
}

func TestThreeInARingAreADeadlock(t *testing.T) {
	n := newFake(testSettings(), nil)
	three := clientsV2(t, n, 3)
	for k, c := range three {
		c.gets(t, lockOn(1, "write", string(rune('a'+k)), ""), isAcquired)
	}
	three[0].gets(t, lockOn(2, "write", "b", ""), isEnqueued)
	three[1].gets(t, lockOn(2, "write", "c", ""), isEnqueued)
	said := three[2].gets(t, lockOn(2, "write", "a", ""), `{"id":2,"state":"deadlock"`)
	require.Regexp(t, `^.*"session":"A","lock":1,.*"session":"B","lock":1,.*"session":"C","lock":1,.*$`, said)
}

func TestPermitsCanBeADeadlock(t *testing.T) {
	permit := func(id int, more string) string {
		return fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"permit","path":["p"],"limit":3%s}]}`, id, more)
	}
	n := newFake(testSettings(), nil)
	three := clientsV2(t, n, 3)
	a, b, c := three[0], three[1], three[2]
	for _, x := range three {
		x.gets(t, permit(1, ""), isAcquired)
	}
	a.gets(t, permit(2, ""), isEnqueued)
	b.gets(t, permit(2, ""), isEnqueued) // C may release yet
	c.gets(t, permit(2, ""), `{"id":2,"state":"deadlock","cycle":[`)
	c.gets(t, `{"op":"release","id":3,"lock":1}`, `"released"`)
	require.Len(t, a.hear(), 1)
}

// TestAPlaceInTheQueueCanBeADeadlock: who holds nothing yet is waited for, too, be it a client of version 1.
func TestAPlaceInTheQueueCanBeADeadlock(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := clientsV2(t, n, 2)
	a, b := two[0], two[1]
	old := n.mustConnect(t, "namespace=n")
	a.gets(t, lockOn(1, "read", "a", ""), isAcquired)
	b.gets(t, lockOn(1, "read", "b", ""), isAcquired)
	old.say(`{"action":"lock","resources":[{"type":"write","path":["a"]},{"type":"write","path":["c"]}]}`)
	require.Contains(t, old.heard()[0], isEnqueued)
	require.Equal(t, `{"id":2,"state":"deadlock","cycle":[`+
		`{"session":"v1","lock":3,"type":"write","path":["c"],"state":"enqueued"},`+
		`{"session":"A","lock":1,"type":"read","path":["a"],"state":"acquired","since_ms":0}]}`,
		a.gets(t, lockOn(2, "read", "c", ""), ""))
	b.gets(t, lockOn(2, "read", "c", ""), isEnqueued)
}

func TestUpgradesCanBeADeadlock(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := clientsV2(t, n, 2)
	a, b := two[0], two[1]
	a.gets(t, `{"op":"lock","id":1,"resources":[{"type":"read","path":["a"]},{"type":"write","path":["x"]}]}`, isAcquired)
	b.gets(t, lockOn(1, "read", "a", ""), isAcquired)
	b.gets(t, lockOn(2, "write", "x", ""), isEnqueued)
	a.gets(t, upgradeV2(2, 1, `,"wait_ms":0`), `{"id":2,"lock":1,"error":"unavailable"`)
	require.Equal(t, `{"id":3,"lock":1,"error":"deadlock","cycle":[`+
		`{"session":"B","lock":1,"type":"read","path":["a"],"state":"acquired","since_ms":0},`+
		`{"session":"A","lock":1,"type":"write","path":["x"],"state":"acquired","since_ms":0}],`+
		`"message":"the upgrade would be a deadlock; the lock is what it was"}`, a.gets(t, upgradeV2(3, 1, ""), ""))
	a.gets(t, upgradeV2(3, 1, ""), `{"id":3,"error":"deadlock"`) // a retry
	readers(t, n, 1)
	b.gets(t, `{"op":"release","id":3,"lock":2}`, `"canceled"`)
	a.gets(t, upgradeV2(4, 1, ""), `"upgrading"`)
	b.gets(t, lockOn(4, "write", "x", ""), `{"id":4,"state":"deadlock"`)
}

// TestAnUpgradeAtOnceCanBeADeadlock: it waits for nobody, but those that it overtakes are now waited for by a party that
// waits for them elsewhere.
func TestAnUpgradeAtOnceCanBeADeadlock(t *testing.T) {
	n := newFake(testSettings(), nil)
	three := clientsV2(t, n, 3)
	a, b, c := three[0], three[1], three[2]
	c.gets(t, lockOn(1, "write", "c", ""), isAcquired)
	b.gets(t, lockOn(1, "write", "b", ""), isAcquired)
	a.gets(t, lockOn(1, "read", "a", ""), isAcquired)
	b.gets(t, `{"op":"lock","id":2,"resources":[{"type":"read","path":["a"]},{"type":"read","path":["c"]}]}`, isEnqueued)
	a.gets(t, lockOn(2, "read", "b", ""), isEnqueued)
	a.gets(t, upgradeV2(3, 1, ""), `{"id":3,"lock":1,"error":"deadlock"`)
	a.gets(t, `{"op":"release","id":4,"lock":2}`, `"canceled"`)
	a.gets(t, upgradeV2(5, 1, ""), `"upgraded"`)
}

// TestPartiesOfASessionWaitIndependently: what is a deadlock for one task isn't for two.
func TestPartiesOfASessionWaitIndependently(t *testing.T) {
	for _, c := range []struct {
		first, second string
		want          string
	}{
		{"", "", `"state":"deadlock"`},
		{`,"party":1`, `,"party":1`, `"state":"deadlock"`},
		{`,"party":1`, `,"party":2`, isEnqueued},
		{"", `,"party":2`, isEnqueued},
	} {
		n := newFake(testSettings(), nil)
		two := clientsV2(t, n, 2)
		a, b := two[0], two[1]
		a.gets(t, lockOn(1, "write", "a", c.first), isAcquired)
		b.gets(t, lockOn(1, "write", "a", ""), isEnqueued)
		a.gets(t, lockOn(2, "write", "a", c.second), c.want)
	}
	n := newFake(testSettings(), nil)
	one := clientsV2(t, n, 1)[0]
	one.gets(t, lockOn(1, "write", "a", `,"party":1`), isAcquired)
	one.gets(t, lockOn(2, "write", "b", `,"party":2`), isAcquired)
	one.gets(t, lockOn(3, "write", "b", `,"party":1`), isEnqueued)
	one.gets(t, lockOn(4, "write", "a", `,"party":2`), `"state":"deadlock"`)
	one.gets(t, lockOn(5, "write", "a", `,"party":1`), isEnqueued) // nobody but itself is in its way
}

// TestACycleIsShownToWhoMayInspectIt: of a client that may not it is told no more than that there is one.
func TestACycleIsShownToWhoMayInspectIt(t *testing.T) {
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		if q.Operation == host.Inspect && (len(q.Resources) > 1 || string(q.Resources[0].Path[0]) == "b") {
			return host.Verdict{Outcome: host.Denied}
		}
		return allowed
	}}
	n := j.serve(testSettings())
	two := clientsV2(t, n, 2)
	a, b := two[0], two[1]
	a.gets(t, lockOn(1, "write", "a", ""), isAcquired)
	b.gets(t, lockOn(1, "write", "b", ""), isAcquired)
	b.gets(t, lockOn(2, "write", "a", ""), isEnqueued)
	require.Equal(t, `{"id":2,"state":"deadlock","cycle":[{"session":"A","lock":1,"type":"write","path":["a"],"state":"acquired","since_ms":0}]}`,
		a.gets(t, lockOn(2, "write", "b", ""), ""))
}
