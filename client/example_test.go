package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// must is for these examples only. Yours can do better.
func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// startServer starts a server for an example. Yours is started by "locktopus serve", and its address is something
// like ws://127.0.0.1:9009/v2?namespace=shop.
func startServer() (address string, stop func()) {
	s, host, err := testserver.Start(nil)
	must(err)
	return "ws://" + host + "/v2?namespace=shop", func() { must(s.Close()) }
}

// connect makes a client that isn't what an example is about.
func connect(address, name string) *client.Client {
	c, err := client.Dial(context.Background(), address, &client.Options{Name: name})
	must(err)
	return c
}

// A lock of several paths at once, held while something is done.
func Example() {
	address, stop := startServer()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, address, &client.Options{Name: "worker-7"})
	must(err)
	defer c.Close()

	lock, err := c.Lock(ctx, client.Write("orders", "17"), client.Read("prices"))
	must(err)
	defer lock.Release(ctx)

	// Give this context to whatever needs the lock. It ends when the lock is lost.
	work := func(ctx context.Context, token uint64) {
		fmt.Println("at work, token", token, "error", ctx.Err())
	}
	work(lock.Context(), lock.Token())
	// Output:
	// at work, token 1 error <nil>
}

// All that can be said about a client. None of it has to be.
func ExampleOptions() {
	address, stop := startServer()
	defer stop()
	options := &client.Options{
		Name:   "worker-7",       // for people who look at locks
		TTL:    20 * time.Second, // how long locks last when the server can't be reached
		Margin: time.Second,      // how much of that is kept for the program to react
		Log:    slog.Default(),

		// Who this is, for the server's plugins.
		Header:      http.Header{"Authorization": {"Bearer secret"}},
		Credentials: map[string]string{"token": "secret"},
		TLS:         &tls.Config{MinVersion: tls.VersionTLS13},
		// Tokens that expire are asked for before each connection.
		Authorize: func(ctx context.Context) (http.Header, map[string]string, error) {
			return http.Header{"Authorization": {"Bearer fresh"}}, nil, nil
		},

		// The lock is still held, but the server hasn't been heard for so long that it may end, or is shutting down.
		OnRisk:     func(atRisk bool) { slog.Warn("locks at risk", "are", atRisk) },
		BackoffMin: 100 * time.Millisecond, // between two attempts to connect
		BackoffMax: 10 * time.Second,
		// Where to connect to, whatever the address says: a Unix socket, for example.
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}
	c, err := client.Dial(context.Background(), address, options)
	must(err)
	defer c.Close()
	fmt.Println(c.TTL(), c.Connected(), c.Draining(), c.Session() != "", c.Epoch() != "", c.Durable())
	// Output:
	// 20s true false true true false
}

func ExampleCheckAddress() {
	fmt.Println(client.CheckAddress("ws://127.0.0.1:9009/v2?namespace=shop"))
	fmt.Println(client.CheckAddress("ws://127.0.0.1:9009/v2"))
	// Output:
	// <nil>
	// locktopus: the address names no namespace, as ws://127.0.0.1:9009/v2?namespace=NAME would
}

// Who waits no longer than its context says, and who was in the way.
func ExampleClient_Lock() {
	address, stop := startServer()
	defer stop()
	a, b := connect(address, "a"), connect(address, "b")
	defer a.Close()
	defer b.Close()
	held, err := a.Lock(context.Background(), client.Write("report"), client.Note("nightly run"))
	must(err)

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = b.Lock(ctx, client.Read("report", "2024"))
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	_, err = b.Lock(context.Background(), client.Read("report", "2024"), client.Wait(100*time.Millisecond))
	fmt.Println(errors.Is(err, context.DeadlineExceeded)) // and who was in the way is told in any case
	_, err = b.TryLock(context.Background(), client.Read("report", "2024"))
	var unavailable *client.UnavailableError
	if errors.As(err, &unavailable) {
		by := unavailable.Blockers[0]
		fmt.Println(unavailable.State, by.Type, by.Path, by.State, "by", by.Session, "for", by.Note)
	}

	must(held.Release(context.Background()))
	lock, err := b.Lock(context.Background(), client.Read("report", "2024"))
	must(err)
	fmt.Println("a later token:", lock.Token() > held.Token())
	// Output:
	// true
	// true
	// unavailable write [report] acquired by a for nightly run
	// a later token: true
}

