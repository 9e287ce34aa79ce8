package session

import (
	"slices"
	"unsafe"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// watch tells its session's attachment of all that happens to locks at, under and above a path. It ends with
// the attachment.
type watch struct {
	id      uint64
	session *Session
	group   *group // nil: it lags, and is given nothing any more
	place   int    // in the group
	told    uint64 // changes
	since   uint64 // number of the last change before it was told what there is
	found   uint64 // number of the last change that it was found by
	changes []*change
	size    int64 // of what waits to be told
	lagged  bool  // changes were lost: it is over once that is told
}

// change is what happened to a lock. All watches that it concerns share it, and nothing of it is ever changed
// again.
type change struct {
	number uint64
	kind   wire.V2ChangeKind
	seen   wire.V2Seen // with all its resources
	size   int64
}

const (
	// What waits to be told of one watch. With more of it the watch lags.
	mostChanges     = 1024
	mostChangeBytes = 1 << 20
	// What waits to be given to watches. With more of it all of them lag.
	mostPending      = 1 << 14
	mostPendingBytes = 16 << 20
	// sliceWatches is how many watches are given a change before the rest is left to Tick.
	sliceWatches = 4096
	// changeBytes is how long one change is told, sliceBytes how many of what is kept of changes one call tells.
	changeBytes = 32 << 10
	sliceBytes  = 256 << 10
)

// watch begins one, and tells what locks there are. A retry tells it anew; it begins it if it is over, which
// it is when the attachment is another one.
func (sp *Space) watch(s *Session, r *Request) {
	x := s.watchOf(r.ID)
	switch {
	case x != nil:
	case len(s.watches) >= sp.limits.Watches:
		sp.no(s, r.ID, wire.V2Limit, "the session has %d watches already, more are not allowed (limits.session_watches): end some first", len(s.watches))
		return
	case sp.watched.count >= sp.limits.AllWatches:
		sp.no(s, r.ID, wire.V2TryLater, "the namespace has %d watches already, more are not allowed (limits.namespace_watches)", sp.watched.count)
		return
	default:
		x = &watch{id: r.ID, session: s}
		s.watches = append(s.watches, x)
		sp.watched.add(x, r.Path)
	}
	x.since = sp.watched.number
	m := sp.fx.answer(r.ID, 0, wire.V2Watching)
	m.Locks, m.Next = sp.survey(s, r.Path, engine.Cursor{}, mostInspected)
}

func (s *Session) watchOf(id uint64) *watch {
	for _, x := range s.watches {
		if x.id == id {
			return x
		}
	}
	return nil
}

// unwatch ends a watch, if it isn't over.
func (sp *Space) unwatch(s *Session, r *Request) {
	if x := s.watchOf(r.Watch); x != nil {
		sp.endWatch(x)
	}
	sp.fx.answer(r.ID, 0, wire.V2Unwatched)
}

func (sp *Space) endWatch(x *watch) {
	s := x.session
	s.watches = slices.DeleteFunc(s.watches, func(o *watch) bool { return o == x })
	if len(s.watches) == 0 {
		s.watches = nil
	}
	sp.watched.remove(x)
}

func (sp *Space) endWatches(s *Session) {
	for _, x := range s.watches {
		sp.watched.remove(x)
	}
	s.watches = nil
}

// changed has watches told of a lock. It costs nothing while there are none, and little while none is concerned.
// The state is that which the lock has come to, or zero: as the engine has it.
func (sp *Space) changed(kind wire.V2ChangeKind, h engine.Handle, state wire.V2State) {
	w := &sp.watched
	if w.count == 0 {
		return
	}
	v, err := sp.engine.Look(h)
	if err != nil || !w.concerned(v.Resources) {
		return
	}
	var c copies
	w.number++
	x := &change{number: w.number, kind: kind, seen: sp.see(&v, &c)}
	switch {
	case state == wire.V2Released && !v.Acquired:
		x.seen.State = wire.V2Canceled
	case state != wire.V2NoState:
		x.seen.State = state
	}
	x.size = int64(unsafe.Sizeof(*x)+unsafe.Sizeof(x)) + int64(cap(c.text)) + int64(cap(c.segments))*int64(unsafe.Sizeof(c.segments[0])) +
		int64(cap(c.resources))*int64(unsafe.Sizeof(c.resources[0]))
	w.pending = append(w.pending, x)
	w.pendingSize += x.size
	if len(w.pending) > mostPending || w.pendingSize > mostPendingBytes {
		sp.allLag()
	}
}

// spread gives changes to the watches that they concern, some of them.
func (sp *Space) spread() {
	w := &sp.watched
	for n := 0; len(w.pending) > 0 && n < sliceWatches; {
		c := w.pending[0]
		w.drop()
		n += 1 + w.each(c, func(x *watch) { sp.give(x, c) })
		lagging := w.lagging
		w.lagging = nil
		for _, x := range lagging {
			w.remove(x)
		}
	}
}

// give puts a change to those that a watch is to tell, and has the attachment come for it. If there are too many
// the watch lags: they are dropped, and its client is told no more than that.
func (sp *Space) give(x *watch, c *change) {
	w := &sp.watched
	if len(x.changes) >= mostChanges || x.size+c.size > mostChangeBytes {
		x.lagged = true
		w.lagging = append(w.lagging, x)
	} else {
		x.changes = append(x.changes, c)
		x.size += c.size
		w.queued += c.size
	}
	sp.alert(x.session)
}

// allLag is for when changes come faster than they can be given to watches.
func (sp *Space) allLag() {
	for sp.watched.count > 0 {
		g := sp.watched.groups[len(sp.watched.groups)-1]
		x := g.watches[len(g.watches)-1]
		x.lagged = true
		sp.watched.remove(x)
		sp.alert(x.session)
	}
}

// alert has a session's attachment come for changes, also the calling one.
func (sp *Space) alert(s *Session) {
	if s == sp.caller {
		sp.fx.Rest = true
		return
	}
	sp.wake(s)
}

// tellChanges tells what watches have to tell, as far as there is room for it behind n messages. True: that was
// all.
func (sp *Space) tellChanges(s *Session, n int) bool {
	bytes := int64(0)
	for k := 0; k < len(s.watches); k++ {
		x := s.watches[k]
		for len(x.changes) > 0 {
			if n++; n > sliceEvents || bytes > sliceBytes {
				return false
			}
			c := x.changes[0]
			bytes += c.size
			x.changes[0] = nil
			x.changes = x.changes[1:]
			x.size -= c.size
			sp.watched.queued -= c.size
			sp.tellChange(x, c)
		}
		x.changes = nil
		if x.lagged {
			x.told++
			m := sp.fx.message()
			m.Watch, m.N, m.Change = x.id, x.told, wire.V2Lagged
			sp.endWatch(x)
			k--
		}
	}
	return true
}

// tellChange tells a change with the resources that lie at, under or above the path of the watch: what else the
// lock has may not be for its eyes.
func (sp *Space) tellChange(x *watch, c *change) {
	fx := sp.fx
	x.told++
	m := fx.message()
	m.Watch, m.N, m.Change = x.id, x.told, c.kind
	at := len(fx.seen)
	fx.seen = append(fx.seen, c.seen)
	seen := &fx.seen[at]
	from := len(fx.copies.resources)
	for i := range c.seen.Resources {
		if r := &c.seen.Resources[i]; x.group.key.meets(r.Path) {
			fx.copies.resources = append(fx.copies.resources, *r)
		}
	}
	seen.Resources = fx.copies.resources[from:len(fx.copies.resources):len(fx.copies.resources)]
	cut(seen, min(changeBytes, sp.limits.AnswerBytes))
	m.Locks = fx.seen[at : at+1 : at+1]
}
