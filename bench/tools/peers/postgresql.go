package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// postgreSQL has advisory locks: numbers that a session locks. pgx prepares both statements once for
// each connection.
type postgreSQL struct{ url string }

func newPostgreSQL(_ context.Context, opt options, _ []string) (peer, error) {
	return postgreSQL{"postgres://postgres@" + opt.addr + "/postgres?sslmode=disable"}, nil
}

func (p postgreSQL) connect(ctx context.Context, _ int, path string) (locker, error) {
	key, err := strconv.ParseInt(path, 10, 64)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return nil, err
	}
	return &advisory{conn, key}, nil
}

type advisory struct {
	conn *pgx.Conn
	key  int64
}

func (a *advisory) lock(ctx context.Context, _ func() bool) error {
	_, err := a.conn.Exec(ctx, "select pg_advisory_lock($1)", a.key)
	return err
}

func (a *advisory) unlock(ctx context.Context) error {
	var held bool
	err := a.conn.QueryRow(ctx, "select pg_advisory_unlock($1)", a.key).Scan(&held)
	if err == nil && !held {
		err = errors.New("the lock was lost")
	}
	return err
}
