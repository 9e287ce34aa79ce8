package engine

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
)

// Cursors as texts are for whoever can't keep them between two calls. They hold handles, and no secrets.

// Text is the cursor as letters, digits, "-" and "_". It is "" for the zero Cursor.
func (c Cursor) Text() string {
	if c == (Cursor{}) {
		return ""
	}
	b := binary.AppendUvarint(nil, uint64(c.list))
	b = binary.AppendUvarint(b, c.seq)
	for _, h := range c.trail {
		b = binary.AppendUvarint(b, uint64(h))
	}
	if c.seeking {
		b = append(b, 1)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ErrCursor is the answer to a text that Cursor.Text can't have made.
var ErrCursor = errors.New("this is no place to go on from")

// ParseCursor reads what Text wrote. Inspect can be called with whatever it returns, also of texts that
// somebody made up: what such a cursor shows is only of no use.
func ParseCursor(text string) (c Cursor, err error) {
	if text == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) > 8*binary.MaxVarintLen64 {
		return c, ErrCursor
	}
	var numbers [2 + len(c.trail)]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return c, ErrCursor
		}
		numbers[i], b = n, b[size:]
	}
	c.list, c.seq, c.seeking = int(min(numbers[0], math.MaxInt32)), numbers[1], len(b) > 0
	for i := range c.trail {
		c.trail[i] = Handle(numbers[2+i])
	}
	if c.Text() != text {
		return Cursor{}, ErrCursor
	}
	return c, nil
}
