package fuzz

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// mirror is an HTTP handler that answers with the request as it saw it.
func mirror(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q %q %d %q %q\n", r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength, r.TransferEncoding, r.URL.Path)
	for name, values := range r.Header {
		fmt.Fprintf(&b, "%q %q\n", name, values)
	}
	lines := strings.SplitAfter(b.String(), "\n")
	slices.Sort(lines)
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	w.Header().Set("X-Mirror", "yes")
	fmt.Fprintf(w, "%q\n%q %v\n", lines, body, err)
}

// serveHTTP is net/http with gorilla's upgrades, and the mirror for the rest.
func serveHTTP(t testing.TB) (address string) {
	address = filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", address)
	require.NoError(t, err)
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	s := &http.Server{
		DisableGeneralOptionsHandler: true, ReadTimeout: patience, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !websocket.IsWebSocketUpgrade(r) || !r.ProtoAtLeast(1, 1) { // RFC 9110 section 7.8
				mirror(w, r)
			} else if c, err := up.Upgrade(w, r, nil); err == nil {
				c.Close()
			}
		}),
	}
	s.SetKeepAlivesEnabled(false)
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return address
}

var date = regexp.MustCompile("Date: [^\r]*\r\n")

// ask sends bytes in pieces, and is all that comes back, without the date.
func ask(t *testing.T, address string, sent, cuts []byte) []byte {
	c, err := net.Dial("unix", address)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		sendCut(c, sent, cuts)
	}()
	got, err := io.ReadAll(c)
	<-done
	if err != nil { // a server that has not read all ends with a reset
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%q", sent)
	}
	return date.ReplaceAll(got, nil)
}

// status is that of an answer; 0: there is none.
func status(answer []byte) (code int) {
	var minor int
	fmt.Sscanf(string(answer), "HTTP/1.%1d %3d ", &minor, &code)
	return code
}

// head is a request's without what is behind the blank line; nil: it doesn't end.
func head(request []byte) []byte {
	if at := blankLine.FindIndex(request); at != nil {
		return request[:at[1]]
	}
	return nil
}

var blankLine = regexp.MustCompile(`\n\r?\n`)

// FuzzUpgrade has both of wsnet's paths understand requests as net/http does, with gorilla's upgrades: what
// becomes a WebSocket would be one there, and what is no upgrade reaches the HTTP handler as if wsnet had
// not been in between.
func FuzzUpgrade(f *testing.F) {
	loops := serveNet(f, wsnet.Options{HTTP: http.HandlerFunc(mirror)})
	portable := serveNet(f, wsnet.Options{HTTP: http.HandlerFunc(mirror), Portable: true})
	library := serveHTTP(f)
	f.Fuzz(func(t *testing.T, request, cuts []byte) {
		asks := bytes.Contains(bytes.ToLower(request), []byte("websocket"))
		want := ask(t, library, request, nil)
		for path, address := range map[string]string{"loops": loops, "portable": portable} {
			got := ask(t, address, request, cuts)
			about := fmt.Sprintf("%s: %q\ngot  %q\nwant %q", path, request, got, want)
			switch code := status(got); {
			case code == http.StatusSwitchingProtocols:
				// gorilla wants nothing behind the head yet.
				require.Equal(t, code, status(ask(t, library, head(request), nil)), about)
			case bytes.Equal(got, want):
			case len(got) == 0: // TLS, and a head that ends before its end, get no answer
				require.Contains(t, []int{0, http.StatusBadRequest}, status(want), about)
				require.True(t, head(request) == nil || request[0] == 0x16, about)
			default: // a refusal of its own: of what asks for an upgrade, is too long, or has no method of HTTP's
				require.GreaterOrEqual(t, code, 400, about)
				require.NotContains(t, string(got), "X-Mirror", about)
				odd := len(request) > wsnet.DefaultLimits().HeaderBytes || !unicode.IsLetter(rune(request[0]))
				require.True(t, asks || odd || status(want) >= 400, about)
			}
		}
	})
}
