package quorum

import (
	"errors"
	"slices"
	"strings"
)

// ErrMinority: the lock is no longer held on a majority.
var ErrMinority = errors.New("locktopus: the lock is no longer held on a majority of the servers")

// joined is what went wrong at several servers, in one line.
func joined(faults []error) error {
	faults = slices.DeleteFunc(faults, func(err error) bool { return err == nil })
	return &severalError{faults}
}

type severalError struct{ errors []error }

func (e *severalError) Unwrap() []error { return e.errors }

func (e *severalError) Error() string {
	texts := make([]string, len(e.errors))
	for i, err := range e.errors {
		texts[i] = bare(err)
	}
	return strings.Join(texts, "; ")
}

// bare is what an error says without the prefix that the whole has already.
func bare(err error) string { return strings.TrimPrefix(err.Error(), "locktopus: ") }

// faultOf is what went wrong at one server.
type faultOf struct {
	server string
	error
}

func (f *faultOf) Error() string { return f.server + ": " + bare(f.error) }
func (f *faultOf) Unwrap() error { return f.error }

// server is where a server is, for people.
func (q *Quorum) server(i int) string {
	where, _, _ := strings.Cut(q.addresses[i], "?")
	return where
}
