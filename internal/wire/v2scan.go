package wire

// has is a set of members that a v2 message has.
type has uint16

const (
	hasOp has = 1 << iota
	hasID
	hasLock
	hasResources
	hasWait
	hasLease
	hasNote
	hasLeave
	hasParty
)

// scannedV2 are the operations that the scanner takes, with the members that each must and may have.
var scannedV2 = [v2Ops]struct{ must, may has }{
	V2Lock:      {hasOp | hasID | hasResources, hasWait | hasLease | hasNote | hasLeave | hasParty},
	V2Release:   {hasOp | hasID | hasLock, 0},
	V2Renew:     {hasOp | hasID, hasLock | hasLease},
	V2Upgrade:   {hasOp | hasID | hasLock, hasWait},
	V2Downgrade: {hasOp | hasID | hasLock, 0},
}

// scan parses msg if it has a common shape; if not, ok is false and msg is as it was.
func (p *V2Parser) scan(msg []byte) (r V2Request, ok bool) {
	s := scanner{b: msg, permits: true, most: mostValues(p.Values)}
	r.WaitMS, r.LeaseMS = V2None, V2None
	var seen has
	if !s.eat('{') {
		return r, false
	}
	for {
		key, ok := s.str()
		if !ok || !s.eat(':') {
			return r, false
		}
		s.values++
		member, ok := p.scanMember(&s, key, &r)
		if !ok || seen&member != 0 {
			return r, false
		}
		seen |= member
		if s.eat('}') {
			break
		}
		if !s.eat(',') {
			return r, false
		}
	}
	s.space()
	shape := &scannedV2[r.Op%v2Ops]
	if s.i != len(msg) || s.values > s.most || shape.must == 0 || seen&^shape.may != shape.must {
		return r, false
	}
	return r, r.LeaseMS == V2None || r.Op == V2Lock || r.Lock != 0
}

// scanMember takes the value of a member and says which it is.
func (p *V2Parser) scanMember(s *scanner, key []byte, r *V2Request) (member has, ok bool) {
	var n uint64
	switch string(key) {
	case "op":
		member = hasOp
		var name []byte
		if name, ok = s.str(); ok {
			r.Op, ok = v2OpNamed(name)
		}
	case "id":
		member = hasID
		r.ID, ok = s.number(1, V2MaxID)
	case "lock":
		member = hasLock
		r.Lock, ok = s.number(1, V2MaxID)
	case "resources":
		member = hasResources
		ok = p.scanResources(s)
		r.Resources = p.resources
	case "wait_ms":
		member = hasWait
		n, ok = s.number(0, V2MaxID)
		r.WaitMS = int64(n)
	case "lease_ms":
		member = hasLease
		n, ok = s.number(0, V2MaxID)
		r.LeaseMS = int64(n)
	case "note":
		member = hasNote
		r.Note, ok = s.str()
	case "leave":
		member = hasLeave
		r.Leave, ok = s.flag()
	case "party":
		member = hasParty
		r.Party, ok = s.number(0, V2MaxID)
	}
	return member, ok
}
