package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// logQueueBytes is the most that waits for a log that is read too slowly, or not at all.
const logQueueBytes = 1 << 20

// How long the end of the process waits for the log. After a second signal it is only for the line
// that tells of it, where the log is read.
const (
	logPatience = time.Second
	lastWords   = 250 * time.Millisecond
)

// logQueue stands between slog, which event loops call, and a writer that may block for ever. Its
// Write never blocks: one goroutine hands what was written to the writer, whole lines in their order.
// Lines for which there is no room are dropped and counted; so are those that the writer refuses.
// Once there is room again, a line says how many, in the place of those that were dropped: between the
// first dropped line and that one none is taken.
//
// A process that dies of a panic loses what waits.
type logQueue struct {
	w    io.Writer
	own  slog.Handler // writes to w too; the goroutine's
	done chan struct{}
	news sync.Cond // with mu: filling, dropped or closed changed

	mu      sync.Mutex
	filling []byte // never grows beyond its capacity
	dropped int    // lines behind those of filling
	closed  bool
}

// newLogQueue starts the goroutine, which close ends. From here on w is the queue's; own, which
// tells of dropped lines, has to write to it too.
func newLogQueue(w io.Writer, own slog.Handler) *logQueue {
	q := &logQueue{w: w, own: own, done: make(chan struct{}), filling: make([]byte, 0, logQueueBytes/2)}
	q.news.L = &q.mu
	go q.run()
	return q
}

// Write takes whole lines, as slog's handlers give them. It never fails and keeps nothing of lines.
func (q *logQueue) Write(lines []byte) (int, error) {
	q.mu.Lock()
	switch {
	case q.closed:
	case q.dropped > 0 || len(lines) > cap(q.filling)-len(q.filling):
		q.dropped += bytes.Count(lines, newline)
	default:
		q.filling = append(q.filling, lines...)
	}
	q.mu.Unlock()
	q.news.Signal()
	return len(lines), nil
}

var newline = []byte{'\n'}

// close has everything written that was logged before, and returns when it is or when patience is
// over. What is logged later is lost.
func (q *logQueue) close(patience time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.news.Signal()
	over := time.NewTimer(patience)
	defer over.Stop()
	select {
	case <-q.done:
	case <-over.C:
	}
}

func (q *logQueue) run() {
	defer close(q.done)
	lost := 0
	batch := make([]byte, 0, logQueueBytes/2)
	for {
		var dropped int
		if batch, dropped = q.take(batch); len(batch) == 0 && dropped == 0 {
			return
		}
		lost += q.write(batch) + dropped
		if lost > 0 && q.tell(lost) == nil {
			lost = 0
		}
	}
}

// take waits for something to do and gives the lines that wait, and how many were dropped behind
// them, in exchange for an empty buffer. Nothing at all means that the queue is closed.
func (q *logQueue) take(empty []byte) (lines []byte, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.filling) == 0 && q.dropped == 0 && !q.closed {
		q.news.Wait()
	}
	lines, dropped = q.filling, q.dropped
	q.filling, q.dropped = empty[:0], 0
	return lines, dropped
}

// write says how many lines the writer refused.
func (q *logQueue) write(lines []byte) int {
	if len(lines) == 0 {
		return 0
	}
	n, err := q.w.Write(lines)
	if err != nil {
		return bytes.Count(lines[n:], newline)
	}
	return 0
}

func (q *logQueue) tell(lost int) error {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of the log were dropped: it was not read fast enough", 0)
	r.Add("lines", lost)
	return q.own.Handle(context.Background(), r)
}
