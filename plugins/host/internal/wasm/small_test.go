package wasm

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestFuelHoldsTwoNumbers takes one out and leaves the other.
func TestFuelHoldsTwoNumbers(t *testing.T) {
	for _, units := range []int64{0, 1, -1, 4096, 1 << 38, -1 << 38} {
		fuel := Fill(units)
		require.Equal(t, units, Units(fuel))
		require.Zero(t, Stack(fuel))
		fuel += 1000
		require.Equal(t, units, Units(fuel), "deeper")
		require.Equal(t, 1000*stackStep, Stack(fuel))
		fuel -= Fill(77)
		require.Equal(t, units-77, Units(fuel))
		require.Equal(t, 1000*stackStep, Stack(fuel), "cheaper")
		fuel = Refill(fuel, 12)
		require.Equal(t, int64(12), Units(fuel))
		require.Equal(t, 1000*stackStep, Stack(fuel), "refilled")
	}
}

// TestNumbersRoundTrip writes and reads numbers of all sizes.
func TestNumbersRoundTrip(t *testing.T) {
	rnd := testseed.Rand(t)
	for range 10_000 {
		want := rnd.Uint32() >> rnd.IntN(32)
		r := &reader{b: appendU32(nil, want)}
		require.Equal(t, want, r.u32())
		require.NoError(t, r.err)
		require.Equal(t, len(r.b), r.p)
		for _, bits := range []int{32, 33, 64} {
			want := int64(rnd.Uint64()) >> (64 - bits) >> rnd.IntN(bits)
			r := &reader{b: appendI64(nil, want)}
			require.Equal(t, want, r.signed(bits), "%x", r.b)
			require.NoError(t, r.err)
			require.Equal(t, len(r.b), r.p)
		}
	}
}

// TestNumbersHaveTheirBits accepts long encodings of small numbers, and no number too large.
func TestNumbersHaveTheirBits(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		bits int
		want int64
		bad  bool
	}{
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x00}, 32, 0, false},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x7f}, 32, -1, false},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x07}, 32, math.MaxInt32, false},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x78}, 32, math.MinInt32, false},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, 32, 0, true},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x4f}, 32, 0, true},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 32, 0, true},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, 33, math.MaxUint32, false},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x1f}, 33, 0, true},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00}, 64, math.MaxInt64, false},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f}, 64, math.MinInt64, false},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, 64, 0, true},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 64, 0, true},
	} {
		r := &reader{b: c.b}
		got := r.signed(c.bits)
		require.Equal(t, c.bad, r.err != nil, "%x", c.b)
		if !c.bad {
			require.Equal(t, c.want, got, "%x", c.b)
		}
	}
	for _, b := range [][]byte{{0xff, 0xff, 0xff, 0xff, 0x1f}, {0x80, 0x80, 0x80, 0x80, 0x80, 0}} {
		r := &reader{b: b}
		r.u32()
		require.Error(t, r.err, "%x", b)
	}
}

// nameSection is a name section with a module's name, functions' names and a local variable's.
func nameSection(names []byte) []byte {
	return code("name", 0, 4, "mod", 1, u(len(names)), names, 2, 6, 1, 0, 1, 0, "x")
}

// TestNamesOfFunctionsStay moves them with the functions.
func TestNamesOfFunctionsStay(t *testing.T) {
	b := withHost()
	b.run(opCall, 0)
	b.custom = [][]byte{nameSection(code(2, 0, "do", 1, "Grüße"))}
	m, err := Check(b.bytes(), Limits{})
	require.NoError(t, err)
	list := func(run int) []byte { return code(2, 0, "do", run, "Grüße") }
	section := func(l []byte) []byte { return appendSection(nil, secCustom, code("name", 1, u(len(l)), l)) }
	require.Equal(t, section(list(1)), m.Bytes[len(m.Bytes)-len(section(list(1))):])
	out, _, err := m.Meter(metering)
	require.NoError(t, err)
	require.Equal(t, section(list(2)), out[len(out)-len(section(list(2))):])
}

// TestLongNamesOfFunctionsAreCut keeps a trace from becoming a flood.
func TestLongNamesOfFunctionsAreCut(t *testing.T) {
	b := &build{}
	b.run()
	for name, want := range map[string]string{
		strings.Repeat("f", nameBytes):            strings.Repeat("f", nameBytes),
		strings.Repeat("f", 1<<20):                strings.Repeat("f", nameBytes),
		"f" + strings.Repeat("ü", nameBytes):      "f" + strings.Repeat("ü", nameBytes/2-1),
		strings.Repeat("f", nameBytes-1) + "🙂fff": strings.Repeat("f", nameBytes-1),
	} {
		b.custom = [][]byte{nameSection(code(1, 0, name))}
		m, err := Check(b.bytes(), Limits{})
		require.NoError(t, err)
		list := code(1, 0, want)
		require.True(t, bytes.HasSuffix(m.Bytes, code("name", 1, u(len(list)), list)), "%d bytes", len(name))
	}
}

// TestDamagedNamesGo drops names rather than modules.
func TestDamagedNamesGo(t *testing.T) {
	b := (&build{}).run()
	without := b.bytes()
	for what, custom := range map[string][]byte{
		"no functions":       code("name", 0, 4, "mod"),
		"a part cut":         code("name", 1, 200, 1),
		"a list cut":         nameSection(code(u(1_000_000_000))),
		"a name cut":         nameSection(code(1, 0, 99)),
		"an unknown one":     nameSection(code(1, 1, "f")),
		"a name not UTF-8":   nameSection(code(1, 0, 1, 0xff)),
		"a number cut":       code("name", 1, 1, 0x80),
		"a part's size long": code("name", 1, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		b.custom = [][]byte{custom}
		m, err := Check(b.bytes(), Limits{})
		require.NoError(t, err, what)
		require.Equal(t, without, m.Bytes, what)
		_, _, err = m.Meter(metering)
		require.NoError(t, err, what)
	}
}
