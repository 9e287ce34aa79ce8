package client_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// strangers are what may answer at an address, and what is said of each: what it is, where, and what to do.
var strangers = map[string]struct {
	answers func(net.Conn, *http.Request)
	want    string
}{
	"an HTTP server":             {says("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>hello"), `http 200: what answers at ws://memory says "200 OK", which a lock server wouldn't: is it the right address?`},
	"a page that isn't there":    {says("HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\n404 page not found\n"), `http 404: what answers at ws://memory says "404 page not found": is it the right address?`},
	"a proxy":                    {says("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<p>no"), `http 503: what answers at ws://memory says "503 Service Unavailable", as a proxy would that can't reach the lock server behind it`},
	"a proxy that wants a login": {says("HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\n\r\n<p>who?"), `denied: what answers at ws://memory says "401 Unauthorized", as a proxy would that lets only those in whom it knows`},
	"a redirection":              {says("HTTP/1.1 301 Moved\r\nLocation: https://elsewhere/\r\n\r\n"), `http 301: what answers at ws://memory says "301 Moved", and sends to "https://elsewhere/": connect there if that is the right address`},
	"a full server":              {says("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nthe server is full\n"), "http 503: the server is full"},
	"no HTTP":                    {says("-ERR wrong number of arguments\r\n"), `cannot connect to ws://memory: what answers there doesn't speak HTTP: is it the right address? (malformed HTTP `},
	"no WebSocket":               {says("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), `cannot connect to ws://memory: what answers there doesn't speak WebSocket: is it the right address? (`},
	"half an answer":             {says("HTTP/1.1 101"), "cannot connect to ws://memory: it has hung up"},
	"no answer":                  {says(""), "cannot connect to ws://memory: it has hung up without an answer: is it wss:// instead of ws://, or another server? ("},
	"silence":                    {silence, "cannot connect to ws://memory: it doesn't answer"},
	"no JSON":                    {upgraded("\x81\x05hello"), "cannot connect to ws://memory: its welcome is not understood: is it the right address? ("},
	"no welcome":                 {upgraded("\x81\x02{}"), "cannot connect to ws://memory: its first message is no welcome: is it the right address?"},
	"a cut":                      {upgraded(""), "cannot connect to ws://memory: it has hung up"},
	"half a frame":               {upgraded("\x81\x7ehello"), "cannot connect to ws://memory: it has hung up"},
	"a closed connection":        {upgraded("\x88\x05\x03\xe9bye"), `cannot connect to ws://memory: it has closed the connection (code 1001: "bye")`},
	"closed without a reason":    {upgraded("\x88\x02\x03\xe9"), "cannot connect to ws://memory: it has closed the connection (code 1001)"},
}

func says(text string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) { _, _ = c.Write([]byte(text)) }
}

func silence(c net.Conn, _ *http.Request) { _, _ = io.Copy(io.Discard, c) }

// upgraded makes it a WebSocket connection, and says something over that once it has heard the hello.
func upgraded(frames string) func(net.Conn, *http.Request) {
	return func(c net.Conn, r *http.Request) {
		accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(c, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write([]byte(frames))
	}
}

// TestWhoeverAnswersIsToldOfInPlainWords: none are a library's.
func TestWhoeverAnswersIsToldOfInPlainWords(t *testing.T) {
	for name, x := range strangers {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				n := b.line()
				n.instead(func(context.Context) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						defer far.Close()
						if r, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
							x.answers(far, r)
						}
					}()
					return near, nil
				})
				ctx, cancel := context.WithTimeout(background, time.Minute)
				defer cancel()
				_, err := client.DialWithClock(ctx, "ws://memory/v2?namespace=test", &client.Options{Dial: n.dialServer}, n.now)
				require.ErrorContains(b.t, err, "locktopus: "+x.want)
				for _, foreign := range []string{"failed to", "context", "net/http"} {
					require.NotContains(b.t, err.Error(), foreign)
				}
				if name == "silence" {
					require.ErrorIs(b.t, err, context.DeadlineExceeded)
				}
			})
		})
	}
}

// TestAServerThatStandsStillDoesNotAnswer: that is why there is no connection to it any more.
func TestAServerThatStandsStillDoesNotAnswer(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		c := n.client(client.Options{})
		pass := n.silence()
		defer pass()
		for wait := time.Second; c.Connected(); wait += time.Second {
			require.Less(b.t, wait, time.Minute)
			<-time.After(time.Second)
		}
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err := c.Lock(ctx, client.Write("x"))
		require.EqualError(b.t, err, "locktopus: there is no connection to ws://memory (it doesn't answer): context deadline exceeded")
	})
}
