package quorum

import (
	"errors"
	"sync"

	"github.com/locktopus-project/locktopus/v2/client"
)

// Guard is client.Guard for locks of a quorum: it lets through whom a majority of guards would, one for each server. A
// holder whose time is over has lower tokens than the next on each server that both have had, and those that are left
// are no majority. The zero Guard has seen nothing; it belongs where the resource is, beside the data and as durable as
// they are.
type Guard struct {
	mu          sync.Mutex
	seen, wrote []uint64 // by server
}

// Read lets a read through, or says with a *client.StaleError of a server that its tokens are too old. Tokens are those
// of Lock.Tokens.
func (g *Guard) Read(tokens []uint64) error { return g.pass(tokens, (*client.Guard).Read) }

// Write lets a write through, or says with a *client.StaleError of a server that its tokens are too old.
func (g *Guard) Write(tokens []uint64) error { return g.pass(tokens, (*client.Guard).Write) }

var errNoMajority = errors.New("locktopus: there are not tokens of a majority of the servers")

// pass asks each server's guard. Nothing is noted of what isn't let through.
func (g *Guard) pass(tokens []uint64, ask func(*client.Guard, uint64) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.seen) < len(tokens) {
		g.seen, g.wrote = append(g.seen, 0), append(g.wrote, 0)
	}
	seen, wrote := append([]uint64(nil), g.seen...), append([]uint64(nil), g.wrote...)
	passed, fault := 0, errNoMajority
	for i, token := range tokens {
		if token == 0 { // not held there
			continue
		}
		var one client.Guard
		one.Restore(seen[i], wrote[i])
		if err := ask(&one, token); err != nil {
			fault = err
			continue
		}
		seen[i], wrote[i] = one.Marks()
		passed++
	}
	if passed < len(g.seen)/2+1 {
		return fault
	}
	g.seen, g.wrote = seen, wrote
	return nil
}

// Marks are the highest tokens seen and the highest that wrote, by server, to be stored.
func (g *Guard) Marks() (seen, wrote []uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]uint64(nil), g.seen...), append([]uint64(nil), g.wrote...)
}

// Restore makes it a guard that has seen what Marks said.
func (g *Guard) Restore(seen, wrote []uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.wrote = append([]uint64(nil), seen...), append([]uint64(nil), wrote...)
}
