package fence

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func mustOpen(t *testing.T, dir string, block uint64) *Fence {
	t.Helper()
	f, err := Open(dir, block, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func TestIdsGoOnBehindTheReservedBlock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "state")
	f := mustOpen(t, dir, 100)
	require.Equal(t, dir, f.Dir())
	require.Zero(t, f.Start())
	require.True(t, f.Allows(1))
	require.True(t, f.Allows(50))
	require.NoError(t, f.Err())
	require.NoError(t, f.Close())
	require.NoError(t, f.Close(), "closing twice is nothing")
	require.True(t, f.Allows(50), "what was allowed stays allowed")

	f = mustOpen(t, dir, 100)
	require.Equal(t, uint64(100), f.Start())
	require.True(t, f.Allows(101))
}

func TestMemoryAllowsEverything(t *testing.T) {
	f := Memory()
	require.Zero(t, f.Start())
	require.Empty(t, f.Dir())
	for _, id := range []uint64{0, 1, 1 << 40, math.MaxUint64} {
		require.True(t, f.Allows(id))
	}
	require.NoError(t, f.Err())
	require.Zero(t, f.Owed())
	require.True(t, f.Covers(math.MaxInt64))
	f.Settle(Debt{Others: time.Hour})
	require.NoError(t, f.Close())
}

// inSim runs a test on a simulated disk and clock.
func inSim(t *testing.T, block uint64, test func(t *testing.T, d *simDisk, f *Fence, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newSimDisk()
		f, err := open(simDir, block, slog.New(slog.NewTextHandler(&log, nil)), d)
		require.NoError(t, err)
		test(t, d, f, &log)
		require.NoError(t, f.Close())
	})
}

// setFault changes what happens at each step from now on.
func (d *simDisk) setFault(fault func(step int, op string) outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

func (d *simDisk) stepsSoFar() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

func TestTheNextBlockIsReservedWhenHalfIsUsed(t *testing.T) {
	inSim(t, 100, func(t *testing.T, d *simDisk, f *Fence, _ *bytes.Buffer) {
		before := d.stepsSoFar()
		require.True(t, f.Allows(50))
		synctest.Wait()
		require.Equal(t, before, d.stepsSoFar(), "50 of 100 are left: nothing to do")
		require.True(t, f.Allows(51))
		synctest.Wait()
		require.Equal(t, uint64(200), f.mark.Load())
		before = d.stepsSoFar()
		require.True(t, f.Allows(100))
		synctest.Wait()
		require.Equal(t, before, d.stepsSoFar(), "one write for one block")
	})
}

func TestABlockOfOne(t *testing.T) {
	inSim(t, 1, func(t *testing.T, _ *simDisk, f *Fence, _ *bytes.Buffer) {
		for id := uint64(1); id < 10; id++ {
			require.True(t, f.Allows(id), "id %d", id)
			synctest.Wait()
		}
	})
}

func TestIdsFarAheadAreReservedWhenAskedFor(t *testing.T) {
	inSim(t, 100, func(t *testing.T, _ *simDisk, f *Fence, _ *bytes.Buffer) {
		require.False(t, f.Allows(1000), "not reserved yet")
		synctest.Wait()
		require.True(t, f.Allows(1000))
		require.Equal(t, uint64(1100), f.mark.Load())
	})
}

func TestAFullDiskRefusesIdsBeyondTheMarkAndHealsItself(t *testing.T) {
	inSim(t, 100, func(t *testing.T, d *simDisk, f *Fence, log *bytes.Buffer) {
		d.setFault(func(_ int, op string) outcome {
			if op == "write" {
				return failsBefore
			}
			return works
		})
		require.True(t, f.Allows(99))
		synctest.Wait()
		require.ErrorIs(t, f.Err(), errFault)
		require.True(t, f.Allows(100), "reserved ids go on")
		require.False(t, f.Allows(101), "others don't")

		before := d.stepsSoFar()
		<-time.After(time.Hour)
		tries := (d.stepsSoFar() - before) / 5 // check, remove, create, write, close
		require.InDelta(t, time.Hour/retryMost, tries, 10, "retries back off")
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "one line for one change:\n%s", log)
		require.Contains(t, log.String(), "level=ERROR")

		d.setFault(nil)
		<-time.After(retryMost)
		synctest.Wait()
		require.NoError(t, f.Err())
		require.True(t, f.Allows(101))
		require.Equal(t, 2, strings.Count(log.String(), "\n"), "one line for one change:\n%s", log)
		require.Contains(t, log.String(), "level=INFO")
	})
}

