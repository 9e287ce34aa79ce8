package engine

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestSlabUnderRandomUse rises and falls over many chunks, in different shapes, and checks that
// items keep their content and that memory follows what is used.
func TestSlabUnderRandomUse(t *testing.T) {
	type item struct{ _, value uint32 }
	r := testseed.Rand(t)
	for round := range 6 {
		var s slab[item]
		var held []uint32
		for range 12 {
			target := r.IntN(10) * r.IntN(1000)
			for len(held) != target {
				if k := r.IntN(8); len(held) < target && k > 0 || len(held) == 0 {
					i := s.alloc()
					s.at(i).value = ^i
					held = append(held, i)
					continue
				}
				k := len(held) - 1
				if round%2 == 0 {
					k = r.IntN(len(held))
				}
				require.True(t, ^held[k] == s.at(held[k]).value)
				s.free(held[k])
				held[k] = held[len(held)-1]
				held = held[:len(held)-1]
			}
			used := checkSlab(&s)
			for _, i := range held {
				require.True(t, used[i])
				require.Equal(t, ^i, s.at(i).value)
			}
		}
	}
}

func TestBitset(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var b bitset
	_, ok := b.min()
	require.False(t, ok)
	want := map[uint32]bool{}
	for range 5_000 {
		i := r.Uint32N(1 << r.Uint32N(14))
		if r.IntN(3) == 0 {
			b.add(i)
			want[i] = true
		} else {
			b.remove(i)
			delete(want, i)
		}
		require.Equal(t, want[i], b.has(i))
		least := ^uint32(0)
		for k := range want {
			least = min(least, k)
		}
		got, ok := b.min()
		require.Equal(t, len(want) > 0, ok)
		if ok {
			require.Equal(t, least, got)
		}
	}
}

// TestNoSegmentAimsAtABucket has segments that are special to the hash function, if any are, below
// very many parents.
func TestNoSegmentAimsAtABucket(t *testing.T) {
	for _, name := range []string{"", "segment", "parent", "a"} {
		e := New(Limits{}, 0)
		deep := Resource{Mode: Write}
		for range 5000 {
			deep.Path = append(deep.Path, []byte(name))
		}
		_, err := e.Lock(0, []Resource{deep})
		require.NoError(t, err)
		for b := range e.edges.count {
			n := 0
			for i := e.edges.at(b).head; i != 0; i = e.nodes.at(i).chain {
				n++
			}
			require.Less(t, n, 12)
		}
	}
}
