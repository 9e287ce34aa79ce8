package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/locktopus-project/locktopus/v2/client"
)

// releaseFlags are those of release.
type releaseFlags struct {
	adminFlags
	reason  string
	end     bool
	session string
	lock    uint64
}

func (p process) release(args []string) int {
	f, err := p.parseRelease(args)
	if err != nil {
		return p.misused("release", "locktopus release: %v", err)
	}
	answer, code, err := f.take()
	if err != nil {
		fmt.Fprintf(p.stderr, "locktopus release: %s\n", printable(said(err)))
		return code
	}
	text := f.answerText(answer)
	if f.json {
		text = visibleJSON(json.RawMessage(answer))
	}
	if _, err := io.WriteString(p.stdout, text); err != nil {
		fmt.Fprintf(p.stderr, "locktopus release: it is done, but %v: %v\n", errOutput, bareError(err))
		return exitFailed
	}
	return exitOK
}

func (p process) parseRelease(args []string) (*releaseFlags, error) {
	f := &releaseFlags{}
	operands, err := parseFlags(args, 2, append(f.adminFlagList(),
		&flagValue{long: "--reason", value: &f.reason},
		&flagValue{long: "--end", alone: &f.end},
	)...)
	if err != nil {
		return nil, err
	}
	if err := f.target(operands); err != nil {
		return nil, err
	}
	if f.reason == "" {
		return nil, errors.New("say why: --reason TEXT, which the client is told")
	}
	return f, f.complete(p)
}

// target reads what is to be released.
func (f *releaseFlags) target(operands []string) (err error) {
	switch {
	case len(operands) == 0:
		return errors.New(`name a lock by its session and its number, as "locktopus ls" shows them`)
	case f.end && len(operands) > 1:
		return fmt.Errorf("--end ends a session with all its locks, so %q has no meaning beside it", operands[1])
	case !f.end && len(operands) == 1:
		return errors.New("name the lock's number behind its session, or end the whole session with --end")
	}
	f.session = operands[0]
	if f.end {
		return nil
	}
	if f.lock, err = strconv.ParseUint(operands[1], 10, 64); err != nil || f.lock == 0 {
		return fmt.Errorf("a lock is named by a number, not by %q", operands[1])
	}
	return nil
}

// take has the server do it. With an error comes the exit code.
func (f *releaseFlags) take() (answer []byte, code int, err error) {
	body := map[string]any{"namespace": f.namespace, "session": f.session, "reason": f.reason}
	path := "/admin/v1/end"
	if !f.end {
		path, body["lock"] = "/admin/v1/release", f.lock
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic("locktopus: strings and numbers are no JSON: " + err.Error())
	}
	return f.ask(path, text, "session")
}

// answerText says what has been released.
func (f *releaseFlags) answerText(answer []byte) string {
	var l struct {
		client.LockInfo
		Held, Waiting int
	}
	if err := json.Unmarshal(answer, &l); err != nil {
		return "done\n"
	}
	where := "in namespace " + word(f.namespace)
	if f.end {
		return fmt.Sprintf("ended %s: session %s, name %s; it held %d and waited for %d\n", where, word(l.Session), word(l.Name), l.Held, l.Waiting)
	}
	x := (*seen)(&l.LockInfo)
	return fmt.Sprintf("released %s: %s, %s by %s\n", where, x.resourcesText(), stateText(x.State, x.Session, x.SinceMS), x.who())
}