func TestCloseEndsRetrying(t *testing.T) {
	inSim(t, 100, func(t *testing.T, d *simDisk, f *Fence, _ *bytes.Buffer) {
		d.setFault(func(int, string) outcome { return failsBefore })
		require.False(t, f.Allows(101))
		synctest.Wait()
		require.Error(t, f.Err())
		require.NoError(t, f.Close())
		require.Empty(t, d.locks)
	})
}

func TestCloseDoesNotWaitForeverForAHangingDisk(t *testing.T) {
	inSim(t, 100, func(t *testing.T, d *simDisk, f *Fence, _ *bytes.Buffer) {
		hang := make(chan struct{})
		d.mu.Lock()
		d.hang = hang
		d.mu.Unlock()
		require.False(t, f.Allows(101))
		require.True(t, f.Allows(100), "a hanging disk doesn't hold up what is reserved")
		synctest.Wait()
		require.ErrorContains(t, f.Close(), "stays locked")
		require.NotEmpty(t, d.locks, "a late write must not undo the mark of the directory's next owner")
		close(hang)
		synctest.Wait()
		require.Empty(t, d.locks)
	})
}

func TestIdsEndBelowTwoToThe63(t *testing.T) {
	for _, c := range []struct {
		name  string
		mark  uint64
		block uint64
		ok    bool
	}{
		{"room for one block", math.MaxInt64 - 100, 100, true},
		{"one id too few", math.MaxInt64 - 99, 100, false},
		{"none", math.MaxInt64, 1, false},
		{"a block of all ids", 0, math.MaxInt64, true},
		{"a block of more than all ids", 0, math.MaxInt64 + 1, false},
		{"a block of none", 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			before := mark{ids: c.mark}.format()
			require.NoError(t, os.WriteFile(filepath.Join(dir, markName), before, 0o600))
			f, err := Open(dir, c.block, nil)
			if !c.ok {
				require.Error(t, err)
				content, err := os.ReadFile(filepath.Join(dir, markName))
				require.NoError(t, err)
				require.Equal(t, string(before), string(content))
				return
			}
			require.NoError(t, err)
			require.True(t, f.Allows(c.mark+c.block))
			require.False(t, f.Allows(c.mark+c.block+1))
			require.False(t, f.Allows(math.MaxUint64))
			require.NoError(t, f.Close())
		})
	}
}

func TestRunningOutOfIdsIsAnError(t *testing.T) {
	inSim(t, 100, func(t *testing.T, _ *simDisk, f *Fence, _ *bytes.Buffer) {
		require.False(t, f.Allows(math.MaxUint64))
		synctest.Wait()
		require.ErrorIs(t, f.Err(), errExhausted)
		require.True(t, f.Allows(100))
		require.False(t, f.Allows(101))
	})
}

// spaces3 is a mark of version 3 with these lines.
func spaces3(lines string) string {
	return "locktopus fence, version 3\nreserved=1\nsessions_ms=15000\n" + lines + "\ncrc32=by-hand\n"
}

