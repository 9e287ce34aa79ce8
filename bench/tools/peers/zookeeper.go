package main

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"
)

// zooKeeper is used through the lock of its client's library, which is the recipe of ZooKeeper's
// documentation: a sequential, ephemeral node; the lowest holds the lock, each other watches the one
// before it.
type zooKeeper struct{ addr string }

func newZooKeeper(_ context.Context, opt options, _ []string) (peer, error) {
	return zooKeeper{opt.addr}, nil
}

const sessionTime = 30 * time.Second

func (z zooKeeper) connect(ctx context.Context, _ int, path string) (locker, error) {
	conn, events, err := zk.Connect([]string{z.addr}, sessionTime, zk.WithLogger(silent{}))
	if err != nil {
		return nil, err
	}
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return nil, errors.New("the session ended")
			} else if e.State == zk.StateHasSession {
				return &zkLock{zk.NewLock(conn, "/bench-"+path, zk.WorldACL(zk.PermAll))}, nil
			}
		case <-ctx.Done():
			conn.Close()
			return nil, ctx.Err()
		}
	}
}

type zkLock struct{ lockOf *zk.Lock }

func (z *zkLock) lock(context.Context, func() bool) error { return z.lockOf.Lock() }
func (z *zkLock) unlock(context.Context) error            { return z.lockOf.Unlock() }

// silent keeps the library's chatter off the output.
type silent struct{}

func (silent) Printf(string, ...any) {}
