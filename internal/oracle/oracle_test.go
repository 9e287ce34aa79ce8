package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func write(path ...string) Resource { return Resource{Write: true, Path: path} }
func read(path ...string) Resource  { return Resource{Path: path} }

// What the oracle says of histories made by hand: it must see each fault and invent none.
func TestOracle(t *testing.T) {
	w, r := write("a"), read("a")
	// req is a request that was asked at t, answered at t+1, acquired and ended as given.
	req := func(id uint64, at, acquired, ended Moment, rs ...Resource) *Record {
		x := &Record{Space: "n", ID: id, Resources: rs, Asked: at, Answered: at + 1, Acquired: acquired, Ended: ended, How: Released}
		if ended == 0 {
			x.How = Alive
		}
		return x
	}
	gone := func(x *Record, held Moment) *Record {
		x.How, x.Held = Dropped, held
		return x
	}
	elsewhere := func(x *Record) *Record {
		x.Space = "m"
		return x
	}
	const twice, back, both, overtook = "given twice", "went back", "at once", "overtook"
	for name, c := range map[string]struct {
		history []*Record
		want    []string // parts of the verdicts
	}{
		"nothing":                    {nil, nil},
		"one after the other":        {[]*Record{req(1, 10, 11, 20, w), req(2, 15, 21, 30, w)}, nil},
		"touching":                   {[]*Record{req(1, 10, 11, 20, w), req(2, 15, 20, 30, w)}, nil},
		"readers share":              {[]*Record{req(1, 10, 11, 20, r), req(2, 12, 13, 30, r)}, nil},
		"siblings":                   {[]*Record{req(1, 10, 11, 20, write("a", "b")), req(2, 12, 13, 30, write("a", "c"))}, nil},
		"a prefix of letters only":   {[]*Record{req(1, 10, 11, 20, write("a")), req(2, 12, 13, 30, write("ab"))}, nil},
		"other namespace":            {[]*Record{req(1, 10, 11, 20, w), elsewhere(req(1, 12, 13, 30, w))}, nil},
		"a waiter gives up":          {[]*Record{req(1, 10, 11, 40, r), req(2, 12, 0, 20, w), req(3, 14, 21, 30, r)}, nil},
		"a waiter goes":              {[]*Record{req(1, 10, 11, 40, r), gone(req(2, 12, 0, 20, w), 0), req(3, 14, 21, 30, r)}, nil},
		"abandoned, then over":       {[]*Record{gone(req(1, 10, 11, 20, w), 50), req(2, 12, 51, 60, w)}, nil},
		"alive and waiting":          {[]*Record{req(1, 10, 11, 0, w), req(2, 12, 0, 0, w)}, nil},
		"unknown id":                 {[]*Record{gone(req(0, 10, 0, 20, w), 0), gone(req(0, 10, 0, 20, w), 0), req(1, 15, 16, 20, w)}, nil},
		"asked together, either way": {[]*Record{req(2, 10, 0, 20, r), req(1, 11, 0, 20, r)}, nil},

		"id twice":           {[]*Record{req(1, 10, 11, 12, r), req(1, 20, 21, 22, r)}, []string{twice}},
		"id back":            {[]*Record{req(2, 10, 0, 12, r), req(1, 20, 21, 22, r)}, []string{back}},
		"id back in between": {[]*Record{req(1, 10, 11, 12, r), req(7, 20, 0, 22, r), req(5, 30, 0, 35, r)}, []string{back}},
		"two writers":        {[]*Record{req(1, 10, 11, 20, w), req(2, 12, 19, 30, w)}, []string{both, overtook}},
		"writer and reader":  {[]*Record{req(1, 10, 11, 20, r), req(2, 12, 19, 30, w)}, []string{both, overtook}},
		"parent and child":   {[]*Record{req(1, 10, 11, 20, write()), req(2, 12, 19, 30, read("a", "b", "c"))}, []string{both, overtook}},
		"second resource":    {[]*Record{req(1, 10, 11, 20, read("x"), w), req(2, 12, 19, 30, read("y"), r)}, []string{both, overtook}},
		"one is alive":       {[]*Record{req(1, 10, 11, 0, w), req(2, 12, 19, 0, w)}, []string{both, overtook}},
		"abandoned too soon": {[]*Record{gone(req(1, 10, 11, 20, w), 50), req(2, 12, 49, 60, w)}, []string{both, overtook}},
		"later one first":    {[]*Record{req(1, 10, 30, 40, w), req(2, 12, 13, 20, w)}, []string{overtook}},
		"jumped the queue":   {[]*Record{req(1, 10, 11, 40, r), req(2, 12, 0, 0, w), req(3, 14, 15, 30, r)}, []string{overtook}},
		"jumped, then left":  {[]*Record{req(1, 10, 11, 40, r), req(2, 12, 0, 16, w), req(3, 14, 15, 30, r)}, []string{overtook}},
		"among many good ones": {[]*Record{
			req(1, 10, 11, 20, w), req(2, 12, 21, 30, w), req(3, 13, 14, 50, write("b")), req(4, 15, 31, 40, w), req(5, 32, 39, 45, r),
		}, []string{both, overtook}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(c.history)
			require.Len(t, got, len(c.want), "%v", got)
			for i, part := range c.want {
				require.Contains(t, got[i], part)
			}
		})
	}
}

func TestOracleKnowsWhoIsOwed(t *testing.T) {
	req := func(id uint64, acquired Moment, how Ending, rs ...Resource) *Record {
		return &Record{Space: "n", ID: id, Acquired: acquired, How: how, Resources: rs}
	}
	first, second, third := req(1, 5, Alive, write("a")), req(2, 0, Alive, read("a")), req(3, 0, Alive, write("b"))
	history := []*Record{third, second, first}
	require.Equal(t, []*Record{third}, Owed(history))
	third.Acquired = 6
	require.Empty(t, Owed(history))
	first.How = Released
	require.Equal(t, []*Record{second}, Owed(history))
	second.How = Dropped
	require.Empty(t, Owed(history))
	behind := req(5, 0, Alive, write("c", "d"))
	inFront := req(4, 0, Alive, write("b"), write("c"))
	require.Empty(t, Owed(append(history, behind, inFront)))
	elsewhere := req(6, 0, Alive, write("b"))
	elsewhere.Space = "m"
	require.Equal(t, []*Record{elsewhere}, Owed(append(history, behind, inFront, elsewhere)))
}

func TestText(t *testing.T) {
	require.Equal(t, `permit 2 of 3 /a`, Text([]Resource{{Path: []string{"a"}, Limit: 3, Weight: 2}}))
	require.Equal(t, `write /, read /a/""/"b/c"/é/"\n"`, Text([]Resource{write(), read("a", "", "b/c", "é", "\n")}))
}
