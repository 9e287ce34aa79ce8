package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const halfQueue = logQueueBytes / 2

// slowWriter is a log that is read when the test says so.
type slowWriter struct {
	began chan struct{} // one value for each write that has begun
	let   chan error    // the test lets a write end with it
	got   bytes.Buffer  // the writer's until it has ended
}

func newSlowWriter() *slowWriter {
	return &slowWriter{began: make(chan struct{}), let: make(chan error)}
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.began <- struct{}{}
	if err := <-w.let; err != nil {
		return 0, err
	}
	return w.got.Write(p)
}

// once lets one write through.
func (w *slowWriter) once(err error) {
	<-w.began
	w.let <- err
}

// plainText is a handler without times.
func plainText(w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

// gap is the line in the place of dropped ones.
func gap(lines int) string {
	return fmt.Sprintf("level=WARN msg=\"lines of the log were dropped: it was not read fast enough\" lines=%d\n", lines)
}

// filler is a line of so many bytes.
func filler(n int) string { return strings.Repeat("x", n-1) + "\n" }

func put(t *testing.T, q *logQueue, lines string) {
	t.Helper()
	n, err := io.WriteString(q, lines)
	require.NoError(t, err)
	require.Equal(t, len(lines), n)
}

// wholeLines fails the test when it is given anything else.
type wholeLines struct {
	t   *testing.T
	got bytes.Buffer
}

func (w *wholeLines) Write(p []byte) (int, error) {
	if !bytes.HasSuffix(p, newline) {
		w.t.Errorf("a write ends within a line: %q", p)
	}
	return w.got.Write(p)
}

func TestLogQueueKeepsLinesWholeAndInOrder(t *testing.T) {
	const writers, each = 8, 200 // which all fit
	w := &wholeLines{t: t}
	q := newLogQueue(w, plainText(w))
	log := slog.New(plainText(q))
	var all sync.WaitGroup
	for k := range writers {
		all.Go(func() {
			for i := range each {
				log.Info("line", "of", k, "number", i)
			}
		})
	}
	all.Wait()
	q.close(patience)
	var next [writers]int
	for line := range strings.Lines(w.got.String()) {
		var k, i int
		_, err := fmt.Sscanf(line, "level=INFO msg=line of=%d number=%d\n", &k, &i)
		require.NoError(t, err, line)
		require.Equal(t, next[k], i)
		next[k]++
	}
	for _, n := range next {
		require.Equal(t, each, n)
	}
}

func TestLogQueueDropsAndSaysHowMany(t *testing.T) {
	w := newSlowWriter()
	q := newLogQueue(w, plainText(w))
	put(t, q, "first\n")
	<-w.began
	put(t, q, filler(halfQueue-2)) // takes its part of the queue but for two bytes
	put(t, q, "no\n")
	put(t, q, "\n") // would fit, but belongs behind the one that didn't
	put(t, q, "two\nlines\n")
	w.let <- nil
	<-w.began // the filler: there is room again
	put(t, q, "last\n")
	w.let <- nil
	w.once(nil) // what was dropped
	w.once(nil) // the last line
	q.close(patience)
	require.Equal(t, "first\n"+filler(halfQueue-2)+gap(4)+"last\n", w.got.String())
}

func TestLogQueueTellsOfALineThatIsTooLong(t *testing.T) {
	var got bytes.Buffer
	q := newLogQueue(&got, plainText(&got))
	put(t, q, filler(halfQueue+1))
	q.close(patience)
	require.Equal(t, gap(1), got.String())
}

func TestLogQueueCountsWhatTheWriterRefuses(t *testing.T) {
	w := newSlowWriter()
	q := newLogQueue(w, plainText(w))
	put(t, q, "a\nb\n")
	w.once(errors.New("disk full"))
	w.once(errors.New("disk full")) // the line that says so is refused as well
	put(t, q, "c\n")
	w.once(nil)
	w.once(nil)
	put(t, q, "d\n")
	w.once(nil)
	q.close(patience)
	require.Equal(t, "c\n"+gap(2)+"d\n", w.got.String())
}

func TestLogQueueWritesAllBeforeItCloses(t *testing.T) {
	w := newSlowWriter()
	q := newLogQueue(w, plainText(w))
	put(t, q, "a\n")
	<-w.began
	put(t, q, "b\n")
	closed := make(chan struct{})
	go func() {
		q.close(patience)
		close(closed)
	}()
	w.let <- nil
	w.once(nil)
	<-closed
	put(t, q, "too late\n")
	require.Equal(t, "a\nb\n", w.got.String())
}

func TestLogQueueClosesWithoutAWriterThatHangs(t *testing.T) {
	w := newSlowWriter()
	q := newLogQueue(w, plainText(w))
	put(t, q, "a\n")
	<-w.began
	q.close(time.Millisecond)
	w.let <- nil
	<-q.done
}

func TestLogQueueAllocatesNothing(t *testing.T) {
	q := newLogQueue(io.Discard, plainText(io.Discard))
	defer q.close(patience)
	line := []byte(filler(200))
	require.Zero(t, testing.AllocsPerRun(1000, func() { q.Write(line) }))
}
