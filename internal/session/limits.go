package session

import (
	"math"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// Limits bound what sessions may have. They are checked by whoever read them. New ones are in force from
// the next call on, and take away nothing that is there.
type Limits struct {
	TTLDefault, TTLMin, TTLMax time.Duration // of a session without a message

	WaitMax  time.Duration // the longest that a request waits, also one that didn't say; 0: no bound
	LeaseMin time.Duration // the shortest lease that may be asked for

	Locks   int // alive in one session
	Answers int // of requests that are over, and ends of locks, kept for retries in each session
	Events  int // kept for a resume in each session
	Watches int // of one session

	AllWatches  int // of all sessions of the space
	AnswerBytes int // that are printed of locks in one answer, at least 1024; one with very many slots may need more

	NoteBytes int
	NameBytes int
}

// Defaults are the limits where nobody says otherwise.
var Defaults = Limits{
	TTLDefault: 15 * time.Second, TTLMin: time.Second, TTLMax: time.Minute,
	LeaseMin: 100 * time.Millisecond,
	Locks:    100_000, Answers: 256, Events: 1024, Watches: 64, AllWatches: 1024, AnswerBytes: 256 << 10,
	NoteBytes: 256, NameBytes: 128,
}

const never = math.MaxInt64

// after is the time that lies so many milliseconds behind now.
func after(now, ms int64) int64 {
	if ms > (never-now)/int64(time.Millisecond) {
		return never
	}
	return now + ms*int64(time.Millisecond)
}

// left is how many milliseconds there are until a time: all that have begun don't count.
func left(now, until int64) int64 { return max(0, until-now) / int64(time.Millisecond) }

func milliseconds(d time.Duration) int64 { return int64(d / time.Millisecond) }

// Granted is the time to live that a session gets whose client asks for one: see Hello.
func (sp *Space) Granted(asked int64) time.Duration {
	return time.Duration(sp.limits.ttl(asked)) * time.Millisecond
}

// ttl is the time to live that is granted to who asks for one, in milliseconds.
func (l *Limits) ttl(asked int64) int64 {
	if asked == wire.V2None {
		return milliseconds(l.TTLDefault)
	}
	return min(max(asked, milliseconds(l.TTLMin)), milliseconds(l.TTLMax))
}

// wait is when a request stops waiting.
func (l *Limits) wait(now, asked int64) int64 {
	until := int64(never)
	if l.WaitMax > 0 {
		until = now + int64(l.WaitMax)
	}
	if asked != wire.V2None {
		until = min(until, after(now, asked))
	}
	return until
}