// Now or not at all.
func ExampleClient_TryLock() {
	address, stop := startServer()
	defer stop()
	a, b := connect(address, "a"), connect(address, "b")
	defer a.Close()
	defer b.Close()
	ctx := context.Background()
	_, err := a.Lock(ctx, client.Write("x"))
	must(err)
	if _, err := b.TryLock(ctx, client.Write("x")); err != nil {
		fmt.Println("somebody else is at it")
	}
	// Output:
	// somebody else is at it
}

// Three at a time: a counting semaphore.
func ExamplePermit() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "pool")
	defer c.Close()
	ctx := context.Background()
	for range 2 {
		lock, err := c.Lock(ctx, client.Permit(3, "connections"))
		must(err)
		fmt.Println("slot", lock.Slots()[0])
	}
	_, err := c.TryLock(ctx, client.Permit(3, "connections").Weighing(2))
	fmt.Println(err != nil)
	// Output:
	// slot 0
	// slot 1
	// true
}

// A task that holds some locks while it waits for others says so, and is told where that would never end.
func ExampleNewParty() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "worker")
	defer c.Close()
	ctx := context.Background()
	one, two := client.NewParty(), client.NewParty()
	first, err := c.Lock(ctx, client.Write("accounts", "1"), one)
	must(err)
	second, err := c.Lock(ctx, client.Write("accounts", "2"), two)
	must(err)

	faults := make(chan error, 2)
	go func() { _, err := c.Lock(ctx, client.Write("accounts", "2"), one); faults <- err }()
	go func() { _, err := c.Lock(ctx, client.Write("accounts", "1"), two); faults <- err }()
	var deadlock *client.DeadlockError
	if errors.As(<-faults, &deadlock) { // whichever was second
		fmt.Println("a circle of", len(deadlock.Cycle))
	}
	must(errors.Join(first.Release(ctx), second.Release(ctx)))
	fmt.Println(<-faults) // the other has what it waited for
	// Output:
	// a circle of 2
	// <nil>
}

// A lock that ends by itself unless it is renewed, whatever else the client does.
func ExampleLease() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "worker")
	defer c.Close()
	ctx := context.Background()
	lock, err := c.Lock(ctx, client.Write("x"), client.Lease(300*time.Millisecond))
	must(err)
	must(lock.Renew(ctx)) // each step of the work that is done
	<-lock.Done()         // nothing is done any more
	fmt.Println(lock.Err() != nil, lock.Deadline())
	// Output:
	// true 0s
}

// For those who would rather not wait than wait without a connection.
func ExampleImpatient() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "worker")
	defer c.Close()
	lock, err := c.Lock(context.Background(), client.Write("x"), client.Impatient())
	must(err)
	fmt.Println(lock.ID(), lock.Err())
	// Output:
	// 1 <nil>
}

// Why a lock is over.
func ExampleLock_Context() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "worker")
	ctx := context.Background()
	lock, err := c.Lock(ctx, client.Write("x"))
	must(err)
	other, err := c.Lock(ctx, client.Write("y"))
	must(err)
	must(lock.Release(ctx))
	must(c.Close())
	for _, l := range []*client.Lock{lock, other} {
		<-l.Context().Done()
		var lost *client.LostError
		switch cause := context.Cause(l.Context()); {
		case errors.Is(cause, client.ErrReleased):
			fmt.Println("given up")
		case errors.Is(cause, client.ErrClosed):
			fmt.Println("the client was closed")
		case errors.Is(cause, client.ErrDeadline):
			fmt.Println("the server was not heard in time")
		case errors.As(cause, &lost):
			fmt.Println("the server has ended it:", lost.State, lost.Message)
		}
	}
	// Output:
	// given up
	// the client was closed
}

