package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// Exit codes of commands that could not be started, as shells have them.
const (
	exitCannotExecute = 126
	exitNotFound      = 127
	exitSignal        = 128 // and the signal's number
)

// What the command finds in its environment.
const (
	envToken  = "LOCKTOPUS_TOKEN"
	envLockID = "LOCKTOPUS_LOCK_ID"
	envPaths  = "LOCKTOPUS_PATHS"
)

// runFlags are those of run.
type runFlags struct {
	dialFlags
	*speaker
	items      []client.Item
	resources  []client.Resource
	written    []string      // as the user wrote each of them
	wait       time.Duration // 0: for ever
	try        bool
	ttl, grace time.Duration
	graceAsked time.Duration // 0: it was left to us
	note, name string
	command    []string
	attended   bool          // somebody reads at a terminal what is said
	risk       chan struct{} // holds one: the lock may end earlier than was known
}

// warned has whoever watches the lock look again.
func (f *runFlags) warned(bool) {
	select {
	case f.risk <- struct{}{}:
	default:
	}
}

func (p process) runCommand(args []string) int {
	f, err := p.parseRun(args)
	if err != nil {
		return p.misused("run", "locktopus run: %v", err)
	}
	options := client.Options{Name: f.name, TTL: f.ttl, OnRisk: f.warned}
	if f.name == "" {
		options.Name = ownName()
	}
	if err := f.options(p, &options); err != nil {
		return p.misused("run", "locktopus run: %v", err)
	}
	address, err := f.address(p)
	if err != nil {
		return p.misused("run", "locktopus run: %s", said(err))
	}
	program, code, err := lookCommand(f.command[0])
	if err != nil {
		fmt.Fprintf(p.stderr, "locktopus run: %v\n", err)
		return code
	}
	incoming := listenForSignals()
	defer incoming.stop()
	f.speaker, f.attended = newSpeaker(p.stderr), atTerminal(p.stderr)
	defer f.speaker.close()
	c, lock, code := f.obtain(address, &options, incoming)
	if lock == nil {
		return code
	}
	defer c.Close()
	return f.supervise(p, program, c, lock, incoming)
}

func (p process) parseRun(args []string) (*runFlags, error) {
	f := &runFlags{ttl: 15 * time.Second, risk: make(chan struct{}, 1)}
	before, command := splitCommand(args)
	var wait, ttl, grace string
	var faults []error
	resource := func(read func(string) (client.Resource, error)) func(string, string) {
		return func(name, text string) {
			r, err := read(text)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", name, err))
			}
			f.items, f.resources, f.written = append(f.items, r), append(f.resources, r), append(f.written, name+" "+text)
		}
	}
	flags := append(f.dialFlagList(),
		&flagValue{long: "--write", short: "-w", each: resource(parseAs(client.Write))},
		&flagValue{long: "--read", short: "-r", each: resource(parseAs(client.Read))},
		&flagValue{long: "--permit", each: resource(parsePermit)},
		&flagValue{long: "--wait", value: &wait},
		&flagValue{long: "--try", alone: &f.try},
		&flagValue{long: "--ttl", value: &ttl},
		&flagValue{long: "--grace", value: &grace},
		&flagValue{long: "--note", value: &f.note},
		&flagValue{long: "--name", value: &f.name},
	)
	rest, err := parseFlags(before, len(before), flags...)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, fmt.Errorf(`unexpected %q: the command stands behind "--"`, rest[0])
	}
	if len(faults) > 0 {
		return nil, faults[0]
	}
	f.command = command
	if span, err := time.ParseDuration(wait); err == nil && span == 0 {
		f.try, wait = true, ""
	}
	for _, d := range []struct {
		flag, text string
		value      *time.Duration
	}{{"--wait", wait, &f.wait}, {"--ttl", ttl, &f.ttl}, {"--grace", grace, &f.grace}} {
		if err := parseSpan(d.flag, d.text, d.value); err != nil {
			return nil, err
		}
	}
	if f.graceAsked = f.grace; f.grace == 0 {
		f.grace = min(5*time.Second, graceOf(f.ttl))
	}
	return f, f.check()
}

