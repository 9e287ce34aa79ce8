package server

import (
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// A connection is what the server knows of one. It is touched by its own calls only.
type connection struct {
	ns      *namespace
	from    origin        // where the client is
	abandon time.Duration // how long an acquired lock outlives the connection
	client  *client       // nil: there were no plugins when it connected
	v2      *attachment   // nil: it speaks v1, and what follows is its only lock

	state wire.V1State  // what the client was told last
	lock  engine.Handle // while enqueued or acquired
	id    uint64        // of that lock: while enqueued its place in the order, then its fencing id; 0: none
}

// forget makes a v1 connection ready for another lock.
func (c *connection) forget() {
	c.state, c.lock, c.id = wire.V1Ready, 0, 0
}
