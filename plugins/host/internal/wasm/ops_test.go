package wasm

// Opcodes that only tests name.
const (
	opNop      = 0x01
	opDrop     = 0x1a
	opI32Const = 0x41
	opI32LtS   = 0x48
	opI32Sub   = 0x6b
	opI32And   = 0x71
)
