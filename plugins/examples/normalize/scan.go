package main

import "encoding/binary"

// scan looks at paths eight bytes at a time for anything that the rules might not leave as it is. Most
// paths have nothing of the kind, and every request has to wait for this.
type scan struct {
	high, upper, blank uint64 // all bits, if these matter: bytes above ASCII, capitals, blanks and control characters
	// Each has all its bytes the same: one that segments may not end with. Most rules have one or none, and so
	// the first is not in the list: a loop within the loop costs more than what it does. If there is none, it is
	// NUL, behind which a segment can't end either way.
	firstEnd uint64
	moreEnds []uint64
}

func newScan(r *rules) (s scan) {
	s.high, s.upper, s.blank = mask(r.nfc || r.trimSpaces), mask(r.fold), mask(r.trimSpaces)
	for i, c := range []byte(r.trimEnd) {
		if i == 0 {
			s.firstEnd = uint64(c) * ones
		} else {
			s.moreEnds = append(s.moreEnds, uint64(c)*ones)
		}
	}
	return s
}

func mask(matters bool) uint64 {
	if matters {
		return ^uint64(0)
	}
	return 0
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
	lows  = 0x7f * ones
)

// zeros has the highest bit of each byte that is zero.
func zeros(w uint64) uint64 { return ^(w&lows + lows | w | lows) }

// below has the highest bit of each byte that is less than n, which is at most 128.
func below(w uint64, n uint64) uint64 { return ^(w&lows + (0x80-n)*ones | w) & highs }

// plain says whether the rules leave the path as it is, aliases aside. It may say no of some that they do.
// It is one function and calls none: in WebAssembly, Go's calls cost as much as all the rest.
func (s *scan) plain(path []byte) bool {
	begins, lost := uint64(0x80), uint64(0) // of the first byte: a segment begins; the byte before may be lost at an end
	for at := 0; at < len(path); at += 8 {
		var w uint64
		if rest := path[at:]; cap(rest) >= 8 {
			w = binary.LittleEndian.Uint64(rest[:8])
			if len(rest) < 8 { // what is behind the path doesn't count
				unused := ^uint64(0) << (8 * len(rest))
				w = w&^unused | 'a'*ones&unused
			}
		} else {
			w = 'a' * ones << (8 * len(rest))
			for i, c := range rest {
				w |= uint64(c) << (8 * i)
			}
		}
		nul := zeros(w)
		begin := nul<<8 | begins
		blank := below(w, ' '+1) &^ nul & s.blank
		end := blank | zeros(w^s.firstEnd)
		for _, c := range s.moreEnds {
			end |= zeros(w ^ c)
		}
		bad := nul & begin // an empty segment
		bad |= w & highs & s.high
		bad |= below(w, 'Z'+1) &^ below(w, 'A') & s.upper
		bad |= blank&begin | (end<<8|lost)&nul
		if bad != 0 {
			return false
		}
		begins, lost = nul>>56, end>>56
	}
	return true
}
