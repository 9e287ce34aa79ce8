package wasm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The sections' numbers.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	secTag
	sectionIDs
)

var sectionNames = [sectionIDs]string{
	"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code",
	"data", "data count", "tag",
}

// sectionOrder is the order in which sections stand in a module.
var sectionOrder = []byte{
	secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart, secElement,
	secDataCount, secCode, secData,
}

// A section of a module.
type section struct {
	there bool
	body  []byte // in Module.Bytes
	base  int    // where it lay in the original, for faults
}

func (s section) reader(id byte) *reader {
	return &reader{b: s.body, base: s.base, what: sectionNames[id] + " section"}
}

const preamble = "\x00asm\x01\x00\x00\x00"

// Check reads a whole module structurally. Its errors are for the module's author: they say what is wrong and
// where. The Module keeps none of bin's memory.
func Check(bin []byte, lim Limits) (*Module, error) {
	if err := checkPreamble(bin); err != nil {
		return nil, err
	}
	m := &Module{lim: lim.orDefaults()}
	names, err := m.split(bin)
	if err != nil {
		return nil, err
	}
	c := checker{Module: m}
	for _, id := range sectionOrder {
		if err := c.section(id); err != nil {
			return nil, err
		}
	}
	if names != nil {
		names.body = bytes.Clone(names.body)
		m.names = names
		m.Bytes = m.appendNames(m.Bytes, names, 0)
	}
	return m, nil
}

// checkPreamble tells a core module of version 1 from all else that people have tried.
func checkPreamble(bin []byte) error {
	switch {
	case len(bin) == 0:
		return errors.New("the file is empty")
	case len(bin) < len(preamble) && strings.HasPrefix(preamble, string(bin)):
		return fmt.Errorf("the file has %d bytes, less than the smallest module: it is truncated", len(bin))
	case !bytes.HasPrefix(bin, []byte(preamble[:4])):
		return notWasm(bin)
	case bytes.Equal(bin[4:8], []byte{0x0d, 0, 1, 0}):
		return errors.New("this is a component, not a core module: " +
			"build for wasm32-unknown-unknown, or for wasip1 as a reactor, without componentizing")
	case !bytes.HasPrefix(bin, []byte(preamble)):
		return fmt.Errorf("unsupported WebAssembly version (% x): only core modules of version 1 run here", bin[4:8])
	}
	return nil
}

// notWasm guesses what a file is that isn't WebAssembly.
func notWasm(bin []byte) error {
	begins := func(with string) bool { return bytes.HasPrefix(bin, []byte(with)) }
	switch {
	case begins("\x7fELF"), begins("MZ"), begins("\xcf\xfa\xed\xfe"), begins("!<arch>"):
		return errors.New("not WebAssembly: this is native code; build for a wasm32 target")
	case begins("\x1f\x8b"), begins("PK\x03\x04"), begins("\x28\xb5\x2f\xfd"), begins("BZh"), begins("\xfd7zXZ"):
		return errors.New("not WebAssembly: this is compressed; unpack it first")
	case !isText(bin):
		return fmt.Errorf("not WebAssembly: it begins with % x instead of 00 61 73 6d", bin[:min(len(bin), 4)])
	}
	if bin = bytes.TrimSpace(bin); begins("(") || begins(";;") {
		return errors.New("not WebAssembly: this is text; WAT must be compiled first (wat2wasm)")
	}
	return errors.New("not WebAssembly: this is text; a plugin must be compiled first")
}

// isText says whether a file begins as text does.
func isText(bin []byte) bool {
	head := bin[:min(len(bin), 256)]
	for len(head) > 0 {
		r, size := utf8.DecodeRune(head)
		if r == utf8.RuneError && len(head) >= utf8.UTFMax || r < ' ' && !unicode.IsSpace(r) {
			return false
		}
		head = head[size:]
	}
	return true
}

// split cuts bin into sections, copies all but the custom ones and returns the last name section.
func (m *Module) split(bin []byte) (names *section, err error) {
	m.Bytes = append(make([]byte, 0, len(bin)), preamble...)
	r := &reader{b: bin, p: len(preamble), what: "module"}
	last := -1
	for r.p < len(bin) {
		at := r.p
		id := r.byte()
		if int(id) >= sectionIDs {
			r.failAt(at, "unknown section %d: the file is damaged", id)
			break
		}
		r.what = sectionNames[id] + " section"
		body := r.bytes(int(r.u32()))
		if r.err != nil {
			break
		}
		s := section{there: true, body: body, base: r.p - len(body)}
		if id == secCustom {
			if err := s.custom(&names); err != nil {
				return nil, err
			}
			continue
		}
		order := slices.Index(sectionOrder, id)
		switch {
		case order < 0:
			r.failAt(at, "exception handling is not supported")
		case order == last:
			r.failAt(at, "it stands there twice")
		case order < last:
			r.failAt(at, "it stands behind the %s section, where it must not be", sectionNames[sectionOrder[last]])
		}
		last = order
		m.Bytes = append(m.Bytes, bin[at:r.p]...)
		s.body = m.Bytes[len(m.Bytes)-len(body):]
		m.sections[id] = s
	}
	return names, r.err
}

// custom reads a custom section's name and keeps it if it is "name".
func (s section) custom(names **section) error {
	r := s.reader(secCustom)
	if r.name() == "name" && r.err == nil {
		s.body, s.base = s.body[r.p:], s.base+r.p
		*names = &s
	}
	return r.err
}

// A checker reads the sections of a module.
type checker struct {
	*Module
	locals   int    // of all functions so far
	elements int    // of all segments so far
	blocks   []byte // scratch
}
