package engine

import "math/bits"

// bitset is a set of small integers that finds its least member in one step per level: level 0 has
// a bit for each member, and bit w of level k+1 says that word w of level k isn't zero. The zero
// value is the empty set.
type bitset struct{ levels [][]uint64 }

func (b *bitset) add(i uint32) {
	b.fit(i)
	for k := range b.levels {
		b.levels[k][i/64] |= 1 << (i % 64)
		i /= 64
	}
}

func (b *bitset) remove(i uint32) {
	for k := range b.levels {
		if int(i/64) >= len(b.levels[k]) {
			return
		}
		b.levels[k][i/64] &^= 1 << (i % 64)
		if b.levels[k][i/64] != 0 {
			return
		}
		i /= 64
	}
}

// min is the least member; false if there is none.
func (b *bitset) min() (uint32, bool) {
	var i uint32
	for k := len(b.levels) - 1; k >= 0; k-- {
		w := b.levels[k][i]
		if w == 0 {
			return 0, false
		}
		i = i*64 + uint32(bits.TrailingZeros64(w))
	}
	return i, len(b.levels) > 0
}

// fit makes room for member i. The topmost level always has exactly one word.
func (b *bitset) fit(i uint32) {
	for k := 0; ; k++ {
		i /= 64
		if k == len(b.levels) {
			b.levels = append(b.levels, make([]uint64, 1))
			if k > 0 && b.levels[k-1][0] != 0 {
				b.levels[k][0] = 1
			}
		}
		for int(i) >= len(b.levels[k]) {
			b.levels[k] = append(b.levels[k], 0)
		}
		if i == 0 && k == len(b.levels)-1 {
			return
		}
	}
}

// bytes is the memory that the set holds.
func (b *bitset) bytes() (n int64) {
	for _, l := range b.levels {
		n += int64(cap(l)) * 8
	}
	return n
}
