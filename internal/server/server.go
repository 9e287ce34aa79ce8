package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// Options make a Server. Listener, Fence and Log are required.
type Options struct {
	Listener net.Listener // the server owns it from New on
	TLS      *tls.Config  // nil: plain
	Loops    int          // 0: one per core
	Settings Settings
	Fence    *fence.Fence // stays the caller's, who closes it after the server
	Log      *slog.Logger
	Version  string // shown on the status page

	// Grace is for how long nothing is granted, as clients of servers before may believe in their locks.
	Grace fence.Debt

	NewJudge func() Judge        // called for each worker, by several goroutines; nil: there are no plugins, ever
	Plugins  func() []host.Stats // of the plugins there are, for the status page; nil: none
}

// Settings are what Reload can change while the server runs. They are checked by whoever read them.
type Settings struct {
	Net            wsnet.Limits
	Engine         engine.Limits // of each namespace
	MessageValues  int           // members, resources and segments of a message; 0: wire.V1Values
	MemoryBytes    int64         // for the requests of all namespaces; beyond it none is taken on
	Abandoned      int           // locks left behind from one address; beyond it nobody connects from there
	Sessions       session.Limits
	SessionsMax    int           // of v2 at once, in all namespaces
	SessionsFrom   int           // of v2 at once, begun from one address; 0: no bound
	Namespaces     int           // namespaces at once
	NamespaceName  int           // bytes of a namespace's name
	DefaultAbandon time.Duration // where a client names none
	AbandonMax     time.Duration // the longest a client may ask for
	Origins        []string      // exact origins of browsers, or "*"
	LogClients     bool
	LogLocks       bool
}

// The stages of a server's life, in order.
const (
	serving  int32 = iota
	draining       // no new connections or locks; whoever holds one may release it
	ending         // everybody goes
)

var (
	errGoingDown = &refusal{codeGoingAway, "the server is shutting down"}
	errNoIDs     = &refusal{codeTryLater, "the server cannot reserve fencing ids durably at the moment, so it grants no new locks; try again later"}
	errNoMemory  = &refusal{codeTryLater, "the requests of all namespaces take as much memory as they may (limits.memory_bytes); try again later"}
)

// Server serves locks on one listener.
type Server struct {
	net      transport // set before the first connection is served
	log      *slog.Logger
	fence    *fence.Fence
	version  string
	settings atomic.Pointer[Settings]
	stage    atomic.Int32
	faults   atomic.Uint64 // connections closed for a fault of the client
	stuck    atomic.Uint64 // requests and upgrades refused as deadlocks
	memory   atomic.Int64  // bytes that the requests of all namespaces take
	noID     atomic.Uint64 // the id that wasn't reserved when it was wanted last; 0: none
	parked   atomic.Bool   // a session had to wait for the disk, once

	newJudge func() Judge
	plugins  func() []host.Stats
	judged   judgements

	connections slab[connection]
	spaces      registry

	abandoned *abandoned
	expiries  *schedule[wsnet.ConnID] // connections whose authentication ends
	greetings *schedule[wsnet.ConnID] // connections that have not said hello
	ticks     *schedule[*namespace]   // namespaces whose sessions have something to do
	grace     grace
	epoch     []byte        // this run of the server
	living    atomic.Int64  // sessions of v2
	homes     tally         // of those, by the addresses that they were begun from
	spans     spans         // and by what is covered for them
	lobby     lobby         // hellos that wait for the disk
	drainEnd  atomic.Int64  // when clients are disconnected, in Unix nanoseconds
	born      time.Time     // when the clock of sessions began
	stop      chan struct{} // closed when the server ends
	stopOnce  sync.Once
	work      sync.WaitGroup // goroutines of the server

	open    atomic.Int64  // connections
	emptied chan struct{} // holds one: there was no connection left, once
}

// transport is what the server needs of wsnet.Server; its tests bring another.
type transport interface {
	Post(id wsnet.ConnID, token uint64)
	Broadcast(token uint64)
	SetLimits(wsnet.Limits)
	StopAccepting()
	Addr() net.Addr
	Stats() wsnet.Stats
	Close() error
}

// New serves from here on.
func New(o Options) (*Server, error) {
	s := newServer(o)
	_, err := wsnet.Serve(o.Listener, wsnet.Options{
		NewHandler: func() wsnet.Handler { return s.newWorker() },
		Ready:      func(n *wsnet.Server) { s.net = n },
		HTTP:       s.pages(),
		TLS:        o.TLS,
		Loops:      o.Loops,
		Limits:     o.Settings.Net,
		Log:        o.Log,
	})
	if err != nil {
		return nil, err
	}
	s.keepTime()
	return s, nil
}

