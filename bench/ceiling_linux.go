package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// ceilingArg makes this program the ceiling. It is for bench itself, which starts it like the server.
const ceilingArg = "ceiling-server"

// ceiling answers what the server would answer to a connection alone on its path. It tells the two
// messages apart by length, and its answers have the length that a server's have in its second
// million of locks.
type ceiling struct{}

var (
	ceilingAcquired = []byte(`{"id":"1000000","action":"lock","state":"acquired"}`)
	ceilingReady    = []byte(`{"id":"1000000","action":"release","state":"ready"}`)
)

func (ceiling) Open(wsnet.Conn, *wsnet.Request) *wsnet.Refusal { return nil }

func (ceiling) Message(c wsnet.Conn, msg []byte) {
	if len(msg) == len(releaseMessage) {
		c.Send(ceilingReady)
	} else {
		c.Send(ceilingAcquired)
	}
}

func (ceiling) Notify(wsnet.Conn, uint64)       {}
func (ceiling) Closed(wsnet.Conn, wsnet.Reason) {}

// serveCeiling is the ceiling's process: it listens, says where as the server does, and ends by SIGTERM.
func serveCeiling(log io.Writer) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s, err := wsnet.Serve(ln, wsnet.Options{NewHandler: func() wsnet.Handler { return ceiling{} }, Limits: wsnet.Limits{PingInterval: pingLate}})
	if err != nil {
		ln.Close()
		return err
	}
	fmt.Fprintf(log, "msg=listening address=%s\n", s.Addr())
	<-stop
	return s.Close()
}
