package client

import (
	"fmt"
	"slices"
)

// bounds are the most that the server takes in one message: one with more would end the connection, and what else
// depends on that would be lost. 0: it hasn't said.
type bounds struct{ bytes, values int }

// check says what is wrong with a request's size, in the way the server would.
func (b bounds) check(q *call) error {
	if b.bytes > 0 && len(q.text) > b.bytes {
		return &RefusedError{Code: "limit", Message: fmt.Sprintf("the request has %d bytes, at most %d are allowed (limits.message_bytes): "+
			"ask for fewer resources, with shorter paths", len(q.text), b.bytes)}
	}
	if n := q.values(); b.values > 0 && n > b.values {
		return &RefusedError{Code: "limit", Message: fmt.Sprintf("the request has %d members, resources and segments, at most %d are allowed "+
			"(limits.message_values): ask for fewer resources, with fewer segments", n, b.values)}
	}
	return nil
}

// values is what the server counts in a request: members, resources, and segments of paths.
func (q *request) values() int {
	n := 0
	count := func(given ...bool) {
		for _, is := range given {
			if is {
				n++
			}
		}
	}
	count(true, true, q.Lock != 0, q.Watch != 0, q.Resources != nil, q.Path != nil, q.Limit != 0, q.After != "", q.WaitMS != nil,
		q.LeaseMS != nil, q.Note != "", q.Leave, q.Party != 0, q.Upgrade != 0)
	if q.Path != nil {
		n += len(*q.Path)
	}
	for i := range q.Resources {
		r := &q.Resources[i]
		n += len(r.Path)
		count(true, true, true, r.Limit != 0, r.Weight != 0)
	}
	return n
}

// sortOut refuses requests that wait to be sent and are too much for the server that there is now. One that was sent
// before is sent again, as the server may have granted it. c.mu is held.
func (c *Client) sortOut() {
	c.calls = slices.DeleteFunc(c.calls, func(q *call) bool {
		if q.tried {
			return false
		}
		err := c.bounds.check(q)
		if err != nil {
			q.refuse(err)
		}
		return err != nil
	})
}

// refuse ends a request that isn't sent: the server can't know it. c.mu is held.
func (q *call) refuse(err error) {
	q.withdrawn = true
	q.fail(err)
	if q.lock != nil {
		q.lock.drop(err)
	}
}
