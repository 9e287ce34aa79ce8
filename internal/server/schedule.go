package server

import (
	"container/heap"
	"sync"
	"time"
)

// schedule hands things over when their time has come: one heap, one goroutine and one timer,
// however many things there are and however many of them come due at once.
type schedule[T any] struct {
	due func(T) // called by the goroutine that runs the schedule, with nothing locked

	mu    sync.Mutex // guards queue, and the places of what is in it
	queue timeline[T]
	wake  chan struct{} // holds one: the earliest time has changed
}

// appointment is a thing and its time.
type appointment[T any] struct {
	at    time.Time
	what  T
	place int // in the queue; -1: it was handed over, or taken out
}

func newSchedule[T any](due func(T)) *schedule[T] {
	return &schedule[T]{due: due, wake: make(chan struct{}, 1)}
}

// add puts a thing to the others.
func (s *schedule[T]) add(at time.Time, what T) *appointment[T] {
	x := &appointment[T]{at: at, what: what}
	s.mu.Lock()
	heap.Push(&s.queue, x)
	first := x.place == 0
	s.mu.Unlock()
	if first {
		s.look()
	}
	return x
}

// remove takes a thing out, unless it was handed over already: then it does nothing.
func (s *schedule[T]) remove(x *appointment[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.place >= 0 {
		heap.Remove(&s.queue, x.place)
	}
}

// move puts a thing at another time, or in again if it was handed over or taken out. It allocates nothing.
func (s *schedule[T]) move(x *appointment[T], at time.Time) {
	s.mu.Lock()
	x.at = at
	if x.place < 0 {
		heap.Push(&s.queue, x)
	} else {
		heap.Fix(&s.queue, x.place)
	}
	first := x.place == 0
	s.mu.Unlock()
	if first {
		s.look()
	}
}

// look has the earliest time looked at again.
func (s *schedule[T]) look() {
	select {
	case s.wake <- struct{}{}:
	default: // the goroutine has not looked since the last one
	}
}

// run hands over what is due until stop is closed.
func (s *schedule[T]) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.handOver(time.Now))
		select {
		case <-stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// handOver hands over all that is due, one at a time and looking at the clock each time, and says how
// long it may be until the next.
func (s *schedule[T]) handOver(now func() time.Time) time.Duration {
	for {
		x, wait := s.next(now())
		if x == nil {
			return wait
		}
		s.due(x.what)
	}
}

// next takes the earliest one out if it is due; if not, it is nil, and that is how long to wait.
func (s *schedule[T]) next(now time.Time) (x *appointment[T], wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, time.Hour
	}
	if wait := s.queue[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&s.queue).(*appointment[T]), 0
}

func (s *schedule[T]) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// timeline is the heap, earliest first. Its items know their places.
type timeline[T any] []*appointment[T]

func (q timeline[T]) Len() int           { return len(q) }
func (q timeline[T]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q timeline[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *timeline[T]) Push(x any) {
	a := x.(*appointment[T])
	a.place = len(*q)
	*q = append(*q, a)
}

// Pop gives a storm's memory back as it passes.
func (q *timeline[T]) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	x.place = -1
	(*q)[last] = nil
	*q = (*q)[:last]
	if cap(*q) > 64 && last < cap(*q)/4 {
		*q = append(make(timeline[T], 0, cap(*q)/2), *q...)
	}
	return x
}
