package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

func TestSlabGivesMemoryBack(t *testing.T) {
	var s slab[int]
	var taken []uint32
	for k := range 5 * slabChunk {
		i, item, ok := s.take()
		require.True(t, ok)
		require.Zero(t, *item)
		*item = k
		taken = append(taken, i)
	}
	for k, i := range taken {
		require.Equal(t, k, *s.at(i))
	}
	for _, i := range taken[1:] {
		s.give(i)
	}
	chunks := 0
	for n := range s.chunks {
		if s.chunks[n].Load() != nil {
			chunks++
		}
	}
	require.LessOrEqual(t, chunks, 2, "the one in use and a spare")
	require.Zero(t, *s.at(taken[0]), "untouched by the others")
}

func TestSlabNeverGivesTheSameItemTwice(t *testing.T) {
	r := testseed.Rand(t)
	var s slab[uint32]
	held := map[uint32]bool{}
	var order []uint32
	for range 200_000 {
		if len(order) == 0 || r.IntN(100) < 50+int(s.next)%3 && len(order) < 4*slabChunk {
			i, item, ok := s.take()
			require.True(t, ok)
			require.False(t, held[i])
			*item = i
			held[i] = true
			order = append(order, i)
			continue
		}
		k := r.IntN(len(order))
		i := order[k]
		require.Equal(t, i, *s.at(i))
		s.give(i)
		delete(held, i)
		order[k] = order[len(order)-1]
		order = order[:len(order)-1]
		require.Equal(t, len(order), s.live)
	}
}
