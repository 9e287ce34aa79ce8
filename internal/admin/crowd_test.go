package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestAdministratorsAmidACrowd take locks and sessions at random from clients of both versions that lock and
// release as fast as they can. Nobody hears anything that the protocol doesn't have, and nothing is left.
func TestAdministratorsAmidACrowd(t *testing.T) {
	l := testLimits
	l.Connections = 16
	w := newWorld(t, l)
	r := testseed.Rand(t)
	stop := make(chan struct{})
	var crowd sync.WaitGroup
	for i := range 4 {
		crowd.Go(func() { w.oldClient(i, stop) })
		crowd.Go(func() { w.newClient(i, stop) })
	}
	taken := map[string]int{}
	for n := 0; taken["lock v1"] < 20 || taken["lock v2"] < 20 || taken["session"] < 10; n++ {
		require.Less(t, n, 20_000, "%v", taken)
		if n%20 == 0 {
			status, answer := w.ask("GET", "/admin/v1/sessions?namespace=n", "")
			if sessions, _ := answer["sessions"].([]any); status == 200 && len(sessions) > 0 {
				x := sessions[r.IntN(len(sessions))].(map[string]any)
				w.take(taken, "session", "end", fmt.Sprintf(`{"namespace":"n","session":%q,"reason":"why not"}`, x["session"]))
			}
			continue
		}
		status, answer := w.ask("GET", "/admin/v1/locks?namespace=n&limit=20", "")
		locks, _ := answer["locks"].([]any)
		if status != 200 || len(locks) == 0 {
			continue
		}
		x := locks[r.IntN(len(locks))].(map[string]any)
		kind := map[bool]string{true: "lock v1", false: "lock v2"}[x["session"] == "v1"]
		w.take(taken, kind, "release", fmt.Sprintf(`{"namespace":"n","session":%q,"lock":%.0f,"reason":"why not"}`, x["session"], x["lock"]))
	}
	close(stop)
	crowd.Wait()
	require.Eventually(t, func() bool {
		status, answer := w.ask("GET", "/admin/v1/locks?namespace=n", "")
		locks, _ := answer["locks"].([]any)
		return status == http.StatusNotFound || len(locks) == 0
	}, patience, patience/1000)
}

// take is an action that may come too late.
func (w *world) take(taken map[string]int, kind, what, body string) {
	switch status, answer := w.ask("POST", "/admin/v1/"+what, body); status {
	case http.StatusOK:
		taken[kind]++
	case http.StatusNotFound:
	default:
		require.Fail(w.t, "an action is refused", "%s: %v", body, answer)
	}
}

// oldClient locks and releases over version 1, and connects again when its lock was taken.
func (w *world) oldClient(i int, stop <-chan struct{}) {
	for {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+w.server+"/v1?namespace=n&abandon-timeout-ms=0", nil)
		if err != nil {
			w.t.Errorf("client %d of version 1: %v", i, err)
			return
		}
		for err == nil {
			select {
			case <-stop:
				c.Close()
				return
			default:
			}
			if err = say(c, fmt.Sprintf(`{"action":"lock","resources":[{"type":"write","path":["%d"]},{"type":"read","path":["x"]}]}`, i%2), `"acquired"`); err == nil {
				err = say(c, `{"action":"release"}`, `"ready"`)
			}
		}
		c.Close()
		if !errors.Is(err, errTaken) {
			w.t.Errorf("client %d of version 1: %v", i, err)
			return
		}
	}
}

var errTaken = errors.New("an administrator has taken the lock")

// say sends a message and waits for an answer. What comes before it is no fault if it is of the protocol.
func say(c *websocket.Conn, message, want string) error {
	if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		return fmt.Errorf("%w: %w", errTaken, err) // closed from the other side, which reading would tell
	}
	for {
		_, text, err := c.ReadMessage()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(string(text), "communication error: an administrator has released"):
			return errTaken
		case strings.Contains(string(text), want):
			return nil
		case !strings.Contains(string(text), `"state"`):
			return fmt.Errorf("heard %s", text)
		}
	}
}

// newClient is one of version 2, with a new session when the old one is over.
func (w *world) newClient(i int, stop <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for {
		c, err := client.Dial(ctx, "ws://"+w.server+"/v2?namespace=n", nil)
		if err != nil {
			w.t.Errorf("client %d of version 2: %v", i, err)
			return
		}
		for err == nil {
			select {
			case <-stop:
				c.Close()
				return
			default:
			}
			var l *client.Lock
			if l, err = c.Lock(ctx, client.Write(fmt.Sprint(i%2)), client.Read("x")); err == nil {
				_ = l.Release(ctx) // which fails if it was taken
			}
		}
		c.Close()
		lost, isLost := errors.AsType[*client.LostError](err)
		refused, isRefused := errors.AsType[*client.RefusedError](err)
		if !(isLost && lost.State == "revoked" && lost.Message == "why not") && !(isRefused && refused.Code == "ended" && refused.Message == "why not") {
			w.t.Errorf("client %d of version 2: %v", i, err)
			return
		}
	}
}
