package wasm

import "unicode/utf8"

// nameBytes is how much of a function's name is kept: traces have dozens of them, and a log line for each trap.
const nameBytes = 200

// cutName cuts a name between runes.
func cutName(name []byte) []byte {
	if len(name) <= nameBytes {
		return name
	}
	end := nameBytes
	for !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}

// appendNames appends a name section with the function names of the one given, or nothing if it is damaged:
// names only serve people. Functions that are not imported move up by shift.
func (m *Module) appendNames(to []byte, s *section, shift int) []byte {
	r := s.reader(secCustom)
	for r.p < len(r.b) {
		id := r.byte()
		part := r.sub(int(r.u32()), "name section")
		if r.err != nil {
			return to
		}
		if id == 1 {
			return m.appendFunctionNames(to, part, shift)
		}
	}
	return to
}

func (m *Module) appendFunctionNames(to []byte, r *reader, shift int) []byte {
	n := r.count(2, "names")
	list := appendU32(make([]byte, 0, len(r.b)+8), uint32(n))
	for range n {
		fn := r.u32()
		name := r.bytes(int(r.u32()))
		if int64(fn) >= int64(len(m.funcs)) || !utf8.Valid(name) {
			return to
		}
		if int(fn) >= m.imported() {
			fn += uint32(shift)
		}
		name = cutName(name)
		list = append(appendU32(appendU32(list, fn), uint32(len(name))), name...)
	}
	if r.err != nil {
		return to
	}
	body := appendName(nil, "name")
	body = append(body, 1)
	body = appendU32(body, uint32(len(list)))
	return appendSection(to, secCustom, append(body, list...))
}

func appendSection(to []byte, id byte, body []byte) []byte {
	to = appendU32(append(to, id), uint32(len(body)))
	return append(to, body...)
}
