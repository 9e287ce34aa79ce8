package client

import (
	"fmt"
	"sync"
)

// Guard is the rule of fencing, for whoever guards a resource: it lets nothing through from holders whose
// time is over. It belongs where the resource is, beside the data and as durable as they are; see
// Guard.Marks for one that has to be stored. The zero Guard has seen nothing. It may be used by several
// goroutines; whatever it let through must be done before it is asked again, or the order is lost.
//
// A read is let through with a token that isn't below that of the last write, a write with one that isn't
// below any token seen: a reader that is late would otherwise read what a later writer wrote, and a late
// writer overwrite what a later reader counts on.
type Guard struct {
	mu          sync.Mutex
	seen, wrote uint64
}

// StaleError says that a token is too old: its lock was lost, and another holder has been here since.
type StaleError struct {
	Token uint64 // what was shown
	Least uint64 // what would have been let through
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("locktopus: token %d is stale: %d or more is needed, as a later holder has been here", e.Token, e.Least)
}

// Read lets a read through, or says with a *StaleError that its token is too old.
func (g *Guard) Read(token uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if token < g.wrote {
		return &StaleError{Token: token, Least: g.wrote}
	}
	g.seen = max(g.seen, token)
	return nil
}

// Write lets a write through, or says with a *StaleError that its token is too old.
func (g *Guard) Write(token uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if token < g.seen {
		return &StaleError{Token: token, Least: g.seen}
	}
	g.seen, g.wrote = token, token
	return nil
}

// Marks are the highest token seen and the highest that wrote, to be stored.
func (g *Guard) Marks() (seen, wrote uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen, g.wrote
}

// Restore makes it a guard that has seen what Marks said.
func (g *Guard) Restore(seen, wrote uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.wrote = max(seen, wrote), wrote
}
