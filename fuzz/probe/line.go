package probe

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/gobwas/ws"
)

// line is a client's side of its connection, in a round that is played one step at a time.
type line struct {
	n        int      // the client's number
	conn     *conn    // nil: not connected
	pings    [][]byte // sent, and not answered
	log      *transcript
	patience time.Duration
}

// next is the next event that isn't a pong: those must answer its pings in order.
func (l *line) next() (event, error) {
	for {
		e := l.conn.next(l.patience)
		l.log.heard(l.n, e)
		if e.pong == nil {
			return e, nil
		}
		if len(l.pings) == 0 || !bytes.Equal(e.pong, l.pings[0]) {
			return e, fmt.Errorf("client %d: a pong that it didn't ask for: %s", l.n, shorten(string(e.pong)))
		}
		l.pings = l.pings[1:]
	}
}

// send sends a message, and frames behind it.
func (l *line) send(f framing, text string, more ...byte) {
	frames, pings := f.frames(text)
	for range pings {
		l.pings = append(l.pings, pingPayload)
	}
	l.conn.send(f, append(frames, more...))
}

func (l *line) ping(payload []byte) {
	l.pings = append(l.pings, payload)
	l.conn.send(framing{}, frame(ws.OpPing, true, payload))
}

// heardAll reads the pongs that are owed; nothing else may come.
func (l *line) heardAll() error {
	for len(l.pings) > 0 {
		e := l.conn.next(l.patience)
		l.log.heard(l.n, e)
		if e.pong == nil {
			return fmt.Errorf("client %d waits for a pong, and gets %v", l.n, e)
		}
		if !bytes.Equal(e.pong, l.pings[0]) {
			return fmt.Errorf("client %d gets the pong %s for the ping %s", l.n, shorten(string(e.pong)), shorten(string(l.pings[0])))
		}
		l.pings = l.pings[1:]
	}
	return nil
}

// mustEnd reads the end of a connection that the server must close with one of these codes.
func (l *line) mustEnd(codes ...int) error {
	e, err := l.next()
	switch {
	case err != nil:
		return err
	case e.end == nil:
		return fmt.Errorf("client %d must be closed with code %v; it gets %s", l.n, codes, shorten(e.text))
	case !slices.Contains(codes, e.end.code) || e.end.err != nil:
		return fmt.Errorf("client %d must be closed with code %v: %v", l.n, codes, e.end)
	}
	l.conn = nil
	return nil
}

// close closes with a handshake.
func (l *line) close() error {
	l.conn.closing.Store(true)
	l.conn.send(framing{}, frame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	return l.mustEnd(int(ws.StatusNormalClosure))
}

// drop ends the connection at once, if there is one.
func (l *line) drop(withReset bool) {
	if l.conn != nil {
		l.conn.drop(withReset)
		l.conn = nil
	}
}

// stillHere pings on all lines, and looks whether anything has come that nobody expects.
func stillHere(lines []*line) error {
	lines = slices.DeleteFunc(lines, func(l *line) bool { return l.conn == nil })
	for _, l := range lines {
		l.ping([]byte("still"))
	}
	for _, l := range lines {
		if err := l.heardAll(); err != nil {
			return err
		}
	}
	return nil
}
