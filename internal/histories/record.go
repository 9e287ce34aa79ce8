package histories

import (
	"fmt"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// Answer is what a client was told first about a request.
type Answer uint8

// The answers.
const (
	Unknown  Answer = iota // only that it is there, or not even that; or it was asked twice
	Granted                // acquired, or upgraded, at once
	Enqueued               // it waits, so somebody is in the way
	Refused                // somebody is in the way, and it doesn't wait
	Misfit                 // the permits of a path have another limit
	Overlaps               // another upgrade waits that this one conflicts with
)

var answers = [...]string{"unknown", "granted", "enqueued", "refused", "another limit", "another upgrade"}

// Record is one request as its client saw it.
type Record struct {
	Client    string
	Resources []oracle.Resource
	Asked     oracle.Moment // before it was sent first
	Answered  oracle.Moment // after the answer was received; zero: there was none before Gone
	Answer    Answer
	Number    uint64 // of its place in the queue, where its client was told, as those of version 1 are; else zero

	Token   uint64        // zero: it was never known to be acquired
	Slots   []uint32      // of its permits; nil: nobody was told
	Told    oracle.Moment // after the news that it is
	Changes []*Change

	// It ended between these: not before the client gave it up, or stopped believing that it has it; and not
	// after the client learned that. Of one that was refused they mean nothing.
	Ended, Gone oracle.Moment
	Waiting     bool // it ended while it was waiting, so somebody was in the way even then
}

// Change is an upgrade or a downgrade of a lock as its client saw it. Each begins after what became of the one
// before was known.
type Change struct {
	Down     bool
	Asked    oracle.Moment
	Answered oracle.Moment // zero: there was no answer, and nobody knows whether it came before the lock's end
	Answer   Answer        // of an upgrade

	// Of an upgrade.
	Token       uint64        // zero: it was never known to have come true
	Told        oracle.Moment // after the news that it has
	Waiting     bool          // it is known that it never came true
	Ended, Gone oracle.Moment // it was taken back between these; if Gone is zero, perhaps, and not before Ended; if both are, not
}

// String is all of it in a line.
func (r *Record) String() string {
	text := fmt.Sprintf("%s: %s; asked %v, answered %v (%s), token %d%s told %v, ended %v to %v", r.Client,
		oracle.Text(r.Resources), at(r.Asked), at(r.Answered), answers[r.Answer], r.Token, slots(r.Slots), at(r.Told), at(r.Ended), at(r.Gone))
	for _, c := range r.Changes {
		text += "; " + c.String()
	}
	return text
}

// String is all of it in a few words.
func (c *Change) String() string {
	if c.Down {
		return fmt.Sprintf("downgrade asked %v, answered %v", at(c.Asked), at(c.Answered))
	}
	text := fmt.Sprintf("upgrade asked %v, answered %v (%s)", at(c.Asked), at(c.Answered), answers[c.Answer])
	if c.Token != 0 {
		text += fmt.Sprintf(", token %d told %v", c.Token, at(c.Told))
	}
	if c.Ended != 0 {
		text += fmt.Sprintf(", taken back %v to %v", at(c.Ended), at(c.Gone))
	}
	return text
}

func at(m oracle.Moment) time.Duration { return time.Duration(m).Round(time.Microsecond) }

func slots(s []uint32) string {
	if len(s) == 0 {
		return ""
	}
	return fmt.Sprint(" slots ", s)
}

// check looks for what contradicts itself already.
func (r *Record) check() error {
	switch {
	case r.Answered != 0 && r.Answered < r.Asked, r.Told != 0 && r.Told < r.Asked:
		return fmt.Errorf("histories: something happened before it was asked for: %v", r)
	case !r.refused() && r.Gone < r.Ended:
		return fmt.Errorf("histories: it was over before its time: %v", r)
	case (r.Token == 0) != (r.Told == 0):
		return fmt.Errorf("histories: a lock is acquired with its token: %v", r)
	case r.Token == 0 && len(r.Changes) > 0:
		return fmt.Errorf("histories: what isn't acquired can't be changed: %v", r)
	}
	for _, c := range r.Changes {
		if c.Asked < r.Told || c.Answered != 0 && c.Answered < c.Asked || (c.Token == 0) != (c.Told == 0) || c.Gone != 0 && c.Gone < c.Ended {
			return fmt.Errorf("histories: a change contradicts itself: %v", r)
		}
	}
	return r.checkSlots()
}

// refused says that it was never in the queue.
func (r *Record) refused() bool { return r.Answer == Refused || r.Answer == Misfit }

// ghost says that nobody knows whether it was ever in the queue, and that it may have been over at once.
func (r *Record) ghost() bool {
	return r.Answer == Unknown && r.Answered == 0 && r.Token == 0 && !r.Waiting && r.Ended <= r.Asked
}

// checkSlots looks for slots that no pool can have.
func (r *Record) checkSlots() error {
	if r.Slots == nil {
		return nil
	}
	permits := slices.DeleteFunc(slices.Clone(r.Resources), func(x oracle.Resource) bool { return x.Limit == 0 })
	if len(permits) != len(r.Slots) {
		return fmt.Errorf("histories: each permit has a slot, and nothing else: %v", r)
	}
	for i, p := range permits {
		if r.Slots[i] >= p.Limit {
			return fmt.Errorf("histories: a slot is not below the limit: %v", r)
		}
		for k, o := range permits[:i] {
			if r.Slots[i] == r.Slots[k] && slices.Equal(p.Path, o.Path) {
				return fmt.Errorf("histories: two permits have one slot: %v", r)
			}
		}
	}
	return nil
}