func TestADamagedMarkSaysWhatToDo(t *testing.T) {
	good := string(mark{ids: 3000000, sessions: 15000}.format())
	text := "locktopus fence, version 2\nreserved=3000000\nsessions_ms=15000\n"
	require.Equal(t, text+"crc32="+checksum(text)+"\n", good)
	huge := strings.Replace(text, "3000000", "9223372036854775808", 1)
	long := strings.Replace(text, "15000", "9223372036855", 1)
	cases := map[string]string{
		"":                                 "it is empty",
		good[:len(good)-1]:                 "cut off",
		good + "x":                         "added to",
		good + strings.Repeat("x", 1<<20):  "added to",
		good[:30]:                          "cut off",
		strings.Repeat("\x00", 60):         "first line",
		strings.Replace(good, "3", "4", 1): "checksum",
		strings.Replace(good, "15000", "16000", 1):                                "checksum",
		strings.Replace(good, "version 2", "version 4", 1):                        "newer program",
		strings.Replace(good, "version 2", "version 3", 1):                        "it isn't 6 whole lines",
		spaces3("others_ms=1\nnamespaces_ms={}x"):                                 "no JSON object of namespaces",
		spaces3("others_ms=1\nnamespaces_ms="):                                    "no JSON object of namespaces",
		spaces3("others_ms=1\nnamespaces_ms=null"):                                "no JSON object of namespaces",
		spaces3("others_ms=1\nnamespaces_ms=[1]"):                                 "no JSON object of namespaces",
		spaces3(`others_ms=1` + "\n" + `namespaces_ms={"a":16000}`):               "no number of milliseconds up to 15000",
		spaces3(`others_ms=1` + "\n" + `namespaces_ms={"a":-1}`):                  "no number of milliseconds up to 15000",
		spaces3(`others_ms=1` + "\n" + `namespaces_ms={"a":null}`):                "no number of milliseconds up to 15000",
		spaces3("others_ms=15001\nnamespaces_ms={}"):                              "no number of milliseconds up to 15000",
		spaces3("others_ms=\nnamespaces_ms={}"):                                   "no number of milliseconds up to 15000",
		spaces3("namespaces_ms={}\nothers_ms=0"):                                  `line 4 doesn't start with "others_ms="`,
		strings.Replace(good, "version 2", "version 1", 1):                        "it isn't 3 whole lines",
		strings.Replace(good, "reserved", "preserved", 1):                         `line 2 doesn't start with "reserved="`,
		strings.Replace(good, "sessions_ms", "sessions", 1):                       `line 3 doesn't start with "sessions_ms="`,
		strings.Replace(good, "crc32", "md5", 1):                                  `line 4 doesn't start with "crc32="`,
		strings.Replace(good, "3000000", "-1", 1):                                 "checksum",
		huge + "crc32=" + checksum(huge) + "\n":                                   "no number below 2^63",
		long + "crc32=" + checksum(long) + "\n":                                   "no number of milliseconds up to 9223372036854",
		"locktopus fence, version 1\nreserved=1\nsessions_ms=1\ncrc32=by-hand\n":  "it isn't 3 whole lines",
		"locktopus fence, version 1\nreserved=\ncrc32=by-hand\n":                  "no number below",
		"locktopus fence, version 2\nreserved=1\nsessions_ms=\ncrc32=by-hand\n":   "no number of milliseconds",
		"locktopus fence, version 2\nreserved=1\nsessions_ms=-1\ncrc32=by-hand\n": "no number of milliseconds",
	}
	full := string(mark{ids: 1, sessions: 2, spaces: &spaces{others: 1, named: map[string]int64{"a": 2, "b": 0}}}.format())
	for _, whole := range []string{good, full} {
		for cut := range len(whole) {
			if cases[whole[:cut]] == "" {
				cases[whole[:cut]] = "can't be read"
			}
		}
	}
	for content, want := range cases {
		dir := t.TempDir()
		name := filepath.Join(dir, markName)
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		_, err := Open(dir, 10, nil)
		require.ErrorContains(t, err, want, "content %.99q", content)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "crc32=by-hand")
		require.Less(t, len(err.Error()), 1000)
		left, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, content, string(left), "a damaged mark must be left alone")
	}
}

func TestAnOperatorCanWriteTheMarkByHand(t *testing.T) {
	dir := t.TempDir()
	text := "locktopus fence, version 2\nreserved=5000\nsessions_ms=9223372036854\ncrc32=by-hand\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, markName), []byte(text), 0o600))
	f := mustOpen(t, dir, 10)
	require.Equal(t, uint64(5000), f.Start())
	require.InDelta(t, 9223372036854*time.Millisecond, f.Owed(), float64(time.Minute))
}

// TestAMarkOfTheVersionBeforeIsGoodEnough: programs that wrote it knew of no sessions to be waited for.
func TestAMarkOfTheVersionBeforeIsGoodEnough(t *testing.T) {
	dir := t.TempDir()
	text := "locktopus fence, version 1\nreserved=5000\n"
	text += "crc32=" + checksum(text) + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, markName), []byte(text), 0o600))
	f := mustOpen(t, dir, 10)
	require.Equal(t, uint64(5000), f.Start())
	require.Zero(t, f.Owed())
	require.False(t, f.Covers(time.Millisecond))
}

