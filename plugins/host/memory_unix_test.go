//go:build unix

package host

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryThatTakesTooLongToGetIsNotGiven(t *testing.T) {
	m := reserve(4 * touchStep)
	require.NotNil(t, m)
	t.Cleanup(m.Free)
	looks := 0
	m.check = func() {
		if looks++; looks > 3 {
			panic(errOverrun)
		}
	}
	require.Len(t, m.Reallocate(2*touchStep), 2*touchStep)
	require.PanicsWithValue(t, errOverrun, func() { m.Reallocate(4 * touchStep) }, "time is up after three steps")
	require.Len(t, m.Reallocate(3*touchStep), 3*touchStep, "what was touched in time can be had")
	require.Nil(t, m.Reallocate(4*touchStep+1))
	m.check = func() {}
	m.b[3*touchStep-1] = 7
	b := m.Reallocate(4 * touchStep)
	require.Len(t, b, 4*touchStep)
	require.EqualValues(t, 7, b[3*touchStep-1], "it keeps what it has")
}
