package server

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// lockOn asks for something in a single word, such as "read a".
func lockOn(id int, kind, segment, more string) string {
	return fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":%q,"path":[%q]}]%s}`, id, kind, segment, more)
}

func upgradeV2(id, lock int, more string) string {
	return fmt.Sprintf(`{"op":"upgrade","id":%d,"lock":%d%s}`, id, lock, more)
}

func downgradeV2(id, lock int, more string) string {
	return fmt.Sprintf(`{"op":"downgrade","id":%d,"lock":%d%s}`, id, lock, more)
}

// readers are clients that have read locks on one path, called 1 by each.
func readers(t *testing.T, n *fakeNet, count int) (all []*fakeConn) {
	for range count {
		c := n.connectV2(t)
		c.greet(t, helloV2)
		c.say(lockOn(1, "read", "a", ""))
		require.Contains(t, c.heard()[0], `"acquired"`)
		all = append(all, c)
	}
	return all
}

// hear delivers what there is, and returns what a client was told.
func (c *fakeConn) hear() []string {
	c.n.deliver(0)
	return c.heard()
}

func TestAnUpgradeAtOnceHasANewToken(t *testing.T) {
	n := newFake(testSettings(), nil)
	a := readers(t, n, 1)[0]
	a.say(upgradeV2(2, 1, ""))
	require.Equal(t, []string{`{"id":2,"lock":1,"state":"upgraded","token":"2"}`}, a.heard())
	a.say(upgradeV2(2, 1, ""))
	require.Equal(t, []string{`{"id":2,"lock":1,"state":"upgraded","token":"2"}`}, a.heard(), "a retry draws no other token")
	b := n.connectV2(t)
	b.greet(t, helloV2)
	b.say(lockOn(1, "read", "a", `,"wait_ms":0`))
	require.Contains(t, b.heard()[0], `"unavailable"`)
}

func TestAnUpgradeGoesAheadOfWaiters(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := readers(t, n, 2)
	a, b := two[0], two[1]
	c := n.connectV2(t)
	c.greet(t, helloV2)
	c.say(lockOn(1, "write", "a", ""))
	c.heard()
	a.say(upgradeV2(2, 1, ""))
	require.Equal(t, []string{`{"id":2,"lock":1,"state":"upgrading"}`}, a.heard())
	a.say(lockOn(1, "read", "a", ""))
	require.Equal(t, []string{`{"id":1,"state":"acquired","token":"1"}`}, a.heard(), "it is held as before meanwhile")
	b.say(`{"op":"release","id":2,"lock":1}`)
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"upgraded","token":"4"}`}, a.hear())
	require.Empty(t, c.hear())
	a.say(`{"op":"release","id":3,"lock":1}`)
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"5"}`}, c.hear(), "its token is above the upgrade's")
}

func TestUpgradesHaveAnEndToTheirWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), nil)
		n.run()
		defer n.s.Close()
		two := readers(t, n, 2)
		a, b := two[0], two[1]
		a.say(upgradeV2(2, 1, `,"wait_ms":0`))
		require.Contains(t, a.heard()[0], `{"id":2,"lock":1,"error":"unavailable"`)
		a.say(upgradeV2(3, 1, `,"wait_ms":100`))
		require.Equal(t, []string{`{"id":3,"lock":1,"state":"upgrading"}`}, a.heard())
		pass(99 * time.Millisecond)
		require.Empty(t, a.hear())
		pass(2 * time.Millisecond)
		require.Contains(t, a.hear()[0], `{"event":1,"lock":1,"state":"upgrade_timeout"`)
		c := readers(t, n, 1)[0]
		b.say(`{"op":"release","id":2,"lock":1}`)
		c.say(`{"op":"release","id":2,"lock":1}`)
		require.Empty(t, a.hear(), "the lock is what it was")
		a.say(`{"op":"locks","id":4}`)
		require.Equal(t, []string{`{"id":4,"state":"listed","locks":[{"lock":1,"state":"acquired","token":"1"}]}`}, a.heard())
	})
}