// splitCommand takes apart what is before "--" and the command behind it.
func splitCommand(args []string) (before, command []string) {
	for i, a := range args {
		if a == "--" {
			return args[:i], args[i+1:]
		}
	}
	return args, nil
}

func parseSpan(flag, text string, d *time.Duration) error {
	if text == "" {
		return nil
	}
	span, err := time.ParseDuration(text)
	if err != nil || span <= 0 {
		return fmt.Errorf("%s must be a duration such as 30s, but is %q", flag, text)
	}
	*d = span
	return nil
}

// parseAs reads a path that is wanted in one way.
func parseAs(wanted func(...string) client.Resource) func(string) (client.Resource, error) {
	return func(text string) (client.Resource, error) {
		path, err := parseTextPath(text)
		return wanted(path...), err
	}
}

// parseTextPath is parsePath for the client, whose segments are strings, and for people: an empty segment is
// theirs by mistake, and would make another path of it without a word.
func parseTextPath(text string) ([]string, error) {
	path, err := parsePath(text)
	segments := make([]string, len(path))
	for i, s := range path {
		if segments[i] = string(s); segments[i] == "" && err == nil {
			err = fmt.Errorf(`has an empty segment: %q; a path is written a/b, without "/" at its ends`, text)
		}
	}
	return segments, err
}

// parsePermit reads PATH:N. What is before the last colon is the path.
func parsePermit(text string) (client.Resource, error) {
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return client.Resource{}, fmt.Errorf("must be PATH:N, N being how many there are, but is %q", text)
	}
	n, err := strconv.ParseUint(text[at+1:], 10, 32)
	if err != nil || n == 0 {
		return client.Resource{}, fmt.Errorf("must be PATH:N, N being how many there are, but is %q", text)
	}
	path, err := parseTextPath(text[:at])
	return client.Permit(uint32(n), path...), err
}

func (f *runFlags) check() error {
	switch {
	case len(f.command) == 0:
		return errors.New(`the command is missing: put it behind "--", such as: locktopus run -w backup -- rsync -a /from /to`)
	case len(f.items) == 0:
		return errors.New("name at least one path: -w PATH, -r PATH or --permit PATH:N")
	case f.try && f.wait > 0:
		return errors.New("--try doesn't wait, so --wait has no meaning beside it")
	case f.grace > graceOf(f.ttl):
		return fmt.Errorf("--grace (%v) must be a third of --ttl (%v) at most, or the command could not end before its lock does", f.grace, f.ttl)
	}
	if !utf8.ValidString(f.note) || !utf8.ValidString(f.name) {
		return errors.New("--note and --name must be UTF-8")
	}
	if f.note != "" {
		f.items = append(f.items, client.Note(f.note))
	}
	if err := f.checkPermits(); err != nil {
		return err
	}
	if err := client.Check(f.items...); err != nil {
		return errors.New(said(err))
	}
	return nil
}

// checkPermits finds permits of one path that can never be had together.
func (f *runFlags) checkPermits() error {
	for i, r := range f.resources {
		count := uint32(1)
		for k, before := range f.resources[:i] {
			switch {
			case r.Type != "permit" || before.Type != "permit" || !slices.Equal(r.Path, before.Path):
			case r.Limit != before.Limit:
				return fmt.Errorf("%s, %s: permits of one path must name the same N", f.written[k], f.written[i])
			default:
				count++
			}
		}
		if r.Type == "permit" && count > r.Limit {
			return fmt.Errorf("%s is given %d times, and there are never more than %d", f.written[i], count, r.Limit)
		}
	}
	return nil
}

