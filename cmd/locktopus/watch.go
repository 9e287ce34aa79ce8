package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

const (
	// blink is how long the server may be gone before people are told.
	blink = time.Second
	// watchPause is between two attempts to watch that the server has refused.
	watchPause = time.Second
)

func (p process) watch(args []string) int {
	return p.look("watch", args, 1, 1, func(ctx context.Context, c *client.Client, f *lookFlags) error {
		w := &watcher{process: p, c: c, path: f.path, out: newLines(p.stdout, f.json)}
		if w.out.heading("TIME", "CHANGE"); w.out.fail != nil {
			return w.out.fail
		}
		return w.run(ctx)
	})
}

// watcher shows locks as they change.
type watcher struct {
	process
	c     *client.Client
	path  []string
	out   *lines
	epoch string // of the server's run whose locks were shown last
}

// run returns when there is nothing more to be shown, ever. The first answer has to come in time.
func (w *watcher) run(ctx context.Context) error {
	asking, cancel := answering(ctx)
	watch, err := w.c.Watch(asking, w.path)
	cancel()
	for err == nil {
		w.epoch = w.c.Epoch()
		if err = w.show(ctx, watch); passes(err) {
			watch, err = w.again(ctx, err)
		}
	}
	if lost, ok := errors.AsType[*client.LostError](err); ok && lost.State == "revoked" {
		return &sessionEnded{lost}
	}
	return err
}

// sessionEnded is how a watch ends with its session.
type sessionEnded struct{ *client.LostError }

func (e *sessionEnded) Error() string {
	return "an administrator has ended this command's session: " + e.Message
}

func (e *sessionEnded) Unwrap() error { return e.LostError }

// show writes what there is, and then what changes, until the watch is over.
func (w *watcher) show(ctx context.Context, watch *client.Watch) error {
	defer watch.Close()
	for _, l := range watch.Locks() {
		if err := w.out.change(time.Now(), "present", (*seen)(&l)); err != nil {
			return err
		}
	}
	for {
		x, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		if err := w.out.change(time.Now(), x.Change, (*seen)(&x.Lock)); err != nil {
			return err
		}
	}
}

// again begins anew, which takes as long as it takes. It says so once if the server is gone for longer than a blink,
// and once that it is back.
func (w *watcher) again(ctx context.Context, why error) (*client.Watch, error) {
	since := time.Now()
	asking, cancel := context.WithTimeout(ctx, blink)
	watch, err := w.c.Watch(asking, w.path)
	if _, ok := errors.AsType[*client.LostError](err); ok { // with the session: there is another one now
		watch, err = w.c.Watch(asking, w.path)
	}
	cancel()
	gone := passes(err)
	if gone {
		w.say("the server is gone since %s (%s): this goes on when it is back, or until it is stopped", clockTime(since), troubleIn(err))
	}
	for passes(err) {
		if watch, err = w.c.Watch(ctx, w.path); passes(err) {
			time.Sleep(watchPause)
		}
	}
	if err != nil {
		return nil, err
	}
	switch restarted := w.c.Epoch() != w.epoch; {
	case gone && restarted:
		w.say("the server is back since %s, and was restarted: what was locked before is not", clockTime(time.Now()))
	case gone:
		w.say("the server is back since %s: here is what there is now", clockTime(time.Now()))
	case restarted:
		w.say("the server was restarted: what was locked before is not")
	default:
		w.say("%s: here is what there is now", said(why))
	}
	return watch, w.out.anew(time.Now())
}

func (w *watcher) say(format string, args ...any) {
	fmt.Fprintf(w.stderr, "locktopus watch: %s\n", printable(fmt.Sprintf(format, args...)))
}

func clockTime(at time.Time) string { return at.Format("15:04:05") }

// troubleIn is what keeps a server from being reached.
func troubleIn(err error) string {
	if offline, ok := errors.AsType[*client.OfflineError](err); ok {
		return said(offline.Trouble)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it doesn't answer"
	}
	return said(err)
}

// passes says whether a watch that has ended so may be begun again: not one that was refused for good.
func passes(err error) bool {
	if lost, ok := errors.AsType[*client.LostError](err); ok {
		return lost.State == "gone" || lost.State == "shutdown" // with the session, or the server
	}
	if refused, ok := errors.AsType[*client.RefusedError](err); ok {
		return refused.Code == "try_later" || refused.Code == "draining" || refused.Code == "forgotten"
	}
	return errors.Is(err, client.ErrWatchInterrupted) || errors.Is(err, client.ErrWatchLagged) || errors.Is(err, context.DeadlineExceeded)
}
