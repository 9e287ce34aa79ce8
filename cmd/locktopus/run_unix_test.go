//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
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
	s, host := testserver.Serve(t, nil)
	return s, "ws://" + host + "/v2"
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

// TestAServerThatIsFullIsTrouble, and no word about who has the locks.
func TestAServerThatIsFullIsTrouble(t *testing.T) {
	_, host := testserver.Serve(t, func(o *server.Options) { o.Settings.Namespaces = 1 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "ws://"+host+"/v2?namespace=one", nil)
	require.NoError(t, err)
	defer c.Close()
	var stderr strings.Builder
	p := process{stdout: io.Discard, stderr: &stderr}
	code := p.run([]string{"run", "--url", "ws://" + host + "/v2?namespace=two", "--try", "-w", "a", "--", "true"})
	require.Equal(t, exitUnreachable, code, "%s", stderr.String())
	require.Contains(t, stderr.String(), "namespaces")
}

// TestWhoseServerIsGoneIsTold: not that the time to wait was too short, and not the other way round.
func TestWhoseServerIsGoneIsTold(t *testing.T) {
	for want, errs := range map[int][]error{
		exitUnreachable: {
			&client.OfflineError{Server: "ws://h:1", Trouble: errors.New("refused"), Ended: context.DeadlineExceeded},
			context.DeadlineExceeded, &client.LostError{State: "gone"}, client.ErrDeadline,
			&client.RefusedError{Code: "try_later"}, &client.RefusedError{Code: "draining"}, &client.RefusedError{Code: "http 503"},
		},
		exitUsage:       {&client.RefusedError{Code: "limit"}, &client.RefusedError{Code: "http 400"}, errGrace, client.ErrArgument},
		exitNotObtained: {&client.UnavailableError{State: "timeout"}, &client.LostError{State: "revoked", Message: "enough"}},
	} {
		for _, err := range errs {
			require.Equal(t, want, exitFor(err), "%v", err)
		}
	}
}
