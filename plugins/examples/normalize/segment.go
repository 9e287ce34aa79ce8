package main

import (
	"unicode"
	"unicode/utf8"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// settled says whether the rules leave the path as it is. It may say no of some that they do.
func (r *rules) settled(path locktopus.Path) bool {
	short := len(path) <= min(r.limits.segmentBytes, r.limits.pathSegments)
	return short && (r.scan.plain(path) || r.fine(path)) && r.aliases.of(path) == nil
}

// fine says the same, aliases aside, with a closer look.
func (r *rules) fine(path locktopus.Path) bool {
	begin := 0
	for at := 0; at < len(path); at++ {
		switch c := path[at]; {
		case c == 0:
			if s := path[begin:at]; len(s) == 0 || !areSmall(s) && len(r.trim(s)) < len(s) {
				return false
			}
			begin = at + 1
		case c < utf8.RuneSelf:
			if r.ascii[c] != c {
				return false
			}
		default:
			c, n := utf8.DecodeRune(path[at:])
			if !r.characters.stays(c) {
				return false
			}
			at += n - 1
		}
	}
	return true
}

// joining is where characters that join are put together.
var joining writer

// appendForm appends the segment's normal form, not trimmed yet. If joining has a fault then, it is none.
func (r *rules) appendForm(to, segment []byte) []byte {
	next, n := utf8.DecodeRune(segment)
	for len(segment) > 0 {
		if c := segment[0]; c < utf8.RuneSelf && len(segment) > 1 && segment[1] < utf8.RuneSelf {
			to = append(to, r.ascii[c]) // a shorter way to what follows
			segment = segment[1:]
			next = rune(segment[0])
			continue
		}
		first, here := next, segment[:n]
		segment = segment[n:]
		next, n = utf8.DecodeRune(segment)
		if r.characters.joins(next) {
			joining.begin()
			joining.add(&r.characters, first)
			for r.characters.joins(next) {
				joining.add(&r.characters, next)
				segment = segment[n:]
				next, n = utf8.DecodeRune(segment)
			}
			to = joining.end(&r.characters, to)
		} else if known := r.characters.of(first); known != nil {
			to = append(to, known.alone...)
		} else {
			to = append(to, here...)
		}
	}
	return to
}

// trim takes off what segments may neither begin nor end with.
func (r *rules) trim(segment []byte) []byte {
	for r.trimSpaces && len(segment) > 0 {
		c, n := rune(segment[0]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRune(segment)
		}
		if !isSpace(c) {
			break
		}
		segment = segment[n:]
	}
	for len(segment) > 0 {
		c, n := rune(segment[len(segment)-1]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeLastRune(segment)
		}
		if !(r.trimSpaces && isSpace(c)) && !(c < utf8.RuneSelf && r.ends[c]) {
			break
		}
		segment = segment[:len(segment)-n]
	}
	return segment
}

// isSpace says whether Unicode calls a character white space.
func isSpace(c rune) bool {
	return c == ' ' || '\t' <= c && c <= '\r' || c >= utf8.RuneSelf && unicode.IsSpace(c)
}

// areSmall says of the most usual segments that they are trimmed.
func areSmall(segment []byte) bool { return isSmall(segment[0]) && isSmall(segment[len(segment)-1]) }

func isSmall(c byte) bool { return 'a' <= c && c <= 'z' }
