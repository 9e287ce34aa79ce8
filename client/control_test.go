package client_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// shared is a set that can only be read as a whole and written as a whole, as a file can.
type shared struct {
	mu    sync.Mutex // makes one read or one write whole, and not the two together
	items map[string]bool
	guard *client.Guard // nil: whoever comes is let through
	stale int           // how often the guard has said no
}

// read copies the set for whoever has this token.
func (s *shared) read(token uint64) (map[string]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guard != nil {
		if err := s.guard.Read(token); err != nil {
			return nil, err
		}
	}
	items := map[string]bool{}
	for item := range s.items {
		items[item] = true
	}
	return items, nil
}

func (s *shared) write(token uint64, items map[string]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guard != nil {
		if err := s.guard.Write(token); err != nil {
			s.stale++
			return err
		}
	}
	s.items = items
	return nil
}

// add puts an item into the set under the lock. Between the last look at the lock and the write the whole process
// pauses: nothing of its client's passes, and it doesn't know what time it is.
func add(c *client.Client, n *line, s *shared, item string, pause time.Duration) error {
	l, err := c.Lock(background, client.Write("set"))
	if err != nil {
		return err
	}
	defer l.Release(background)
	items, err := s.read(l.Token())
	if err != nil {
		return err
	}
	items[item] = true
	if err := l.Err(); err != nil {
		return err
	}
	goOn := n.silence()
	<-time.After(pause)
	err = s.write(l.Token(), items)
	goOn()
	return err
}

// race has many clients add to a set. It returns how many items are not there that a client was told it had added.
func race(t *testing.T, rng *rand.Rand, s *shared, longest time.Duration) (lost int) {
	const clients, each = 8, 40
	s.items = map[string]bool{}
	inBubble(t, func(b *bubble) {
		var adding sync.WaitGroup
		for k := range clients {
			n := b.line()
			c := n.client(client.Options{TTL: faultTTL, Name: fmt.Sprint(k)})
			rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
			adding.Go(func() {
				for i := range each {
					item := fmt.Sprint(k, ".", i)
					for add(c, n, s, item, time.Duration(rng.Int64N(int64(longest)))) != nil {
					}
				}
			})
		}
		adding.Wait()
	})
	return clients*each - len(s.items)
}

// TestALockAloneCannotStopWhoPauses is the control of all that is said about fencing. Clients whose pauses are shorter
// than their sessions live lose nothing. With longer ones the lock isn't enough: updates are lost, and if they were
// not, this test would show nothing. With client.Guard, and the same pauses, none is.
func TestALockAloneCannotStopWhoPauses(t *testing.T) {
	rng := testseed.Rand(t)
	short, long := faultTTL*6/10, faultTTL*15/10 // renewals come at a third

	s := &shared{}
	require.Zero(t, race(t, rng, s, short), "the lock doesn't exclude")

	s = &shared{}
	lost := race(t, rng, s, long)
	require.Positive(t, lost, "pauses do no harm here, so this test can show nothing")

	s = &shared{guard: &client.Guard{}}
	require.Zero(t, race(t, rng, s, long), "the guard has let a write through that came too late")
	require.Positive(t, s.stale)
	t.Logf("without the guard %d updates were lost; the guard refused %d writes", lost, s.stale)
	require.ErrorAs(t, s.write(1, nil), new(*client.StaleError))
}
