package client

import "time"

// noticed takes up what the server tells everybody. c.mu is held.
func (c *Client) noticed(m *message) {
	c.options.Log.Info("locktopus: notice of the server", "notice", m.Notice)
	if m.Notice != "draining" {
		return
	}
	c.stops = min(c.stops, c.now()+c.usable(time.Duration(m.MS)*time.Millisecond))
	c.standAside()
	c.look()
}

// Draining says whether the server is shutting down, as it has said itself: it ends all locks in a while, and gives
// nothing new. Each lock that is still held then is lost before that, with the state "shutdown" and Options.Margin to
// react; Lock.Deadline says how long it lasts. It is true until the client has found the next server.
func (c *Client) Draining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stops != never
}

// standAside takes those who wait out of the queues of a server that is shutting down: what they would get there they
// would lose in a moment, and it would have to wait for them. They go on waiting, for the next one. c.mu is held.
func (c *Client) standAside() {
	holders := c.holders()
	for _, l := range c.waiting() {
		if !l.aside && l.canStandAside(holders) {
			l.standAside()
		}
	}
}

func (l *Lock) standAside() {
	l.aside = true
	l.c.begin(&request{Op: "release", Lock: l.id}, nil)
}

// canStandAside says whether a request may wait for the next server: a party that holds something here may need it to
// finish. c.mu is held.
func (l *Lock) canStandAside(holders map[uint64]bool) bool {
	return l.request.waits() && !holders[l.request.Party]
}

// waits says whether a request for a lock is one that waits; others are answered now.
func (r *request) waits() bool { return r.WaitMS == nil || *r.WaitMS > 0 }

// holders are the parties that hold locks. c.mu is held.
func (c *Client) holders() map[uint64]bool {
	parties := map[uint64]bool{}
	for _, l := range c.locks {
		if l.state == heldLock {
			parties[l.request.Party] = true
		}
	}
	return parties
}
