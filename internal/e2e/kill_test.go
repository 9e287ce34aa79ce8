package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	killRounds  = 12
	killClients = 12
	killIDs     = 1500 // ids seen in a round before the axe falls
)

// ledger collects the ids that clients of one server process saw.
type ledger struct {
	mu    sync.Mutex // guards what follows
	ids   map[string][]uint64
	count int
	fault error
	full  chan struct{} // closed once killIDs were seen, or something went wrong
}

func (l *ledger) add(space string, id uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.ids[space] = append(l.ids[space], id)
		l.count++
	} else if l.fault == nil && l.count < killIDs {
		l.fault = err
	}
	if l.count == killIDs || l.fault != nil {
		select {
		case <-l.full:
		default:
			close(l.full)
		}
	}
}

// TestIDsNeverGoBackOverKills kills the server under load again and again. Whatever a client was told
// before, what it is told afterwards is larger. Small blocks make it reserve often.
func TestIDsNeverGoBackOverKills(t *testing.T) {
	state := t.TempDir()
	highest := map[string]uint64{}
	for round := range killRounds {
		srv := start(t, setup{stateDir: state, config: "[state]\nblock = 1000\n"})
		l := &ledger{ids: map[string][]uint64{}, full: make(chan struct{})}
		var clients sync.WaitGroup
		for i := range killClients {
			// One namespace lives through all rounds, others come and go.
			space := []string{"always", "always", "often", fmt.Sprint("round", round)}[i%4]
			if space == "often" && round%3 == 0 {
				space = "seldom"
			}
			clients.Go(func() { hammer(srv, space, i, l) })
		}
		select {
		case <-l.full:
		case <-time.After(patience):
			t.Error("ids come too slowly")
		}
		srv.kill()
		clients.Wait()
		require.NoError(t, l.fault, "round %d", round)
		for space, ids := range l.ids {
			seen := map[uint64]bool{}
			top := highest[space]
			for _, id := range ids {
				require.Greater(t, id, highest[space], "namespace %q, round %d: an id of before the kill", space, round)
				require.False(t, seen[id], "namespace %q, round %d: id %d was given twice", space, round, id)
				seen[id] = true
				top = max(top, id)
			}
			highest[space] = top
		}
	}
}

// hammer locks and releases until the server dies, and reports every id it was told. Where the
// server says that it waits for its disk, it comes back.
func hammer(srv *server, space string, n int, l *ledger) {
	for srv.running() {
		c, _, err := dialRaw(srv.target(space, 0))
		if err != nil {
			l.add(space, 0, err)
			return
		}
		again := hammerOn(c, space, n, l)
		c.Drop()
		if !again {
			return
		}
	}
}

// hammerOn uses one connection; true: it ended because ids weren't reserved in time.
func hammerOn(c client, space string, n int, l *ledger) bool {
	for i := 0; ; i++ {
		text := lockText(write("own", fmt.Sprint(n)))
		if i%4 == 0 {
			text = lockText(write("shared"), read("own"))
		}
		for _, send := range []string{text, releaseText} {
			if err := c.Send(send); err != nil {
				l.add(space, 0, err)
				return false
			}
			for told, done := false, false; !done; {
				text, err := c.Recv()
				if err == nil && strings.Contains(text, "fencing ids") {
					return true
				}
				var a answer
				if err == nil {
					a, err = parseAnswer(text)
				}
				if err != nil {
					l.add(space, 0, err)
					return false
				}
				if !told && a.action == "lock" {
					l.add(space, a.id, nil)
				}
				told, done = true, a.state != "enqueued"
			}
		}
	}
}

// A kill while somebody holds: the lock is gone with the server, its id is not given again.
func TestIDsGoOnAfterAKillWithLocksHeld(t *testing.T) {
	state := t.TempDir()
	var last uint64
	for range 3 {
		srv := start(t, setup{stateDir: state})
		c := connect(t, dialRaw, srv.target("n"))
		id := c.mustAcquire(write("a"))
		require.Greater(t, id, last)
		last = id
		srv.kill()
	}
}
