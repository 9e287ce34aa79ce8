package engine_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
)

func upgrade(t testing.TB, e *engine.Engine, h engine.Handle) engine.Changed {
	t.Helper()
	c, err := e.Upgrade(h)
	require.NoError(t, err)
	return c
}

func TestChangesAllocateNothingInASteadyState(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	reads, write, beside := resources(t, "read /a/b, read /a/c"), resources(t, "write /a"), resources(t, "read /a/b, read /held")
	lock(t, e, "write /held")
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	change := func(c engine.Changed, err error) engine.Changed {
		must(err)
		return c
	}
	release := func(p engine.Placed) {
		_, err := e.Release(p.Handle)
		must(err)
	}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		a, _ := e.Lock(1, reads)
		b, _ := e.Lock(2, reads)
		w, _ := e.Lock(3, write)
		x, _ := e.Lock(4, beside)
		_, overlap := e.Upgrade(0)
		if !errors.Is(overlap, engine.ErrStale) || !change(e.Upgrade(a.Handle)).Pending {
			panic("the upgrade doesn't wait")
		}
		change(e.CancelUpgrade(a.Handle))
		change(e.Upgrade(a.Handle))
		release(b)
		change(e.Downgrade(a.Handle))
		change(e.Upgrade(a.Handle))
		release(a)
		release(w)
		release(x)
	}))
	e.Check()
	require.Equal(t, 1, e.Stats().Requests)
}

func TestAnUpgradeStaysWithinTheLimitOfMemory(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	p := lock(t, e, "read /a/b/c")
	before := e.Stats()
	for bytes := before.Bytes; ; bytes++ {
		e.SetLimits(engine.Limits{Bytes: bytes})
		_, err := e.Upgrade(p.Handle)
		if err == nil {
			require.Greater(t, bytes, before.Bytes)
			break
		}
		var refused *engine.RequestError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, engine.TooManyBytes, refused.Reason)
		require.Equal(t, before, e.Stats())
	}
	require.LessOrEqual(t, e.Stats().Bytes, before.Bytes+1000)
	e.Check()
}

// TestAnUpgradeOfManyIsCutInSlices has more waiting requests in the way of an upgrade than one call
// takes back, and more of them to grant again.
func TestAnUpgradeOfManyIsCutInSlices(t *testing.T) {
	const waiting = 5000
	e := engine.New(engine.Limits{}, 0)
	other := lock(t, e, "write /other")
	reader := lock(t, e, "read /a")
	for range waiting {
		require.False(t, lock(t, e, "read /a/b, read /other").Acquired)
	}
	c := upgrade(t, e, reader.Handle)
	require.True(t, c.Pending)
	require.True(t, c.More)
	e.Check()
	grants, more := advance(e)
	require.False(t, more)
	require.Equal(t, []engine.Grant{{Handle: reader.Handle, Seq: reader.Seq, Token: waiting + 3, Upgrade: true}}, grants)
	require.Empty(t, release(t, e, other.Handle).Grants)
	require.True(t, release(t, e, reader.Handle).More)
	grants, _ = advance(e)
	e.Check()
	require.Zero(t, e.Stats().Waiting)
	require.NotEmpty(t, grants)
}

func advance(e *engine.Engine) (grants []engine.Grant, more bool) {
	for more = true; more && len(grants) == 0; {
		grants, more = e.Advance()
	}
	for more {
		_, more = e.Advance()
	}
	return grants, more
}

// TestHeldRequestsAreHeldAgain has requests that an upgrade holds up, though they have all they want,
// and then another upgrade, which they conflict with as well.
func TestHeldRequestsAreHeldAgain(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	other := lock(t, e, "write /other")
	waiter := lock(t, e, "read /a, read /b, read /other")
	a, b, readers := lock(t, e, "read /a"), lock(t, e, "read /b"), lock(t, e, "read /a, read /b")
	require.True(t, upgrade(t, e, a.Handle).Pending)
	require.True(t, upgrade(t, e, b.Handle).Pending)
	require.Empty(t, release(t, e, other.Handle).Grants)
	e.Check()
	for _, u := range []engine.Placed{a, b} {
		c, err := e.CancelUpgrade(u.Handle)
		require.NoError(t, err)
		require.Equal(t, u == b, len(c.Grants) == 1)
		e.Check()
	}
	for _, p := range []engine.Placed{waiter, a, b, readers} {
		require.Empty(t, release(t, e, p.Handle).Grants)
	}
	require.Zero(t, e.Stats().Bytes)
}

// TestManyUpgradesWaitForOneReader and come true in slices when it goes.
func TestManyUpgradesWaitForOneReader(t *testing.T) {
	const upgrades = 3000
	e := engine.New(engine.Limits{}, 0)
	reader := lock(t, e, "read /")
	var pending []engine.Placed
	for i := range upgrades {
		p := lock(t, e, fmt.Sprintf("read /%d", i))
		require.True(t, upgrade(t, e, p.Handle).Pending)
		pending = append(pending, p)
	}
	r := release(t, e, reader.Handle)
	require.True(t, r.More)
	granted := len(r.Grants)
	for more := true; more; {
		var grants []engine.Grant
		grants, more = e.Advance()
		require.LessOrEqual(t, len(grants), 1024)
		granted += len(grants)
	}
	require.Equal(t, upgrades, granted)
	require.Zero(t, e.Stats().Upgrades)
	e.Check()
	for _, p := range pending {
		release(t, e, p.Handle)
	}
	require.Zero(t, e.Stats().Bytes)
}
