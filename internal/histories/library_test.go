package histories

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// regular is a program that uses the client of this repository.
type regular struct {
	name    string
	address string
	rng     *rand.Rand
	ttl     time.Duration

	c       *client.Client
	history []*Record
	owed    []*Record // whose end the server has not confirmed yet
	got     int
	lost    int
}

// live locks and releases until a time. What it leaves in owed has ended when the server says that nobody is
// there any more.
func (p *regular) live(until time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	for p.c == nil {
		p.c, err = client.Dial(ctx, p.address, &client.Options{
			Name: p.name, TTL: p.ttl, BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
		})
		if ctx.Err() != nil {
			return fmt.Errorf("%s cannot connect: %w", p.name, err)
		}
	}
	for time.Now().Before(until) {
		if err := p.lock(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return p.c.Close()
}

// lock takes a lock, holds it, and gives it up, if all goes well.
func (p *regular) lock() error {
	rs := draw(p.rng)
	items := make([]client.Item, len(rs))
	for i, r := range rs {
		if items[i] = client.Read(r.Path...); r.Write {
			items[i] = client.Write(r.Path...)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(50+p.rng.IntN(700))*time.Millisecond)
	defer cancel()
	r := &Record{Client: p.name, Resources: rs, Asked: oracle.Now()}
	session := p.c.Session()
	l, err := p.c.Lock(ctx, items...)
	now := oracle.Now()
	if p.c.Session() != session { // the request may have stood in the queue of the session before, too
		p.owe(&Record{Client: p.name, Resources: rs, Asked: r.Asked, Ended: r.Asked})
	}
	if err != nil {
		r.Ended = r.Asked
		p.owe(r)
		_, unavailable := errors.AsType[*client.UnavailableError](err)
		_, deadlock := errors.AsType[*client.DeadlockError](err)
		if unavailable || deadlock || errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	}
	p.got++
	r.Answered, r.Told, r.Token, r.Ended = now, now, l.Token(), now
	p.hold(l, r)
	return nil
}

// hold holds a lock for a while. It believes in it as long as its context hasn't ended and there is time left,
// which is looked at before the context has had to be told.
func (p *regular) hold(l *client.Lock, r *Record) {
	most := 200
	if p.rng.IntN(10) == 0 {
		most = 3000
	}
	for end := time.Now().Add(time.Duration(p.rng.IntN(most)) * time.Millisecond); time.Now().Before(end); {
		now := oracle.Now()
		if l.Deadline() == 0 || l.Context().Err() != nil {
			p.lost++
			p.owe(r)
			return
		}
		r.Ended = now
		pause(time.Duration(1+p.rng.IntN(5)) * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.ttl)
	defer cancel()
	if err := l.Release(ctx); err != nil {
		p.owe(r)
		return
	}
	r.Gone = oracle.Now()
	p.history = append(p.history, r)
	p.paid(r.Gone)
}

// owe keeps a record until its end is known: requests are answered in order, so that it is when a later one has
// been answered.
func (p *regular) owe(r *Record) { p.owed = append(p.owed, r) }

func (p *regular) paid(now oracle.Moment) {
	for _, r := range p.owed {
		r.Gone = now
	}
	p.history = append(p.history, p.owed...)
	p.owed = nil
}
