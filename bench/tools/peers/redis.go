package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// noDeadline spares go-redis to set a deadline for each command; the other clients set none either.
const noDeadline = -2

// newRedis is one client with a connection for each goroutine, which keeps it: that spares Redis the
// client's work of handing connections out.
func newRedis(opt options) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: opt.addr, PoolSize: opt.conns, DialTimeout: opt.patience,
		ReadTimeout: noDeadline, WriteTimeout: noDeadline,
	})
}

// redisKeys is the lock that the documentation of SET describes ("Patterns"): a key that is set if it
// isn't there, to a value nobody else knows, with a time to live; deleted by a script that compares the
// value. Whoever doesn't get it tries again later.
type redisKeys struct{ client *redis.Client }

func newRedisKeys(_ context.Context, opt options, _ []string) (peer, error) {
	return redisKeys{newRedis(opt)}, nil
}

var unlockScript = redis.NewScript(`if redis.call("get",KEYS[1]) == ARGV[1]
then
    return redis.call("del",KEYS[1])
else
    return 0
end`)

func (r redisKeys) connect(ctx context.Context, i int, path string) (locker, error) {
	conn := r.client.Conn()
	if err := unlockScript.Load(ctx, conn).Err(); err != nil {
		return nil, err
	}
	return &redisKey{conn: conn, key: "bench:own:" + path, token: strconv.Itoa(1_000_000 + i)}, nil
}

type redisKey struct {
	conn       *redis.Conn
	key, token string
}

const (
	keyTime = 10 * time.Minute
	// A waiter tries again after a random time, of which the mean doubles from retryFirst to retryMost.
	// Less waiting floods Redis, more leaves the lock unused: of 4, 16, 64 and 256 ms, this gave the most
	// locks to 1000 waiters, and nearly the most to 64.
	retryFirst = time.Millisecond
	retryMost  = 256 * time.Millisecond
)

func (r *redisKey) lock(ctx context.Context, turn func() bool) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		if !turn() {
			return errEnded
		}
		if ok, err := r.conn.SetNX(ctx, r.key, r.token, keyTime).Result(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *redisKey) unlock(ctx context.Context) error {
	n, err := unlockScript.EvalSha(ctx, r.conn, []string{r.key}, r.token).Int()
	if err == nil && n != 1 {
		err = fmt.Errorf("the lock was lost")
	}
	return err
}

// redisLists keeps a token in a list: whoever pops it holds the lock, and waits for it without polling.
// Who dies with the token takes the lock along; a lock server it is not.
type redisLists struct{ client *redis.Client }

func newRedisLists(ctx context.Context, opt options, paths []string) (peer, error) {
	r := redisLists{newRedis(opt)}
	for _, p := range paths {
		if err := r.client.Del(ctx, listOf(p)).Err(); err != nil {
			return nil, err
		}
		if err := r.client.RPush(ctx, listOf(p), "token").Err(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func listOf(path string) string { return "bench:list:" + path }

func (r redisLists) connect(ctx context.Context, _ int, path string) (locker, error) {
	conn := r.client.Conn()
	return &redisList{conn, listOf(path)}, conn.Ping(ctx).Err()
}

type redisList struct {
	conn *redis.Conn
	list string
}

func (r *redisList) lock(ctx context.Context, _ func() bool) error {
	return r.conn.BLPop(ctx, 0, r.list).Err()
}

func (r *redisList) unlock(ctx context.Context) error {
	return r.conn.RPush(ctx, r.list, "token").Err()
}
