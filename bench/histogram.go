package main

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets of which each is at most a 32nd of its value wide. The zero
// value is empty, and counting allocates nothing. The buckets are those of HdrHistogram with 32 of
// them to each power of two.
type histogram struct {
	counts [60 << 5]uint64
	n      uint64
	most   time.Duration
}

func (h *histogram) count(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.n++
	h.most = max(h.most, d)
}

// bucketOf keeps the six highest bits of a value: below 64 every value has its own bucket.
func bucketOf(v uint64) int {
	shift := max(0, bits.Len64(v)-6)
	return shift<<5 + int(v>>shift)
}

// bucketMost is the highest value of a bucket.
func bucketMost(i int) uint64 {
	shift := max(0, i>>5-1)
	return uint64(i-shift<<5+1)<<shift - 1
}

// quantile is the least value that a share q of all isn't above, rounded up to its bucket's end; 0
// when nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(1, uint64(math.Ceil(q*float64(h.n))))
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return min(time.Duration(bucketMost(i)), h.most)
		}
	}
	return h.most
}
