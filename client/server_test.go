package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
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
	wire    *testserver.Wire
	address string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	w := &world{t: t}
	var address string
	w.server, address = testserver.Serve(t, func(o *server.Options) { o.Settings.Sessions.TTLMin = 10 * time.Millisecond })
	w.wire = testserver.NewWire(t, address)
	w.address = "ws://" + w.wire.Addr() + "/v2?namespace=test"
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
