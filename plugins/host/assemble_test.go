package host

import (
	"encoding/binary"
	"slices"
)

// Modules that no assembler makes are put together by hand.

// uleb is a number as the binary format has it.
func uleb[T ~int | ~uint32](n T) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// bytesOf joins the parts of an item: bytes, strings (a name, with its length before it) and numbers.
func bytesOf(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			b = append(b, p)
		case int:
			b = append(b, uleb(p)...)
		case []byte:
			b = append(b, p...)
		case string:
			b = append(append(b, uleb(len(p))...), p...)
		default:
			panic("a part of another type")
		}
	}
	return b
}

// The sections that tests put together, by their numbers.
const (
	typeSection     = 1
	importSection   = 2
	functionSection = 3
	tableSection    = 4
	memorySection   = 5
	globalSection   = 6
	exportSection   = 7
	startSection    = 8
	elementSection  = 9
	codeSection     = 10
	dataSection     = 11
)

// sections are a module's, each a list of items.
type sections map[byte][][]byte

const preamble = "\x00asm\x01\x00\x00\x00"

// module joins them.
func (s sections) module() []byte {
	out := []byte(preamble)
	for id := byte(typeSection); id <= dataSection; id++ {
		if items := s[id]; len(items) > 0 {
			body := append(uleb(len(items)), slices.Concat(items...)...)
			if id == startSection {
				body = items[0]
			}
			out = append(append(append(out, id), uleb(len(body))...), body...)
		}
	}
	return out
}

// Types of the smallest plugin: what the contract asks for.
const (
	typeI = iota
	typeII
	typeIL
	typeNothing
)

// smallest is the smallest plugin: it has one hook, authorize, which returns status.
func smallest(status byte) sections {
	const i32, i64 = byte(0x7f), byte(0x7e)
	return sections{
		typeSection: {
			bytesOf(byte(0x60), 0, 1, i32),
			bytesOf(byte(0x60), 1, i32, 1, i32),
			bytesOf(byte(0x60), 1, i32, 1, i64),
			bytesOf(byte(0x60), 0, 0),
		},
		functionSection: {{typeI}, {typeII}, {typeIL}},
		memorySection:   {{0, 2}},
		exportSection: {
			bytesOf("memory", byte(2), 0),
			bytesOf(exportVersion, byte(0), 0),
			bytesOf(exportBuffer, byte(0), 1),
			bytesOf(exportAuthorize, byte(0), 2),
		},
		codeSection: {
			body(nil, []byte{0x41, 0}),             // i32.const 0
			body(nil, []byte{0x41, 0x80, 0x80, 4}), // i32.const 65536
			body(nil, []byte{0x42, status & 0x3f}), // i64.const
		},
	}
}

// body is a function's code: groups of local variables, and instructions without the last end.
func body(locals [][]byte, code []byte) []byte {
	b := append(uleb(len(locals)), slices.Concat(locals...)...)
	b = append(append(b, code...), 0x0b)
	return append(uleb(len(b)), b...)
}

// with adds items to a section.
func (s sections) with(id byte, items ...[]byte) sections {
	s[id] = append(s[id], items...)
	return s
}

// instead takes items in the place of a section's.
func (s sections) instead(id byte, items ...[]byte) sections {
	s[id] = items
	return s
}
