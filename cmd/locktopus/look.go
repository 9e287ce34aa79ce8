package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

// pageOfLocks is how many locks are asked for at once.
const pageOfLocks = 500

// lookFlags are those of commands that show locks.
type lookFlags struct {
	dialFlags
	json    bool
	path    []string
	session string // inspect: only its locks; "": all
	lock    string // inspect: only this one of them; "": all
}

func (p process) ls(args []string) int {
	return p.look("ls", args, 0, 1, func(ctx context.Context, c *client.Client, f *lookFlags) error {
		out := newLines(p.stdout, f.json)
		out.heading("STATE", "FOR")
		err := eachLock(ctx, c, f.path, func(l *seen) error {
			return out.lock(word(l.State), l.age(), l)
		})
		if err == nil {
			err = out.fail // nothing is locked
		}
		return err
	})
}

func (p process) inspect(args []string) int {
	return p.look("inspect", args, 1, 3, func(ctx context.Context, c *client.Client, f *lookFlags) error {
		out, shown := newLines(p.stdout, f.json), 0
		err := eachLock(ctx, c, f.path, func(l *seen) error {
			if !f.means(l) {
				return nil
			}
			shown++
			return out.details(l)
		})
		if err == nil && shown == 0 && !f.json {
			none := "nothing is locked here\n"
			if f.session != "" {
				none = "there is no such lock here\n"
			}
			err = out.write(none)
		}
		return err
	})
}

// means says whether a lock is one that is asked for.
func (f *lookFlags) means(l *seen) bool {
	return strings.HasPrefix(l.Session, f.session) && (f.lock == "" || f.lock == l.lockWord())
}

// errOutput says that what was shown could not be written.
var errOutput = errors.New("cannot write")

// errNobodyReads says that whoever read what is shown has gone, as head does when it has enough.
var errNobodyReads = errors.New("nobody reads it any more")

// exitNobodyReads is that of programs which don't mind SIGPIPE.
const exitNobodyReads = exitSignal + 13

// look connects to a server, shows something, and says how that went.
func (p process) look(command string, args []string, least, most int, show func(context.Context, *client.Client, *lookFlags) error) int {
	f, err := parseLook(args, least, most)
	options := client.Options{Name: "locktopus " + command}
	if err == nil {
		err = f.options(p, &options)
	}
	if err != nil {
		return p.misused(command, "locktopus %s: %v", command, err)
	}
	address, err := f.address(p)
	if err != nil {
		return p.misused(command, "locktopus %s: %s", command, said(err))
	}
	keepAliveWithoutReader()
	ctx, listenNoMore := untilSignal()
	defer listenNoMore()
	dialing, cancel := answering(ctx)
	defer cancel()
	c, err := dialNamed(dialing, address, &options, true)
	if err == nil {
		defer c.Close() // says bye: the session doesn't outlive the command
		shown := make(chan error, 1)
		go func() { shown <- show(ctx, c, f) }()
		select {
		case err = <-shown:
		case <-ctx.Done(): // not waited for: whoever reads the output may stand still
		case <-hungUp(p.stdout): // before there is anything to show, perhaps
			err = errNobodyReads
		}
	}
	stopped, wasStopped := errors.AsType[*signalError](context.Cause(ctx))
	switch {
	case wasStopped:
		return exitBySignal(stopped.signal)
	case err == nil:
		return exitOK
	case errors.Is(err, errNobodyReads):
		return exitNobodyReads
	case errors.Is(err, errOutput):
		fmt.Fprintf(p.stderr, "locktopus %s: %v\n", command, err)
		return exitFailed
	}
	fmt.Fprintf(p.stderr, "locktopus %s: %s\n", command, printable(f.said(err)))
	return exitFor(err)
}

// signalError says by what a command was stopped.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return "stopped by " + e.signal.String() }

// untilSignal is a context that ends with a *signalError when somebody stops the command. A second signal, which comes
// before it has ended, stops it as if nobody listened.
func untilSignal() (ctx context.Context, listenNoMore func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(&signalError{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// parseLook reads the command line. Without a path it is the whole namespace, where that is allowed.
func parseLook(args []string, least, most int) (*lookFlags, error) {
	f := &lookFlags{}
	flags := append(f.dialFlagList(), &flagValue{long: "--json", alone: &f.json})
	operands, err := parseFlags(args, most, flags...)
	if err != nil {
		return nil, err
	}
	if len(operands) < least {
		return nil, errors.New(`name a path: its segments with "/" between them, or "" for the whole namespace`)
	}
	if len(operands) > 1 {
		f.session = operands[1]
	}
	if len(operands) > 2 {
		f.lock = operands[2]
	}
	if len(operands) > 0 {
		if f.path, err = parseTextPath(operands[0]); err != nil {
			return nil, fmt.Errorf("the path %w", err)
		}
	}
	return f, nil
}

// eachLock calls f with the locks at a path.
func eachLock(ctx context.Context, c *client.Client, path []string, f func(*seen) error) error {
	for after, begun := "", false; !begun || after != ""; begun = true {
		asking, cancel := answering(ctx)
		page, next, err := c.Inspect(asking, path, pageOfLocks, after)
		cancel()
		if err != nil {
			return err
		}
		for i := range page {
			if err := f((*seen)(&page[i])); err != nil {
				return err
			}
		}
		after = next
	}
	return nil
}

// answering is the time in which a server must have answered.
func answering(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, dialTimeout)
}

// lines writes what is shown: as text, or as JSON with an object for each line.
type lines struct {
	to   io.Writer
	json bool
	fail error // of the heading
}

func newLines(to io.Writer, asJSON bool) *lines { return &lines{to: to, json: asJSON} }

func (o *lines) write(text string) error {
	if _, err := io.WriteString(o.to, text); nobodyReads(err) {
		return errNobodyReads
	} else if err != nil {
		return fmt.Errorf("%w: %w", errOutput, bareError(err))
	}
	return nil
}

// The columns are as wide for few locks as for many, so that what reads them can count on it.
const columns = "%-10s  %-10s  %-9s  %-12s  %-5s  %-16s  %s\n"

func (o *lines) heading(first, second string) {
	if !o.json {
		o.fail = o.write(fmt.Sprintf(columns, first, second, "TOKEN", "SESSION", "LOCK", "NAME", "RESOURCES"))
	}
}

// lock is a line about a lock, behind two words.
func (o *lines) lock(first, second string, l *seen) error {
	if o.fail != nil {
		return o.fail
	}
	if o.json {
		return o.write(l.jsonLine(nil))
	}
	return o.write(fmt.Sprintf(columns, first, second, l.tokenWord(), l.sessionWord(), l.lockWord(), word(l.Name), l.resourcesText()+l.noteText()))
}

// anew says to programs that what they were told of locks is over, and that a new listing begins. People are told
// elsewhere.
func (o *lines) anew(at time.Time) error {
	if !o.json {
		return nil
	}
	return o.write(visibleJSON(happening{Time: at.Format(time.RFC3339Nano), Change: "anew"}))
}

// change is a line about what has happened to a lock.
func (o *lines) change(at time.Time, what string, l *seen) error {
	if o.json {
		return o.write(l.jsonLine(&happening{Time: at.Format(time.RFC3339Nano), Change: what}))
	}
	if what == "ended" || what == "present" {
		what = map[string]string{"ended": l.State, "present": "(" + l.State + ")"}[what]
	}
	return o.lock(at.Format("15:04:05"), word(what), l)
}

// details are some lines about a lock.
func (o *lines) details(l *seen) error {
	if o.json {
		return o.write(l.jsonLine(nil))
	}
	return o.write(l.detailsText())
}
