package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a Client. The zero value, and nil, mean the defaults.
type Options struct {
	// Name is shown to people who look at locks; 128 bytes at most. Without one they see the session's id.
	Name string
	// TTL is how long the session lives when the server hears nothing of it; 15 s if zero. The server may
	// grant another. The client renews at a third of it.
	TTL time.Duration
	// Margin is how much earlier than necessary locks end locally, so that the program can react; a tenth
	// of the TTL, and 2 s at most, if zero. It is half of the TTL at most.
	Margin time.Duration
	// Credentials are for the server's plugins, where a header can't be used. See Header, too.
	Credentials map[string]string
	// Header goes with each connection, such as Authorization.
	Header http.Header
	// Authorize, if there is one, is asked for both before each connection, for tokens that expire. What it
	// returns goes beside Header and Credentials and replaces what has the same name there. It must heed its
	// context, which Close ends.
	Authorize func(context.Context) (http.Header, map[string]string, error)
	// TLS is for wss:// addresses; nil: the system's authorities.
	TLS *tls.Config
	// Dial makes connections, to a Unix socket for example; nil: over TCP, or as HTTP_PROXY and its like say.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// OnRisk, if there is one, is called with true when two thirds of the time in which the server must be
	// heard are over and it has not been, and when it says that it is shutting down (see Client.Draining); with
	// false when it has been heard again, or the next server has. Locks are still held meanwhile, and
	// Lock.Deadline says for how long. Calls come one after the other, on a goroutine of their own; it must not
	// close the client.
	OnRisk func(atRisk bool)
	// BackoffMin and BackoffMax bound how long the client waits between two attempts to connect, which
	// doubles each time and is drawn at random from its upper half; 50 ms, and a fifth of the TTL, 5 s at most, if zero.
	BackoffMin, BackoffMax time.Duration
	// Log is told about connections lost and made; nil: nobody.
	Log *slog.Logger
}

const (
	defaultTTL        = 15 * time.Second
	defaultBackoffMin = 50 * time.Millisecond
	defaultBackoffMax = 5 * time.Second // at most
	closePatience     = 2 * time.Second // for a last answer
	lastWordPatience  = time.Second
	answerPatience    = time.Second // past the time to wait
	maxMargin         = 2 * time.Second
	messageBytesMax   = 64 << 20 // of one message from the server
)

func (o *Options) orDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.TTL <= 0 {
		out.TTL = defaultTTL
	}
	if out.BackoffMin <= 0 {
		out.BackoffMin = defaultBackoffMin
	}
	if out.Log == nil {
		out.Log = slog.New(slog.DiscardHandler)
	}
	return out
}

// Client is a session with a server. Make it with Dial; Close ends it.
type Client struct {
	options   Options
	url       string
	transport *http.Transport
	now       func() time.Duration // the clock
	stop      context.CancelCauseFunc
	stopped   context.Context // ended by Close
	work      sync.WaitGroup

	mu        sync.Mutex // guards what follows, and the state of calls, locks and watches
	link      *link      // nil: there is no connection
	trouble   error      // with the last connection, or the last attempt at one
	session   string
	secret    string
	durable   bool
	epoch     string // of the server's run
	bounds    bounds
	ttl       time.Duration
	event     uint64           // the last one seen
	arrived   uint64           // the highest id that the server has answered
	lastID    uint64           // of requests
	calls     []*call          // not answered, in the order of their ids
	withdrawn int              // of them
	locks     map[uint64]*Lock // acquired, or waiting with an answer that said so
	leases    map[uint64]*Lock // those of them that are acquired and have a lease
	due       time.Duration    // no lease of them is over before
	watches   map[uint64]*Watch
	heard     time.Duration // when the newest request was sent that has been answered
	said      time.Duration // when something was sent last
	stops     time.Duration // until when locks of a server that is shutting down may be counted on; never: it isn't
	risky     bool
	closing   bool
	refused   error         // the server doesn't let this client in; nil: it does, as far as is known
	wake      chan struct{} // holds one: the keeper should look again
	risk      chan bool     // holds the newest that OnRisk is to be told; nil: there is none
}

