package wasm

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// A reader reads the binary format. The first fault stays in err; from then on everything read is zero and
// the reader is at its end, so loops over what is left stop by themselves.
type reader struct {
	b    []byte
	p    int
	base int    // where b lies in the module
	what string // the part of the module that is read, for faults
	err  error
}

// sub is a reader of the next n bytes, which r skips.
func (r *reader) sub(n int, what string) *reader {
	at := r.p
	return &reader{b: r.bytes(n), base: r.base + at, what: what, err: r.err}
}

func (r *reader) fail(format string, args ...any) {
	r.failAt(r.p, format, args...)
}

func (r *reader) failAt(p int, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s, offset %#x: %w", r.what, r.base+p, fmt.Errorf(format, args...))
	}
	r.p = len(r.b)
}

// mustBeWell ends the program if something couldn't be read again that Check has read.
func (r *reader) mustBeWell() {
	if r.err != nil {
		panic("wasm: Check accepted what Meter can't read: " + r.err.Error())
	}
}

var errTruncated = errors.New("it ends in the middle: the file is truncated or damaged")

func (r *reader) byte() byte {
	if r.p >= len(r.b) {
		r.fail("%w", errTruncated)
		return 0
	}
	c := r.b[r.p]
	r.p++
	return c
}

// bytes are the next n bytes, in the module's memory.
func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b)-r.p {
		r.fail("%d bytes are announced and %d are there: the file is truncated or damaged", n, len(r.b)-r.p)
		return nil
	}
	s := r.b[r.p : r.p+n : r.p+n]
	r.p += n
	return s
}

// u32 reads an unsigned LEB128 number of at most 5 bytes.
func (r *reader) u32() uint32 {
	if r.p < len(r.b) && r.b[r.p] < 0x80 {
		r.p++
		return uint32(r.b[r.p-1])
	}
	at, v := r.p, uint32(0)
	for i := 0; i < 35; i += 7 {
		c := r.byte()
		if i == 28 && c > 0x0f {
			break
		}
		v |= uint32(c&0x7f) << i
		if c < 0x80 {
			return v
		}
	}
	r.failAt(at, "a number that doesn't fit into 32 bits")
	return 0
}

// signed reads a signed LEB128 number of that many bits.
func (r *reader) signed(bits int) int64 {
	at, v := r.p, int64(0)
	for i := 0; i < bits; i += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << i
		if c >= 0x80 {
			continue
		}
		if i+7 < 64 {
			v = v << (57 - i) >> (57 - i) // the sign
		}
		if rest := bits - i; rest < 7 { // unused bits repeat the sign
			if high := int8(c<<1) >> rest; high != 0 && high != -1 {
				break
			}
		}
		return v
	}
	r.failAt(at, "a number that doesn't fit into %d bits", bits)
	return 0
}

// count reads the length of a vector whose items take at least min bytes each, so that no length is believed
// that the bytes present can't hold.
func (r *reader) count(min int, of string) int {
	at := r.p
	n := r.u32()
	if uint64(n)*uint64(min) > uint64(len(r.b)-r.p) {
		r.failAt(at, "%d %s are announced and there is no room for so many", n, of)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	at := r.p
	b := r.bytes(int(r.u32()))
	if !utf8.Valid(b) {
		r.failAt(at, "a name that isn't UTF-8")
		return ""
	}
	return string(b)
}

// appendU32 appends an unsigned LEB128 number.
func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendI64 appends a signed LEB128 number.
func appendI64(b []byte, v int64) []byte {
	for v < -0x40 || v >= 0x40 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

func appendName(b []byte, s string) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}