func newServer(o Options) *Server {
	s := &Server{
		log: o.Log, fence: o.Fence, version: o.Version, newJudge: o.NewJudge, plugins: o.Plugins,
		stop: make(chan struct{}), emptied: make(chan struct{}, 1),
	}
	set := o.Settings
	s.settings.Store(&set)
	s.spaces = registry{byName: map[string]*namespace{}, floor: o.Fence.Start(), max: set.Namespaces, limits: set.Engine, space: set.Sessions}
	s.spans = newSpans()
	s.abandoned = newAbandoned(s.expire)
	s.expiries = newSchedule(func(id wsnet.ConnID) { s.net.Post(id, tokenExpired) })
	s.greetings = newSchedule(func(id wsnet.ConnID) { s.net.Post(id, tokenNoHello) })
	s.ticks = newSchedule(s.tickDue)
	s.epoch, s.born = []byte(randomText()), time.Now()
	if s.grace.begin(o.Grace, s.born); s.grace.named != nil {
		s.spaces.guard = s.guard
	}
	o.Fence.Notify(s.written)
	return s
}

// keepTime starts the goroutines that do what is due.
func (s *Server) keepTime() {
	s.work.Go(func() { s.abandoned.run(s.stop) })
	s.work.Go(func() { s.expiries.run(s.stop) })
	s.work.Go(func() { s.greetings.run(s.stop) })
	s.work.Go(func() { s.ticks.run(s.stop) })
	s.work.Go(s.relax)
	if s.spaces.guard != nil {
		s.work.Go(s.endGrace)
	}
}

// Addr is the address the server listens on.
func (s *Server) Addr() net.Addr { return s.net.Addr() }

// Reload changes the settings: at once for what is asked anew with each message, for connections to
// come where a setting is about connecting.
func (s *Server) Reload(set Settings) {
	s.settings.Store(&set)
	s.net.SetLimits(set.Net)
	s.spaces.setLimits(set.Engine, set.Sessions, set.Namespaces)
}

// Shutdown drains the server and ends it: no new connections, no new locks; each client is told by a
// close frame as soon as it holds no lock and waits for none, or when ctx ends, whichever comes
// first. It returns nil when everybody had gone before ctx ended, ctx's error otherwise; the server
// has ended in both cases.
func (s *Server) Shutdown(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok {
		s.drainEnd.Store(end.UnixNano())
	}
	s.stage.Store(draining)
	s.net.StopAccepting()
	s.net.Broadcast(tokenLook)
	err := s.wait(ctx)
	if err != nil {
		s.stage.Store(ending)
		s.net.Broadcast(tokenLook)
		last, cancel := context.WithTimeout(context.Background(), s.settings.Load().Net.CloseTimeout)
		defer cancel()
		s.wait(last) // what is still there then has had its chance
	}
	return errors.Join(err, s.Close())
}

// wait returns when there is no connection, or with ctx's error.
func (s *Server) wait(ctx context.Context) error {
	for s.open.Load() > 0 {
		select {
		case <-s.emptied:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *Server) opened() { s.open.Add(1) }

func (s *Server) closed() {
	if s.open.Add(-1) > 0 {
		return
	}
	select {
	case s.emptied <- struct{}{}:
	default:
	}
}

// Close ends the server at once: clients are cut off, their locks are gone with it.
func (s *Server) Close() error {
	s.stage.Store(ending)
	err := s.net.Close()
	s.stopOnce.Do(func() { close(s.stop) })
	s.work.Wait()
	return err
}

// expire releases a lock whose connection has been gone for its abandon timeout.
func (s *Server) expire(x abandonment) {
	var fx session.Effects
	r, ok := s.release(x.ns, x.lock, &fx)
	if !ok {
		x.ns.taken(x.lock)
	} else if s.settings.Load().LogLocks {
		s.log.Info("abandoned lock released", "namespace", x.ns.name, "id", r.Token)
	}
	s.spaces.leave(x.ns)
}

// release takes a v1 request from its engine and posts the grants that follow. The caller is a user of
// the namespace and the request's only owner, so a stale handle is a broken invariant, unless an
// administrator has released the lock: then it is false.
func (s *Server) release(ns *namespace, lock engine.Handle, fx *session.Effects) (r engine.Released, ok bool) {
	ns.mu.Lock()
	r, err := ns.releaseV1(s.now(), lock, fx)
	if err != nil && !ns.isRevoked(lock) {
		ns.mu.Unlock()
		panic("server: a connection's lock is not in its engine: " + err.Error())
	}
	s.finish(ns, fx)
	return r, err == nil
}

// account adds a namespace's memory to the sum of all. ns.mu is held.
func (s *Server) account(ns *namespace) {
	now := ns.engine.Bytes() - ns.guardBytes
	if ns.space != nil {
		now += ns.space.Bytes()
	}
	if now != ns.counted {
		s.memory.Add(now - ns.counted)
		ns.counted = now
	}
}
