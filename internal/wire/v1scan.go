package wire

// scan parses msg if it has a common shape; if not, ok is false and msg is as it was.
func (p *V1Parser) scan(msg []byte) (r V1Request, ok bool) {
	s := scanner{b: msg, most: mostValues(p.Values)}
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
		s.values++
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
	case string(action) == "lock" && hasResources && s.values <= s.most:
		return V1Request{Action: V1Lock, Resources: p.resources}, true
	case string(action) == "release" && !hasResources:
		return V1Request{Action: V1Release}, true
	}
	return r, false
}
