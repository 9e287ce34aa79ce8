// Package testserver has servers for tests, and wires to them that tests cut and hold.
package testserver

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// Options are those of a server that has room for any test, remembers nothing, and is silent.
func Options(ln net.Listener) server.Options {
	return server.Options{
		Listener: ln, Fence: fence.Memory(), Log: slog.New(slog.DiscardHandler), Loops: 2, Version: "test",
		Settings: server.Settings{
			Net: wsnet.DefaultLimits(), Sessions: session.Defaults, SessionsMax: 10_000, Namespaces: 100, NamespaceName: 255,
			MemoryBytes: 1 << 30, Abandoned: 1000, DefaultAbandon: time.Second, AbandonMax: time.Hour, Origins: []string{"*"},
		},
	}
}

// Start starts a server on loopback, with options as change leaves them, and gives its host and port. Whoever starts
// it closes it.
func Start(change func(*server.Options)) (*server.Server, string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	o := Options(ln)
	if change != nil {
		change(&o)
	}
	s, err := server.New(o)
	if err != nil {
		_ = ln.Close()
		return nil, "", err
	}
	return s, ln.Addr().String(), nil
}

// Serve is Start for a test, with which the server ends.
func Serve(t testing.TB, change func(*server.Options)) (*server.Server, string) {
	t.Helper()
	s, address, err := Start(change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, address
}
