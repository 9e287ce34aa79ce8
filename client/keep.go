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
	if changed && c.risk != nil {
		select {
		case <-c.risk: // not told yet, and no longer so
		default:
		}
		c.risk <- risky
	}
	return max(time.Millisecond, next-now)
}

// tellRisks calls OnRisk, which may take its time: locks must end in theirs.
func (c *Client) tellRisks() {
	told := false
	for {
		select {
		case <-c.stopped.Done():
			return
		case risky := <-c.risk:
			if risky != told {
				told = risky
				c.options.OnRisk(risky)
			}
		}
	}
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
				c.link.cancel(errSilent) // closing may wait for a write that is stuck, and nothing here may wait
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
	return d - d/50 - min(margin, d/2)
}

// end is when all locks end unless the server is heard. One that is shutting down ends them in any case. c.mu is held.
func (c *Client) end() time.Duration { return min(c.heard+c.usable(c.ttl), c.stops) }

// endOverdue ends locks that the server may have given to others. c.mu is held.
func (c *Client) endOverdue(now time.Duration, next *time.Duration) {
	if all := c.end(); now < all {
		sooner(next, all)
	} else {
		for _, l := range c.locks {
			l.expire(now)
		}
	}
	if now >= c.due {
		c.due = never
		for _, l := range c.leases {
			if l.expire(now); l.state == heldLock {
				sooner(&c.due, l.until())
			}
		}
	}
	sooner(next, c.due)
}

// assess says whether the risk has changed that the locks end. c.mu is held.
func (c *Client) assess(now time.Duration, next *time.Duration) bool {
	at := c.heard + c.usable(c.ttl)*2/3
	risky := now >= at || c.stops != never
	if !risky {
		sooner(next, at)
	}
	changed := risky != c.risky
	c.risky = risky
	return changed
}
