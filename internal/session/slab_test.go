package session

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

func TestASlabGivesBackWhatNobodyUses(t *testing.T) {
	r := testseed.Rand(t)
	var s slab[uint64]
	held := map[uint32]uint64{}
	var order []uint32
	for round := range 40 {
		for range r.IntN(1000) {
			if (round%2 == 0) == (r.IntN(4) > 0) {
				i := s.alloc()
				require.NotZero(t, i)
				require.NotContains(t, held, i)
				require.Zero(t, *s.at(i))
				held[i] = r.Uint64() | 1
				*s.at(i) = held[i]
				order = append(order, i)
			} else if len(order) > 0 {
				k := r.IntN(len(order))
				i := order[k]
				order = slices.Delete(order, k, k+1)
				require.Equal(t, held[i], *s.at(i))
				delete(held, i)
				s.free(i)
			}
			require.Equal(t, len(held), s.live)
		}
	}
	for i, v := range held {
		require.Equal(t, v, *s.at(i))
		s.free(i)
	}
	require.Zero(t, s.live)
	chunks := 0
	for _, c := range s.chunks {
		if c != nil {
			chunks++
		}
	}
	require.LessOrEqual(t, chunks, 1)
	require.Equal(t, int64(chunks)*int64(unsafe.Sizeof(chunk[uint64]{})), s.bytes())
}

func TestASlabAtItsEdgeAllocatesNothing(t *testing.T) {
	var s slab[uint64]
	for range 10 * slabChunk {
		s.alloc()
	}
	for _, n := range []int{1, 2, 3, slabChunk} {
		batch := make([]uint32, n)
		round := func() {
			for k := range batch {
				batch[k] = s.alloc()
			}
			for k := range batch {
				s.free(batch[k])
			}
			for k := range batch {
				batch[k] = s.alloc()
			}
			for k := range batch {
				s.free(batch[len(batch)-1-k])
			}
		}
		round()
		require.Zero(t, testing.AllocsPerRun(100, round), "%d at once", n)
	}
}

func TestARosterIsInOrderWithoutItsGaps(t *testing.T) {
	r := testseed.Rand(t)
	for range 200 {
		var list roster
		model := map[uint64]uint32{}
		var ids []uint64
		last := uint64(0)
		for range r.IntN(400) {
			if r.IntN(5) > 1 || len(ids) == 0 {
				last += uint64(1 + r.IntN(3))
				list.add(last, uint32(last))
				model[last] = uint32(last)
				ids = append(ids, last)
				continue
			}
			k := r.IntN(len(ids)) * r.IntN(2)
			list.remove(ids[k])
			delete(model, ids[k])
			ids = slices.Delete(ids, k, k+1)
			require.Equal(t, len(ids), list.len())
			require.LessOrEqual(t, list.gaps, len(list.list)/2+1)
		}
		for id := range last + 2 {
			require.Equal(t, model[id], list.find(id))
		}
		after := uint64(0)
		for _, id := range ids {
			e, ok := list.first(after)
			require.True(t, ok)
			require.Equal(t, entry{id, uint32(id)}, e)
			after = id
		}
		_, ok := list.first(after)
		require.False(t, ok)
		for _, id := range ids {
			list.remove(id)
		}
		require.Zero(t, len(list.list)+list.gaps)
	}
}
