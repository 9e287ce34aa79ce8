package histories

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// changesMax is how many changes a stranger makes to a lock at most.
const changesMax = 4

// permits is how many there are among the resources.
func (r *Record) permits() (n int) {
	for _, x := range r.Resources {
		if x.Limit != 0 {
			n++
		}
	}
	return n
}

// changeOne upgrades or downgrades some lock, or takes an upgrade back.
func (c *stranger) changeOne() error {
	for _, l := range c.locks { // in no order
		if !l.held || l.released != 0 || l.downgrade != nil || len(l.Changes) == changesMax {
			continue
		}
		switch k := c.rng.IntN(3); {
		case l.upgrade == nil && k == 0:
			return c.lower(l)
		case l.upgrade == nil:
			return c.raise(l)
		case l.upgrade.Answered == 0 || l.takenBack != 0:
		case k == 0:
			return c.lower(l)
		case k == 1:
			l.takenBack = oracle.Now()
			return c.send(&request{changes: l, change: l.upgrade, takesBack: true},
				`{"op":"downgrade","id":%d,`+fmt.Sprintf(`"lock":%d,"upgrade":%d}`, l.id, l.upgradeID))
		}
	}
	return nil
}

func (c *stranger) raise(l *lock) error {
	l.upgrade, l.upgradeID, l.upgradeWait, l.takenBack = &Change{Asked: oracle.Now()}, c.lastID+1, 0, 0
	if c.rng.IntN(3) > 0 {
		l.upgradeWait = time.Duration(20+c.rng.IntN(200)) * time.Millisecond
	}
	l.Changes = append(l.Changes, l.upgrade)
	return c.send(&request{changes: l, change: l.upgrade},
		`{"op":"upgrade","id":%d,`+fmt.Sprintf(`"lock":%d,"wait_ms":%d}`, l.id, l.upgradeWait.Milliseconds()))
}

func (c *stranger) lower(l *lock) error {
	l.downgrade = &Change{Down: true, Asked: oracle.Now()}
	l.Changes = append(l.Changes, l.downgrade)
	return c.send(&request{changes: l, change: l.downgrade}, `{"op":"downgrade","id":%d,`+fmt.Sprintf(`"lock":%d}`, l.id))
}

// changeAnswered takes up the answer to one of these.
func (l *lock) changeAnswered(r *request, m *said, now oracle.Moment) error {
	switch {
	case m.State == "released" && r.times > 1 && l.released != 0:
		return nil // a retry that came behind the release: what became of it will never be known
	case r.times > 1 && !r.change.Down && l.upgrade != r.change:
		return nil // an event has told what became of it, and the answer is what became of changes since
	case r.takesBack:
		if l.upgrade == r.change { // no event has said what became of it
			l.upgrade.Waiting, l.upgrade.Ended, l.upgrade.Gone = true, l.takenBack, now
			l.upgrade = nil
		}
		if m.State != "acquired" && m.State != "upgraded" && m.State != "upgrade_timeout" {
			return errors.New("to take an upgrade back is answered in another way")
		}
		return nil
	case r.change.Down:
		if m.State != "downgraded" {
			return errors.New("a downgrade is answered in another way")
		}
		r.change.Answered, l.downgrade = now, nil
		if l.upgrade != nil {
			l.upgrade.Waiting, l.upgrade = true, nil
		}
		return nil
	}
	return l.upgradeAnswered(r, m, now)
}

// upgradeAnswered takes up the answer to an upgrade. An event may have said before what became of it.
func (l *lock) upgradeAnswered(r *request, m *said, now oracle.Moment) error {
	c := r.change
	known := c.Answered != 0
	if !known {
		c.Answered = now
	}
	answer := Unknown
	switch what := m.State + m.Error; what {
	case "upgraded":
		if answer = Granted; c.Token == 0 {
			c.Token, c.Told = m.Token, now
		}
		l.upgrade = nil
	case "upgrading":
		answer = Enqueued
	case "unavailable":
		c.Answer, l.upgrade = Refused, nil
	case "upgrade_conflict":
		c.Answer, l.upgrade = Overlaps, nil
	case "deadlock": // nothing is claimed about when that is so
		l.Changes, l.upgrade = l.Changes[:len(l.Changes)-1], nil
	case "upgrade_timeout":
		if l.upgrade != nil {
			return errors.New("an upgrade has waited too long, and no event says so")
		}
	default:
		return errors.New("an upgrade is answered in another way")
	}
	if r.times == 1 && !known && answer != Unknown {
		c.Answer = answer
	}
	return nil
}

