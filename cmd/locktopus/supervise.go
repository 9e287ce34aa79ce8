package main

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

// supervise runs the command while the lock is held, and gives the lock up when its whole process group is gone.
func (f *runFlags) supervise(p process, program string, c *client.Client, lock *client.Lock, incoming *incomingSignals) int {
	incoming.stopsToo()
	ch, err := startChild(program, f.command, f.environment(p, lock))
	if err != nil {
		hint := ""
		if errors.Is(err, syscall.ENOEXEC) { // shells run such a file themselves
			hint = "; a script needs a first line such as #!/bin/sh"
		}
		f.say("cannot execute %s: %v%s", f.command[0], bareError(err), hint)
		return exitCannotExecute
	}
	w := &wrapper{speaker: f.speaker, child: ch, client: c, lock: lock, grace: min(f.grace, graceOf(c.TTL())), risk: f.risk}
	w.watch(incoming)
	w.release()
	if w.cause == nil {
		return ch.code()
	}
	if !w.told {
		w.say("the lock was lost while the command was running: %s", said(w.cause))
	}
	return exitLost
}

// graceOf is the most time to end that a command can have of a lock that lasts so long.
func graceOf(ttl time.Duration) time.Duration { return ttl / 3 }

const (
	// lostGrace is the most that a command gets to end once its lock is somebody else's already.
	lostGrace = time.Second
	// killAhead is how much before the lock ends the command is killed.
	killAhead = 100 * time.Millisecond
	// releasePatience is how long the server's last word is waited for.
	releasePatience = 2 * time.Second
	// groupPause is how often it is looked whether the group is gone, or has to be killed again.
	groupPause = 10 * time.Millisecond
)

var (
	errUnheard  = errors.New("the server has not been heard, and the lock is about to end")
	errStopping = errors.New("the server is shutting down, and the lock is about to end with it")
)

// wrapper watches a command and its lock.
type wrapper struct {
	*speaker
	child  *child
	client *client.Client
	lock   *client.Lock
	grace  time.Duration
	risk   <-chan struct{} // there may be less time left than there was
	left   bool            // the command has ended, others of its group may not have
	killAt time.Time       // zero: the group was not told to end
	cause  error           // why the lock was lost; nil: it was not
	told   bool            // and people were told
	killed bool            // the group was, because it did not end in time
}

// watch returns when the command and its group are gone. It passes signals on, and has them end before the lock does.
func (w *wrapper) watch(incoming *incomingSignals) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	over, ended := w.lock.Done(), (<-chan struct{})(w.child.ended)
	for {
		select {
		case <-ended:
			ended, w.left = nil, true
			w.child.takeTerminalBack()
		case s := <-incoming.c:
			w.child.pass(s)
		case by := <-w.child.stopped:
			if !w.child.takesTerminal(by) {
				w.suspend()
			}
		case <-over:
			over = nil
		case <-w.risk:
		case <-timer.C:
		}
		if w.left && w.child.gone() {
			return
		}
		timer.Reset(w.tend(time.Now()))
	}
}

// suspend stops us with a command that was stopped as at a terminal, so that the shell which started us notices. Its
// lock lasts for as long as its session then; if that was too long, the command must not go on.
func (w *wrapper) suspend() {
	w.child.suspend()
	if w.lock.Err() == nil {
		w.child.resume()
		return
	}
	w.lose(w.lock.Err(), 0)
	w.kill()
}

// tend does what is due and says how long it may be until it must be called again.
func (w *wrapper) tend(now time.Time) time.Duration {
	left := w.lock.Deadline()
	switch {
	case w.cause != nil:
	case left == 0:
		w.lose(w.lock.Err(), min(w.grace, lostGrace))
	case left <= w.grace && w.client.Draining():
		w.lose(errStopping, max(0, left-killAhead))
	case left <= w.grace:
		w.lose(errUnheard, max(0, left-killAhead))
	case w.left && w.killAt.IsZero():
		w.end(w.grace)
	}
	next := time.Second // the clock may stand still while the machine sleeps
	if w.cause == nil {
		next = min(next, left-w.grace)
	}
	if w.left {
		next = min(next, groupPause)
	}
	if w.killAt.IsZero() {
		return next
	}
	if now.Before(w.killAt) {
		return min(next, w.killAt.Sub(now))
	}
	w.kill()
	return groupPause
}

// kill ends the group for good. It is called again and again: some may be born just now.
func (w *wrapper) kill() {
	if !w.killed {
		w.killed = true
		whom := "the command, which has not ended in time"
		if w.left {
			whom = "what the command has left in its process group, which has not ended in time"
		}
		w.say("killing %s", whom)
	}
	w.child.kill()
}

// lose ends the group because of its lock.
func (w *wrapper) lose(cause error, patience time.Duration) {
	w.cause, w.told = cause, true
	w.end(patience)
	w.say("ending the command: %s", said(cause))
}

// end tells the group to end, and has it killed after a while. A second reason leaves less time, not more.
func (w *wrapper) end(patience time.Duration) {
	at := time.Now().Add(patience)
	if w.killAt.IsZero() {
		w.killAt = at
		if patience > 0 {
			w.child.terminate()
		}
	} else if at.Before(w.killAt) {
		w.killAt = at
	}
}

// release gives the lock up. It may turn out that it was lost a moment ago, while the command was running.
func (w *wrapper) release() {
	if w.cause != nil {
		return
	}
	if w.cause = w.lock.Err(); w.cause != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releasePatience)
	defer cancel()
	if lost, ok := errors.AsType[*client.LostError](w.lock.Release(ctx)); ok {
		w.cause = lost
	}
}
