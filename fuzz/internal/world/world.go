// Package world starts real servers in a test's own process.
package world

import (
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/fuzz/probe"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// Serve starts a server that ends with the test. Its settings are those of config.toml where a client sees a
// difference, but for the number of namespaces: it is so low that no test goes on for long if one stays behind.
func Serve(t testing.TB, ln net.Listener, o server.Options) {
	t.Helper()
	o.Listener, o.Loops, o.Fence, o.Log, o.Version = ln, 2, fence.Memory(), slog.New(slog.DiscardHandler), "test"
	o.Settings = server.Settings{
		Net:      wsnet.DefaultLimits(),
		Engine:   engine.Limits{PathSegments: 1024, SegmentBytes: 1024, Resources: 1024, Requests: 100_000, Bytes: 1 << 28},
		Sessions: session.Defaults, SessionsMax: 1000,
		Namespaces: 16, NamespaceName: 255, MemoryBytes: 1 << 30, Abandoned: 1000,
		DefaultAbandon: time.Minute, AbandonMax: time.Hour, Origins: []string{"*"},
	}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Unix listens on a unix socket, as TCP would run out of ports, and says how to get there.
func Unix(t testing.TB) (net.Listener, probe.Target) {
	ln := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
	return ln, probe.Target{
		URL:  &url.URL{Scheme: "ws", Host: "localhost", Path: "/v1"},
		Dial: func() (net.Conn, error) { return net.Dial("unix", ln.Addr().String()) },
	}
}

// TCP listens on a port of this machine, and says how to get there.
func TCP(t testing.TB) (net.Listener, *url.URL) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	return ln, &url.URL{Scheme: "ws", Host: ln.Addr().String(), Path: "/v1"}
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
