package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the oracle says of histories made by hand: it must see each fault and invent none.
func TestOracle(t *testing.T) {
	w, r := write("a"), read("a")
	// req is a request that was asked at t, answered at t+1, acquired and ended as given.
	req := func(id uint64, at, acquired, ended moment, rs ...resource) *record {
		x := &record{space: "n", id: id, resources: rs, asked: at, answered: at + 1, acquired: acquired, ended: ended, how: released}
		if ended == 0 {
			x.how = alive
		}
		return x
	}
	gone := func(x *record, held moment) *record {
		x.how, x.held = dropped, held
		return x
	}
	elsewhere := func(x *record) *record {
		x.space = "m"
		return x
	}
	const twice, back, both, overtook = "given twice", "went back", "at once", "overtook"
	for name, c := range map[string]struct {
		history []*record
		want    []string // parts of the verdicts
	}{
		"nothing":                    {nil, nil},
		"one after the other":        {[]*record{req(1, 10, 11, 20, w), req(2, 15, 21, 30, w)}, nil},
		"touching":                   {[]*record{req(1, 10, 11, 20, w), req(2, 15, 20, 30, w)}, nil},
		"readers share":              {[]*record{req(1, 10, 11, 20, r), req(2, 12, 13, 30, r)}, nil},
		"siblings":                   {[]*record{req(1, 10, 11, 20, write("a", "b")), req(2, 12, 13, 30, write("a", "c"))}, nil},
		"a prefix of letters only":   {[]*record{req(1, 10, 11, 20, write("a")), req(2, 12, 13, 30, write("ab"))}, nil},
		"other namespace":            {[]*record{req(1, 10, 11, 20, w), elsewhere(req(1, 12, 13, 30, w))}, nil},
		"a waiter gives up":          {[]*record{req(1, 10, 11, 40, r), req(2, 12, 0, 20, w), req(3, 14, 21, 30, r)}, nil},
		"a waiter goes":              {[]*record{req(1, 10, 11, 40, r), gone(req(2, 12, 0, 20, w), 0), req(3, 14, 21, 30, r)}, nil},
		"abandoned, then over":       {[]*record{gone(req(1, 10, 11, 20, w), 50), req(2, 12, 51, 60, w)}, nil},
		"alive and waiting":          {[]*record{req(1, 10, 11, 0, w), req(2, 12, 0, 0, w)}, nil},
		"unknown id":                 {[]*record{gone(req(0, 10, 0, 20, w), 0), gone(req(0, 10, 0, 20, w), 0), req(1, 15, 16, 20, w)}, nil},
		"asked together, either way": {[]*record{req(2, 10, 0, 20, r), req(1, 11, 0, 20, r)}, nil},

		"id twice":           {[]*record{req(1, 10, 11, 12, r), req(1, 20, 21, 22, r)}, []string{twice}},
		"id back":            {[]*record{req(2, 10, 0, 12, r), req(1, 20, 21, 22, r)}, []string{back}},
		"id back in between": {[]*record{req(1, 10, 11, 12, r), req(7, 20, 0, 22, r), req(5, 30, 0, 35, r)}, []string{back}},
		"two writers":        {[]*record{req(1, 10, 11, 20, w), req(2, 12, 19, 30, w)}, []string{both, overtook}},
		"writer and reader":  {[]*record{req(1, 10, 11, 20, r), req(2, 12, 19, 30, w)}, []string{both, overtook}},
		"parent and child":   {[]*record{req(1, 10, 11, 20, write()), req(2, 12, 19, 30, read("a", "b", "c"))}, []string{both, overtook}},
		"second resource":    {[]*record{req(1, 10, 11, 20, read("x"), w), req(2, 12, 19, 30, read("y"), r)}, []string{both, overtook}},
		"one is alive":       {[]*record{req(1, 10, 11, 0, w), req(2, 12, 19, 0, w)}, []string{both, overtook}},
		"abandoned too soon": {[]*record{gone(req(1, 10, 11, 20, w), 50), req(2, 12, 49, 60, w)}, []string{both, overtook}},
		"later one first":    {[]*record{req(1, 10, 30, 40, w), req(2, 12, 13, 20, w)}, []string{overtook}},
		"jumped the queue":   {[]*record{req(1, 10, 11, 40, r), req(2, 12, 0, 0, w), req(3, 14, 15, 30, r)}, []string{overtook}},
		"jumped, then left":  {[]*record{req(1, 10, 11, 40, r), req(2, 12, 0, 16, w), req(3, 14, 15, 30, r)}, []string{overtook}},
		"among many good ones": {[]*record{
			req(1, 10, 11, 20, w), req(2, 12, 21, 30, w), req(3, 13, 14, 50, write("b")), req(4, 15, 31, 40, w), req(5, 32, 39, 45, r),
		}, []string{both, overtook}},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(c.history)
			require.Len(t, got, len(c.want), "%v", got)
			for i, part := range c.want {
				require.Contains(t, got[i], part)
			}
		})
	}
}

func TestOracleKnowsWhoIsOwed(t *testing.T) {
	req := func(id uint64, acquired moment, how ending, rs ...resource) *record {
		return &record{space: "n", id: id, acquired: acquired, how: how, resources: rs}
	}
	first, second, third := req(1, 5, alive, write("a")), req(2, 0, alive, read("a")), req(3, 0, alive, write("b"))
	history := []*record{third, second, first}
	require.Equal(t, []*record{third}, owed(history))
	third.acquired = 6
	require.Empty(t, owed(history))
	first.how = released
	require.Equal(t, []*record{second}, owed(history))
	second.how = dropped
	require.Empty(t, owed(history))
	behind := req(5, 0, alive, write("c", "d"))
	inFront := req(4, 0, alive, write("b"), write("c"))
	require.Empty(t, owed(append(history, behind, inFront)))
	elsewhere := req(6, 0, alive, write("b"))
	elsewhere.space = "m"
	require.Equal(t, []*record{elsewhere}, owed(append(history, behind, inFront, elsewhere)))
}
