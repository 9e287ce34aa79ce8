package client_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// bound is how long a test waits for what must happen, on a machine that is busy with other things.
const bound = time.Minute

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	return ctx
}

// world is a server, and a wire to it that tests can cut and hold.
type world struct {
	t       testing.TB
	server  *server.Server
	wire    *wire
	address string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	w := &world{t: t}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	limits := session.Defaults
	limits.TTLMin = 10 * time.Millisecond
	w.server, err = server.New(server.Options{
		Listener: ln, Fence: fence.Memory(), Log: slog.New(slog.DiscardHandler), Loops: 2, Version: "test",
		Settings: server.Settings{
			Net: wsnet.DefaultLimits(), Sessions: limits, SessionsMax: 1000, Namespaces: 10, NamespaceName: 64, MemoryBytes: 1 << 30,
			Abandoned: 1000, DefaultAbandon: time.Second, AbandonMax: time.Hour, Origins: []string{"*"},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.server.Close()) })
	w.wire = newWire(t, ln.Addr().String())
	w.address = "ws://" + w.wire.listener.Addr().String() + "/v2?namespace=test"
	return w
}

// dial makes a client that is closed at the end.
func (w *world) dial(o client.Options) *client.Client {
	w.t.Helper()
	c, err := client.Dial(soon(w.t), w.address, &o)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, c.Close()) })
	return c
}

// wire carries bytes between clients and the server.
type wire struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	calm  *sync.Cond
	held  bool // nothing passes
	shut  bool // nobody connects
	conns map[net.Conn]net.Conn
}

func newWire(t testing.TB, target string) *wire {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{listener: ln, target: target, conns: map[net.Conn]net.Conn{}}
	w.calm = sync.NewCond(&w.mu)
	w.work.Go(w.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		w.hold(false)
		w.cut()
		w.work.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		shut := w.shut
		w.mu.Unlock()
		far, err := net.Dial("tcp", w.target)
		if err != nil || shut {
			_ = near.Close()
			if err == nil {
				_ = far.Close()
			}
			continue
		}
		w.mu.Lock()
		w.conns[near] = far
		w.mu.Unlock()
		w.work.Go(func() { w.copy(near, far) })
		w.work.Go(func() { w.copy(far, near) })
	}
}

func (w *wire) copy(to, from net.Conn) {
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
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for near, far := range w.conns {
		_ = near.Close()
		_ = far.Close()
		delete(w.conns, near)
	}
}

// hold lets nothing pass, or everything again that has piled up.
func (w *wire) hold(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = on
	w.calm.Broadcast()
}

// shutDown lets nobody connect, or everybody again.
func (w *wire) shutDown(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = on
}