func TestASecondUpgradeThatOverlapsIsRefused(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := readers(t, n, 2)
	a, b := two[0], two[1]
	a.say(upgradeV2(2, 1, ""))
	a.heard()
	b.say(upgradeV2(2, 1, ""))
	require.Contains(t, b.heard()[0], `{"id":2,"error":"upgrade_conflict"`)
	a.say(upgradeV2(3, 1, ""))
	require.Contains(t, a.heard()[0], `{"id":3,"error":"upgrade_conflict"`, "its own waits already")
	b.say(`{"op":"release","id":3,"lock":1}`)
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"upgraded","token":"3"}`}, a.hear())
}

func TestWhatWaitsCanNotBeUpgraded(t *testing.T) {
	n := newFake(testSettings(), nil)
	a := readers(t, n, 1)[0]
	b := n.connectV2(t)
	b.greet(t, helloV2)
	b.say(lockOn(1, "write", "a", ""))
	b.heard()
	b.say(upgradeV2(2, 1, ""))
	require.Contains(t, b.heard()[0], `{"id":2,"error":"not_acquired"`)
	b.say(downgradeV2(3, 1, ""))
	require.Contains(t, b.heard()[0], `{"id":3,"error":"not_acquired"`)
	a.say(upgradeV2(2, 9, ""))
	require.Contains(t, a.heard()[0], `{"id":2,"error":"unknown_lock"`)
	a.say(downgradeV2(3, 9, ""))
	require.Contains(t, a.heard()[0], `{"id":3,"error":"unknown_lock"`)
}

func TestADowngradeLetsReadersInAndKeepsTheToken(t *testing.T) {
	n := newFake(testSettings(), nil)
	a, b := n.connectV2(t), n.connectV2(t)
	a.greet(t, helloV2)
	b.greet(t, helloV2)
	a.say(lockOn(1, "write", "a", ""))
	a.heard()
	b.say(lockOn(1, "read", "a", ""))
	b.heard()
	a.say(downgradeV2(2, 1, ""))
	require.Equal(t, []string{`{"id":2,"lock":1,"state":"downgraded"}`}, a.heard())
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"2"}`}, b.hear())
	a.say(`{"op":"locks","id":3}`)
	require.Equal(t, []string{`{"id":3,"state":"listed","locks":[{"lock":1,"state":"acquired","token":"1"}]}`}, a.heard())
}

func TestADowngradeTakesAnUpgradeBackThatWaits(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := readers(t, n, 2)
	a, b := two[0], two[1]
	a.say(upgradeV2(2, 1, ""))
	a.say(downgradeV2(3, 1, ""))
	require.Equal(t, `{"id":3,"lock":1,"state":"downgraded"}`, a.heard()[1])
	b.say(`{"op":"release","id":2,"lock":1}`)
	require.Empty(t, a.hear(), "there is no upgrade any more")
	readers(t, n, 1)
}

// TestADowngradeThatNamesAnUpgradeTakesBackThatOneOnly: a client whose patience ended while the answer was on its
// way must not lose what it has got.
func TestADowngradeThatNamesAnUpgradeTakesBackThatOneOnly(t *testing.T) {
	n := newFake(testSettings(), nil)
	two := readers(t, n, 2)
	a, b := two[0], two[1]
	a.say(upgradeV2(2, 1, ""))
	a.say(downgradeV2(3, 1, `,"upgrade":7`))
	require.Equal(t, `{"id":3,"lock":1,"state":"acquired","token":"1"}`, a.heard()[1])
	a.say(downgradeV2(4, 1, `,"upgrade":2`))
	require.Equal(t, []string{`{"id":4,"lock":1,"state":"acquired","token":"1"}`}, a.heard())
	a.say(upgradeV2(5, 1, ""))
	a.heard()
	b.say(`{"op":"release","id":2,"lock":1}`)
	n.deliver(0)
	a.say(downgradeV2(6, 1, `,"upgrade":5`))
	require.Equal(t, []string{
		`{"event":1,"lock":1,"state":"upgraded","token":"3"}`, `{"id":6,"lock":1,"state":"acquired","token":"3"}`,
	}, a.heard(), "it came true before: it stays")
	b.heard()
	b.say(lockOn(3, "read", "a", `,"wait_ms":0`))
	require.Contains(t, b.heard()[0], `"unavailable"`)
}

// TestUpgradesAreJudgedAsWrites of what the lock reads, by the paths that it really has.
func TestUpgradesAreJudgedAsWrites(t *testing.T) {
	verdict := allowed
	var asked []host.Request
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		asked = append(asked, host.Request{Operation: q.Operation, Resources: append([]host.Resource(nil), q.Resources...)})
		for i := range q.Resources {
			q.Resources[i].Path = [][]byte{[]byte("same")}
		}
		return verdict
	}}
	n := j.serve(testSettings())
	a, b := n.connectV2(t), n.connectV2(t)
	a.greet(t, helloV2)
	b.greet(t, helloV2)
	a.say(`{"op":"lock","id":1,"resources":[{"type":"read","path":["a"]},{"type":"permit","path":["p"],"limit":2}]}`)
	b.say(lockOn(1, "read", "b", ""))
	a.heard()
	for _, no := range []host.Verdict{{Outcome: host.Denied, Plugin: "acl", Code: 7, Reason: []byte("no writes")}, {Outcome: host.Failed, Plugin: "acl"}} {
		asked, verdict = nil, no
		id := 2 + int(no.Outcome)
		a.say(upgradeV2(id, 1, ""))
		said := a.heard()[0]
		require.Equal(t, no.Outcome == host.Failed, said == fmt.Sprintf(`{"id":%d,"error":"try_later","message":"plugin \"acl\" could not judge this request; try again later"}`, id), said)
		require.Equal(t, no.Outcome == host.Denied, said == fmt.Sprintf(`{"id":%d,"error":"denied","plugin":"acl","code":7,"message":"no writes"}`, id), said)
		require.Len(t, asked, 1)
		require.Equal(t, host.Lock, asked[0].Operation)
		require.Equal(t, []host.Resource{{Mode: host.Write, Path: [][]byte{[]byte("same")}}}, asked[0].Resources)
	}
	verdict = allowed
	a.say(upgradeV2(20, 1, ""))
	require.Equal(t, []string{`{"id":20,"lock":1,"state":"upgrading"}`}, a.heard())
	b.say(`{"op":"release","id":20,"lock":1}`)
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"upgraded","token":"3","slots":[0]}`}, a.hear())
	asked, verdict = nil, host.Verdict{}
	a.say(upgradeV2(20, 1, ""))
	require.Equal(t, []string{`{"id":20,"lock":1,"state":"upgraded","token":"3"}`}, a.heard())
	require.Empty(t, asked, "a retry has been judged")
}

// TestAnUpgradeIsOfPathsThatPluginsStillMean: where they mean others now, nobody knows who may have these.
func TestAnUpgradeIsOfPathsThatPluginsStillMean(t *testing.T) {
	meaning := "before"
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		q.Resources[0].Path = [][]byte{[]byte(meaning)}
		return allowed
	}}
	n := j.serve(testSettings())
	a := n.connectV2(t)
	a.greet(t, helloV2)
	a.say(lockOn(1, "read", "a", ""))
	a.heard()
	meaning = "now"
	a.say(upgradeV2(2, 1, ""))
	require.Contains(t, a.heard()[0], `{"id":2,"error":"denied","message":"the server's plugins don't take`)
	meaning = "before"
	a.say(upgradeV2(3, 1, ""))
	require.Contains(t, a.heard()[0], `"upgraded"`)
}

