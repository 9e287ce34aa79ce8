package wsnet

import (
	"math"
	"time"
)

// DefaultLimits are what zero values mean.
func DefaultLimits() Limits {
	return Limits{
		Connections:           1_000_000,
		ConnectionsPerAddress: 16_384,
		HeaderBytes:           8 << 10,
		MessageBytes:          64 << 10,
		Fragments:             128,
		OutputBytes:           1 << 20,
		PauseBytes:            64 << 10,
		HandshakeTimeout:      5 * time.Second,
		MessageTimeout:        10 * time.Second,
		WriteTimeout:          10 * time.Second,
		CloseTimeout:          3 * time.Second,
		PingInterval:          30 * time.Second,
		PongTimeout:           10 * time.Second,
	}
}

// sizeMax bounds the sizes, so that sums of a few of them cannot overflow an int of 32 bits.
const sizeMax = math.MaxInt32 / 4

// orDefaults replaces zero values, and brings the others into what the code can count on.
func (l Limits) orDefaults() *Limits {
	d := DefaultLimits()
	size := func(v *int, def, least, most int) {
		if *v == 0 {
			*v = def
		}
		*v = min(max(*v, least), most)
	}
	span := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		*v = min(max(*v, tick), spanMax)
	}
	size(&l.Connections, d.Connections, 1, math.MaxInt32)
	size(&l.ConnectionsPerAddress, d.ConnectionsPerAddress, 1, math.MaxInt32)
	size(&l.HeaderBytes, d.HeaderBytes, 16, sizeMax)
	size(&l.MessageBytes, d.MessageBytes, 1, sizeMax)
	size(&l.Fragments, d.Fragments, 1, math.MaxInt32)
	size(&l.OutputBytes, d.OutputBytes, 128, sizeMax)
	size(&l.PauseBytes, d.PauseBytes, 128, l.OutputBytes)
	span(&l.HandshakeTimeout, d.HandshakeTimeout)
	span(&l.MessageTimeout, d.MessageTimeout)
	span(&l.WriteTimeout, d.WriteTimeout)
	span(&l.CloseTimeout, d.CloseTimeout)
	span(&l.PingInterval, d.PingInterval)
	span(&l.PongTimeout, d.PongTimeout)
	return &l
}

// tick is the unit of all deadlines. A uint32 of them lasts 13 years; instants are compared by
// their difference, so even its wrap-around does no harm.
const tick = 100 * time.Millisecond

// spanMax is the longest time a limit can be.
const spanMax = 365 * 24 * time.Hour

// instant is a number of ticks since the server started, which is at 1: zero can mean none.
type instant uint32

// after is the instant at which d has certainly passed: d rounded up, and one more tick because
// the current one has partly gone.
func (t instant) after(d time.Duration) instant {
	return t + instant((d+tick-1)/tick) + 1
}

// reached says whether t is at or behind the deadline.
func (t instant) reached(deadline instant) bool { return int32(t-deadline) >= 0 }
