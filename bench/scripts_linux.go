package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// ownPaths is the script of clients of which none ever waits for another.
type ownPaths struct{}

func (ownPaths) answered(c *client, a answer) (int, error) {
	if err := expectOwn(c, a); err != nil {
		return 0, err
	}
	return 1, nil
}

func expectOwn(c *client, a answer) error {
	want := ready
	if (c.sent-c.open)%2 == 1 { // answers come in the order of the messages, of which the first is a lock
		want = acquired
	}
	if a != want {
		return fmt.Errorf("%w: to its message %d, on a path of its own", errAnswer, c.sent-c.open)
	}
	return nil
}

// handOver is the script of clients that hand locks from each to the next: client i has path i modulo
// the number of paths.
type handOver struct {
	now      func() time.Duration
	released []time.Duration // when a path's last holder was about to send its release; 0: there was none
	times    durations
}

func newHandOver(paths int) *handOver {
	return &handOver{released: make([]time.Duration, paths), times: newDurations()}
}

func (h *handOver) answered(c *client, a answer) (int, error) {
	switch a {
	case enqueued:
		return 0, nil
	case acquired:
		last, now := &h.released[c.place%len(h.released)], h.now()
		if *last != 0 {
			h.times.count(now - *last)
		}
		*last = now // its release is sent next
	}
	return 1, nil
}

func (h *handOver) reset() { h.times.Reset() }

func (h *handOver) values(s *report.Slice) error {
	return s.SetDurations("hand-off", h.times.Histogram)
}

// readMostly is the script of clients that read each its own path, and now and then write the path
// above all of them.
type readMostly struct {
	now           func() time.Duration
	random        *rand.Rand
	reads         []*tape // of each client
	write         *tape   // of all
	asked         []time.Duration
	reading       durations
	writing       durations
	writesPercent int
}

func newReadMostly(clients int) *readMostly {
	r := &readMostly{
		random: rand.New(rand.NewPCG(1, 2)), // the same in each run
		write:  tapeOf(lockOf("write", "bench", "tree"), 1),
		asked:  make([]time.Duration, clients), reading: newDurations(), writing: newDurations(), writesPercent: 5,
	}
	for i := range clients {
		r.reads = append(r.reads, tapeOf(lockOf("read", "bench", "tree", number(i)), 1))
	}
	return r
}

func (r *readMostly) tape(i int) *tape { return r.reads[i] }

func (r *readMostly) answered(c *client, a answer) (int, error) {
	switch a {
	case enqueued:
		return 0, nil
	case acquired:
		times := r.reading
		if c.tape == r.write {
			times = r.writing
		}
		if r.asked[c.place] != 0 { // 0: it was asked for before we looked at the clock
			times.count(r.now() - r.asked[c.place])
		}
	case ready:
		c.tape = r.reads[c.place]
		if r.random.IntN(100) < r.writesPercent {
			c.tape = r.write
		}
		r.asked[c.place] = r.now()
	}
	return 1, nil
}

func (r *readMostly) reset() {
	r.reading.Reset()
	r.writing.Reset()
}

func (r *readMostly) values(s *report.Slice) error {
	if err := s.SetDurations("read", r.reading.Histogram); err != nil {
		return err
	}
	return s.SetDurations("write", r.writing.Histogram)
}
