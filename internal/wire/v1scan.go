package wire

import "unicode/utf8"

// The fast way: a scanner for the shapes that clients really send. It accepts a part of what the
// general way accepts (v1json.go), to the same result, and words no errors: whatever it doesn't
// recognize, it leaves to that. Strings are slices of the message itself, so one with an escape is
// not for it.

// plain tells of each byte whether it stands for itself inside a JSON string and is ASCII.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

type scanner struct {
	b []byte
	i int
}

// scan parses msg if it has a common shape; if not, ok is false and msg is as it was.
func (p *V1Parser) scan(msg []byte) (r V1Request, ok bool) {
	s := scanner{b: msg}
	var action []byte
	var hasAction, hasResources bool
	if !s.eat('{') {
		return r, false
	}
	for {
		key, ok := s.str()
		if !ok || !s.eat(':') {
			return r, false
		}
		switch {
		case string(key) == "action" && !hasAction:
			hasAction = true
			action, ok = s.str()
		case string(key) == "resources" && !hasResources:
			hasResources = true
			ok = p.scanResources(&s)
		default:
			return r, false
		}
		if !ok {
			return r, false
		}
		if s.eat('}') {
			break
		}
		if !s.eat(',') {
			return r, false
		}
	}
	s.space()
	if s.i != len(msg) {
		return r, false
	}
	switch {
	case string(action) == "lock" && hasResources && p.fewValues():
		return V1Request{Action: V1Lock, Resources: p.resources}, true
	case string(action) == "release" && !hasResources:
		return V1Request{Action: V1Release}, true
	}
	return r, false
}

// fewValues tells whether a lock that the scanner took holds no more values than it may (scanPath has
// only kept memory in bounds): two members of the message; each resource itself and its two members;
// the segments.
func (p *V1Parser) fewValues() bool {
	return 2+3*len(p.resources)+len(p.segments) <= p.most()
}

// scanResources parses a non-empty array of resources.
func (p *V1Parser) scanResources(s *scanner) bool {
	p.resources, p.segments = p.resources[:0], p.segments[:0]
	if !s.eat('[') {
		return false
	}
	for {
		r, ok := p.scanResource(s)
		if !ok {
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

func (p *V1Parser) scanResource(s *scanner) (r Resource, ok bool) {
	var hasType, hasPath bool
	if !s.eat('{') {
		return r, false
	}
	for {
		key, ok := s.str()
		if !ok || !s.eat(':') {
			return r, false
		}
		switch {
		case string(key) == "type" && !hasType:
			hasType = true
			var name []byte
			if name, ok = s.str(); ok {
				r.Type, ok = typeNamed(name)
			}
		case string(key) == "path" && !hasPath:
			hasPath = true
			r.Path, ok = p.scanPath(s)
		default:
			return r, false
		}
		if !ok {
			return r, false
		}
		if s.eat('}') {
			return r, hasType && hasPath
		}
		if !s.eat(',') {
			return r, false
		}
	}
}

func (p *V1Parser) scanPath(s *scanner) (path [][]byte, ok bool) {
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
		if len(p.segments) == p.most() {
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

// path is the segments from first on. It stays right when p.segments grows and moves: its own array
// is then no longer written to.
func (p *V1Parser) path(first int) [][]byte {
	return p.segments[first:len(p.segments):len(p.segments)]
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
		}
	case 4:
		return Read, equalFold(name, "read")
	case 5:
		return Write, equalFold(name, "write")
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

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t'
}
