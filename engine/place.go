package engine

// The modes of entries. An intention says that something below the node is wanted in that mode.
const (
	intendRead = iota
	intendWrite
	read
	write
	modes
)

// conflicts lists the modes that each mode conflicts with.
var conflicts = [modes][]uint8{
	intendRead:  {write},
	intendWrite: {read, write},
	read:        {intendWrite, write},
	write:       {intendRead, intendWrite, read, write},
}

// entry stands for a request on a node, in one mode. A request has at most one per node and mode.
type entry struct {
	next, prev uint32 // in the list of its node and mode; the tail's next is the head, the head has no prev
	sibling    uint32 // the request's entry that was placed before
	node       uint32
	owner      uint32 // index of the request; below it whether it is forPermits; the mode in the low two bits
}

const (
	ownerShift = 3
	forPermits = 4 // the flag of a read entry that stands for permits, and for no read
)

func (en *entry) request() uint32 { return en.owner >> ownerShift }
func (en *entry) mode() uint8     { return uint8(en.owner & (modes - 1)) }

// placing is a request while it is placed. Until that is done, its entries are the youngest
// everywhere: they are the tails of their lists, which tells where it has one already.
type placing struct {
	q          *request
	r          uint32
	lastPermit uint32
}

// place enters a resource on every node of its path, from above.
func (e *Engine) place(p *placing, rs *Resource) {
	intention, mode := uint8(intendRead), uint8(read)
	switch rs.Mode {
	case Read:
	case Permit:
		mode |= forPermits
	case Write:
		intention, mode = intendWrite, write
	default:
		panic("engine: a resource has the " + rs.Mode.String())
	}
	if e.root == 0 {
		e.root = e.nodes.alloc()
		*e.nodes.at(e.root) = node{}
		if e.edges.count == 0 {
			e.edges.init()
		}
	}
	i, n := e.root, e.nodes.at(e.root)
	for path := rs.Path; ; path = path[1:] {
		if len(path) == 0 {
			e.enter(p, i, n, mode)
			break
		}
		e.enter(p, i, n, intention)
		h := e.edgeHash(i, path[0])
		child := e.find(e.edges.bucket(h), i, h, path[0])
		if child == 0 {
			i, n = e.sprout(p, i, h, path, intention, mode)
			break
		}
		i, n = child, e.nodes.at(child)
	}
	if rs.Mode == Permit {
		e.enterPermit(p, i, n, rs)
	}
}

// sprout makes the nodes of a path from where nobody has been, below a parent and with the hash of
// the first edge, and enters the request on them: alone, and so granted. It returns the last node.
func (e *Engine) sprout(p *placing, parent, h uint32, path [][]byte, intention, mode uint8) (i uint32, n *node) {
	for k, seg := range path {
		if k > 0 {
			h = e.edgeHash(parent, seg)
		}
		if k == len(path)-1 {
			intention = mode
		}
		i = e.nodes.alloc()
		j := e.entries.alloc()
		n = e.nodes.at(i)
		*n = node{parent: parent, hash: h, size: uint16(len(seg))}
		n.lists[intention%modes].tail = j
		e.store(n, seg)
		e.edges.bucket(h).push(i, n)
		if e.nodes.live() > int(e.edges.count) {
			e.splitBucket()
		}
		*e.entries.at(j) = entry{next: j, sibling: p.q.entries, node: i, owner: p.r<<ownerShift | uint32(intention)}
		p.q.entries = j
		parent = i
	}
	return i, n
}

// enter puts the request at the end of a node's list, unless it is there already. The mode may come
// with a flag.
func (e *Engine) enter(p *placing, at uint32, n *node, mode uint8) {
	l := &n.lists[mode%modes]
	granted := true
	if !n.empty() { // it is, if the node is new, and then nothing below could be otherwise
		if l.tail != 0 && e.entries.at(l.tail).request() == p.r {
			if mode == read {
				e.entries.at(l.tail).owner &^= forPermits
			}
			return
		}
		granted = l.wait == 0 && e.unopposed(n, mode, p.r)
	}
	i := e.entries.alloc()
	en := e.entries.at(i)
	en.next, en.prev = i, l.tail
	en.sibling, p.q.entries = p.q.entries, i
	en.node = at
	en.owner = p.r<<ownerShift | uint32(mode)
	if l.tail != 0 {
		tail := e.entries.at(l.tail)
		en.next, tail.next = tail.next, i
	}
	l.tail = i
	if granted {
		return
	}
	if l.wait == 0 {
		l.wait = i
	}
	p.q.pending++
}

// unopposed says whether the youngest request may be granted a mode: nobody else has an entry of a
// conflicting one. Its own are tails, and alone if they are heads, too.
func (e *Engine) unopposed(n *node, mode uint8, r uint32) bool {
	for _, c := range conflicts[mode%modes] {
		if i := n.lists[c%modes].tail; i != 0 {
			if tail := e.entries.at(i); tail.request() != r || tail.next != i {
				return false
			}
		}
	}
	return true
}
