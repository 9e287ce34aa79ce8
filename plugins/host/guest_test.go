package host

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// TestNormalizeSeesNeitherTimeNorChance, and the other hooks do.
func TestNormalizeSeesNeitherTimeNorChance(t *testing.T) {
	for _, hook := range allHooks {
		c := loaded(t, Options{}, mean(t, hook, patient)).Caller()
		one := string(put(c, hook, "p").Reason)
		two := string(put(c, hook, "p").Reason)
		require.Len(t, one, 16)
		if hook == Normalize {
			require.Equal(t, strings.Repeat("\x00", 16), one)
			require.Equal(t, one, two)
			continue
		}
		require.NotEqual(t, one[8:], two[8:], "random bytes")
		require.NotEqual(t, strings.Repeat("\x00", 8), one[:8], "the time")
	}
}

// says is the namespace in which a guest logs all behind the first two bytes, at the level of the second.
func says(level byte, text string) string { return "s" + string([]byte{level}) + text }

// TestLinesOfGuestsAreLogged as they are, at the guest's level.
func TestLinesOfGuestsAreLogged(t *testing.T) {
	o, log := recorded(Options{})
	l := patient
	l.LogLines = 100
	c := loaded(t, o, mean(t, Authorize, l)).Caller()
	for _, x := range []struct {
		level byte
		text  string
		want  []line
	}{
		{0, "debug", []line{{slog.LevelDebug, "plugin says plugin=mean text=debug"}}},
		{1, "info", []line{{slog.LevelInfo, "plugin says plugin=mean text=info"}}},
		{2, "warn", []line{{slog.LevelWarn, "plugin says plugin=mean text=warn"}}},
		{3, "error", []line{{slog.LevelError, "plugin says plugin=mean text=error"}}},
		{4, "unknown", []line{{slog.LevelError, "plugin says plugin=mean text=unknown"}}},
		{1, "line\r\n\n", []line{{slog.LevelInfo, "plugin says plugin=mean text=line"}}},
		{1, "\n", nil},
		{1, "a\xffb", []line{{slog.LevelInfo, "plugin says plugin=mean text=a\ufffdb"}}},
		{1, strings.Repeat("x", 1024), []line{{slog.LevelInfo, "plugin says plugin=mean text=" + strings.Repeat("x", 1024)}}},
		{1, strings.Repeat("x", 1025), []line{{slog.LevelInfo, "plugin says plugin=mean text=" + strings.Repeat("x", 1024)}}},
		{1, strings.Repeat("x", 1023) + "é", []line{{slog.LevelInfo, "plugin says plugin=mean text=" + strings.Repeat("x", 1023) + "\ufffd"}}},
	} {
		require.Equal(t, Allowed, put(c, Authorize, says(x.level, x.text)).Outcome)
		require.Equal(t, x.want, log.all(), "%q", x.text)
	}
}

// TestLogIsNoFlood: a second's lines at once, then no more than that many a second; what is lost is counted.
func TestLogIsNoFlood(t *testing.T) {
	var b bucket
	second := func(from time.Duration) (n int) {
		for at := from; at < from+time.Second; at += time.Millisecond {
			if b.take(at, 100) {
				n++
			}
		}
		return n
	}
	require.InDelta(t, 200, second(time.Hour), 1, "a second's worth that was saved, and this one's")
	require.InDelta(t, 100, second(time.Hour+time.Second), 1)
	require.InDelta(t, 100, second(time.Hour+2*time.Second), 1)
	require.InDelta(t, 200, second(2*time.Hour), 1, "no more than a second's worth is ever saved")
	require.False(t, b.take(3*time.Hour, 0), "none at all")
	require.False(t, b.take(3*time.Hour, -1))
}

// TestLostLinesAreCounted has a guest log all it can.
func TestLostLinesAreCounted(t *testing.T) {
	o, log := recorded(Options{})
	l := impatient
	l.LogLines = 1
	g := loaded(t, o, mean(t, Authorize, l))
	require.Equal(t, hostile.Slow, string(put(g.Caller(), Authorize, "4").Reason))
	said := strings.Count(log.text(), "plugin says")
	require.Positive(t, said)
	require.LessOrEqual(t, said, 1+int(time.Since(time.Now().Add(-time.Minute)).Seconds()))
	require.Positive(t, g.Stats()[0].LogsLost)
}

