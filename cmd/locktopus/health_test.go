//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestHealthFollowsTheReservedIDs is what docs/OPERATING.md says of a state directory that fails.
func TestHealthFollowsTheReservedIDs(t *testing.T) {
	const block = 16
	dir := filepath.Join(t.TempDir(), "state")
	p := start(t, []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", dir}, withEnv(fmt.Sprintf("LOCKTOPUS_STATE_BLOCK=%d", block)))
	p.await("msg=listening")
	url := "http://" + p.address() + "/healthz"
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", url))

	require.NoError(t, os.Rename(dir, dir+".away"))
	c, _, err := websocket.DefaultDialer.Dial("ws://"+p.address()+"/v1?namespace=test", nil)
	require.NoError(t, err)
	defer c.Close()
	for range block * 3 / 4 { // the next block is asked for within
		p.ask(c, `{"action":"lock","resources":[{"type":"write","path":["a"]}]}`, `"acquired"`)
		p.ask(c, `{"action":"release"}`, `"ready"`)
	}
	p.await("ids cannot be reserved")
	require.Regexp(t, `^ok, but .*cannot be reserved`, output(t, exitOK, "health", "--url", url))

	for err = nil; err == nil; {
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(`{"action":"lock","resources":[{"type":"write","path":["a"]}]}`)))
		var answer []byte
		if _, answer, err = c.ReadMessage(); err == nil && strings.Contains(string(answer), `"acquired"`) {
			p.ask(c, `{"action":"release"}`, `"ready"`)
		}
	}
	require.True(t, websocket.IsCloseError(err, websocket.CloseTryAgainLater), "%v", err)
	require.Contains(t, output(t, exitFailed, "health", "--url", url), "503")

	require.NoError(t, os.Rename(dir+".away", dir))
	p.await("ids can be reserved again")
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", url))
	p.stopsWell()
}

// TestHealthOfAServerThatStopsCannotBeAsked: its port is closed although a client still holds a lock.
func TestHealthOfAServerThatStopsCannotBeAsked(t *testing.T) {
	p := serve(t, "server.drain = \"1h\"")
	c := p.holdLock()
	url := "http://" + p.address() + "/healthz"
	p.signal(syscall.SIGTERM)
	p.await("msg=\"stopping")
	// The port closes a moment later; who is connected in that moment is answered or cut off.
	var err error
	for over := time.Now().Add(patience); !errors.Is(err, syscall.ECONNREFUSED); {
		require.True(t, time.Now().Before(over), "%v", err)
		_, err = askHealth(url, patience, "", "")
	}
	p.ask(c, `{"action":"release"}`, `"ready"`)
	p.await("msg=stopped")
	p.exits(exitOK)
}
