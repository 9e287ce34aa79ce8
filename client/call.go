package client

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// call is a request that waits for its answer.
type call struct {
	request
	c         *Client
	text      []byte
	sent      time.Duration  // over the present connection; below zero: not yet
	tried     bool           // it was sent over any connection, and the server may know it
	withdrawn bool           // it was not, and won't be
	why       string         // of a release: why the lock had ended before
	lock      *Lock          // of a request for one
	take      func(*message) // called with the answer, under the client's mutex; may be nil

	done   chan struct{} // closed when there is an answer, or none to come
	answer *message
	err    error
}

func (q *call) fail(err error) {
	q.err = err
	close(q.done)
}

// begin sends a request, now or as soon as there is a connection. c.mu is held.
func (c *Client) begin(r *request, take func(*message)) *call {
	c.lastID++
	r.ID = c.lastID
	q := &call{request: *r, c: c, sent: -1, take: take, done: make(chan struct{})}
	q.encode()
	if c.link != nil { // otherwise the server that comes has its own bounds
		if err := c.bounds.check(q); err != nil {
			q.refuse(err)
			return q
		}
	}
	c.calls = append(c.calls, q)
	if c.link != nil {
		c.link.post(q)
	}
	return q
}

func (q *call) encode() {
	text, err := json.Marshal(&q.request)
	if err != nil {
		panic("locktopus: a request is no JSON: " + err.Error()) // strings and numbers only
	}
	q.text = text
}

// ask sends a request and waits for its answer. When ctx ends first the request stays on its way.
func (c *Client) ask(ctx context.Context, r *request, take func(*message)) (*message, error) {
	c.mu.Lock()
	if err := c.ready(); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	q := c.begin(r, take)
	c.mu.Unlock()
	return q.wait(ctx)
}

// wait returns the answer, or the error that it is.
func (q *call) wait(ctx context.Context) (*message, error) {
	select {
	case <-q.done:
	case <-ctx.Done():
		return nil, q.c.offline(context.Cause(ctx))
	}
	if q.err != nil {
		return nil, q.err
	}
	return q.answer, refusal(q.answer)
}

// withdraw takes a request back that the server can't know. c.mu is held.
func (c *Client) withdraw(q *call) bool {
	if q.tried || c.link != nil { // where it stands in a queue
		return false
	}
	q.withdrawn = true
	if c.withdrawn++; 2*c.withdrawn > len(c.calls) {
		c.sweep()
	}
	return true
}

// sweep takes requests that were withdrawn off the list. c.mu is held.
func (c *Client) sweep() {
	c.calls = slices.DeleteFunc(c.calls, func(q *call) bool { return q.withdrawn })
	c.withdrawn = 0
}

// refusal is the error that an answer is; nil if it is none.
func refusal(m *message) error {
	switch {
	case m.State == "unavailable" || m.State == "timeout" || m.State == "upgrade_timeout" || m.Error == "unavailable":
		state := m.State
		if state == "" {
			state = m.Error
		}
		return &UnavailableError{State: state, Blockers: m.Blockers}
	case m.State == "deadlock" || m.Error == "deadlock":
		return &DeadlockError{Cycle: m.Cycle}
	case m.State == "denied" || m.Error == "denied":
		return &RefusedError{Code: "denied", Message: m.Message, Plugin: m.Plugin, Reason: m.Code}
	case m.Error != "":
		return &RefusedError{Code: m.Error, Message: m.Message}
	}
	return nil
}

// handle takes a message of the server up.
func (c *Client) handle(l *link, text []byte) error {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("the server's message is not understood: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return errReplaced
	}
	switch {
	case m.ID != 0:
		l.answered = true
		c.arrived = max(c.arrived, m.ID)
		return c.answered(&m)
	case m.Watch != 0:
		c.watched(&m)
	case m.Event != 0:
		return c.happened(&m)
	case m.Notice != "":
		c.noticed(&m)
	case m.Error != "":
		switch m.Error {
		case "malformed":
			c.blame(&m)
		case "shutdown":
			c.link = nil
			c.forget(&LostError{State: "shutdown", Message: m.Message})
		case "ended": // by an administrator
			lost := &LostError{State: "revoked", Message: m.Message}
			c.link = nil
			c.endWatches(lost)
			c.forget(lost)
		}
		return &RefusedError{Code: m.Error, Message: m.Message}
	}
	return nil // of a later version
}

// blame answers the request with which the server ends the connection: the oldest that has no answer, as answers
// come in order. c.mu is held.
func (c *Client) blame(m *message) {
	if len(c.calls) > 0 && c.calls[0].sent >= 0 {
		m.ID = c.calls[0].ID
		_ = c.answered(m)
	}
}

// answered takes an answer up: answers come in the order of the requests.
func (c *Client) answered(m *message) error {
	if len(c.calls) == 0 || c.calls[0].ID != m.ID {
		return fmt.Errorf("the server has answered request %d out of turn", m.ID)
	}
	q := c.calls[0]
	c.calls[0] = nil
	c.calls = c.calls[1:]
	if q.sent >= 0 {
		c.hear(q.sent)
	}
	q.answer = m
	if q.take != nil {
		q.take(m)
	}
	close(q.done)
	return nil
}

// hear notes that the server has heard of the session when, or after, this was the time.
func (c *Client) hear(sent time.Duration) {
	c.heard = max(c.heard, sent)
	if c.risky {
		c.look()
	}
}

// look wakes the keeper.
func (c *Client) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// happened takes an event up. Some come again after a connection was lost.
func (c *Client) happened(m *message) error {
	if m.Event <= c.event {
		return nil
	}
	if m.Event > c.event+1 {
		return c.mistrust(fmt.Sprintf("its event %d follows %d", m.Event, c.event))
	}
	c.event = m.Event
	if l := c.locks[m.Lock]; l != nil {
		l.happened(m)
	} else if endStates[m.State] { // its release may be on its way, whose answer won't say why
		for _, q := range c.calls {
			if q.Op == "release" && q.Lock == m.Lock {
				q.why = m.Message
			}
		}
	}
	return nil
}
