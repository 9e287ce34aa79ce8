package engine

import (
	"errors"
	"fmt"
	"unsafe"
)

// Errors of Upgrade, CancelUpgrade and Downgrade.
var (
	ErrNotAcquired = errors.New("the lock waits: only what is acquired can be upgraded or downgraded")
	ErrUpgrading   = errors.New("an upgrade of this lock is pending: cancel it first")
	ErrNoUpgrade   = errors.New("no upgrade of this lock is pending: it came true, or was never asked for")
)

// OverlapError refuses an upgrade, because one is pending that it conflicts with: each of the two
// would wait for the other to give up what it reads.
type OverlapError struct {
	Handle     Handle // the request whose upgrade is pending
	Owner, Seq uint64
}

func (o *OverlapError) Error() string {
	return fmt.Sprintf("the upgrade of lock %d is pending and conflicts with this one, so that each would wait for the other: "+
		"release this lock and ask for a write instead", o.Seq)
}

// Changed is the answer to an upgrade, its cancellation, or a downgrade.
type Changed struct {
	Owner, Seq uint64
	Token      uint64
	// Pending says that an upgrade waits, and the token is still the old one; a Grant tells when it
	// comes true.
	Pending bool
	Grants  []Grant // as in Released
	More    bool
}

// Upgrade turns all reads of an acquired request into writes; permits stay as they are. It waits
// for the acquired requests that conflict with the new writes and for nobody else: it goes ahead of
// all that wait, and until it comes true or is cancelled nobody is granted what conflicts with it. A
// request without reads is upgraded at once and keeps its token.
//
// Errors: ErrStale, ErrNotAcquired, ErrUpgrading, *OverlapError, or a *RequestError about memory.
// They change nothing.
func (e *Engine) Upgrade(h Handle) (out Changed, err error) {
	out, _, err = e.UpgradeUnless(h, func() bool { return false })
	return out, err
}

// UpgradeUnless is an upgrade that somebody has a say in. Before it may come true, while it is pending, no is
// asked, unless there is nothing to upgrade; it may ask the engine for answers about requests, and change
// nothing. If it is true, the upgrade is cancelled: that is as if nobody had asked for it.
func (e *Engine) UpgradeUnless(h Handle, no func() bool) (out Changed, cancelled bool, err error) {
	r, q, err := e.changeable(h)
	if err != nil {
		return out, false, err
	}
	out.Owner, out.Seq = q.owner, q.seq
	e.begin()
	e.gather(q)
	if reads, err := e.checkUpgrade(r, q); err != nil {
		return Changed{}, false, err
	} else if reads > 0 {
		e.claim(r, q)
		if no() {
			out, err = e.CancelUpgrade(h)
			return out, true, err
		}
		e.tryUpgrade(r, q)
		for i := range e.grants {
			e.issue(&e.grants[i], q)
		}
		e.settleSpecial(q)
	}
	out.Pending = q.flags&upgrading != 0
	out.Token, out.More = e.token(q), e.More()
	return out, false, nil
}

// CancelUpgrade gives a pending upgrade up. The lock stays as it was before. What waited for the
// upgrade may be acquired.
//
// Errors: ErrStale, ErrNoUpgrade.
func (e *Engine) CancelUpgrade(h Handle) (out Changed, err error) {
	q := e.living(h)
	if q == nil {
		return out, ErrStale
	}
	if q.flags&upgrading == 0 {
		return out, ErrNoUpgrade
	}
	e.begin()
	out.Owner, out.Seq, out.Token = q.owner, q.seq, e.token(q)
	base := e.specials.at(q.permits).base
	for q.entries != base {
		i := q.entries
		en := e.entries.at(i)
		q.entries = en.sibling
		e.remove(i, en)
	}
	e.stepOut(q.permits)
	e.upgraded(q)
	e.settleSpecial(q)
	out.Grants, out.More = e.finish()
	return out, nil
}

// Downgrade turns all writes of an acquired request into reads at once; permits stay as they are,
// and so does the token. Others may be acquired by that.
//
// Errors: ErrStale, ErrNotAcquired, ErrUpgrading.
func (e *Engine) Downgrade(h Handle) (out Changed, err error) {
	_, q, err := e.changeable(h)
	if err != nil {
		return out, err
	}
	e.begin()
	out.Owner, out.Seq, out.Token = q.owner, q.seq, e.token(q)
	e.gather(q)
	link := &q.entries
	for *link != 0 {
		i := *link
		en := e.entries.at(i)
		if e.soften(i, en) {
			*link = en.sibling
			e.remove(i, en)
		} else {
			link = &en.sibling
		}
	}
	out.Grants, out.More = e.finish()
	return out, nil
}

