package wire

import (
	"math"
	"unicode/utf8"
)

// The fast way: a scanner for the shapes that clients really send. It accepts a part of what the
// general way accepts (json.go), to the same result, and words no errors: whatever it doesn't
// recognize, it leaves to that. Strings are slices of the message itself, so one with an escape is
// not for it.

// plain tells of each byte whether it stands for itself inside a JSON string and is ASCII.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// maxDigits is how many digits a number may have that surely fits 64 bits.
const maxDigits = 19

type scanner struct {
	b       []byte
	i       int
	permits bool // resources may be permits
	most    int  // values that a message may hold
	values  int  // that were taken, counted as the check counts them
}

// scanResources parses a non-empty array of resources.
func (p *core) scanResources(s *scanner) bool {
	p.resources, p.segments = p.resources[:0], p.segments[:0]
	if !s.eat('[') {
		return false
	}
	for {
		s.values++
		r, ok := p.scanResource(s)
		if !ok {
			return false
		}
		if s.values > s.most {
			return false
		}
		p.resources = append(p.resources, r)
		if s.eat(']') {
			return true
		}
		if !s.eat(',') {
			return false
		}
	}
}

func (p *core) scanResource(s *scanner) (r Resource, ok bool) {
	const typ, path, limit, weight = 1, 2, 4, 8
	seen := 0
	if !s.eat('{') {
		return r, false
	}
	for {
		key, ok := s.str()
		if !ok || !s.eat(':') {
			return r, false
		}
		s.values++
		bit := 0
		switch {
		case string(key) == "type":
			bit = typ
			var name []byte
			if name, ok = s.str(); ok {
				r.Type, ok = typeNamed(name)
			}
		case string(key) == "path":
			bit = path
			r.Path, ok = p.scanPath(s)
		case string(key) == "limit" && s.permits:
			bit = limit
			r.Limit, ok = s.uint32()
		case string(key) == "weight" && s.permits:
			bit = weight
			r.Weight, ok = s.uint32()
		}
		if !ok || bit == 0 || seen&bit != 0 {
			return r, false
		}
		seen |= bit
		if s.eat('}') {
			break
		}
		if !s.eat(',') {
			return r, false
		}
	}
	if r.Type != Permit {
		return r, seen == typ|path
	}
	if seen&weight == 0 {
		r.Weight = 1
	}
	return r, s.permits && seen|weight == typ|path|limit|weight
}

func (p *core) scanPath(s *scanner) (path [][]byte, ok bool) {
	if !s.eat('[') {
		return nil, false
	}
	first := len(p.segments)
	if s.eat(']') {
		return p.path(first), true
	}
	for {
		segment, ok := s.str()
		if !ok {
			return nil, false
		}
		if s.values++; s.values > s.most {
			return nil, false
		}
		p.segments = append(p.segments, segment)
		if s.eat(']') {
			return p.path(first), true
		}
		if !s.eat(',') {
			return nil, false
		}
	}
}

// typeNamed reads a type as clients may write it.
func typeNamed(name []byte) (t Type, ok bool) {
	switch len(name) {
	case 1:
		switch name[0] | 0x20 {
		case 'r':
			return Read, true
		case 'w':
			return Write, true
		case 'p':
			return Permit, true
		}
	case 4:
		return Read, equalFold(name, "read")
	case 5:
		return Write, equalFold(name, "write")
	case 6:
		return Permit, equalFold(name, "permit")
	}
	return 0, false
}

// equalFold compares with lower-case ASCII letters of the same length.
func equalFold(b []byte, lower string) bool {
	for i, c := range b {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// eat takes c if it comes next, behind any white space.
func (s *scanner) eat(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		if s.b[s.i] != c {
			return false
		}
		s.i++
		return true
	}
	return s.eatSpaced(c)
}

func (s *scanner) eatSpaced(c byte) bool {
	s.space()
	if s.i == len(s.b) || s.b[s.i] != c {
		return false
	}
	s.i++
	return true
}

func (s *scanner) space() {
	for s.i < len(s.b) && isSpace(s.b[s.i]) {
		s.i++
	}
}

// str takes a string without escapes; its bytes are the message's own.
func (s *scanner) str() (text []byte, ok bool) {
	if !s.eat('"') {
		return nil, false
	}
	b, high := s.b[s.i:], false
	for n, c := range b {
		if plain[c] {
			continue
		}
		if c == '"' {
			s.i += n + 1
			text = b[:n:n]
			return text, !high || utf8.Valid(text)
		}
		if c < 0x80 {
			return nil, false
		}
		high = true
	}
	return nil, false
}

// number takes digits that make a whole number in a range.
func (s *scanner) number(least, most uint64) (n uint64, ok bool) {
	s.space()
	start := s.i
	for s.i < len(s.b) && isDigit(s.b[s.i]) {
		s.i++
	}
	return wholeNumber(s.b[start:s.i], least, most)
}

func (s *scanner) uint32() (n uint32, ok bool) {
	n64, ok := s.number(1, math.MaxUint32)
	return uint32(n64), ok
}

// flag takes true or false.
func (s *scanner) flag() (set, ok bool) {
	s.space()
	rest := s.b[s.i:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		s.i += 4
		return true, true
	case len(rest) >= 5 && string(rest[:5]) == "false":
		s.i += 5
		return false, true
	}
	return false, false
}

// wholeNumber reads a JSON number that is written as a whole one: digits alone, no zero in front.
func wholeNumber(text []byte, least, most uint64) (n uint64, ok bool) {
	if len(text) == 0 || len(text) > maxDigits || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	for _, c := range text {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, least <= n && n <= most
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t'
}