// upgradeHappened takes up an event.
func (l *lock) upgradeHappened(m *said, now oracle.Moment) error {
	c := l.upgrade
	if c == nil {
		return errors.New("an event about an upgrade that nobody waits for")
	}
	if c.Answered == 0 {
		c.Answered = now
	}
	if m.State == "upgraded" {
		c.Token, c.Told = m.Token, now
	} else {
		c.Waiting, c.Ended, c.Gone = true, c.Asked+oracle.Moment(l.upgradeWait), now
	}
	l.upgrade = nil
	return nil
}

// TestRetryOfAnUpgradeBehindItsEvent has connections cut such that an upgrade, or taking it back, is sent again when an
// event has told what became of it and the lock was changed once more: then the answer tells of that.
func TestRetryOfAnUpgradeBehindItsEvent(t *testing.T) {
	for _, state := range []string{"downgraded", "upgrading", "upgraded", "upgrade_timeout"} {
		for _, back := range []bool{false, true} {
			first, later := &Change{Asked: 1}, &Change{Asked: 5}
			l := &lock{Record: &Record{Changes: []*Change{first}}, upgrade: first}
			require.NoError(t, l.upgradeHappened(&said{State: "upgrade_timeout"}, 3))
			l.upgrade, l.Changes = later, append(l.Changes, later)
			told := *first
			require.NoError(t, l.changeAnswered(&request{changes: l, change: first, takesBack: back, times: 2}, &said{State: state, Token: 9}, 7))
			require.Equal(t, told, *first, "it says nothing of the first upgrade")
			require.Same(t, later, l.upgrade)
			require.Equal(t, Change{Asked: 5}, *later)
		}
	}
}

// loseChanges is the end of changes in a session that is lost: what isn't known will never be.
func (l *lock) loseChanges() {
	if c := l.upgrade; c != nil {
		c.Ended = c.Asked + oracle.Moment(l.upgradeWait)
		if l.takenBack != 0 {
			c.Ended = min(c.Ended, l.takenBack)
		}
		l.upgrade = nil
	}
}

// endChanges is the end of changes when that of the lock is known. If it was told, an upgrade that was granted before,
// but not at once, would have been told of, too.
func (l *lock) endChanges() {
	if c := l.upgrade; c != nil && c.Answered == 0 {
		l.loseChanges()
	} else if c != nil {
		c.Waiting, c.Ended, l.upgrade = true, l.takenBack, nil
	}
	for _, c := range l.Changes {
		if c.Gone == 0 && c.Ended > l.Gone {
			c.Ended = 0
		}
	}
}

// tree is the paths that clients lock.
var tree = [][]string{{"a"}, {"a", "x"}, {"a", "y"}, {"b"}, {"b", "x"}, {"c"}, {}}

// pools of permits, with their limits.
var pools = []oracle.Resource{
	{Path: []string{"p"}, Limit: 3}, {Path: []string{"p"}, Limit: 3}, {Path: []string{"p"}, Limit: 3}, {Path: []string{"b", "x"}, Limit: 2},
}

// draw draws what to lock.
func draw(rng *rand.Rand) (rs []oracle.Resource) {
	for range 1 + rng.IntN(2) {
		if rng.IntN(5) < 2 {
			rs = append(rs, drawPermit(rng))
		} else {
			rs = append(rs, drawLock(rng))
		}
	}
	if len(rs) == 2 && rs[0].Limit != 0 && rs[1].Limit != 0 && slices.Equal(rs[0].Path, rs[1].Path) {
		rs[1].Limit, rs[1].Weight = rs[0].Limit, min(rs[1].Weight, rs[0].Limit-rs[0].Weight)
		if rs[1].Weight == 0 {
			rs = rs[:1]
		}
	}
	return rs
}

// drawLock draws something to read or to write.
func drawLock(rng *rand.Rand) oracle.Resource {
	k := rng.IntN(len(tree))
	if k == len(tree)-1 && rng.IntN(3) > 0 {
		k = 0 // all of it, but not often
	}
	return oracle.Resource{Write: rng.IntN(2) == 0, Path: tree[k]}
}

// drawPermit draws a permit that fits into its pool. A few have another limit than most.
func drawPermit(rng *rand.Rand) oracle.Resource {
	r := pools[rng.IntN(len(pools))]
	r.Weight = 1 + uint32(rng.IntN(2))
	if rng.IntN(20) == 0 {
		r.Limit++
	}
	return r
}