// changeable finds a request whose modes may be changed.
func (e *Engine) changeable(h Handle) (r uint32, q *request, err error) {
	switch q = e.living(h); {
	case q == nil:
		return 0, nil, ErrStale
	case q.pending > 0:
		return 0, nil, ErrNotAcquired
	case q.flags&upgrading != 0:
		return 0, nil, ErrUpgrading
	}
	return h.index(), q, nil
}

// gather moves all entries of an acquired request to the heads of their lists, where own finds them.
// That changes nothing: granted entries have no order among themselves that matters.
func (e *Engine) gather(q *request) {
	for i := q.entries; i != 0; {
		en := e.entries.at(i)
		e.toHead(&e.nodes.at(en.node).lists[en.mode()%modes], i, en)
		i = en.sibling
	}
}

// toHead moves a granted entry to the head of its list.
func (e *Engine) toHead(l *list, i uint32, en *entry) {
	if en.prev != 0 {
		e.unlink(l, i, en)
		e.push(l, i, en)
	}
}

// push puts a granted entry at the head of a list.
func (e *Engine) push(l *list, i uint32, en *entry) {
	en.prev, en.next = 0, i
	if l.tail == 0 {
		l.tail = i
		return
	}
	tail := e.entries.at(l.tail)
	en.next = tail.next
	e.entries.at(en.next).prev = i
	tail.next = i
}

// own is the entry that a request whose entries are gathered has in a list; zero if it has none.
func (e *Engine) own(l *list, r uint32) uint32 {
	if l.tail == 0 {
		return 0
	}
	if i := e.entries.at(l.tail).next; e.entries.at(i).request() == r {
		return i
	}
	return 0
}

// opposed is another request that has a granted entry in a list, if there is one; zero if not.
func (e *Engine) opposed(l *list, r uint32) uint32 {
	if l.tail == 0 {
		return 0
	}
	i := e.entries.at(l.tail).next
	if i == l.wait {
		return 0
	}
	en := e.entries.at(i)
	if o := en.request(); o != r {
		return o
	}
	if i == l.tail || en.next == l.wait {
		return 0
	}
	return e.entries.at(en.next).request()
}

// upgradable says whether an entry stands for a read that an upgrade changes: its request, whose
// entries are gathered, doesn't write the path already.
func (e *Engine) upgradable(en *entry) bool {
	return en.owner&(modes-1|forPermits) == read && e.own(&e.nodes.at(en.node).lists[write], en.request()) == 0
}

// checkUpgrade counts the reads that an upgrade changes, and refuses it if it can't be.
func (e *Engine) checkUpgrade(r uint32, q *request) (reads int, err error) {
	const most = int64(unsafe.Sizeof(special{}) + unsafe.Sizeof(line{}))
	size := e.liveBytes() + most
	for i := q.entries; i != 0; {
		en := e.entries.at(i)
		i = en.sibling
		if !e.upgradable(en) {
			continue
		}
		reads++
		n := e.nodes.at(en.node)
		o := e.opposed(&n.lists[intendWrite], r)
		for at := en.node; at != 0 && o == 0; at = n.parent {
			n = e.nodes.at(at)
			o = e.opposed(&n.lists[write], r)
			size += int64(unsafe.Sizeof(entry{}))
		}
		if o != 0 {
			q := e.requests.at(o)
			return 0, &OverlapError{Handle: handleOf(o, q.seq), Owner: q.owner, Seq: q.seq}
		}
	}
	if reads > 0 && size > e.limits.Bytes {
		return 0, refuse(TooManyBytes, -1, size, e.limits.Bytes)
	}
	return reads, nil
}

// claim begins an upgrade: the request gets the entries that the new writes need, beside those it
// has. They count as granted at once, which keeps others from what conflicts with them.
func (e *Engine) claim(r uint32, q *request) {
	base := q.entries
	for i := base; i != 0; {
		en := e.entries.at(i)
		i = en.sibling
		if e.upgradable(en) {
			e.claimPath(r, q, en.node)
		}
	}
	s := e.specialOf(r, q)
	s.claims, s.base = q.entries, base
	q.flags |= upgrading
	e.countUpgrades(1)
}

