package wasm

import "fmt"

// strange says what an instruction is that isn't supported.
func strange(op, sub byte) string {
	why := ""
	switch {
	case op == opMisc:
		return fmt.Sprintf("unknown instruction %#x %#x", op, sub)
	case op == opVec:
		return fmt.Sprintf("unknown vector instruction %#x %#x: relaxed SIMD is not supported", op, sub)
	case op >= 0x06 && op <= 0x0a, op == 0x18, op == 0x19, op == 0x1f:
		why = "exception handling"
	case op == 0x12, op == 0x13:
		why = "a tail call"
	case op == 0x14, op == 0x15, op >= 0xd3 && op <= 0xd6:
		why = "a typed function reference"
	case op == 0xfb:
		why = "garbage collection"
	case op == 0xfe:
		why = "threads (atomic)"
	default:
		return fmt.Sprintf("unknown instruction %#x", op)
	}
	return fmt.Sprintf("instruction %#x (%s) is not supported", op, why)
}

// strangeType says what a type is that isn't supported.
func strangeType(t byte) string {
	switch t {
	case 0x63, 0x64:
		return fmt.Sprintf("typed references (%#x) are not supported", t)
	case 0x69, 0x74:
		return fmt.Sprintf("exception references (%#x) are not supported", t)
	case 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73:
		return fmt.Sprintf("references to collected objects (%#x) are not supported", t)
	}
	return fmt.Sprintf("unknown type %#x", t)
}

// strangeForm says what a signature is that isn't one.
func strangeForm(form byte) string {
	switch form {
	case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
		return fmt.Sprintf("types of garbage collection (%#x) are not supported", form)
	}
	return fmt.Sprintf("unknown form of type %#x", form)
}
