package session

// timers are the deadlines of locks and sessions: a heap with four children to a node, the earliest first.
// What has a deadline knows its place in the heap, so that it can be moved and taken out.
type timers struct {
	heap []timer
	at   func(ref) *uint32 // where a thing keeps its place, counted from 1; 0: it isn't in the heap
	age  func(ref) uint64  // of two of the same moment and rank the one with the lower number is first
}

type timer struct {
	due  int64
	what ref
	rank rank
}

// rank is the order of those that are due at the same moment.
type rank uint8

const (
	rankLease rank = iota
	rankSession
	rankWait // so that what becomes free at that moment is still had
)

// ref names what has a deadline: a lock by its index, or a session.
type ref uint32

const sessionRef ref = 1 << 31

const timersKept = 64 // places that the heap keeps memory for

func (h *timers) before(a, b *timer) bool {
	switch {
	case a.due != b.due:
		return a.due < b.due
	case a.rank != b.rank:
		return a.rank < b.rank
	}
	return h.age(a.what) < h.age(b.what)
}

// set gives a thing a deadline, or another one; never: it has none any more.
func (h *timers) set(x timer) {
	at := int(*h.at(x.what))
	switch {
	case x.due == never && at == 0:
	case x.due == never:
		h.remove(at - 1)
	case at == 0:
		h.heap = append(h.heap, x)
		h.up(len(h.heap) - 1)
	default:
		h.heap[at-1] = x
		h.settle(at - 1)
	}
}

// first is the earliest one; nil if there is none.
func (h *timers) first() *timer {
	if len(h.heap) == 0 {
		return nil
	}
	return &h.heap[0]
}

func (h *timers) remove(i int) {
	*h.at(h.heap[i].what) = 0
	last := len(h.heap) - 1
	moved := h.heap[last]
	h.heap = h.heap[:last]
	if i < last {
		h.heap[i] = moved
		h.settle(i)
	}
	if cap(h.heap) > timersKept && last < cap(h.heap)/4 {
		h.heap = append(make([]timer, 0, cap(h.heap)/2), h.heap...)
	}
}

// settle moves what stands at i to where it belongs.
func (h *timers) settle(i int) {
	if i > 0 && h.before(&h.heap[i], &h.heap[(i-1)/4]) {
		h.up(i)
	} else {
		h.down(i)
	}
}

func (h *timers) up(i int) {
	x := h.heap[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !h.before(&x, &h.heap[parent]) {
			break
		}
		h.put(i, h.heap[parent])
		i = parent
	}
	h.put(i, x)
}

func (h *timers) down(i int) {
	x := h.heap[i]
	for {
		least := 4*i + 1
		if least >= len(h.heap) {
			break
		}
		for k := least + 1; k < min(4*i+5, len(h.heap)); k++ {
			if h.before(&h.heap[k], &h.heap[least]) {
				least = k
			}
		}
		if !h.before(&h.heap[least], &x) {
			break
		}
		h.put(i, h.heap[least])
		i = least
	}
	h.put(i, x)
}

func (h *timers) put(i int, x timer) {
	h.heap[i] = x
	*h.at(x.what) = uint32(i + 1)
}
