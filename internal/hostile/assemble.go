package hostile

import (
	"encoding/binary"
	"slices"
)

// Modules that no assembler makes are put together by hand.

// uleb is a number as the binary format has it.
func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

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
			panic("hostile: a part of another type")
		}
	}
	return b
}

// The sections that are put together, by their numbers.
const (
	typeSection     = 1
	importSection   = 2
	functionSection = 3
	tableSection    = 4
	memorySection   = 5
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

// Types of values.
const (
	i32     byte = 0x7f
	i64     byte = 0x7e
	funcRef byte = 0x70
)

// Signatures of the smallest plugin: what the contract asks for.
const (
	typeI byte = iota
	typeII
	typeIL
	typeNothing
)

// Exports of a plugin.
const (
	exportVersion   = "locktopus_abi_1"
	exportBuffer    = "locktopus_buffer"
	exportAuthorize = "locktopus_authorize"
)

// Kinds of imports and exports.
const (
	aFunction byte = 0
	aMemory   byte = 2
)

// smallest is the smallest plugin: it has one hook, authorize, which returns status.
func smallest(status byte) sections {
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
			bytesOf("memory", aMemory, 0),
			bytesOf(exportVersion, aFunction, 0),
			bytesOf(exportBuffer, aFunction, 1),
			bytesOf(exportAuthorize, aFunction, 2),
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

// doing adds a function () -> () of that code.
func (s sections) doing(locals [][]byte, code ...byte) sections {
	return s.with(functionSection, []byte{typeNothing}).with(codeSection, body(locals, code))
}

// times repeats what is made of numbers from 0 on.
func times(n int, f func(i int) []byte) (all []byte) {
	for i := range n {
		all = append(all, f(i)...)
	}
	return all
}

func repeat(n int, code ...byte) []byte { return slices.Repeat(code, n) }
