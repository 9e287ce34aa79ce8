// Package admin is what administrators reach over HTTP: lists of namespaces, sessions and locks, and two
// actions, which take a lock from its holder, or end a session. It says how that is asked for and answered, and
// who may ask; internal/server does it.
//
// # Terms
//
// The token is what administrators know and nobody else: whoever shows it may do everything here. Of it only a
// hash is kept. A request is what comes over HTTP; a fault is why it isn't done, as a code and a sentence.
//
// # What holds
//
//   - Nothing is done or told for a request without the token, but for that it is refused. Tokens are compared
//     in a time that doesn't tell how much of one was right.
//   - Requests that a browser makes for a page are refused, whatever they show.
//   - Heads and bodies of requests, their time and the number of connections are bounded, as are pages of
//     lists. So is the time for which a list holds a namespace up.
//   - Each action is logged with who asked for it, and why. The token is in no log and in no answer.
//   - A panic ends the process: it may have left a mutex behind that net/http would not know of.
//
// A Service may be called from any goroutine.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/server"
)

// Limits bound what a client of administrators can take. They are checked by whoever read them.
type Limits struct {
	Connections  int           // at once; others wait
	RequestBytes int           // of a head and of a body, above slack
	Timeout      time.Duration // of a request, and from then on of its answer
	ReasonBytes  int
}

// Service answers administrators. Make it with New.
type Service struct {
	server *server.Server
	limits Limits
	log    *slog.Logger
	http   *http.Server
	token  atomic.Pointer[[sha256.Size]byte]
	strays strays
}

// slack is what net/http takes of a head beyond its limit.
const slack = 4096

// New makes a service for a server. The token is one that CheckToken has nothing against.
func New(s *server.Server, token string, l Limits, log *slog.Logger) *Service {
	a := &Service{server: s, limits: l, log: log}
	a.SetToken(token)
	a.http = &http.Server{
		Handler:           a,
		ReadHeaderTimeout: l.Timeout,
		ReadTimeout:       l.Timeout,
		WriteTimeout:      l.Timeout,
		MaxHeaderBytes:    l.RequestBytes - slack,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1 only
	}
	a.http.SetKeepAlivesEnabled(false)
	return a
}

// Serve takes connections until Close; then it returns nil.
func (a *Service) Serve(ln net.Listener, tc *tls.Config) error {
	ln = newDoor(ln, a.limits.Connections)
	if tc != nil {
		ln = tls.NewListener(ln, tc)
	}
	if err := a.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close takes no more connections, and waits for requests to be answered until ctx ends. Then it cuts them off.
func (a *Service) Close(ctx context.Context) {
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
}

// Bounds of a token's length.
const (
	TokenBytesMin = 16
	TokenBytesMax = 1024
)

// CheckToken says what is wrong with a token, without showing it.
func CheckToken(token string) error {
	switch n := len(token); {
	case n < TokenBytesMin:
		return fmt.Errorf("a token has %d to %d bytes, but this one has %d", TokenBytesMin, TokenBytesMax, n)
	case n > TokenBytesMax:
		return fmt.Errorf("a token has %d to %d bytes, but this one has more", TokenBytesMin, TokenBytesMax)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("a token is visible ASCII without blanks, on one line, but this one isn't")
	}
	return nil
}

// SetToken replaces the token for requests to come, and says whether it was another one.
func (a *Service) SetToken(token string) (changed bool) {
	sum := sha256.Sum256([]byte(token))
	old := a.token.Swap(&sum)
	return old == nil || *old != sum
}
