package server

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/session"
)

// A namespace is one engine: a tree of paths, an order of requests, a sequence of fencing ids.
type namespace struct {
	name string

	mu        sync.Mutex // guards what follows; held for one call, never while sending or posting
	engine    *engine.Engine
	space     *session.Space // v2's sessions; nil until there is one, and then everything goes through it
	kept      bool           // sessions are a user of the namespace
	living    int64          // sessions, in the sum of all namespaces
	counted   int64          // of its bytes, in the sum of all namespaces
	due       time.Time      // when tick is; zero: it isn't scheduled
	advancing bool           // a goroutine does what was left over
	starved   bool           // grants wait for ids to be reserved, and a goroutine asks for them
	// the server's own lock, while locks of before may be believed in, and its share of the bytes; 0: none
	guard      engine.Handle
	guardBytes int64
	// v1 locks that an administrator has released, and why, until those who had them know it; nil: none
	revoked map[engine.Handle]string

	tick  *appointment[*namespace] // when the space has something to do
	users atomic.Int64             // connections, abandoned locks, its sessions, and who works on it; changed from and to 0 by the registry only
}

// registry knows the namespaces that somebody uses. One comes with its first user and goes with its
// last; nothing is kept of it but the highest fencing id it gave, folded into floor, so that it goes
// on above when it comes back. Ids of a namespace therefore never repeat, and no memory is owed to
// names that nobody uses.
type registry struct {
	mu     sync.Mutex // guards all of it; taken before a namespace's, never after
	byName map[string]*namespace
	floor  uint64 // fencing ids of new namespaces are larger
	max    int
	limits engine.Limits
	space  session.Limits

	guard func(*namespace) error // takes the server's own lock in a new namespace, during the grace; nil: there is none
}

var errNamespaces = errors.New("the server has as many namespaces as it may have (limits.namespaces)")

// join adds a user to a namespace, making it if need be.
func (r *registry) join(name string) (*namespace, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ns := r.byName[name]
	if ns == nil {
		if len(r.byName) >= r.max {
			return nil, errNamespaces
		}
		ns = &namespace{name: name, engine: engine.New(r.limits, r.floor)}
		ns.engine.SetReserved(r.floor)
		ns.tick = &appointment[*namespace]{what: ns, place: -1}
		if r.guard != nil {
			if err := r.guard(ns); err != nil {
				return nil, err
			}
			ns.bound(r.limits)
		}
		r.byName[name] = ns
	}
	ns.users.Add(1)
	return ns, nil
}

// share adds a user to a namespace that the caller is a user of, or whose mutex the caller holds and that isn't empty.
func (r *registry) share(ns *namespace) { ns.users.Add(1) }

// leave takes a user off. The last one takes the namespace along, unless somebody who was at work in it has
// shared it meanwhile.
func (r *registry) leave(ns *namespace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ns.users.Add(-1) > 0 {
		return
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.users.Load() > 0 {
		return
	}
	r.floor = max(r.floor, ns.engine.Last())
	if r.byName[ns.name] == ns { // and not the next one of this name
		delete(r.byName, ns.name)
	}
}

// shareThose adds a user to each namespace whose name is one of those, and gives them.
func (r *registry) shareThose(those func(name string) bool) (found []*namespace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, ns := range r.byName {
		if those(name) {
			ns.users.Add(1)
			found = append(found, ns)
		}
	}
	return found
}

// find gives a namespace that somebody uses, and how many do. The caller is a user of it from then
// on. It is nil if nobody uses one of this name.
func (r *registry) find(name string) (ns *namespace, others int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ns = r.byName[name]; ns == nil {
		return nil, 0
	}
	return ns, int(ns.users.Add(1)) - 1
}

// all gives the namespaces that there are at the moment.
func (r *registry) all() []*namespace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.byName))
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byName)
}

// setLimits changes the limits of all namespaces, present and to come. One at a time: the registry
// isn't held while namespaces are waited for.
func (r *registry) setLimits(l engine.Limits, sessions session.Limits, most int) {
	r.mu.Lock()
	r.limits, r.space, r.max = l, sessions, most
	r.mu.Unlock()
	for _, ns := range r.all() {
		ns.mu.Lock()
		ns.bound(l)
		if ns.space != nil {
			ns.space.SetLimits(sessions)
		}
		ns.mu.Unlock()
	}
}