// never is later than any time.
const never = time.Duration(math.MaxInt64)

// Dial connects to a server and begins a session. The address is that of the second version of the
// protocol and names the namespace: ws://HOST:PORT/v2?namespace=NAME, or wss://. The context is for the
// first connection only: when that fails, so does Dial; later ones are made behind the caller's back.
func Dial(ctx context.Context, address string, options *Options) (*Client, error) {
	if err := CheckAddress(address); err != nil {
		return nil, err
	}
	return dial(ctx, address, options, clock)
}

func dial(ctx context.Context, address string, options *Options, now func() time.Duration) (*Client, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	c := &Client{
		options: options.orDefaults(), url: address, now: now, wake: make(chan struct{}, 1), heard: now(), due: never, stops: never,
		locks: map[uint64]*Lock{}, leases: map[uint64]*Lock{}, watches: map[uint64]*Watch{},
	}
	c.transport = transport(&c.options)
	c.stopped, c.stop = context.WithCancelCause(context.Background())
	l, err := c.connect(ctx)
	if err != nil {
		c.stop(ErrClosed)
		c.transport.CloseIdleConnections()
		return nil, err
	}
	c.work.Go(func() { c.run(l) })
	c.work.Go(c.keep)
	if c.options.OnRisk != nil {
		c.risk = make(chan bool, 1)
		c.work.Go(c.tellRisks)
	}
	return c, nil
}

func transport(o *Options) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = o.TLS
	if o.Dial != nil {
		t.DialContext, t.Proxy = o.Dial, nil
	}
	return t
}

// authority is what the client shows when it connects.
func (c *Client) authority(ctx context.Context) (http.Header, map[string]string, error) {
	o := &c.options
	if o.Authorize == nil {
		return o.Header, o.Credentials, nil
	}
	header, credentials, err := o.Authorize(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("locktopus: no credentials: %w", err)
	}
	return merged(o.Header, header), merged(o.Credentials, credentials), nil
}

func merged[M ~map[string]V, V any](below, above M) M {
	all := M{}
	maps.Copy(all, below)
	maps.Copy(all, above)
	return all
}

// CheckAddress says what is wrong with an address, if anything, without connecting to it.
func CheckAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case !strings.Contains(address, "://"), err == nil && u.Scheme != "ws" && u.Scheme != "wss":
		return fmt.Errorf("locktopus: the address must begin with ws:// or wss://, but is %q", address)
	case err != nil:
		return fmt.Errorf("locktopus: the address: %w", errors.Unwrap(err))
	case u.Host == "":
		return fmt.Errorf("locktopus: the address names no server: %q", address)
	case u.Query().Get("namespace") == "":
		return fmt.Errorf("locktopus: the address names no namespace, as ws://%s/v2?namespace=NAME would", u.Host)
	case !strings.HasSuffix(u.Path, "/v2"):
		return fmt.Errorf("locktopus: the path of the address must be /v2, but is %q", u.Path)
	}
	return nil
}

// Session is the id by which the server knows the session. It changes when the server has forgotten the
// one before.
func (c *Client) Session() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Connected says whether there is a connection at the moment.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

// Durable says whether the server's fencing tokens go on where they were after a restart. If they don't, what is
// guarded must forget its marks when the server restarts, or nobody gets through.
func (c *Client) Durable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.durable
}

// Epoch names the run of the server that the client has last been connected to: with another one the server was
// restarted. See Durable, too.
func (c *Client) Epoch() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// TTL is the time to live that the server has granted.
func (c *Client) TTL() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ttl
}

// Close releases all locks, ends the session and returns when everything is over, after some seconds at
// most. Without a connection the server releases the locks when the session's time is over.
func (c *Client) Close() error {
	c.mu.Lock()
	again := c.closing
	c.closing = true
	var bye *call
	if !again && c.link != nil {
		bye = c.begin(&request{Op: "bye"}, nil)
	}
	for _, l := range c.waiting() {
		l.drop(ErrClosed)
	}
	c.endAll(ErrClosed)
	c.mu.Unlock()
	if bye != nil {
		patience := time.NewTimer(closePatience)
		defer patience.Stop()
		select {
		case <-bye.done:
		case <-patience.C:
		}
	}
	c.stop(ErrClosed)
	c.work.Wait()
	c.transport.CloseIdleConnections()
	return nil
}

