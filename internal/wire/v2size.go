package wire

import "unicode/utf8"

// How long what is told of locks is at most when it is printed, a comma before it included: for who must keep
// an answer within bounds.

const (
	resourceRest = len(`,{"type":"permit","path":[],"limit":4294967295,"weight":4294967295}`)
	seenRest     = len(`,{"session":,"name":,"lock":18446744073709551615,"note":,"token":"18446744073709551615",` +
		`"state":"upgrade_timeout","since_ms":9223372036854775807,"resources":[],"cut":true,"waits_for":[]}`)
	blockerRest = len(`,{"session":,"lock":18446744073709551615,"note":,"type":"permit","path":[],` +
		`"state":"upgrade_timeout","since_ms":9223372036854775807}`)
)

// Size is for a resource.
func (r *Resource) Size() int { return resourceRest + pathSize(r.Path) }

// Size is for somebody's lock.
func (l *V2Seen) Size() int {
	n := seenRest + textSize(l.Session) + textSize(l.Name) + textSize(l.Note)
	for i := range l.Resources {
		n += l.Resources[i].Size()
	}
	for i := range l.WaitsFor {
		n += l.WaitsFor[i].Size()
	}
	return n
}

// Size is for what is in the way.
func (b *V2Blocker) Size() int {
	return blockerRest + textSize(b.Session) + textSize(b.Note) + pathSize(b.Path)
}

func pathSize(path [][]byte) (n int) {
	for _, segment := range path {
		n += 1 + textSize(segment)
	}
	return n
}

// textSize is how long appendText prints a text.
func textSize(text []byte) int {
	n := len(text) + 2
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= utf8.RuneSelf:
			return n + wideSize(text[i:])
		case plain[c]:
		case c < ' ':
			n += 5
		default:
			n++
		}
	}
	return n
}

// wideSize is how much longer a text is printed than it is.
func wideSize(text []byte) (more int) {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError:
			more += utf8.RuneLen(r) - n
		case n > 1 || plain[text[0]]:
		case r < ' ':
			more += 5
		default:
			more++
		}
		text = text[n:]
	}
	return more
}
