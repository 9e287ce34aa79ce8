package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

const (
	// lookPause is between two looks at how waiting goes.
	lookPause = time.Second
	// inTheWayAfter is how many of them there are before whoever sits at a terminal is told who is in the way.
	inTheWayAfter = 2
)

// waiting tells people how it goes while run waits: that the server is gone and is back, and at a terminal who is in
// the way. Where nobody sits, as under cron, a lock that others have is no news.
type waiting struct {
	*speaker
	c     *client.Client
	flags *runFlags
	since time.Time // when the server was first seen to be gone; zero: it isn't
	told  bool      // that it is gone
	looks int
}

// during has people told while wait goes on.
func (w *waiting) during(wait func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for t := time.NewTicker(lookPause); ; {
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
				w.look(ctx)
			}
		}
	}()
	wait()
	cancel()
	<-over
}

func (w *waiting) look(ctx context.Context) {
	gone := !w.c.Connected()
	switch {
	case gone && w.since.IsZero():
		w.since = time.Now()
	case gone && !w.told:
		w.told = true
		w.say("the server is gone since %s: waiting goes on when it is back", clockTime(w.since))
	case !gone && w.told:
		w.say("the server is back since %s: waiting goes on", clockTime(time.Now()))
	}
	if !gone {
		w.since, w.told = time.Time{}, false
	}
	if w.looks++; w.looks == inTheWayAfter && w.flags.attended {
		w.tellInTheWay(ctx)
	}
}

// tellInTheWay says who is in the way, if the server says so.
func (w *waiting) tellInTheWay(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for _, r := range w.flags.resources {
		locks, _, err := w.c.Inspect(ctx, r.Path, pageOfLocks, "")
		if err != nil {
			return
		}
		for _, l := range locks {
			if l.Session != w.c.Session() || len(l.WaitsFor) == 0 {
				continue
			}
			text := "waiting for " + l.WaitsFor[0].String()
			if more := len(l.WaitsFor) - 1; more > 0 {
				text += fmt.Sprintf(", and %d more", more)
			}
			w.say("%s", text)
			return
		}
	}
}

// atTerminal says whether what is written to a file is read by somebody who sits there.
func atTerminal(to any) bool {
	f, ok := to.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
