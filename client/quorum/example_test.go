package quorum_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/client/quorum"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// startServer starts a server for an example. Yours are on machines of their own.
func startServer() (address string, stop func()) {
	s, host, err := testserver.Start(nil)
	must(err)
	return "ws://" + host + "/v2?namespace=shop", func() { must(s.Close()) }
}

// Three servers, of which one may be lost at any time.
func Example() {
	var addresses []string
	var stops []func()
	for range 3 {
		address, stop := startServer()
		addresses, stops = append(addresses, address), append(stops, stop)
	}
	defer stops[0]()
	defer stops[2]()
	ctx := context.Background()

	q, err := quorum.Dial(ctx, addresses, &client.Options{Name: "worker-7"}, time.Second)
	must(err)
	defer q.Close()
	stops[1]()
	fmt.Println("a lock needs", q.Majority())

	lock, err := q.Lock(ctx, client.Write("orders", "17"))
	must(err)
	work := func(ctx context.Context, tokens []uint64) { // the context ends when there is no majority any more
		fmt.Println("at work, tokens", tokens, "error", ctx.Err())
	}
	work(lock.Context(), lock.Tokens())
	select {
	case <-lock.Done():
		fmt.Println("over:", lock.Err())
	default:
		fmt.Println("still held:", lock.Err() == nil, lock.Deadline() > time.Second) // Err looks at the clock
	}
	if err := lock.Release(ctx); errors.Is(err, quorum.ErrMinority) {
		fmt.Println("somebody else may have been at it")
	}
	// Output:
	// a lock needs 2
	// at work, tokens [1 0 1] error <nil>
	// still held: true true
}

// What is guarded takes the tokens of all servers.
func ExampleGuard() {
	var guard quorum.Guard
	fmt.Println(guard.Write([]uint64{7, 3, 0})) // a lock on the first and the second server
	fmt.Println(guard.Write([]uint64{0, 4, 1})) // the next one, on the second and the third
	fmt.Println(guard.Read([]uint64{7, 3, 0}))  // the first wakes up

	seen, wrote := guard.Marks() // to be kept with what is guarded
	var restarted quorum.Guard
	restarted.Restore(seen, wrote)
	// Output:
	// <nil>
	// <nil>
	// locktopus: token 3 is stale: 4 or more is needed, as a later holder has been here
}
