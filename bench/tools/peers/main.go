package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// options are what the command line says.
type options struct {
	peer     string
	addr     string
	conns    int
	paths    int           // 0: each connection its own
	names    int           // what paths' names begin with: what one process left behind is in no other's way
	patience time.Duration // for all connections to be there
}

// peer knows how one kind of server is used.
type peer interface {
	// connect returns the locker of connection i, for a path.
	connect(ctx context.Context, i int, path string) (locker, error)
}

// peers makes a peer; paths are all those that will be locked.
var peers = map[string]func(ctx context.Context, opt options, paths []string) (peer, error){
	"locktopus":  newLocktopus,
	"echo":       newLocktopus, // the ceiling speaks the same protocol
	"redis":      newRedisKeys,
	"redis-list": newRedisLists,
	"etcd":       newEtcd,
	"zookeeper":  newZooKeeper,
	"postgresql": newPostgreSQL,
}

func main() {
	opt, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err == nil {
		err = serve(context.Background(), opt, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func parseOptions(args []string, help io.Writer) (options, error) {
	var opt options
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(help)
	names := strings.Join(slices.Sorted(maps.Keys(peers)), ", ")
	f.StringVar(&opt.peer, "peer", "", "what to drive: "+names)
	f.StringVar(&opt.addr, "addr", "", "its `HOST:PORT`")
	f.IntVar(&opt.conns, "conns", 64, "connections, 1 to 10000")
	f.IntVar(&opt.paths, "paths", 0, "paths that they share, 0 to 10000; 0: each has its own")
	f.IntVar(&opt.names, "names", 1, "a number that no other process on this server has, 1 to 1000000")
	f.DurationVar(&opt.patience, "patience", time.Minute, "give up when not all connections are there after so long, or have not had a lock after as long again")
	if err := f.Parse(args); err != nil {
		return opt, err
	}
	switch {
	case f.NArg() > 0:
		return opt, fmt.Errorf("%q is no flag", f.Arg(0))
	case peers[opt.peer] == nil:
		return opt, fmt.Errorf("-peer: there is no %q, only %s", opt.peer, names)
	case opt.addr == "":
		return opt, errors.New("-addr is missing")
	case opt.conns < 1 || opt.conns > 10_000:
		return opt, errors.New("-conns is not in 1 to 10000")
	case opt.paths < 0 || opt.paths > 10_000:
		return opt, errors.New("-paths is not in 0 to 10000")
	case opt.names < 1 || opt.names > 1_000_000:
		return opt, errors.New("-names is not in 1 to 1000000")
	}
	return opt, nil
}

// serve connects, and carries out orders until there are no more.
func serve(ctx context.Context, opt options, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // whoever still waits for a lock gives up
	d := newDriver()
	defer d.set(func() { d.ended = true })
	if err := d.start(ctx, opt); err != nil {
		return err
	}
	answer := json.NewEncoder(out)
	if err := answer.Encode(map[string]bool{"ready": true}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("an order: %w", err)
		}
		result, err := d.run(o, func() error { return answer.Encode(map[string]bool{"counting": true}) })
		if err != nil {
			return err
		}
		if err := answer.Encode(result); err != nil {
			return err
		}
	}
	return nil
}

const (
	// connectAtOnce bounds how many connections are opened at the same time, and have their first lock: some servers'
	// queues of those that aren't accepted yet are short.
	connectAtOnce = 32
	// retryEvery is for the first connection only: a server that has just been started may not serve yet.
	retryEvery = 50 * time.Millisecond
)

// start opens all connections, has each lock and unlock once, and then gives each its goroutine. The first lock is
// some servers' dearest: PostgreSQL's processes, one for each connection, read the catalogue for it.
func (d *driver) start(ctx context.Context, opt options) error {
	names := make([]string, opt.paths)
	if opt.paths == 0 {
		names = make([]string, opt.conns)
	}
	paths := make([]*path, len(names))
	for i := range names {
		names[i] = fmt.Sprintf("%d%06d", opt.names, i)
		if opt.paths > 0 {
			paths[i] = new(path)
		}
	}
	lockers, err := connect(ctx, opt, names)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", opt.peer, err)
	}
	if err := rehearse(ctx, opt, lockers); err != nil {
		return fmt.Errorf("the first locks of %s: %w", opt.peer, err)
	}
	for i, l := range lockers {
		go d.work(ctx, l, paths[i%len(paths)])
	}
	return nil
}

func connect(ctx context.Context, opt options, names []string) ([]locker, error) {
	ctx, cancel := context.WithTimeout(ctx, opt.patience)
	defer cancel()
	p, err := peers[opt.peer](ctx, opt, names)
	if err != nil {
		return nil, err
	}
	lockers := make([]locker, opt.conns)
	for lockers[0] == nil {
		if lockers[0], err = p.connect(ctx, 0, names[0]); err == nil {
			break
		}
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
			return nil, err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connectAtOnce)
	for i := 1; i < opt.conns; i++ {
		group.Go(func() (err error) {
			lockers[i], err = p.connect(ctx, i, names[i%len(names)])
			return err
		})
	}
	return lockers, group.Wait()
}

// rehearse has each lock and unlock once.
func rehearse(ctx context.Context, opt options, lockers []locker) error {
	ctx, cancel := context.WithTimeout(ctx, opt.patience)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connectAtOnce)
	for _, l := range lockers {
		group.Go(func() error {
			if err := l.lock(ctx, func() bool { return ctx.Err() == nil }); err != nil {
				return err
			}
			return l.unlock(ctx)
		})
	}
	return group.Wait()
}
