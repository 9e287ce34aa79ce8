package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/gorilla/websocket"
)

// locktopus is our server, or the ceiling, used as the peers are: through the WebSocket library that
// most Go programs use, with a goroutine for each connection that waits for each answer. Messages are
// written and read by hand where they have the usual form, as the peers' libraries do with theirs.
type locktopus struct{ url string }

func newLocktopus(_ context.Context, opt options, _ []string) (peer, error) {
	return locktopus{"ws://" + opt.addr + "/v1?namespace=peers&abandon-timeout-ms=0"}, nil
}

func (l locktopus) connect(ctx context.Context, _ int, path string) (locker, error) {
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, l.url, nil)
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, path: path}, nil
}

// session is one connection.
type session struct {
	conn *websocket.Conn
	path string
	text []byte // of the message that is written or read
}

func (s *session) lock(context.Context, func() bool) error {
	s.text = append(s.text[:0], `{"action":"lock","resources":[{"type":"write","path":["bench","own","`...)
	s.text = append(s.text, s.path...)
	s.text = append(s.text, `"]}]}`...)
	state, err := s.ask()
	if err == nil && state == "enqueued" {
		state, err = s.answer()
	}
	return expect("acquired", state, err)
}

func (s *session) unlock(context.Context) error {
	s.text = append(s.text[:0], `{"action":"release"}`...)
	state, err := s.ask()
	return expect("ready", state, err)
}

func (s *session) ask() (string, error) {
	if err := s.conn.WriteMessage(websocket.TextMessage, s.text); err != nil {
		return "", err
	}
	return s.answer()
}

func (s *session) answer() (string, error) {
	_, r, err := s.conn.NextReader()
	if err != nil {
		return "", err
	}
	into := bytes.NewBuffer(s.text[:0])
	if _, err := io.Copy(into, r); err != nil {
		return "", err
	}
	s.text = into.Bytes()
	return stateOf(s.text)
}

// stateOf reads the state out of an answer.
func stateOf(text []byte) (string, error) {
	for _, state := range []string{"acquired", "ready", "enqueued"} {
		if end := `,"state":"` + state + `"}`; len(text) > len(end) && string(text[len(text)-len(end):]) == end {
			return state, nil
		}
	}
	var a struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return "", fmt.Errorf("%w: %q", err, text)
	}
	return a.State, nil
}

func expect(want, got string, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("the state is %q and not %q", got, want)
	}
	return err
}