// TestFaultsAreNoFlood: of many faults some are told a second, and all are counted.
func TestFaultsAreNoFlood(t *testing.T) {
	o, log := recorded(Options{})
	g := unmended(loaded(t, o, mean(t, Authorize, patient)))
	c := g.Caller()
	begun := time.Now()
	const faults = 200
	for range faults {
		require.Equal(t, Failed, put(c, Authorize, "A").Outcome)
		renew(t, g)
	}
	told := strings.Count(log.text(), "plugin failed")
	require.LessOrEqual(t, told, tellsMax*(2+int(time.Since(begun)/time.Second)))
	require.Positive(t, told)
	require.Equal(t, uint64(faults), g.Stats()[0].Traps)
}

// TestTracesAreShort: whatever a guest calls its functions.
func TestTracesAreShort(t *testing.T) {
	o, log := recorded(Options{})
	name := strings.Repeat("n", 1<<16)
	spec := Spec{Name: "p", Path: file(t, named(hostile.Guest, name)), Hooks: Authorize, Limits: patient}
	put(loaded(t, o, spec).Caller(), Authorize, "A")
	text := log.text()
	require.Contains(t, text, strings.Repeat("n", 200))
	require.Less(t, len(text), 4096)
}

// named adds a name section that calls the first 60 functions so.
func named(bin []byte, name string) []byte {
	leb := func(n int) string {
		return string([]byte{byte(n) | 0x80, byte(n>>7) | 0x80, byte(n>>14) | 0x80, byte(n >> 21)})
	}
	names := leb(60)
	for fn := range 60 {
		names += leb(fn) + leb(len(name)) + name
	}
	body := "\x04name\x01" + leb(len(names)) + names
	return []byte(string(bin) + "\x00" + leb(len(body)) + body)
}

// TestPenalty: overruns of one goroutine's calls halve what the next may take; time forgives.
func TestPenalty(t *testing.T) {
	const limit = 5 * time.Millisecond
	var p penalty
	now := time.Hour
	sum := time.Duration(0)
	for k := range 100 {
		got := p.allowance(now, limit)
		require.Equal(t, limit>>min(k, strikesMax), got)
		sum += got
		now += got
		p.strike(now)
	}
	require.Less(t, sum, 2*limit+100*limit>>strikesMax)
	require.Equal(t, limit>>strikesMax, p.allowance(now+forgivenAfter*limit-1, limit))
	require.Equal(t, limit>>(strikesMax-1), p.allowance(now+forgivenAfter*limit, limit))
	require.Equal(t, limit, p.allowance(now+100*forgivenAfter*limit, limit))
	require.Equal(t, limit, (*penalty)(nil).allowance(now, limit))
	(*penalty)(nil).strike(now)
}

// TestRetries wait longer and longer.
func TestRetries(t *testing.T) {
	var got []time.Duration
	for d := time.Duration(0); len(got) < 12; {
		d = nextRetry(d, false)
		got = append(got, d)
	}
	require.Equal(t, firstRetry, got[0])
	for k := range got[1:] {
		require.Equal(t, min(2*got[k], lastRetry), got[k+1])
	}
	require.Equal(t, lastRetry, got[11])
	require.Zero(t, nextRetry(lastRetry, true))
}

// TestPausesEnd when the plugin retires.
func TestPausesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plugin{stop: make(chan struct{})}
		begun := time.Now()
		require.True(t, p.pause(0))
		require.True(t, p.pause(time.Hour))
		require.Equal(t, time.Hour, time.Since(begun))
		go func() {
			<-time.After(time.Minute)
			close(p.stop)
		}()
		require.False(t, p.pause(time.Hour))
		require.Equal(t, time.Hour+time.Minute, time.Since(begun))
	})
}

func TestSlicesFollowTheTimeTheyTake(t *testing.T) {
	slice := int64(firstSlice)
	for range 20 {
		slice = nextSlice(slice, 0)
	}
	require.EqualValues(t, fuelSlice, slice, "what is fast is seldom looked at")
	require.EqualValues(t, fuelSlice, nextSlice(slice, sliceLong), "what takes as long as it may goes on")
	require.EqualValues(t, fuelSlice/2, nextSlice(fuelSlice/2, sliceShort))
	for range 20 {
		slice = nextSlice(slice, sliceLong+1)
	}
	require.EqualValues(t, leastSlice, slice, "what is slow is looked at often, and goes on")
}
