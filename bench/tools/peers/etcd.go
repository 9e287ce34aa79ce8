package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// etcd is used through its own package concurrency: a session, which is a lease that is kept alive,
// and a Mutex on it.
type etcd struct{ addr string }

func newEtcd(_ context.Context, opt options, _ []string) (peer, error) { return etcd{opt.addr}, nil }

// leaseSeconds is the package's own default.
const leaseSeconds = 60

func (e etcd) connect(_ context.Context, _ int, path string) (locker, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{e.addr}, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	session, err := concurrency.NewSession(client, concurrency.WithTTL(leaseSeconds))
	if err != nil {
		return nil, err
	}
	return &etcdMutex{concurrency.NewMutex(session, "bench/own/"+path)}, nil
}

type etcdMutex struct{ mutex *concurrency.Mutex }

func (e *etcdMutex) lock(ctx context.Context, _ func() bool) error { return e.mutex.Lock(ctx) }
func (e *etcdMutex) unlock(ctx context.Context) error              { return e.mutex.Unlock(ctx) }
