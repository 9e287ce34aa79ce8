package admin

import (
	"net"
	"sync"
)

// door lets so many connections in at once. Others wait outside, in the system's queue.
type door struct {
	net.Listener
	room   chan struct{} // has one for each that is inside
	closed chan struct{}
	once   sync.Once
}

func newDoor(ln net.Listener, most int) *door {
	return &door{Listener: ln, room: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits until there is room, and then for somebody to come.
func (d *door) Accept() (net.Conn, error) {
	select {
	case d.room <- struct{}{}:
	case <-d.closed:
		return nil, net.ErrClosed
	}
	c, err := d.Listener.Accept()
	if err != nil {
		<-d.room
		return nil, err
	}
	return &guest{Conn: c, leave: sync.OnceFunc(func() { <-d.room })}, nil
}

// Close lets nobody in any more.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Listener.Close()
}

// guest makes room when it is closed.
type guest struct {
	net.Conn
	leave func()
}

// Close may be called more than once.
func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}
