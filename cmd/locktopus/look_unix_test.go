//go:build unix

package main

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/admin"
	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// players are the clients of one script.
type players struct {
	holder, waiter *client.Lock
	granted        chan struct{} // closed when waiter is known, or will never be
}

// TestLookScripts plays scripts about commands that show locks, and that which takes them. In each script's own
// namespace somebody holds a lock and somebody waits for it.
func TestLookScripts(t *testing.T) {
	s, address := newServer(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	service := admin.New(s, oneToken, admin.Limits{Connections: 16, RequestBytes: 16_384, Timeout: patience, ReasonBytes: 256}, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- service.Serve(ln, nil) }()
	t.Cleanup(func() {
		service.Close(context.Background())
		require.NoError(t, <-done)
	})
	var all sync.Map // players by the directories of their scripts
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/look",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "session": sessionInto,
			"told":    func(ts *testscript.TestScript, _ bool, args []string) { told(ts, &all, args) },
			"granted": func(ts *testscript.TestScript, _ bool, args []string) { awaitGrant(ts, &all) },
		},
		Setup: func(e *testscript.Env) error {
			url := address + "?namespace=" + filepath.Base(e.WorkDir)
			e.Setenv(envURL, url)
			e.Setenv(envAdminURL, "http://"+ln.Addr().String())
			e.Setenv(config.TokenVariable, oneToken)
			e.Setenv("SERVER", "http"+strings.TrimSuffix(strings.TrimPrefix(address, "ws"), "/v2"))
			pl, err := play(e, url)
			all.Store(e.WorkDir, pl)
			return err
		},
	})
}

// play has somebody hold a lock, and somebody wait for it.
func play(e *testscript.Env, url string) (*players, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	e.Defer(cancel)
	pl := &players{granted: make(chan struct{})}
	join := func(name string) (*client.Client, error) {
		c, err := client.Dial(ctx, url, &client.Options{Name: name, TTL: time.Minute})
		if err == nil {
			e.Defer(func() { _ = c.Close() })
		}
		return c, err
	}
	a, err := join("somebody")
	if err != nil {
		return nil, err
	}
	b, err := join("waiter")
	if err != nil {
		return nil, err
	}
	if pl.holder, err = a.Lock(ctx, client.Write("taken", "by me"), client.Note("it is \x1b[2Jmine")); err != nil {
		return nil, err
	}
	go func() {
		defer close(pl.granted)
		pl.waiter, _ = b.Lock(ctx, client.Read("taken"))
	}()
	return pl, awaitWaiter(ctx, a)
}

// awaitWaiter returns when two locks are there.
func awaitWaiter(ctx context.Context, c *client.Client) error {
	for {
		if locks, _, err := c.Inspect(ctx, []string{"taken"}, 0, ""); err != nil || len(locks) == 2 {
			return err
		}
	}
}

// sessionInto is the script command `session FILE NAME VARIABLE`: the id of a session in a list.
func sessionInto(ts *testscript.TestScript, _ bool, args []string) {
	for lines := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[0]))); lines.Scan(); {
		m := regexp.MustCompile(`^{"session":"([0-9a-f]+)","name":"(\w+)"`).FindStringSubmatch(lines.Text())
		if m != nil && m[2] == args[1] {
			ts.Setenv(args[2], m[1])
			return
		}
	}
	ts.Fatalf("no session of %s", args[1])
}

func awaitGrant(ts *testscript.TestScript, all *sync.Map) *players {
	x, _ := all.Load(ts.Getenv("WORK"))
	pl := x.(*players)
	select {
	case <-pl.granted:
	case <-time.After(patience):
		ts.Fatalf("it is granted to nobody")
	}
	return pl
}

// told is the script command `told NAME TEXT`: why a lock is lost.
func told(ts *testscript.TestScript, all *sync.Map, args []string) {
	x, _ := all.Load(ts.Getenv("WORK"))
	l := x.(*players).holder
	if args[0] == "waiter" {
		l = awaitGrant(ts, all).waiter
	}
	select {
	case <-l.Context().Done():
	case <-time.After(patience):
		ts.Fatalf("the lock isn't lost")
	}
	if err := context.Cause(l.Context()); !strings.Contains(err.Error(), args[1]) {
		ts.Fatalf("it is told %q", err)
	}
}
