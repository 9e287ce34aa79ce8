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
		switch {
		case r.Limit != 0:
			items[i] = client.Permit(r.Limit, r.Path...).Weighing(r.Weight)
		case r.Write:
			items[i] = client.Write(r.Path...)
		default:
			items[i] = client.Read(r.Path...)
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
		if p.c.Session() != session || !p.refused(r, err, now) {
			p.owe(r)
		}
		p.settle()
		_, unavailable := errors.AsType[*client.UnavailableError](err)
		_, deadlock := errors.AsType[*client.DeadlockError](err)
		if unavailable || deadlock || refusedFor(err, "other_limit") || errors.Is(err, context.DeadlineExceeded) ||
			errors.Is(err, client.ErrDeadline) {
			return nil
		}
		return err
	}
	p.got++
	r.Answered, r.Told, r.Token, r.Slots, r.Ended = now, now, l.Token(), l.Slots(), r.Asked
	p.hold(l, r)
	return nil
}

// refused notes what the server has said of a request that wasn't granted, if it did.
func (p *regular) refused(r *Record, err error, now oracle.Moment) bool {
	unavailable, ok := errors.AsType[*client.UnavailableError](err)
	_, deadlock := errors.AsType[*client.DeadlockError](err)
	switch {
	case ok && unavailable.State == "timeout":
		r.Waiting, r.Gone = true, now
	case deadlock:
		r.Answer = Refused
	case refusedFor(err, "other_limit"):
		r.Answer = Misfit
	default:
		return false
	}
	r.Answered = now
	p.history = append(p.history, r)
	return true
}

// settle asks for anything, to learn that what was asked for before is over.
func (p *regular) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), p.ttl/4)
	defer cancel()
	if _, _, err := p.c.Inspect(ctx, []string{"a"}, 1, ""); err == nil {
		p.paid(oracle.Now())
	}
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
		if p.rng.IntN(40) == 0 {
			p.change(l, r)
		}
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

// change upgrades or downgrades a lock. Behind one of which it doesn't know what became there is no other.
func (p *regular) change(l *client.Lock, r *Record) {
	if n := len(r.Changes); n == changesMax || n > 0 && r.Changes[n-1].Answered == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(20+p.rng.IntN(200))*time.Millisecond)
	defer cancel()
	c := &Change{Asked: oracle.Now(), Down: p.rng.IntN(3) == 0}
	r.Changes = append(r.Changes, c)
	if c.Down {
		if l.Downgrade(ctx) == nil {
			c.Answered = oracle.Now()
		}
		return
	}
	err := l.Upgrade(ctx)
	now := oracle.Now()
	_, deadlock := errors.AsType[*client.DeadlockError](err)
	switch {
	case err == nil:
		c.Answered, c.Token, c.Told = now, l.Token(), now
	case deadlock:
		r.Changes = r.Changes[:len(r.Changes)-1]
	case refusedFor(err, "upgrade_conflict"):
		c.Answered, c.Answer = now, Overlaps
	default: // it may have been taken back, or downgraded again
		_, c.Waiting = errors.AsType[*client.UnavailableError](err)
		c.Ended = c.Asked
		r.Changes = append(r.Changes, &Change{Down: true, Asked: c.Asked})
	}
}

// refusedFor says whether the server has refused something with this code.
func refusedFor(err error, code string) bool {
	refused, ok := errors.AsType[*client.RefusedError](err)
	return ok && refused.Code == code
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
