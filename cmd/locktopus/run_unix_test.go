//go:build unix

package main

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// TestRunScripts plays scripts about locktopus run. Each has a namespace of its own, in which somebody else
// holds the path "taken".
func TestRunScripts(t *testing.T) {
	address := serveSessions(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/run",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			url := address + "?namespace=" + filepath.Base(e.WorkDir)
			e.Setenv(envURL, url)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			other, err := client.Dial(ctx, url, &client.Options{Name: "somebody", TTL: time.Minute})
			if err != nil {
				return err
			}
			e.Defer(func() { _ = other.Close() })
			_, err = other.Lock(ctx, client.Write("taken"))
			return err
		},
	})
}

// serveSessions is a server's address of version 2.
func serveSessions(t *testing.T) string {
	_, address := newServer(t)
	return address
}

func newServer(t *testing.T) (*server.Server, string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := server.New(server.Options{
		Listener: ln, Fence: fence.Memory(), Log: slog.New(slog.DiscardHandler), Version: "test",
		Settings: server.Settings{
			Net: wsnet.DefaultLimits(), Sessions: session.Defaults, SessionsMax: 1000, Namespaces: 100, NamespaceName: 255,
			MemoryBytes: 1 << 30, Abandoned: 1000, AbandonMax: time.Hour, Origins: []string{"*"},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, "ws://" + ln.Addr().String() + "/v2"
}

// TestAnotherLimitIsNoWrongCommandLine: it passes when those who have permits of it are done.
func TestAnotherLimitIsNoWrongCommandLine(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, serveSessions(t)+"?namespace=n", nil)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Lock(ctx, client.Permit(2, "pool"))
	require.NoError(t, err)
	_, err = c.Lock(ctx, client.Permit(3, "pool"))
	require.Equal(t, exitNotObtained, exitFor(err), "%v", err)
}