// inDir runs a test in virtual time, with a fence on a simulated disk that opens again and again.
func inDir(t *testing.T, test func(t *testing.T, d *simDisk, open func() *Fence)) {
	synctest.Test(t, func(t *testing.T) {
		d := newSimDisk()
		test(t, d, func() *Fence {
			f, err := open(simDir, 100, nil, d)
			require.NoError(t, err)
			t.Cleanup(func() { f.Close() }) // if the test hasn't
			return f
		})
	})
}

// cover has sessions covered, as far as that can be.
func cover(f *Fence, ttl time.Duration) bool {
	f.Cover(ttl)
	synctest.Wait()
	return f.Covers(ttl)
}

func TestWhatWasCoveredIsOwedByTheNextProcess(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		f := open()
		require.Zero(t, f.Owed())
		require.True(t, f.Covers(0))
		require.False(t, f.Covers(1))
		require.True(t, cover(f, 1500*time.Millisecond+1))
		require.True(t, f.Covers(1501*time.Millisecond), "rounded up")
		require.False(t, f.Covers(1501*time.Millisecond+1))
		before := d.stepsSoFar()
		require.True(t, cover(f, time.Second), "it is covered already")
		require.Equal(t, before, d.stepsSoFar(), "and nothing is written")
		require.NoError(t, f.Close()) // without a word

		f = open()
		require.Equal(t, 1501*time.Millisecond, f.Owed())
		require.True(t, f.Covers(1501*time.Millisecond))
		<-time.After(time.Second)
		require.Equal(t, 501*time.Millisecond, f.Owed(), "counted from when the directory was ours")
		<-time.After(time.Second)
		require.Zero(t, f.Owed())
		require.NoError(t, f.Close())

		f = open()
		require.Equal(t, 1501*time.Millisecond, f.Owed(), "it is handed on: those of before may not know yet")
		f.Settle(Debt{Others: 300 * time.Millisecond})
		require.NoError(t, f.Close())

		f = open()
		require.Equal(t, 300*time.Millisecond, f.Owed())
		require.Equal(t, uint64(300), f.Start(), "the mark is what it was")
		f.Settle(Debt{})
		require.NoError(t, f.Close())

		f = open()
		require.Zero(t, f.Owed())
		before = d.stepsSoFar()
		f.Settle(Debt{})
		require.NoError(t, f.Close())
		require.Equal(t, before, d.stepsSoFar(), "there is nothing to be written")
	})
}

func TestSessionsAreNotCoveredByADiskThatFails(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		f := open()
		d.setFault(func(_ int, op string) outcome {
			if op == "syncdir" {
				return failsBefore
			}
			return works
		})
		require.False(t, cover(f, time.Second))
		require.ErrorIs(t, f.Err(), errFault)
		d.setFault(nil)
		<-time.After(retryMost)
		synctest.Wait()
		require.NoError(t, f.Err())
		require.True(t, f.Covers(time.Second), "it is tried again without being asked")
		require.NoError(t, f.Close())
	})
}

// TestEachAttemptIsTold, whatever becomes of it, and one follows each wish.
func TestEachAttemptIsTold(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		f := open()
		told := 0
		f.Notify(func() { told++ })
		hang := make(chan struct{})
		d.mu.Lock()
		d.hang = hang
		d.mu.Unlock()
		f.Cover(time.Second)
		synctest.Wait()
		f.Cover(time.Minute)
		f.Cover(time.Hour)
		synctest.Wait()
		require.Zero(t, told, "the disk hangs")
		require.False(t, f.Covers(time.Second))
		d.mu.Lock()
		d.hang = nil
		d.mu.Unlock()
		close(hang)
		synctest.Wait()
		require.Equal(t, 2, told)
		require.True(t, f.Covers(time.Hour))
		f.Cover(time.Minute)
		synctest.Wait()
		require.Equal(t, 3, told, "also if there is nothing to do")

		d.setFault(func(int, string) outcome { return failsBefore })
		f.Cover(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, 4, told)
		require.Error(t, f.Err(), "it says why")
		require.NoError(t, f.Close())
		f.Cover(time.Hour)
		require.False(t, f.Covers(2*time.Hour))
	})
}

