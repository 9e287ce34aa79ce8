package client

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Item is a part of a lock request: a Resource, or an option such as Lease.
type Item interface{ add(*request) }

// Resource is a path and how it is wanted. A path stands for its whole subtree.
type Resource struct {
	Type   string   `json:"type"` // "read", "write" or "permit"
	Path   []string `json:"path"` // empty: the whole namespace
	Limit  uint32   `json:"limit,omitempty"`
	Weight uint32   `json:"weight,omitempty"`
}

func (r Resource) add(q *request) { q.Resources = append(q.Resources, r) }

// Read wants a path together with other readers.
func Read(path ...string) Resource { return Resource{Type: "read", Path: orEmpty(path)} }

// Write wants a path for itself.
func Write(path ...string) Resource { return Resource{Type: "write", Path: orEmpty(path)} }

// Permit wants one of limit places at a path: a counting semaphore in the order of arrival. All who
// want permits of a path at a time must name the same limit. Towards reads and writes it is a read.
func Permit(limit uint32, path ...string) Resource {
	return Resource{Type: "permit", Path: orEmpty(path), Limit: limit, Weight: 1}
}

// Weighing is a permit that counts as so many; 1 to its limit.
func (r Resource) Weighing(weight uint32) Resource {
	r.Weight = weight
	return r
}

func orEmpty(path []string) []string {
	if path == nil {
		return []string{}
	}
	return path
}

type option func(*request)

func (o option) add(q *request) { o(q) }

// Lease ends the lock so long after it was granted, unless Lock.Renew is called before. Without one a
// lock lasts as long as its session. It counts in whole milliseconds.
func Lease(d time.Duration) Item {
	return option(func(q *request) { q.lease = d; q.LeaseMS = milliseconds(d) })
}

// Note is shown to people who look at the lock, or wait for it.
func Note(text string) Item { return option(func(q *request) { q.Note = text }) }

// Impatient takes the request out of the queue when the connection is lost. Without it a request
// keeps its place for as long as the session lives.
func Impatient() Item { return option(func(q *request) { q.Leave = true }) }

// milliseconds rounds up: a limit never ends early.
func milliseconds(d time.Duration) *int64 {
	ms := max(0, int64((d+time.Millisecond-1)/time.Millisecond))
	return &ms
}

var errNoResources = errors.New("locktopus: a lock needs at least one resource, such as client.Write(\"orders\")")

// checkResources finds what can't be sent. Everything else is the server's to judge.
func checkResources(rs []Resource) error {
	if len(rs) == 0 {
		return errNoResources
	}
	for i := range rs {
		if err := checkPath(rs[i].Path); err != nil {
			return fmt.Errorf("locktopus: resource %d: %w", i, err)
		}
	}
	return nil
}

func checkPath(path []string) error {
	for k, segment := range path {
		if !utf8.ValidString(segment) {
			return fmt.Errorf("segment %d of the path is not UTF-8", k)
		}
		if strings.IndexByte(segment, 0) >= 0 {
			return fmt.Errorf("segment %d of the path holds a NUL", k)
		}
	}
	return nil
}
