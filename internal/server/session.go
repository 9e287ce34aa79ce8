package server

import (
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// A session is what the server knows of a v1 connection: one lock at a time. It is touched by the
// calls of its own connection only.
type session struct {
	ns      *namespace
	from    origin        // where the client is
	abandon time.Duration // how long an acquired lock outlives the connection
	client  *client       // nil: there were no plugins when it connected

	state wire.V1State  // what the client was told last
	lock  engine.Handle // while enqueued or acquired
	id    uint64        // of that lock, the fencing id; 0: none, and no grant is waited for
}

// forget makes the session ready for another lock.
func (s *session) forget() {
	s.state, s.lock, s.id = wire.V1Ready, 0, 0
}
