package probe

import (
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// request is one that the server has taken on.
type request struct {
	id        uint64
	client    int
	resources []oracle.Resource
	told      bool // acquired, and its client knows

	ghost bool          // its client has gone
	until oracle.Moment // a ghost is there at least so long
}

// model knows who is in the queue of a namespace, in the order of ids.
type model struct {
	queue   []*request
	highest uint64 // id that was given
}

// before are the requests that stand in the way of one.
func (m *model) before(r *request) (living, ghosts []*request) {
	for _, q := range m.queue {
		if q == r {
			break
		}
		if !oracle.Conflict(q.resources, r.resources) {
			continue
		}
		if q.ghost {
			ghosts = append(ghosts, q)
		} else {
			living = append(living, q)
		}
	}
	return living, ghosts
}

// due are the requests that nothing but ghosts stands in the way of, and whose clients don't know it.
func (m *model) due() (rs []*request) {
	for _, r := range m.queue {
		if r.told || r.ghost {
			continue
		}
		if living, _ := m.before(r); len(living) == 0 {
			rs = append(rs, r)
		}
	}
	return rs
}

func (m *model) add(r *request) {
	m.queue = append(m.queue, r)
	m.highest = r.id
}

func (m *model) remove(r *request) {
	m.queue = slices.DeleteFunc(m.queue, func(q *request) bool { return q == r })
}

// leave makes a ghost of a request whose client went at a moment, or just before it.
func (m *model) leave(r *request, at oracle.Moment, abandon time.Duration) {
	r.ghost = true
	if r.told {
		r.until = at + oracle.Moment(abandon)
	}
}
