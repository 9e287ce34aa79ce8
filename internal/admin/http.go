package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/server"
)

// fault is why a request isn't done.
type fault struct {
	status  int
	code    string
	message string
}

func (f *fault) Error() string { return f.message }

func malformed(format string, args ...any) *fault {
	return &fault{http.StatusBadRequest, "malformed", fmt.Sprintf(format, args...)}
}

var (
	errBrowser = &fault{http.StatusForbidden, "browser", "pages of browsers may not ask here"}
	errToken   = &fault{http.StatusUnauthorized, "denied", "this needs the administrators' token, as the header: Authorization: Bearer TOKEN"}
)

// challenge tells who comes without a token what to show: RFC 6750 section 3.
const challenge = `Bearer realm="locktopus-admin"`

// endpoint is what there is at a path.
type endpoint struct {
	method string
	answer func(*Service, *request) (any, error)
}

// request is one that may be answered.
type request struct {
	*http.Request
	w http.ResponseWriter // for limits of the body only
}

var endpoints = map[string]endpoint{
	"/admin/v1/namespaces": {http.MethodGet, (*Service).namespaces},
	"/admin/v1/sessions":   {http.MethodGet, (*Service).sessions},
	"/admin/v1/locks":      {http.MethodGet, (*Service).locks},
	"/admin/v1/release":    {http.MethodPost, (*Service).release},
	"/admin/v1/end":        {http.MethodPost, (*Service).end},
}

// ServeHTTP answers a request.
func (a *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			go panic(fmt.Sprintf("admin: %v\n%s", p, debug.Stack()))
			select {}
		}
	}()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	answer, err := a.handle(w, r)
	status := http.StatusOK
	if err != nil {
		f := faultOf(err)
		status = f.status
		answer = map[string]string{"error": f.code, "message": f.message}
		if f == errToken {
			h.Set("WWW-Authenticate", challenge)
		}
	}
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		a.log.Debug("an administrator has not got the answer", "remote", r.RemoteAddr, "error", err)
	}
}

// handle does what a request asks for, if it may.
func (a *Service) handle(w http.ResponseWriter, r *http.Request) (any, error) {
	switch {
	case fromPage(r):
		a.stray(r, errBrowser)
		return nil, errBrowser
	case !a.knows(r):
		a.stray(r, errToken)
		return nil, errToken
	}
	e, ok := endpoints[r.URL.Path]
	switch {
	case !ok:
		return nil, &fault{http.StatusNotFound, "unknown", fmt.Sprintf("there is nothing at %q: docs/OPERATING.md says what there is", r.URL.Path)}
	case e.method != r.Method:
		w.Header().Set("Allow", e.method)
		return nil, &fault{http.StatusMethodNotAllowed, "method", fmt.Sprintf("%s needs the method %s", r.URL.Path, e.method)}
	}
	return e.answer(a, &request{r, w})
}

// fromPage says whether a browser makes a request for a page: those say so, and programs don't.
func fromPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return len(r.Header["Origin"]) > 0 || site != "" && site != "none"
}

// knows says whether a request shows the token.
func (a *Service) knows(r *http.Request) bool {
	shown := r.Header["Authorization"]
	if len(shown) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(shown[0], " ")
	sum, want := sha256.Sum256([]byte(token)), a.token.Load()
	return subtle.ConstantTimeCompare(sum[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// faultOf makes a fault of the server's errors.
func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	for _, known := range []struct {
		err    error
		status int
		code   string
	}{
		{server.ErrNoNamespace, http.StatusNotFound, "no_namespace"},
		{server.ErrNoSession, http.StatusNotFound, "no_session"},
		{server.ErrNoLock, http.StatusNotFound, "no_lock"},
		{server.ErrManyMeant, http.StatusConflict, "ambiguous"},
		{server.ErrPlace, http.StatusBadRequest, "malformed"},
		{server.ErrManyExcused, http.StatusConflict, "limit"},
	} {
		if errors.Is(err, known.err) {
			return &fault{known.status, known.code, err.Error()}
		}
	}
	panic("admin: an error without a status: " + err.Error())
}

// strays are those who may not ask. Somebody who tries many tokens mustn't fill the log: a line a second
// counts those before it, too.
type strays struct {
	mu     sync.Mutex // guards what follows
	logged time.Time
	more   int
}

func (a *Service) stray(r *http.Request, why *fault) {
	s := &a.strays
	s.mu.Lock()
	now := time.Now()
	quiet := now.Sub(s.logged) < time.Second
	if quiet {
		s.more++
		s.mu.Unlock()
		return
	}
	more := s.more
	s.logged, s.more = now, 0
	s.mu.Unlock()
	a.log.Warn("administration refused", "remote", r.RemoteAddr, "error", why.message, "not_logged_before", more)
}
