package testserver

import (
	"net"
	"sync"
	"testing"
)

// Wire carries bytes between clients and a server.
type Wire struct {
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	calm   *sync.Cond
	held   bool // nothing passes
	shut   bool // nobody connects
	conns  map[net.Conn]net.Conn
}

// NewWire makes a wire to a server, which ends with the test.
func NewWire(t testing.TB, target string) *Wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: ln, target: target, conns: map[net.Conn]net.Conn{}}
	w.calm = sync.NewCond(&w.mu)
	w.work.Go(w.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		w.Hold(false)
		w.Shut(true)
		w.Cut()
		w.work.Wait()
	})
	return w
}

// Addr is where clients connect to.
func (w *Wire) Addr() string { return w.listener.Addr().String() }

func (w *Wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		target := w.target
		w.mu.Unlock()
		far, err := net.Dial("tcp", target)
		if err != nil {
			_ = near.Close()
			continue
		}
		if !w.add(near, far) {
			_ = near.Close()
			_ = far.Close()
			continue
		}
		w.work.Go(func() { w.copy(near, far) })
		w.work.Go(func() { w.copy(far, near) })
	}
}

// add is false if nobody may connect.
func (w *Wire) add(near, far net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.shut {
		w.conns[near] = far
	}
	return !w.shut
}

func (w *Wire) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.held {
			w.calm.Wait()
		}
		w.mu.Unlock()
		if _, errWrite := to.Write(buf[:n]); err != nil || errWrite != nil {
			return
		}
	}
}

// Lead has connections to come go to another server, as after a restart.
func (w *Wire) Lead(target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = target
}

// Cut ends all connections.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for near, far := range w.conns {
		_ = near.Close()
		_ = far.Close()
		delete(w.conns, near)
	}
}

// Hold lets nothing pass, or everything again that has piled up.
func (w *Wire) Hold(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = on
	w.calm.Broadcast()
}

// Shut lets nobody connect, or everybody again.
func (w *Wire) Shut(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = on
}