// lookCommand finds the program before anything is locked for it.
func lookCommand(name string) (program string, code int, err error) {
	program, err = exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		return program, 0, nil
	case name == "":
		return "", exitNotFound, errors.New(`"": command not found`)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", exitNotFound, fmt.Errorf("%s: command not found", name)
	}
	if failed, ok := errors.AsType[*exec.Error](err); ok {
		err = failed.Err
	}
	return "", exitCannotExecute, fmt.Errorf("cannot execute %s: %w", name, bareError(err))
}

// obtain gets the lock, or says with the exit code why there is none.
func (f *runFlags) obtain(address string, options *client.Options, incoming *incomingSignals) (*client.Client, *client.Lock, int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got os.Signal
	done := make(chan struct{})
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for {
			select {
			case s := <-incoming.c:
				if ends(s) {
					got = s
					cancel()
					return
				}
			case <-done:
				return
			}
		}
	}()
	c, lock, err := f.lock(ctx, address, options)
	close(done)
	<-listening
	switch {
	case err == nil && got == nil:
		return c, lock, 0
	case got != nil:
		if c != nil {
			c.Close()
		}
		return nil, nil, exitBySignal(got)
	}
	if c != nil {
		c.Close()
	}
	text := f.said(err)
	if lost, ok := errors.AsType[*client.LostError](err); ok && lost.State == "revoked" {
		text = "an administrator took the request out of the queue: " + lost.Message
	}
	if late, ok := errors.AsType[*client.UnavailableError](err); ok && len(late.Blockers) == 0 {
		text += "; the server hasn't said who is in the way"
	}
	if offline, ok := errors.AsType[*client.OfflineError](err); ok {
		text = fmt.Sprintf("the time to wait is over, and the server is gone: %s", said(offline.Trouble))
	}
	f.say("%s", text)
	return nil, nil, exitFor(err)
}

// errGrace says that the command could not have the time to end that was asked for.
var errGrace = errors.New("--grace is too long for what the server grants")

// granted looks at what the server has made of --ttl, before anything is waited for.
func (f *runFlags) granted(ttl time.Duration) error {
	if ttl >= f.ttl {
		return nil
	}
	if f.graceAsked > graceOf(ttl) {
		return fmt.Errorf("%w: %v is more than a third of %v, though --ttl asks for %v (the server's sessions.ttl_max)", errGrace, f.graceAsked, ttl, f.ttl)
	}
	f.grace = min(f.grace, graceOf(ttl))
	f.say("warning: the server grants %v where --ttl asks for %v (the server's sessions.ttl_max)", ttl, f.ttl)
	return nil
}

func (f *runFlags) lock(ctx context.Context, address string, options *client.Options) (*client.Client, *client.Lock, error) {
	dialing, cancel := answering(ctx)
	defer cancel()
	c, err := dialNamed(dialing, address, options, f.name == "")
	if err != nil {
		return nil, nil, err
	}
	if err := f.granted(c.TTL()); err != nil {
		return c, nil, err
	}
	if f.try {
		lock, err := c.TryLock(dialing, f.items...)
		return c, lock, err
	}
	if f.wait > 0 { // for the locks, not for the server
		f.items = append(f.items, client.Wait(f.wait))
	}
	var lock *client.Lock
	w := &waiting{speaker: f.speaker, c: c, flags: f}
	w.during(func() { lock, err = c.Lock(ctx, f.items...) })
	return c, lock, err
}

// environment is the command's: ours, and what there is to know of the lock.
func (f *runFlags) environment(p process, lock *client.Lock) []string {
	var env []string
	for _, e := range p.environ {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case envToken, envLockID, envPaths, envAuthorization, config.TokenVariable:
		default:
			env = append(env, e)
		}
	}
	paths, err := json.Marshal(f.resources)
	if err != nil {
		panic("locktopus: resources are no JSON: " + err.Error())
	}
	return append(env,
		envToken+"="+strconv.FormatUint(lock.Token(), 10),
		envLockID+"="+strconv.FormatUint(lock.ID(), 10),
		envPaths+"="+string(paths))
}
