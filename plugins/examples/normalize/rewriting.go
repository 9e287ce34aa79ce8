package main

import (
	"bytes"
	"unicode/utf8"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// rewriting makes the normal form of one path after the other, in memory of its own.
type rewriting struct{ path, next []byte }

// problem is why a path isn't taken. The zero value is none.
type problem struct {
	code    uint8
	text    string
	segment int // that the text is about; -1: the path
}

var tooLong = problem{codeTooLong, "the path is too long", -1}

// write makes the normal form of a path.
func (w *rewriting) write(r *rules, path locktopus.Path) problem {
	w.path = w.path[:0]
	for at, number := 0, 0; at < len(path); number++ {
		begin := len(w.path)
		n := w.ascii(r, path[at:])
		if path[at+n] != 0 {
			n += bytes.IndexByte(path[at+n:], 0)
			w.path = r.appendForm(w.path[:begin], path[at:at+n])
		}
		at += n + 1
		w.trim(r, begin)
		switch n := len(w.path) - begin; {
		case joining.fault != "":
			return problem{codeTooLong, joining.fault, number}
		case n > r.limits.segmentBytes:
			return problem{codeTooLong, "it is too long", number}
		case n > 0:
			w.path = append(w.path, 0)
		case !r.dropEmpty:
			return problem{codeEmpty, "it is empty", number}
		}
		if number == r.limits.pathSegments || len(w.path) > answerBytes {
			return tooLong
		}
	}
	if len(w.path) == 0 && len(path) > 0 {
		return problem{codeEmpty, "nothing is left of the path", -1}
	}
	return w.replace(r)
}

// ascii appends the form of a segment, up to its end or to the first byte that isn't ASCII. It returns how
// many bytes these were.
func (w *rewriting) ascii(r *rules, path []byte) int {
	to := w.path
	for i, c := range path {
		if c == 0 || c >= utf8.RuneSelf {
			w.path = to
			return i
		}
		to = append(to, r.ascii[c])
	}
	panic("normalize: a path doesn't end in NUL")
}

// trim trims what the path has behind begin.
func (w *rewriting) trim(r *rules, begin int) {
	if s := w.path[begin:]; len(s) > 0 && !areSmall(s) {
		w.path = append(w.path[:begin], r.trim(s)...)
	}
}

// replace goes from alias to alias. checkChains saw to it that there is an end.
func (w *rewriting) replace(r *rules) problem {
	for one := r.aliases.of(w.path); one != nil; one = r.aliases.of(w.path) {
		w.next = append(append(w.next[:0], one.to...), w.path[len(one.from):]...)
		w.path, w.next = w.next, w.path
	}
	if len(w.path) > answerBytes || bytes.Count(w.path, []byte{0}) > r.limits.pathSegments {
		return tooLong
	}
	return problem{}
}
