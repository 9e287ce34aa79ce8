package wsnet

import "math/bits"

// wheel is a hashed timing wheel (Varghese and Lauck, 1987, scheme 6): a ring of buckets, one per
// tick, each a list of slots. It is lazy: a deadline that moves later leaves its slot where it is,
// and whoever looks when the bucket comes up says when to look again. So a connection that talks
// all the time is touched by the wheel only once per PingInterval.
//
// Slots are small numbers; the wheel keeps 12 bytes for each and no pointers.
type wheel struct {
	heads  [wheelSize]int32       // first slot + 1 of each bucket; 0: empty
	filled [wheelSize / 64]uint64 // a bit for each bucket that isn't empty
	nodes  []*[wheelChunk]node
	now    instant // every bucket up to here has come up, the last one not quite if late
	late   bool    // advance was stopped
}

type node struct {
	next, prev int32   // slot + 1; prev of a bucket's first is 0
	at         instant // when it comes up; meaningful while linked
}

const (
	wheelSize  = 512 // buckets: 51 seconds; what is farther off is looked at once a round
	wheelChunk = 1024
	unlinked   = -1 // in prev
)

func (w *wheel) node(slot int32) *node {
	return &w.nodes[slot/wheelChunk][slot%wheelChunk]
}

// grow makes room for a slot.
func (w *wheel) grow(slot int32) {
	for int(slot/wheelChunk) >= len(w.nodes) {
		c := new([wheelChunk]node)
		for i := range c {
			c[i].prev = unlinked
		}
		w.nodes = append(w.nodes, c)
	}
}

// set has the slot come up at the given instant, wherever it was before.
func (w *wheel) set(slot int32, at instant) {
	w.remove(slot)
	first, last := w.now+1, w.now+wheelSize-1
	if int32(at-first) < 0 {
		at = first
	} else if int32(at-last) > 0 {
		at = last
	}
	n, b := w.node(slot), at%wheelSize
	n.next, n.prev, n.at = w.heads[b], 0, at
	if n.next != 0 {
		w.node(n.next - 1).prev = slot + 1
	}
	w.heads[b] = slot + 1
	w.filled[b/64] |= 1 << (b % 64)
}

// sooner has the slot come up at the given instant unless it comes up earlier anyway.
func (w *wheel) sooner(slot int32, at instant) {
	if n := w.node(slot); n.prev == unlinked || int32(n.at-at) > 0 {
		w.set(slot, at)
	}
}

// remove takes the slot off the wheel.
func (w *wheel) remove(slot int32) {
	n := w.node(slot)
	if n.prev == unlinked {
		return
	}
	if n.next != 0 {
		w.node(n.next - 1).prev = n.prev
	}
	if b := n.at % wheelSize; n.prev != 0 {
		w.node(n.prev - 1).next = n.next
	} else if w.heads[b] = n.next; n.next == 0 {
		w.filled[b/64] &^= 1 << (b % 64)
	}
	n.prev = unlinked
}

// advance calls look for each slot that comes up until now. The slot is off the wheel then; look
// may set it again, and may remove others. If look returns false, the next call goes on where this
// one stopped; what is due first comes first.
func (w *wheel) advance(now instant, look func(slot int32) bool) {
	if now-w.now > wheelSize && now.reached(w.now) { // after a long sleep one round is enough
		w.now = now - wheelSize
	}
	for w.late = false; ; w.now++ {
		// A slot that is set again meanwhile goes to a later bucket, so this ends.
		for b := w.now % wheelSize; w.heads[b] != 0; {
			slot := w.heads[b] - 1
			w.remove(slot)
			if !look(slot) {
				w.late = true
				return
			}
		}
		if !(now - 1).reached(w.now) {
			return
		}
	}
}

// next is the earliest instant at which a slot comes up.
func (w *wheel) next() (instant, bool) {
	for d := instant(0); d <= wheelSize; {
		b := (w.now + d) % wheelSize
		if word := w.filled[b/64] >> (b % 64); word != 0 {
			return w.now + d + instant(bits.TrailingZeros64(word)), true
		}
		d += 64 - b%64
	}
	return 0, false
}
