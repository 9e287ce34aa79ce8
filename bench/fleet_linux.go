package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	perAddress   = 16_000 // connections from one loopback address: below the server's default limit and the ports there are
	readBytes    = 64 << 10
	eventsAtOnce = 512
)

// client is one connection. It sends lock, release, lock, … in turns from its tape.
type client struct {
	place   int // in its fleet
	fd      int // -1: it has dropped
	stage   stage
	sent    int   // messages; odd: the last one was a lock
	open    int   // sent and not answered yet, where "enqueued" is no answer
	pings   int   // received
	tape    *tape // what it sends; its script may give it another one when nothing is open
	partial []byte
}

// stage is how far a connection is.
type stage uint8

const (
	talking stage = iota
	connecting
	upgrading
)

// script is a load's part in what a fleet does.
type script interface {
	// answered looks at an answer, and says how many messages to send next. Now is only as fresh as
	// the script asked for.
	answered(c *client, a answer) (send int, err error)
}

// fleet is a set of connections that one thread drives by one epoll.
type fleet struct {
	ctx      context.Context
	script   script
	dialect  dialect
	tick     func() error // is called before each look for events; may be nil
	to       netip.AddrPort
	round    int // of coming back: each is from other addresses, whose ports are free
	stall    time.Duration
	epoll    int
	clients  []client
	events   []unix.EpollEvent
	buf      []byte
	start    time.Time
	answers  int           // in all, without "enqueued" and pings
	pings    int           // in all
	words    int           // everything that was read
	busy     int           // clients with messages that aren't answered
	ending   bool          // finish what was begun, begin nothing
	spin     bool          // never sleep: see measure
	unused   time.Duration // spent looking for events in vain
	lastWord time.Duration // when anything came last
}

func newFleet(ctx context.Context, s script, stall time.Duration) (*fleet, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &fleet{
		ctx: ctx, script: s, dialect: webSocket, stall: stall, epoll: epoll, start: time.Now(),
		events: make([]unix.EpollEvent, eventsAtOnce), buf: make([]byte, readBytes),
	}, nil
}

// connect adds n connections to a server, one after the other; tape makes the i-th one's.
func (f *fleet) connect(addr string, n int, tape func(i int) *tape) (err error) {
	if f.to, err = netip.ParseAddrPort(addr); err != nil {
		return err
	}
	patience := unix.NsecToTimeval(f.stall.Nanoseconds())
	for range n {
		i := len(f.clients)
		fd, err := dial(f.address(i), f.to, patience, &f.dialect)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		f.clients = append(f.clients, client{place: i, fd: fd, tape: tape(i)})
		// Edges, because readable reads all there is: the kernel looks at each socket once less.
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(i)}
		if err := unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return fmt.Errorf("epoll_ctl: %w", err)
		}
		if i%256 == 0 { // those that are there may be pinged meanwhile
			if err := f.glance(); err != nil {
				return err
			}
		}
	}
	return nil
}

// address is the loopback address from which a client connects.
func (f *fleet) address(i int) [4]byte { return [4]byte{127, 0, byte(f.round), byte(1 + i/perAddress)} }

// close ends all connections without a word; there is nothing that the server would have to keep.
func (f *fleet) close() {
	for i := range f.clients {
		if f.clients[i].fd >= 0 {
			unix.Close(f.clients[i].fd)
		}
	}
	unix.Close(f.epoll)
}

// glance handles what is there, and waits for nothing.
func (f *fleet) glance() error {
	if f.tick != nil {
		if err := f.tick(); err != nil {
			return err
		}
	}
	spin := f.spin
	f.spin = true
	_, err := f.turn()
	f.spin = spin
	return err
}

func (f *fleet) now() time.Duration { return time.Since(f.start) }

// begin has every client send its first messages.
func (f *fleet) begin(depth int) error {
	f.ending = false
	f.lastWord = f.now()
	for i := range f.clients {
		if err := f.send(&f.clients[i], depth); err != nil {
			return err
		}
	}
	return nil
}

// hold waits until none has messages that aren't answered: those that lock have their lock then, or
// a place in the queue.
func (f *fleet) hold() error { return f.drive(func() bool { return f.busy == 0 }) }

// finish ends what was begun: afterwards no client has a lock, and nothing is on its way.
func (f *fleet) finish() error {
	f.ending = true
	f.tick = nil
	return f.drive(func() bool { return f.busy == 0 })
}

// driveFor drives the fleet for some time, and returns how long it really was.
func (f *fleet) driveFor(d time.Duration) (time.Duration, error) {
	begin := f.now()
	end := begin
	err := f.drive(func() bool { end = f.now(); return end-begin >= d })
	return end - begin, err
}