// TestAnUpgradeIsJudgedAlsoWhileItsLockWaits: it may be acquired before the upgrade is done.
func TestAnUpgradeIsJudgedAlsoWhileItsLockWaits(t *testing.T) {
	var free func()
	j := &fakeJudge{active: true}
	n := j.serve(testSettings())
	a, b := n.connectV2(t), n.connectV2(t)
	a.greet(t, helloV2)
	b.greet(t, helloV2)
	a.say(lockOn(1, "write", "a", ""))
	b.say(lockOn(1, "read", "a", ""))
	b.heard()
	j.request = func(*host.Request) host.Verdict {
		free()
		return host.Verdict{Outcome: host.Denied, Plugin: "acl"}
	}
	free = func() { a.say(`{"op":"release","id":2,"lock":1}`) }
	b.say(upgradeV2(2, 1, ""))
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"2"}`, `{"id":2,"error":"denied","plugin":"acl","code":0}`}, b.heard())
}

// TestUpgradesNeedAReservedNumber: a token must not have been given before a crash, either.
func TestUpgradesNeedAReservedNumber(t *testing.T) {
	f, err := fence.Open(t.TempDir(), 2, nil)
	require.NoError(t, err)
	n := newFake(testSettings(), f)
	covered := make(chan struct{})
	n.s.fence.Notify(func() { close(covered) })
	f.Cover(time.Minute)
	<-covered
	n.s.fence.Notify(func() {})
	a := readers(t, n, 1)[0]
	require.NoError(t, f.Close())
	said := ""
	for id := 2; id < 10 && said == ""; id++ {
		a.say(upgradeV2(2*id, 1, ""))
		if said = a.heard()[0]; strings.Contains(said, `"upgraded"`) {
			said = ""
		}
		a.say(downgradeV2(2*id+1, 1, ""))
		a.heard()
	}
	require.Contains(t, said, `"error":"try_later"`)
}
