package session

import (
	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// Close codes, as docs/PROTOCOL.md lists them.
const (
	CloseBye       = 1000
	CloseTakenOver = 3001
	CloseExpired   = 3002
	CloseEnded     = 3003
)

// Effects are what a call leaves to be done. They belong to the caller, who hands them to one call after
// the other: each begins by forgetting what was there. Nothing in them is the space's memory, but for what it
// never changes.
type Effects struct {
	// For the calling attachment, in this order.
	Welcomed bool
	Welcome  wire.V2Welcome // what it says of the server is for the caller to fill in: Epoch, Durable, MessageBytes, MessageValues
	Messages []wire.V2Message
	Close    uint16 // then close it with this code; 0: don't
	Undone   bool   // the request wasn't done, as there is much to be told before: send that and call Do again
	Rest     bool   // there is more to tell it: call Collect again, having sent this

	Wake   []uint64       // attachments that are to call Collect; never the calling one
	Grants []engine.Grant // of locks that aren't sessions'
	Left   []Leaver       // sessions that are over
	More   bool           // there is work left over: call Tick soon, and let others have the mutex before

	Deadlocks int // requests and upgrades that were refused as such

	slots  []uint32
	held   []wire.V2Held
	seen   []wire.V2Seen
	copies copies

	handles []engine.Handle // of what is being told
}

// Leaver is what Hello said of a session that is over.
type Leaver struct {
	Home uint64
	Span int64
}

// keptMessages is how many messages Effects keep memory for, and 16 times as many of all else: one answer to inspect
// has a thousand locks.
const keptMessages = 256

func (fx *Effects) reset() {
	if cap(fx.Messages) > keptMessages {
		fx.Messages = nil
	}
	clear(fx.Messages)
	if cap(fx.slots)+cap(fx.held)+cap(fx.seen)+cap(fx.handles)+cap(fx.Wake)+cap(fx.Grants)+cap(fx.Left) > 16*keptMessages {
		*fx = Effects{Messages: fx.Messages}
	}
	fx.Messages, fx.Wake, fx.Grants = fx.Messages[:0], fx.Wake[:0], fx.Grants[:0]
	fx.Left = fx.Left[:0]
	fx.slots, fx.held, fx.seen = fx.slots[:0], fx.held[:0], fx.seen[:0]
	fx.copies.reset()
	fx.Welcomed, fx.Welcome, fx.Close, fx.Undone, fx.Rest, fx.More = false, wire.V2Welcome{}, 0, false, false, false
	fx.Deadlocks = 0
}

// message is a new one behind the others. It is good until the next one is made.
func (fx *Effects) message() *wire.V2Message {
	fx.Messages = append(fx.Messages, wire.V2Message{})
	return &fx.Messages[len(fx.Messages)-1]
}

// answer is a new message to a request.
func (fx *Effects) answer(id, lock uint64, state wire.V2State) *wire.V2Message {
	m := fx.message()
	m.ID, m.Lock, m.State = id, lock, state
	return m
}

// refuse answers a request with an error.
func (fx *Effects) refuse(id uint64, code wire.V2Code, text string) *wire.V2Message {
	m := fx.message()
	m.ID, m.Error, m.Message = id, code, []byte(text)
	return m
}

// fail is the last message that the calling attachment gets.
func (fx *Effects) fail(code wire.V2Code, text string, closing uint16) {
	m := fx.message()
	m.Error, m.Message = code, []byte(text)
	fx.Close = closing
}