// failCalls ends all requests that will not be answered any more.
func (c *Client) failCalls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.calls {
		q.fail(ErrClosed)
	}
	c.calls = nil
}

// endAll ends all locks and watches of the session here. c.mu is held.
func (c *Client) endAll(cause error) {
	for _, l := range c.locks {
		l.drop(cause)
	}
	for id, w := range c.watches {
		delete(c.watches, id)
		w.end(cause)
	}
}

// run keeps a connection, from the one that Dial made until Close.
func (c *Client) run(l *link) {
	defer c.failCalls()
	pause := backoff{min: c.options.BackoffMin, max: c.longestPause()}
	for {
		err := c.serve(l)
		if c.ending() {
			return
		}
		c.note(err)
		c.options.Log.Info("locktopus: connection lost", "error", err)
		if l.answered {
			pause.wait = 0
		}
		if l = c.reconnect(&pause); l == nil {
			return
		}
	}
}

// ending says whether Close was called.
func (c *Client) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// backoff is how long to wait before the next attempt to connect. It is over when a connection was of use: one that
// is made and lost again at once, as by a server that is in trouble, makes it longer.
type backoff struct{ min, max, wait time.Duration }

// longestPause is short beside the time that locks last without a connection: a network that is back in time must not
// find the client waiting.
func (c *Client) longestPause() time.Duration {
	if c.options.BackoffMax > 0 {
		return c.options.BackoffMax
	}
	return max(c.options.BackoffMin, min(defaultBackoffMax, c.TTL()/5))
}

// next is zero at first.
func (b *backoff) next() time.Duration {
	wait := b.wait
	b.wait = min(max(2*wait, b.min), b.max)
	return wait/2 + rand.N(wait/2+1)
}

// reconnect tries until it has a connection, or the client is closed: then it is nil.
func (c *Client) reconnect(pause *backoff) *link {
	for {
		timer := time.NewTimer(pause.next())
		select {
		case <-c.stopped.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		ctx, cancel := context.WithTimeout(c.stopped, c.patience())
		l, err := c.connect(ctx)
		cancel()
		switch {
		case err == nil:
			c.options.Log.Info("locktopus: connected again", "session", c.Session())
			return l
		case c.stopped.Err() != nil:
			return nil
		case Denied(err):
			c.deny(err)
		}
		c.note(err)
		c.options.Log.Info("locktopus: cannot connect", "error", err)
	}
}

// note keeps what the trouble with the connection is, for those who wait without one.
func (c *Client) note(trouble error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = trouble
}

// offline is the error of a call whose context has ended: beside that it says if there was no connection.
func (c *Client) offline(ended error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil || c.trouble == nil || !errors.Is(ended, context.DeadlineExceeded) && !errors.Is(ended, context.Canceled) {
		return ended
	}
	return &OfflineError{Server: c.server(), Trouble: c.trouble, Ended: ended}
}

// patience is how long one attempt to connect may take.
func (c *Client) patience() time.Duration {
	return max(2*time.Second, min(c.TTL(), 10*time.Second))
}

// deny ends all waiting: the server doesn't let this client in any more, and nobody shall wait for that to change.
// Attempts go on, and locks that are held end when their time is over.
func (c *Client) deny(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = cause
	for _, l := range c.waiting() {
		l.askRelease(cause)
	}
	c.calls = slices.DeleteFunc(c.calls, func(q *call) bool {
		asks := q.Op == "inspect" || q.Op == "watch"
		if asks {
			q.fail(cause)
		}
		return asks
	})
}

// ready says why nothing can be asked for now; nil: it can, or will be as soon as there is a connection. c.mu is held.
func (c *Client) ready() error {
	if c.closing {
		return ErrClosed
	}
	return c.refused
}