// waitMost bounds one wait for events, and with it how late the end of a slice is noticed while
// nothing happens, and how late a cancellation is.
const waitMost = 10 * time.Millisecond

var errStalled = errors.New("nothing was answered for too long (-stall)")

// drive handles events until done says that it is enough.
func (f *fleet) drive(done func() bool) error {
	f.lastWord = f.now()
	for !done() {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		words := f.words
		if f.tick != nil {
			if err := f.tick(); err != nil {
				return err
			}
		}
		begin := f.now()
		n, err := f.turn()
		if err != nil {
			return err
		}
		if n == 0 {
			f.unused += f.now() - begin
		}
		if f.words != words {
			f.lastWord = begin
		} else if begin-f.lastWord > f.stall {
			return fmt.Errorf("%w: %d of %d connections wait", errStalled, f.busy, len(f.clients))
		}
	}
	return nil
}

// turn handles the events there are, and returns how many. If there are none it waits for some,
// unless it spins.
func (f *fleet) turn() (int, error) {
	n, err := f.poll()
	if err == unix.EINTR {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("epoll_wait: %w", err)
	}
	for _, ev := range f.events[:n] {
		c := &f.clients[ev.Fd]
		if c.stage == connecting {
			err = f.connected(c)
		} else if c.fd >= 0 {
			err = f.readable(c)
		}
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// poll asks for events without blocking, and then, unless the fleet spins, waits for them.
func (f *fleet) poll() (int, error) {
	if n, e := pollNow(f.epoll, f.events); n > 0 || f.spin {
		if e != 0 {
			return 0, e
		}
		return n, nil
	}
	return unix.EpollWait(f.epoll, f.events, int(waitMost.Milliseconds()))
}

// readable reads all there is. A read that doesn't fill the buffer has emptied the socket; what
// comes later is another event.
func (f *fleet) readable(c *client) error {
	for {
		kept := copy(f.buf, c.partial)
		n, e := receive(c.fd, f.buf[kept:])
		switch {
		case e == unix.EAGAIN:
			n = 0
		case e == unix.EINTR:
			continue
		case e != 0:
			return fmt.Errorf("read: %w", e)
		case n == 0:
			return errGone
		}
		c.partial = c.partial[:0]
		if err := f.reply(c, f.buf[:kept+n]); err != nil || kept+n < len(f.buf) {
			return err
		}
	}
}

// reply looks at all whole frames of p, and sends what they ask for in one piece.
func (f *fleet) reply(c *client, p []byte) error {
	send, err := f.frames(c, p)
	if err != nil {
		return err
	}
	if f.ending {
		send = min(send, c.sent&1)
	}
	if send > 0 {
		return f.send(c, send)
	}
	return nil
}

// frames looks at all whole frames of p, keeps the rest, and says how many messages to send.
func (f *fleet) frames(c *client, p []byte) (send int, err error) {
	for len(p) > 0 {
		size, payload, a, err := f.next(c, p)
		if err != nil {
			return 0, err
		}
		if size == 0 {
			c.partial = append(c.partial, p...)
			break
		}
		p = p[size:]
		f.words++
		if a == ping {
			if err := f.pong(c, payload); err != nil {
				return 0, err
			}
			continue
		}
		if a != enqueued && a != greeting {
			f.answers++
			if c.open--; c.open == 0 {
				f.busy--
			}
		}
		more, err := f.script.answered(c, a)
		if err != nil {
			return 0, err
		}
		send += more
	}
	return send, nil
}

// next reads what stands in front of p.
func (f *fleet) next(c *client, p []byte) (int, []byte, answer, error) {
	if c.stage == talking {
		return f.dialect.next(p)
	}
	n, err := f.dialect.greeted(p)
	if n > 0 {
		c.stage = talking
	}
	return n, nil, greeting, err
}

func (f *fleet) pong(c *client, payload []byte) error {
	c.pings++
	f.pings++
	return write(c.fd, appendFrame(nil, framePong, payload))
}

// send sends the next n messages of a client's tape.
func (f *fleet) send(c *client, n int) error {
	if c.open == 0 {
		f.busy++
	}
	p := c.tape.take(c.sent, n)
	c.sent += n
	c.open += n
	return write(c.fd, p)
}

var errFull = errors.New("a socket doesn't take a few messages: the server doesn't read")

// write writes all of p: a connection has so little in flight that its socket takes it.
func write(fd int, p []byte) error {
	n, e := send(fd, p)
	switch {
	case e == unix.EAGAIN || e == 0 && n < len(p):
		return errFull
	case e != 0:
		return fmt.Errorf("write: %w", e)
	}
	return nil
}
