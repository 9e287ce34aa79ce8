package wsnet

// conn is a connection of a loop. It has no Go pointers: a million of them cost the garbage
// collector nothing (BenchmarkIdle shows what one costs in all).
type conn struct {
	user   uint64
	fd     int32
	gen    uint32
	extra  uint32 // what it needs only while it isn't idle: an index into loop.extras; 0: nothing
	pass   pass
	end    instant // see dues
	heard  instant
	pinged instant
	flags  flags
	state  state
	why    Reason
}

type flags uint16

const (
	flagOpened flags = 1 << iota // Closed is owed
	flagOut                      // EPOLLOUT is armed: the socket is full
	flagDeaf                     // EPOLLIN is not armed: paused, or input has ended
	flagPaused                   // reading waits for output to go down
	flagEOF                      // input has ended
	flagDirty                    // on loop.dirty
	flagEnding                   // on loop.ending
	flagFin                      // FIN is sent
	flagLate                     // on loop.late: reading waits for others' turns
)

// extra is what a connection has while it isn't idle.
type extra struct {
	in    []byte // input without a whole frame, or kept while paused
	out   []byte // output that the socket didn't take; the first sent bytes are gone
	sent  int
	parts assembly
	frame instant // see dues
	write instant
}

const (
	connChunk  = 1024
	extraChunk = 256
)

// slab holds a loop's connections and extras, in chunks that never move.
type slab struct {
	conns      []*[connChunk]conn
	free       []int32
	used       int32 // slots ever used
	extras     []*[extraChunk]extra
	freeExtras []uint32
	usedExtras uint32
	bufs       [][]byte // small buffers, a plain stack: see buffer
}

func (s *slab) at(slot int32) *conn {
	return &s.conns[slot/connChunk][slot%connChunk]
}

// take finds a free slot; its generation is new. False: there is none left.
func (s *slab) take() (int32, *conn, bool) {
	var slot int32
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
	} else {
		if s.used == slotsMax {
			return 0, nil, false
		}
		slot = s.used
		s.used++
		if int(slot/connChunk) == len(s.conns) {
			s.conns = append(s.conns, new([connChunk]conn))
		}
	}
	c := s.at(slot)
	*c = conn{gen: c.gen + 1}
	return slot, c, true
}

// give frees a slot. One whose generations are used up is retired.
func (s *slab) give(slot int32) {
	c := s.at(slot)
	s.drop(c)
	c.state, c.flags = stateFree, 0
	if c.gen != ^uint32(0) {
		s.free = append(s.free, slot)
	}
}

// peek is the connection's extra, or nil.
func (s *slab) peek(c *conn) *extra {
	if c.extra == 0 {
		return nil
	}
	return &s.extras[c.extra/extraChunk][c.extra%extraChunk]
}

// need is the connection's extra, made if there is none.
func (s *slab) need(c *conn) *extra {
	if c.extra != 0 {
		return s.peek(c)
	}
	if n := len(s.freeExtras); n > 0 {
		c.extra, s.freeExtras = s.freeExtras[n-1], s.freeExtras[:n-1]
		return s.peek(c)
	}
	s.usedExtras++
	if c.extra = s.usedExtras; int(c.extra/extraChunk) >= len(s.extras) {
		s.extras = append(s.extras, new([extraChunk]extra))
	}
	return s.peek(c)
}

// trim gives the extra back if there is nothing in it.
func (s *slab) trim(c *conn) {
	if e := s.peek(c); e != nil && len(e.in) == 0 && len(e.out) == 0 && e.parts.frames == 0 {
		s.drop(c)
	}
}

// drop gives the extra back with all that is in it.
func (s *slab) drop(c *conn) {
	e := s.peek(c)
	if e == nil {
		return
	}
	s.release(e.in)
	s.release(e.out)
	*e = extra{}
	s.freeExtras = append(s.freeExtras, c.extra)
	c.extra = 0
}

const (
	smallBytes = 4 << 10 // buffers up to this size are kept
	smallKept  = 1024    // so many of them: 4 MiB a loop
)

// buffer is an empty buffer for n bytes. Small ones come from a stack of the loop's own:
// a sync.Pool of slices would allocate a header for each (BenchmarkEcho: 0 allocations).
func (s *slab) buffer(n int) []byte {
	if k := len(s.bufs); k > 0 && n <= cap(s.bufs[k-1]) {
		b := s.bufs[k-1]
		s.bufs[k-1] = nil
		s.bufs = s.bufs[:k-1]
		return b
	}
	return make([]byte, 0, (n+511)&^511)
}

// release takes a buffer back.
func (s *slab) release(b []byte) {
	if cap(b) >= 512 && cap(b) <= smallBytes && len(s.bufs) < smallKept {
		s.bufs = append(s.bufs, b[:0])
	}
}
