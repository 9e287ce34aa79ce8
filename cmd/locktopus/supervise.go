package main

import (
	"fmt"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

// supervise runs the command while the lock is held, and gives the lock up when its whole process group is gone.
func (p process) supervise(f *runFlags, program string, c *client.Client, lock *client.Lock, incoming *incomingSignals) int {
	ch, err := startChild(program, f.command, f.environment(p, lock))
	if err != nil {
		fmt.Fprintf(p.stderr, "locktopus run: cannot execute %s: %v\n", f.command[0], bareError(err))
		return exitCannotExecute
	}
	w := &wrapper{process: p, child: ch, lock: lock, grace: f.grace}
	w.watch(incoming)
	ch.clear(f.grace)
	if w.lost {
		fmt.Fprintf(p.stderr, "locktopus run: the lock was lost while the command was running: %s\n", said(w.cause))
		return exitLost
	}
	return ch.code()
}

// wrapper watches a command and its lock.
type wrapper struct {
	process
	child   *child
	lock    *client.Lock
	grace   time.Duration
	lost    bool
	cause   error
	killing <-chan time.Time // nil: the command was not told to end
}

// watch returns when the command has ended. It passes signals on, and has the command end before the lock does.
func (w *wrapper) watch(incoming *incomingSignals) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	over := w.lock.Done()
	for {
		select {
		case <-w.child.ended:
			return
		case s := <-incoming.c:
			w.child.pass(s)
		case <-over:
			over = nil
			w.end(w.lock.Err(), min(w.grace, lostGrace))
		case <-w.killing:
			w.child.kill()
		case <-timer.C:
			if over != nil {
				timer.Reset(w.look())
			}
		}
	}
}

// look says when to look again whether the lock's time comes to its end; if it does, the command is told to
// end while there is still time to do so.
func (w *wrapper) look() time.Duration {
	left := w.lock.Deadline() - w.grace
	if left > 0 {
		return min(left, time.Second) // the clock may stand still while the machine sleeps
	}
	w.end(client.ErrDeadline, max(0, w.lock.Deadline()-lookAhead))
	return time.Hour
}

// lookAhead is how much before the lock ends the command is killed.
const lookAhead = 100 * time.Millisecond

// end tells the command to end, and kills it after a while. A second cause leaves less time, not more.
func (w *wrapper) end(cause error, patience time.Duration) {
	if !w.lost {
		w.lost, w.cause = true, cause
		fmt.Fprintf(w.stderr, "locktopus run: ending the command: %s\n", said(cause))
		w.child.terminate()
	}
	w.killing = time.After(patience)
}