func TestLessIsCoveredWhenLongSessionsAreOver(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		f := open()
		require.True(t, cover(f, time.Hour))
		longest := time.Hour
		relax := func() {
			f.Relax(func() time.Duration { return longest })
			synctest.Wait()
		}
		relax()
		require.True(t, f.Covers(time.Hour))
		longest = time.Minute
		relax()
		require.True(t, f.Covers(time.Minute))
		require.False(t, f.Covers(time.Minute+1))
		before := d.stepsSoFar()
		relax()
		require.Equal(t, before, d.stepsSoFar(), "there is nothing to be written")
		require.NoError(t, f.Close())

		f = open()
		require.Equal(t, time.Minute, f.Owed())
		longest = time.Second
		<-time.After(20 * time.Second)
		relax()
		require.True(t, f.Covers(40*time.Second), "sessions of before may live, and if it is killed the next process must wait")
		require.False(t, f.Covers(40*time.Second+1))
		<-time.After(time.Minute)
		relax()
		require.False(t, f.Covers(time.Second+1))
		require.True(t, cover(f, time.Minute), "and it goes up again")
		require.NoError(t, f.Close())
		require.Equal(t, time.Minute, open().Owed())
	})
}

// TestASessionThatBeginsWhileLessIsCoveredIsCovered: it has counted before it asked.
func TestASessionThatBeginsWhileLessIsCoveredIsCovered(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		f := open()
		require.True(t, cover(f, time.Hour))
		calls, before := 0, d.stepsSoFar()
		f.Relax(func() time.Duration {
			if calls++; calls == 1 {
				return time.Minute
			}
			return time.Hour // which is here by now
		})
		synctest.Wait()
		require.Equal(t, 2, calls)
		require.True(t, f.Covers(time.Hour))
		require.Equal(t, before, d.stepsSoFar())
		require.NoError(t, f.Close())
		require.Equal(t, time.Hour, open().Owed())
	})
}

// TestADiskThatFailsWhileLessIsCoveredMayKnowOfMore, and no session begins that it doesn't know of.
func TestADiskThatFailsWhileLessIsCoveredMayKnowOfMore(t *testing.T) {
	for what := failsBefore; what <= failsAfter; what++ {
		inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
			f := open()
			require.True(t, cover(f, time.Hour))
			d.setFault(func(_ int, op string) outcome {
				if op == "syncdir" {
					return what
				}
				return works
			})
			f.Relax(func() time.Duration { return time.Minute })
			synctest.Wait()
			require.False(t, f.Covers(time.Minute+1), "the disk may say so")
			require.NoError(t, f.Err(), "ids go on")
			d.setFault(nil)
			require.True(t, cover(f, 2*time.Minute))
			require.NoError(t, f.Close())
			require.Equal(t, 2*time.Minute, open().Owed())
		})
	}
}

// TestWhatIsForgivenIsOwedByNobody, neither by this process nor by the next.
func TestWhatIsForgivenIsOwedByNobody(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		f := open()
		require.True(t, cover(f, time.Hour))
		require.NoError(t, f.Close()) // without a word

		f = open()
		require.NoError(t, f.Forgive())
		require.Zero(t, f.Owed())
		require.False(t, f.Covers(1), "no session begins that the disk doesn't know of")
		require.True(t, cover(f, time.Second))
		require.NoError(t, f.Close())

		f = open()
		require.Equal(t, time.Second, f.Owed())
		require.Equal(t, uint64(200), f.Start(), "the mark is what it was")
		d.setFault(func(int, string) outcome { return failsBefore })
		require.Error(t, f.Forgive())
		require.Equal(t, time.Second, f.Owed())
		require.True(t, f.Covers(time.Second))
		d.setFault(nil)
	})
}

func TestWhatCannotBeSettledIsSaid(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		f := open()
		require.True(t, cover(f, time.Minute))
		d.setFault(func(_ int, op string) outcome {
			if op == "write" {
				return failsBefore
			}
			return works
		})
		f.Settle(Debt{})
		require.ErrorIs(t, f.Close(), errFault)
		d.setFault(nil)
		f = open()
		require.Equal(t, time.Minute, f.Owed())
		require.NoError(t, f.Close())
	})
}

