package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Why a lock, or a client, is over.
var (
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("locktopus: the client is closed")
	// ErrDeadline: the server may have given the lock to somebody else by now, as nothing has been heard
	// from it for the session's time to live, or as the lock's lease is over.
	ErrDeadline = errors.New("locktopus: the lock's time is over, and the server has not been heard extending it")
	// ErrArgument: a call was given something that can't be sent, or can never succeed. The error says which; the server
	// was not asked.
	ErrArgument = errors.New("locktopus: an argument is wrong")
	// ErrReleased: the lock was released by its owner.
	ErrReleased = errors.New("locktopus: the lock was released")
)

// LostError says that the server has ended a lock.
type LostError struct {
	// State is how: "expired" when its lease or its session was over, "revoked" when an administrator
	// took it, "shutdown" when the server was stopped, "gone" when it knows neither the session nor its locks any more.
	State   string
	Message string // for people; may be empty
}

func (e *LostError) Error() string {
	if e.Message == "" {
		return "locktopus: the lock is lost: " + e.State
	}
	return fmt.Sprintf("locktopus: the lock is lost: %s: %s", e.State, e.Message)
}

// Blocker is a request that is in the way.
type Blocker struct {
	// Session is its name, or where it has none its id; "v1" for a client of version 1, "server" for the server itself.
	Session string   `json:"session"`
	Note    string   `json:"note"`
	Lock    uint64   `json:"lock"`
	Type    string   `json:"type"`
	Path    []string `json:"path"`
	State   string   `json:"state"`    // "acquired", "upgrading", or "enqueued": it came first
	SinceMS int64    `json:"since_ms"` // 0 for clients of version 1, of which nobody knows
}

// Since is how long it has been held, or has waited.
func (b *Blocker) Since() time.Duration { return time.Duration(b.SinceMS) * time.Millisecond }

// String is for people. Paths, notes and names are other clients' texts, and quoted, unless a name could be nothing
// else. In a path a backslash stands before a slash or backslash of a segment's own.
func (b *Blocker) String() string {
	segments := make([]string, len(b.Path))
	for i, s := range b.Path {
		segments[i] = escapeSegment.Replace(s)
	}
	text := fmt.Sprintf("%s of %q, %s by %s", b.Type, strings.Join(segments, "/"), b.State, quotedName(b.Session))
	if b.SinceMS > 0 {
		text += fmt.Sprintf(" for %v", b.Since())
	}
	if b.Note != "" {
		text += fmt.Sprintf(" (%q)", b.Note)
	}
	return text
}

// quotedName quotes a name that could pass for more than a name.
func quotedName(name string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-_.:@/", r)
	}
	if name != "" && strings.TrimFunc(name, plain) == "" {
		return name
	}
	return strconv.Quote(name)
}

var escapeSegment = strings.NewReplacer(`\`, `\\`, `/`, `\/`)

// UnavailableError says that a lock could not be had in time.
type UnavailableError struct {
	// State is "unavailable" when there was no time to wait, "timeout" otherwise.
	State    string
	Blockers []Blocker // the first few that are in the way
}

func (e *UnavailableError) Error() string {
	return "locktopus: not to be had in time" + inTheWay(e.Blockers)
}

// Is makes a wait that the caller's context limited an error like that of the context.
func (e *UnavailableError) Is(target error) bool {
	return target == context.DeadlineExceeded && e.State != "unavailable"
}

// DeadlockError says that waiting would never have ended: each of the sessions waits for the next, and the
// last for this one.
type DeadlockError struct{ Cycle []Blocker }

func (e *DeadlockError) Error() string {
	return "locktopus: that would be a deadlock" + inTheWay(e.Cycle)
}

func inTheWay(bs []Blocker) string {
	var b strings.Builder
	for i := range bs {
		b.WriteString([]string{": ", ", then "}[min(i, 1)])
		b.WriteString(bs[i].String())
	}
	return b.String()
}

// OfflineError is what a call ends with when its context does and there is no connection to the server. It is the
// context's error for errors.Is.
type OfflineError struct {
	Server  string // such as ws://127.0.0.1:9009
	Trouble error  // with the last attempt to connect, or with the connection that was lost
	Ended   error  // the context's
}

func (e *OfflineError) Error() string {
	trouble := strings.TrimPrefix(e.Trouble.Error(), "locktopus: ")
	trouble = strings.TrimPrefix(trouble, "cannot connect to "+e.Server+": ")
	return fmt.Sprintf("locktopus: there is no connection to %s (%s): %s", e.Server, trouble, strings.TrimPrefix(e.Ended.Error(), "locktopus: "))
}

// Is makes it the context's error.
func (e *OfflineError) Is(target error) bool { return errors.Is(e.Ended, target) }

// RefusedError says that the server has refused a request or a client.
type RefusedError struct {
	// Code is the protocol's, such as "limit" or "draining"; "denied" is a plugin's word.
	Code    string
	Message string // what is wrong, where, and what to do
	Plugin  string // that denied
	Reason  int    // the plugin's own code
}

func (e *RefusedError) Error() string {
	if e.Plugin != "" {
		return fmt.Sprintf("locktopus: denied by plugin %q (code %d): %s", e.Plugin, e.Reason, e.Message)
	}
	return fmt.Sprintf("locktopus: %s: %s", e.Code, e.Message)
}

// Denied says whether an error is a plugin's refusal: asking again will not help.
func Denied(err error) bool {
	refused, ok := errors.AsType[*RefusedError](err)
	return ok && refused.Code == "denied"
}
