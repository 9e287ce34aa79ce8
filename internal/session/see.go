package session

import (
	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// copies are what is told of locks, in memory that isn't the engine's. What was copied stays good while more
// is.
type copies struct {
	resources []wire.Resource
	blockers  []wire.V2Blocker
	segments  [][]byte
	text      []byte
}

// keptCopies is how many bytes of text Effects keep memory for, and how many of the others in proportion: more than
// an answer of AnswerBytes needs, or each long one would grow it anew while the namespace waits.
const keptCopies = 1 << 20

func (c *copies) reset() {
	if cap(c.text)+16*(cap(c.segments)+cap(c.resources)+cap(c.blockers)) > keptCopies {
		*c = copies{}
	}
	c.resources, c.blockers, c.segments, c.text = c.resources[:0], c.blockers[:0], c.segments[:0], c.text[:0]
}

func (c *copies) string(text string) []byte {
	from := len(c.text)
	c.text = append(c.text, text...)
	return c.text[from:len(c.text):len(c.text)]
}

func (c *copies) note(sp *Space, l *lock) []byte {
	from := len(c.text)
	c.text = sp.appendNote(c.text, l.note)
	return c.text[from:len(c.text):len(c.text)]
}

func (c *copies) path(path [][]byte) [][]byte {
	from := len(c.segments)
	for _, seg := range path {
		at := len(c.text)
		c.text = append(c.text, seg...)
		c.segments = append(c.segments, c.text[at:len(c.text):len(c.text)])
	}
	return c.segments[from:len(c.segments):len(c.segments)]
}

func (c *copies) list(rs []engine.Resource) []wire.Resource {
	from := len(c.resources)
	for i := range rs {
		r := &rs[i]
		c.resources = append(c.resources, wire.Resource{Type: typeOf(r.Mode), Limit: r.Limit, Weight: r.Weight, Path: c.path(r.Path)})
	}
	return c.resources[from:len(c.resources):len(c.resources)]
}

func typeOf(m engine.Mode) wire.Type {
	switch m {
	case engine.Write:
		return wire.Write
	case engine.Permit:
		return wire.Permit
	}
	return wire.Read
}

// stateOf is the state of a lock as the engine has it.
func stateOf(v *engine.View) wire.V2State {
	switch {
	case v.Upgrading:
		return wire.V2Upgrading
	case v.Acquired:
		return wire.V2Acquired
	}
	return wire.V2Enqueued
}

// What people know the owners of locks by that aren't sessions'.
var (
	foreign = []byte("v1")
	server  = []byte("server")
)

// ServerLock is what the server's own lock is called: a namespace has one at most.
const ServerLock = 1

// see describes anybody's lock. A foreign one is called by its place in the order, which is what a client of v1
// is told when it enqueues.
func (sp *Space) see(v *engine.View, c *copies) wire.V2Seen {
	seen := wire.V2Seen{Token: v.Token, State: stateOf(v), SinceMS: wire.V2None, Resources: c.list(v.Resources)}
	i, ours := owned(v.Owner)
	switch {
	case v.Owner == Server:
		seen.Session, seen.Lock, seen.Note, seen.SinceMS = server, ServerLock, sp.house.note, left(sp.house.since, sp.now)
		return seen
	case !ours:
		seen.Session, seen.Lock = foreign, v.Seq
		return seen
	}
	l := sp.locks.at(i)
	s := sp.table[l.session]
	seen.Session, seen.Name, seen.Lock = c.string(s.id), s.name, l.id
	seen.SinceMS, seen.Note = left(l.since, sp.now), c.note(sp, l)
	return seen
}

// cut takes off what is told of a lock until it can be printed in so many bytes: notes and names first, then
// resources, the last ones first.
func cut(l *wire.V2Seen, room int) {
	if l.Size() <= room {
		return
	}
	l.Cut, l.Name, l.Note, l.WaitsFor = true, nil, nil, nil
	all := l.Resources
	l.Resources = nil
	room -= l.Size()
	for i := range all {
		if room -= all[i].Size(); room < 0 {
			break
		}
		l.Resources = all[:i+1]
	}
}