// TestOnlyTheDirectorysOwnerSettles: another server may be there by now, with sessions of its own.
func TestOnlyTheDirectorysOwnerSettles(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir, 10, nil)
	require.NoError(t, err)
	done := make(chan struct{})
	f.Notify(func() { close(done) })
	f.Cover(time.Minute)
	<-done
	require.True(t, f.Covers(time.Minute))
	before, err := os.ReadFile(filepath.Join(dir, markName))
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, lockName)))
	f.Settle(Debt{})
	require.ErrorContains(t, f.Close(), "another server may use the directory now")
	after, err := os.ReadFile(filepath.Join(dir, markName))
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

func TestALeftOverTempFileIsHarmless(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, mustOpen(t, dir, 10).Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, tempName), []byte("half a mar"), 0o400))
	f := mustOpen(t, dir, 10)
	require.Equal(t, uint64(10), f.Start())
	require.NoFileExists(t, filepath.Join(dir, tempName))
}

func TestASecondServerIsRefusedAndToldOfTheFirst(t *testing.T) {
	dir := t.TempDir()
	f := mustOpen(t, dir, 10)
	_, err := Open(dir, 10, nil)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, fmt.Sprintf("process %d:", os.Getpid()))
	require.ErrorContains(t, err, "--state-dir")
	require.NoError(t, f.Close())
	mustOpen(t, dir, 10)
}

func TestALockFileThatIsTakenAwayStopsTheWriting(t *testing.T) {
	for _, replace := range []bool{false, true} {
		dir := t.TempDir()
		f, err := Open(dir, 10, nil)
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(dir, lockName)))
		if replace {
			require.NoError(t, os.WriteFile(filepath.Join(dir, lockName), nil, 0o600))
		}
		require.ErrorContains(t, f.lock.Check(), "another server may use the directory now")
		f.need.Store(11)
		require.ErrorContains(t, f.reserve(), dir)
		require.False(t, f.Allows(11))
		require.NoError(t, f.Close())
	}
}

func TestADirectoryThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := Open(dir, 10, nil)
		require.ErrorContains(t, err, file)
	}
}

// Whoever reads that a directory can't be used reads which, and what to do.
func TestAStateDirectoryThatCannotBeWrittenSaysWhatToDo(t *testing.T) {
	const advice = "name another directory with --state-dir"
	for _, says := range []error{syscall.EROFS, syscall.EACCES, syscall.EPERM} {
		refused := 0
		for at := range 12 { // more steps than there are
			d := newSimDisk()
			d.says = &fs.PathError{Op: "open", Path: "/var/lib/locktopus/…", Err: says}
			d.fault = func(step int, _ string) outcome {
				if step >= at {
					return failsBefore
				}
				return works
			}
			f, err := open("/var/lib/locktopus", 10, nil, d)
			if err == nil {
				d.fault = nil
				require.NoError(t, f.Close())
				continue
			}
			refused++
			require.ErrorIs(t, err, says)
			require.ErrorContains(t, err, "/var/lib/locktopus")
			require.ErrorContains(t, err, advice, "step %d", at)
		}
		require.Greater(t, refused, 5, "making it, locking it, reading and writing it")
	}
	d := newSimDisk()
	d.fault = func(int, string) outcome { return failsBefore }
	_, err := open("/var/lib/locktopus", 10, nil, d)
	require.NotContains(t, err.Error(), advice, "a fault that has other reasons")
}

func TestStateIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // access is not in the mode there
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	mustOpen(t, dir, 10)
	for name, want := range map[string]os.FileMode{"..": 0o700, ".": 0o700, markName: 0o600, lockName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), name)
	}
}

func TestAllowsFromEverywhereAtOnce(t *testing.T) {
	f := mustOpen(t, t.TempDir(), 64)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for id := uint64(1); id <= 2000; {
				if f.Allows(id) {
					id++
				} else {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, f.Err())
}

func TestAllowsAllocatesNothing(t *testing.T) {
	f := mustOpen(t, t.TempDir(), 1000000)
	require.Zero(t, testing.AllocsPerRun(100, func() { f.Allows(1) }))
}

func BenchmarkAllows(b *testing.B) {
	f, err := Open(b.TempDir(), 1<<40, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !f.Allows(1) {
				b.Error("refused")
			}
		}
	})
}

