// Normalize gives paths that mean the same one form: letters that differ in case only, characters that
// Unicode can write in several ways, blanks around names, old names of subtrees. See README.md.
//
// It is asked before every lock, and must never change its mind: what it makes of a path it leaves as it
// is. That holds for each step by itself, and for all in their order, which tests try with whatever is odd
// in Unicode.
package main

import (
	"strconv"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// Codes of denials, which clients get to see.
const (
	codeEmpty   = 1 // a segment, or the path that is left, is empty
	codeTooLong = 2
)

// current are the rules of the configuration.
var current rules

//go:wasmexport locktopus_init
func initialize(n uint32) locktopus.Verdict {
	fault := current.read(locktopus.Config(n))
	if fault != "" {
		return locktopus.Fault(fault)
	}
	return locktopus.Allow()
}

// normalize allocates nothing: paths that are fine are only looked at.
//
//go:wasmexport locktopus_normalize
func normalize(n uint32) locktopus.Verdict {
	q := locktopus.NewRequest(n)
	for i := range q.Len() {
		if !current.settled(q.At(i).Path()) {
			return rewrite(q)
		}
	}
	return locktopus.Unchanged()
}

// written is the path that was rewritten last.
var written rewriting

// rewrite writes all paths anew.
func rewrite(q locktopus.Request) locktopus.Verdict {
	var w locktopus.Rewriter
	joining.start()
	bytes, changed := 0, false
	for i := range q.Len() {
		path := q.At(i).Path()
		p := written.write(&current, path)
		if bytes += len(written.path) + 1; p.code == 0 && bytes > answerBytes {
			p = tooLong
		}
		if p.code != 0 {
			return deny(i, p)
		}
		changed = changed || string(written.path) != string(path)
		w.Path(written.path)
	}
	if !changed {
		return locktopus.Unchanged()
	}
	return w.Verdict()
}

// answerBytes is how long an answer can be.
const answerBytes = 65535

// reason is the text of the last denial.
var reason []byte

func deny(resource int, p problem) locktopus.Verdict {
	reason = append(strconv.AppendInt(append(reason[:0], "resources["...), int64(resource), 10), "]: "...)
	if p.segment >= 0 {
		reason = append(strconv.AppendInt(append(reason, "segment "...), int64(p.segment), 10), ": "...)
	}
	reason = append(reason, p.text...)
	return locktopus.Deny(p.code, reason)
}

func main() {}
