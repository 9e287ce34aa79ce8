package client

import "time"

// glance is how often the clock is looked at at least: timers stand still while the machine sleeps, and the
// clock of this package doesn't.
const glance = time.Second

// keep renews the session, and ends locks whose time is over.
func (c *Client) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.stopped.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Reset(c.tend())
	}
}

// tend does what is due and says how long it may be until it must be called again.
func (c *Client) tend() time.Duration {
	c.mu.Lock()
	now := c.now()
	next := now + glance
	c.renew(now, &next)
	c.endOverdue(now, &next)
	changed := c.assess(now, &next)
	risky := c.risky
	c.mu.Unlock()
	if changed && c.options.OnRisk != nil {
		c.options.OnRisk(risky)
	}
	return max(time.Millisecond, next-now)
}

func sooner(next *time.Duration, at time.Duration) { *next = min(*next, at) }

// renew says something when nothing has been said for a third of the session's time, and gives a connection
// up over which no answer has come for as long. c.mu is held.
func (c *Client) renew(now time.Duration, next *time.Duration) {
	if c.link == nil || c.closing {
		return
	}
	third := c.ttl / 3
	if len(c.calls) > 0 {
		if oldest := c.calls[0]; oldest.sent >= 0 {
			if now-oldest.sent >= third {
				c.options.Log.Info("locktopus: no answer, connecting again", "waited", now-oldest.sent)
				c.link.close()
				return
			}
			sooner(next, oldest.sent+third)
		}
	}
	if now-c.said >= third {
		c.said = now
		c.begin(&request{Op: "renew"}, nil)
	}
	sooner(next, c.said+third)
}

// usable is how much of a time that the server measures the client may count on: clocks may differ by 2 %,
// and the program needs some to react.
func (c *Client) usable(d time.Duration) time.Duration {
	margin := c.options.Margin
	if margin <= 0 {
		margin = min(d/10, maxMargin)
	}
	return d - d/50 - margin
}

// endOverdue ends locks that the server may have given to others. It is told, in case that it hasn't.
// c.mu is held.
func (c *Client) endOverdue(now time.Duration, next *time.Duration) {
	for id, l := range c.locks {
		if l.state != heldLock {
			continue
		}
		until := l.until()
		if now < until {
			sooner(next, until)
			continue
		}
		l.end(ErrDeadline)
		delete(c.locks, id)
		c.begin(&request{Op: "release", Lock: id}, nil)
	}
}

// assess says whether the risk has changed that the session ends. c.mu is held.
func (c *Client) assess(now time.Duration, next *time.Duration) bool {
	at := c.heard + c.usable(c.ttl)*2/3
	risky := now >= at
	if !risky {
		sooner(next, at)
	}
	changed := risky != c.risky
	c.risky = risky
	return changed
}
