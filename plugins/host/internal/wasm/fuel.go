package wasm

// The fuel global holds two numbers: the units that are left, in the upper 40 bits, signed; and how deep the
// stack is, in steps of stackStep bytes, in the lower 24. So one subtraction at a function's entry charges for
// both, one comparison with zero finds the units spent, and the stack's depth is there for refuel to see.
const (
	stackBits = 24
	stackStep = 64
)

// StackUnit is how many bytes of stack accounted calls cost one unit more for: with so many units left it grows no
// further than that many times as much.
const StackUnit = 512

// Fill is the fuel global's value for a call that begins with that many units.
func Fill(units int64) uint64 { return uint64(units << stackBits) }

// Refill is the fuel global's value after refuel granted that many units. The depth stays.
func Refill(fuel uint64, units int64) uint64 { return Fill(units) | fuel&(1<<stackBits-1) }

// Units are the units that a value of the fuel global says are left. Below zero: more than there were.
func Units(fuel uint64) int64 { return int64(fuel) >> stackBits }

// Stack is how many bytes of stack, roughly and at most, the calls take that a value of the fuel global knows of.
func Stack(fuel uint64) int { return int(fuel&(1<<stackBits-1)) * stackStep }
