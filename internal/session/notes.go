package session

import (
	"unicode"
	"unicode/utf8"
)

// Notes are kept in blocks, so that a lock with one allocates as little as one without.
const noteBlock = 60

type block struct {
	next uint32
	text [noteBlock]byte
}

// keepNote copies a text and gives the index of its first block; 0: there is none.
func (sp *Space) keepNote(text []byte) (first uint32) {
	link := &first
	for len(text) > 0 {
		i := sp.notes.alloc()
		b := sp.notes.at(i)
		text = text[copy(b.text[:], text):]
		*link, link = i, &b.next
	}
	return first
}

// appendNote appends a text that was kept. It ends at its first NUL.
func (sp *Space) appendNote(dst []byte, i uint32) []byte {
	for i != 0 {
		b := sp.notes.at(i)
		n := 0
		for n < len(b.text) && b.text[n] != 0 {
			n++
		}
		dst, i = append(dst, b.text[:n]...), b.next
	}
	return dst
}

func (sp *Space) dropNote(i uint32) {
	for i != 0 {
		next := sp.notes.at(i).next
		sp.notes.free(i)
		i = next
	}
}

// clean makes one line of a text that is shown to people, in place: what moves a cursor or turns the
// direction of writing becomes a space.
func clean(text []byte) []byte {
	plain := true
	for _, c := range text {
		plain = plain && ' ' <= c && c < 0x7f
	}
	if plain {
		return text
	}
	out := text[:0]
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if unicode.IsControl(r) || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			out = append(out, ' ')
		} else {
			out = append(out, text[:n]...)
		}
		text = text[n:]
	}
	return out
}
