package engine

import "math/bits"

// The slots that are taken on a path form a binary trie over slot numbers whose every node holds
// the least number of its range that isn't held above it (a priority search tree; E. McCreight,
// SIAM J. Comput. 1985). The permits themselves are its nodes. Taking the lowest free slot and
// giving one back cost a step per bit of the path's limit, whatever was taken before, and no
// memory is held for slots that are free.

// slotBits is how many bits the slot numbers below a limit have.
func slotBits(limit uint32) int { return bits.Len32(limit - 1) }

// lowestSlot is the lowest number that isn't taken. There is one below the limit, as each permit
// weighs at least one.
func (e *Engine) lowestSlot(x *extra) uint32 {
	// The numbers lo to lo+above-1 are held by nodes above i, whose range begins at lo, and that
	// range has a number to spare.
	lo, above := uint32(0), uint32(0)
	for i, bit := x.slots, slotBits(x.limit); i != 0; {
		p := e.permits.at(i)
		if p.slot != lo+above {
			break
		}
		above++
		bit--
		half := uint32(1) << bit
		left := min(above, half)
		if p.left != 0 {
			left += e.permits.at(p.left).count
		}
		if left < half {
			i = p.left
			continue
		}
		lo += half
		above -= min(above, half)
		i = p.right
	}
	return lo + above
}

// takeSlot gives a permit the lowest free slot.
func (e *Engine) takeSlot(x *extra, i uint32) {
	p := e.permits.at(i)
	p.slot, p.left, p.right, p.count = e.lowestSlot(x), 0, 0, 1
	link := &x.slots
	for bit := slotBits(x.limit) - 1; *link != 0; bit-- {
		n := e.permits.at(*link)
		if p.slot < n.slot { // p takes the place of n, which goes on downwards
			p.left, p.right, p.count = n.left, n.right, n.count
			n.left, n.right, n.count = 0, 0, 1
			i, *link, p, n = *link, i, n, p
		}
		n.count++
		if p.slot>>bit&1 == 0 {
			link = &n.left
		} else {
			link = &n.right
		}
	}
	*link = i
}

// freeSlot gives back the slot of a permit.
func (e *Engine) freeSlot(x *extra, slot uint32) {
	link := &x.slots
	n := e.permits.at(*link)
	for bit := slotBits(x.limit) - 1; n.slot != slot; bit-- {
		n.count--
		if slot>>bit&1 == 0 {
			link = &n.left
		} else {
			link = &n.right
		}
		n = e.permits.at(*link)
	}
	// The least of what is below moves up into the gap, and leaves one where it was.
	left, right, count := n.left, n.right, n.count-1
	for left != 0 || right != 0 {
		i, isLeft := right, false
		if right == 0 || left != 0 && e.permits.at(left).slot < e.permits.at(right).slot {
			i, isLeft = left, true
		}
		m := e.permits.at(i)
		below := *m
		m.left, m.right, m.count = left, right, count
		*link = i
		link = &m.right
		if isLeft {
			link = &m.left
		}
		left, right, count = below.left, below.right, below.count-1
	}
	*link = 0
}
