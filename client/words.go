package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/coder/websocket"
)

// worded is an error in other words.
type worded struct {
	words string
	error
}

func (e *worded) Error() string { return e.words }
func (e *worded) Unwrap() error { return e.error }

var errSilent = errors.New("it doesn't answer")

// inWords says what has become of a connection as people would. "It" is the server.
func inWords(err error) error {
	err = bare(err)
	closed, isClosed := errors.AsType[websocket.CloseError](err)
	network, isNetwork := errors.AsType[net.Error](err)
	_, isName := errors.AsType[*net.DNSError](err)
	switch {
	case isName: // who doesn't answer then is another server
		return err
	case isClosed && closed.Reason == "":
		return &worded{fmt.Sprintf("it has closed the connection (code %d)", closed.Code), err}
	case isClosed:
		return &worded{fmt.Sprintf("it has closed the connection (code %d: %q)", closed.Code, closed.Reason), err}
	case isNetwork && network.Timeout(): // also of a context
		return &worded{errSilent.Error(), err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &worded{"it has hung up", err}
	}
	return err
}

// bare is an error without what libraries say they did when it occurred.
func bare(err error) error {
	for {
		text, inner := err.Error(), errors.Unwrap(err)
		if inner == nil || !strings.HasPrefix(text, "failed to ") && !strings.HasPrefix(text, "net/http: HTTP/1.x transport connection broken: ") {
			return err
		}
		err = inner
	}
}