// Reading first, and writing if need be. Nobody gets in between.
func ExampleLock_Upgrade() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "worker")
	defer c.Close()
	ctx := context.Background()
	lock, err := c.Lock(ctx, client.Read("x"))
	must(err)
	read := lock.Token()
	must(lock.Upgrade(ctx))
	fmt.Println("a new token:", lock.Token() > read)
	must(lock.Downgrade(ctx)) // others may read again
	other, err := c.TryLock(ctx, client.Read("x"))
	fmt.Println(other != nil, err)
	// Output:
	// a new token: true
	// true <nil>
}

// A file, or whatever else can be written by who believes to have the lock, keeps the rule.
func ExampleGuard() {
	var guard client.Guard
	fmt.Println(guard.Write(33)) // the holder with token 33
	fmt.Println(guard.Write(34)) // the next one, as the first was thought to be gone
	fmt.Println(guard.Write(33)) // the first one wakes up

	// The marks are kept with what is guarded.
	seen, wrote := guard.Marks()
	var restarted client.Guard
	restarted.Restore(seen, wrote)
	var stale *client.StaleError
	fmt.Println(errors.As(restarted.Read(33), &stale), stale.Least)
	// Output:
	// <nil>
	// <nil>
	// locktopus: token 33 is stale: 34 or more is needed, as a later holder has been here
	// true 34
}

// Who holds what, and who waits.
func ExampleClient_Inspect() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "worker-7")
	defer c.Close()
	ctx := context.Background()
	_, err := c.Lock(ctx, client.Write("orders", "17"), client.Note("refund"))
	must(err)
	for after, more := "", true; more; more = after != "" {
		var locks []client.LockInfo
		locks, after, err = c.Inspect(ctx, []string{"orders"}, 100, after)
		must(err)
		for _, l := range locks {
			fmt.Println(l.State, "by", l.Name, "for", l.Note, l.Resources[0].Type, l.Resources[0].Path, l.Since() < time.Minute)
		}
	}
	// Output:
	// acquired by worker-7 for refund write [orders 17] true
}

// A table of all locks, as it changes.
func ExampleClient_Watch() {
	address, stop := startServer()
	defer stop()
	c := connect(address, "worker")
	defer c.Close()
	ctx := context.Background()
	w, err := c.Watch(ctx, nil)
	must(err)
	defer w.Close()
	fmt.Println(len(w.Locks()), "locks")
	lock, err := c.Lock(ctx, client.Write("x"))
	must(err)
	must(lock.Release(ctx))
	for range 2 {
		change, err := w.Next(ctx)
		if errors.Is(err, client.ErrWatchInterrupted) || errors.Is(err, client.ErrWatchLagged) {
			return // begin another watch
		}
		must(err)
		fmt.Println(change.Change, change.Lock.State)
	}
	// Output:
	// 0 locks
	// acquired acquired
	// ended released
}

// What is wrong with a request is known before it is sent.
func ExampleCheck() {
	err := client.Check(client.Permit(2, "printers"), client.Permit(3, "printers"))
	fmt.Println(errors.Is(err, client.ErrArgument), err)
	// Output:
	// true locktopus: resources 0 and 1: permits of one path must have one limit, but theirs are 2 and 3
}

// Who waits while there is no connection is told why there is none.
func ExampleOfflineError() {
	err := error(&client.OfflineError{
		Server: "ws://10.0.0.7:9009", Trouble: errors.New("dial tcp 10.0.0.7:9009: connection refused"), Ended: context.DeadlineExceeded,
	})
	fmt.Println(errors.Is(err, context.DeadlineExceeded), err)
	// Output:
	// true locktopus: there is no connection to ws://10.0.0.7:9009 (dial tcp 10.0.0.7:9009: connection refused): context deadline exceeded
}

// What asking again will not help.
func ExampleDenied() {
	err := error(&client.RefusedError{Code: "denied", Plugin: "acl", Reason: 7, Message: "not yours"})
	fmt.Println(client.Denied(err), err)
	// Output:
	// true locktopus: denied by plugin "acl" (code 7): not yours
}