func TestDefaultDirIsTheCustomaryPlace(t *testing.T) {
	for _, c := range []struct {
		goos string
		env  map[string]string
		want string // "": an error
	}{
		{"linux", map[string]string{"HOME": "/home/a"}, "/home/a/.local/state/locktopus"},
		{"linux", map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "/s"}, "/s/locktopus"},
		{"linux", map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "s"}, "/home/a/.local/state/locktopus"},
		{"linux", map[string]string{"HOME": "/home/a", "STATE_DIRECTORY": "/var/lib/locktopus"}, "/var/lib/locktopus"},
		{"linux", map[string]string{"HOME": "/home/a", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"},
		{"linux", map[string]string{"HOME": "home"}, ""},
		{"linux", nil, ""},
		{"freebsd", map[string]string{"HOME": "/home/a"}, "/home/a/.local/state/locktopus"},
		{"darwin", map[string]string{"HOME": "/Users/a", "XDG_STATE_HOME": "/s"}, "/Users/a/Library/Application Support/locktopus"},
		{"darwin", nil, ""},
		{"windows", map[string]string{"LocalAppData": "/C/a"}, "/C/a/locktopus"},
		{"windows", map[string]string{"HOME": "/home/a"}, ""},
	} {
		if runtime.GOOS == "windows" && c.goos != "windows" {
			continue // paths of others aren't absolute there
		}
		got, err := defaultDir(c.goos, func(name string) string { return c.env[name] })
		if c.want == "" {
			require.ErrorContains(t, err, "--state-dir", "%+v", c)
			continue
		}
		require.NoError(t, err, "%+v", c)
		require.Equal(t, filepath.FromSlash(c.want), got, "%+v", c)
	}
}

// TestWhoeverEndsInOrderSaysWhoIsWaitedForWhere, and whoever comes next hands that on only if it does so itself.
func TestWhoeverEndsInOrderSaysWhoIsWaitedForWhere(t *testing.T) {
	inDir(t, func(t *testing.T, _ *simDisk, open func() *Fence) {
		const odd = "\u2028 \"\\\U000e0001=\n"
		owed := Debt{Others: 2 * time.Second, Named: map[string]time.Duration{"a": 5 * time.Second, odd: 3 * time.Second, "none": 0, "same": 2 * time.Second}}
		f := open()
		require.True(t, cover(f, time.Minute))
		found := f.Settle(owed)
		delete(owed.Named, "same")
		require.Equal(t, owed, found)
		require.NoError(t, f.Close())

		f = open()
		require.Equal(t, owed, f.Debt())
		require.Equal(t, 5*time.Second, f.Owed())
		require.False(t, f.Covers(5*time.Second+1))
		<-time.After(4 * time.Second)
		require.Equal(t, Debt{Named: map[string]time.Duration{"a": time.Second}}, f.Debt())
		f.Settle(f.Debt())
		require.NoError(t, f.Close())

		f = open()
		require.Equal(t, Debt{Named: map[string]time.Duration{"a": time.Second}}, f.Debt())
		require.NoError(t, f.Close()) // without a word: it may have had clients anywhere

		require.Equal(t, Debt{Others: time.Second}, open().Debt())
	})
}

// TestTooManyNamespacesAreWaitedForAsOne, for as long as the longest.
func TestTooManyNamespacesAreWaitedForAsOne(t *testing.T) {
	inDir(t, func(t *testing.T, d *simDisk, open func() *Fence) {
		name := func(n int) string { return strings.Repeat("x", n) }
		owed := func(n int) Debt {
			return Debt{Named: map[string]time.Duration{"a": 0, name(n): time.Second, "b": time.Minute}}
		}
		most := markBytes - len(mark{ids: idMax, sessions: 60000, spaces: &spaces{named: map[string]int64{"": 1000, "b": 60000}}}.format())
		f := open()
		require.Equal(t, Debt{Others: time.Minute}, f.Settle(owed(most+1)))
		require.Equal(t, Debt{Named: map[string]time.Duration{name(most): time.Second, "b": time.Minute}}, f.Settle(owed(most)))
		require.NoError(t, f.Close())
		require.Equal(t, time.Second, func() time.Duration { d := open().Debt(); return d.Of(name(most)) }())
	})
}