// claimPath enters a write on a node, and intentions above it up to where the request has one. They
// are strung together as place does it, the write first.
func (e *Engine) claimPath(r uint32, q *request, at uint32) {
	first, last, mode := uint32(0), uint32(0), uint32(write)
	for at != 0 {
		n := e.nodes.at(at)
		l := &n.lists[mode%modes]
		if e.own(l, r) != 0 {
			break
		}
		i := e.entries.alloc()
		en := e.entries.at(i)
		en.node, en.owner = at, r<<ownerShift|mode
		e.push(l, i, en)
		if last == 0 {
			first = i
		} else {
			e.entries.at(last).sibling = i
		}
		last, at, mode = i, n.parent, intendWrite
	}
	e.entries.at(last).sibling = q.entries
	q.entries = first
}

// tryUpgrade grants an upgrade, unless somebody is in its way: then it stands in the line of one of
// those.
func (e *Engine) tryUpgrade(r uint32, q *request) {
	s := e.specials.at(q.permits)
	for s.claims != s.base {
		en := e.entries.at(s.claims)
		n := e.nodes.at(en.node)
		holder, done := e.vacate(&n.lists[read], r)
		if done && holder == 0 && en.mode() == write {
			holder, done = e.vacate(&n.lists[intendRead], r)
		}
		if !done {
			e.makeReady(e.lineAlone(r, q))
			return
		}
		if holder != 0 {
			e.hold(r, q, e.lineOf(holder))
			return
		}
		s.claims = en.sibling
	}
	if !e.promise() {
		e.hold(r, q, e.shortLine())
		return
	}
	e.upgraded(q)
	e.addGrant(r, q, 0, true)
}

// lineAlone is a new line in which one request stands.
func (e *Engine) lineAlone(r uint32, q *request) uint32 {
	i := e.lines.alloc()
	*e.lines.at(i) = line{}
	e.hold(r, q, i)
	return i
}

// upgraded ends a pending upgrade, and looks again at those that it held.
func (e *Engine) upgraded(q *request) {
	q.flags &^= upgrading
	e.countUpgrades(-1)
	e.wake(q.permits)
}

// vacate takes back the entries that waiting requests were granted in a list, the last first, up to
// one of an acquired request but r: that is in the way. If nobody is, holder is zero. Not done: the
// call's budget was used up before.
func (e *Engine) vacate(l *list, r uint32) (holder uint32, done bool) {
	for {
		i := l.tail
		if l.wait != 0 {
			i = e.entries.at(l.wait).prev
		}
		if i == 0 {
			return 0, true
		}
		en := e.entries.at(i)
		o := en.request()
		if o == r {
			if en.prev == 0 {
				return 0, true
			}
			e.toHead(l, i, en)
			continue
		}
		q := e.requests.at(o)
		if q.pending == 0 {
			return o, true
		}
		if e.budget == 0 {
			return 0, false
		}
		e.budget--
		l.wait = i
		q.pending++
	}
}

// bar finds a pending upgrade that conflicts with a request that has all it wants; zero: none. Such a
// request was granted all its entries before the upgrade came.
func (e *Engine) bar(r uint32, q *request) uint32 {
	for i := q.entries; i != 0; {
		en := e.entries.at(i)
		n := e.nodes.at(en.node)
		for _, c := range conflicts[en.mode()%modes] {
			if o := e.opposed(&n.lists[c%modes], r); o != 0 {
				return o
			}
		}
		i = en.sibling
	}
	return 0
}

// soften turns an entry of a write into one of a read. If it has a twin of the other mode on its
// node, one of both is too many: true, it is this one. The twin comes later in the request's list, so
// that entries are still removed from below.
func (e *Engine) soften(i uint32, en *entry) (superfluous bool) {
	n, mode := e.nodes.at(en.node), en.mode()
	l, other := &n.lists[mode%modes], &n.lists[(mode^1)%modes]
	if twin := e.own(other, en.request()); twin != 0 {
		if mode == write {
			e.entries.at(twin).owner &^= forPermits
		}
		return true
	}
	if mode == read || mode == intendRead {
		return false
	}
	opens := true
	if en.prev == 0 && l.tail == i {
		*l = list{}
	} else {
		opens = e.inTheWay(l, i, en)
		e.unlink(l, i, en)
	}
	en.owner ^= 1
	e.push(other, i, en)
	if opens && n.waited() {
		e.promoteAgainst(en.node, n, mode)
	}
	return false
}
