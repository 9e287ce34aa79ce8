package main

import (
	"bytes"
	"strconv"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/go/strictjson"
)

// alias is another name for a subtree. Its paths have the normal form, each segment ended by NUL.
type alias struct {
	from, to []byte
	field    strictjson.Field
}

// aliases replace the beginnings of paths, the longest first, until there is none to replace.
type aliases struct {
	all     map[string]*alias       // by from
	starts  [256]bool               // the first bytes of their froms
	depths  [aliasDepthMax + 1]bool // of their froms
	deepest int
}

// Limits of aliases.
const (
	aliasesMax    = 1024
	aliasDepthMax = 64
)

func (a *aliases) read(r *rules, table strictjson.Field) {
	names := table.Keys()
	if len(names) > aliasesMax {
		table.Fail("there are more than " + strconv.Itoa(aliasesMax))
		return
	}
	a.all = map[string]*alias{}
	var all []*alias
	for _, name := range names {
		f := table.Key(name)
		one := &alias{from: readPath(r, f, name), to: readPath(r, f, f.Text("")), field: f}
		if f.Fault() != "" {
			return
		}
		a.add(one)
		all = append(all, one)
	}
	checkChains(all)
}

// readPath reads a path, with "/" between its segments, and gives it the normal form.
func readPath(r *rules, f strictjson.Field, text string) (path []byte) {
	segments, ok := split(text)
	if !ok {
		f.Fail(`"\" stands before "/" or another "\" only`)
	}
	if len(segments) > aliasDepthMax {
		f.Fail("a path has more than " + strconv.Itoa(aliasDepthMax) + " segments")
	}
	for _, s := range segments {
		begin := len(path)
		joining.start()
		path = r.appendForm(path, s)
		path = append(path[:begin], r.trim(path[begin:])...)
		switch n := len(path) - begin; {
		case joining.fault != "":
			f.Fail(joining.fault)
		case n == 0:
			f.Fail("a path is empty, or a segment of one")
		case n > r.limits.segmentBytes:
			f.Fail("a segment is longer than segment_bytes allows")
		case bytes.IndexByte(path[begin:], 0) >= 0:
			f.Fail("a segment cannot contain NUL")
		}
		path = append(path, 0)
	}
	return path
}

// split takes a path apart. In a segment, "\/" and "\\" stand for these two.
func split(text string) (segments [][]byte, ok bool) {
	segments = [][]byte{nil}
	for i := 0; i < len(text); i++ {
		last := &segments[len(segments)-1]
		switch {
		case text[i] == '/':
			segments = append(segments, nil)
		case text[i] != '\\':
			*last = append(*last, text[i])
		case i+1 < len(text) && (text[i+1] == '/' || text[i+1] == '\\'):
			i++
			*last = append(*last, text[i])
		default:
			return nil, false
		}
	}
	return segments, true
}

func (a *aliases) add(one *alias) {
	if same := a.all[string(one.from)]; same != nil {
		one.field.Fail(same.field.Place() + " is the same path")
		return
	}
	depth := bytes.Count(one.from, []byte{0})
	a.all[string(one.from)] = one
	a.starts[one.from[0]] = true
	a.depths[depth] = true
	a.deepest = max(a.deepest, depth)
}

// of is the alias for the longest beginning of a path that has one; nil: there is none. It is so short that it is
// inlined: most paths begin like none.
func (a *aliases) of(path []byte) (longest *alias) {
	if len(path) == 0 || !a.starts[path[0]] {
		return nil
	}
	return a.find(path)
}

// find is of, for a path that begins like one that has an alias.
func (a *aliases) find(path []byte) (longest *alias) {
	for at, depth := 0, 1; at < len(path) && depth <= a.deepest; depth++ {
		at += bytes.IndexByte(path[at:], 0) + 1
		if a.depths[depth] {
			if one := a.all[string(path[:at])]; one != nil {
				longest = one
			}
		}
	}
	return longest
}
