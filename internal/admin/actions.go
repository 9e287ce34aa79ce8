package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
)

// action is the body of a request to take something.
type action struct {
	Namespace string `json:"namespace"`
	Session   string `json:"session"`
	Lock      uint64 `json:"lock"`
	Reason    string `json:"reason"`
}

// action reads the body. What is no member of it is a fault: nobody may think that it counts.
func (a *Service) action(r *request) (x action, err error) {
	if _, err := r.query(); err != nil {
		return x, err
	}
	dec := json.NewDecoder(http.MaxBytesReader(r.w, r.Body, int64(a.limits.RequestBytes)))
	dec.DisallowUnknownFields()
	err = dec.Decode(&x)
	if err == nil {
		if _, err = dec.Token(); err == nil {
			err = errors.New("something follows it")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return x, &fault{http.StatusRequestEntityTooLarge, "limit", "the body has more than " +
			strconv.Itoa(a.limits.RequestBytes) + " bytes (admin.request_bytes)"}
	}
	if err != nil {
		return x, malformed("the body must be a JSON object: %v", err)
	}
	if _, err := namespaceOf(x.Namespace); err != nil {
		return x, err
	}
	if x.Session == "" {
		return x, malformed("session is missing")
	}
	return x, a.checkReason(x.Reason)
}

// checkReason: whoever loses something is told why, in one line.
func (a *Service) checkReason(why string) error {
	switch {
	case strings.TrimSpace(why) == "":
		return malformed("reason is missing: the client is told why")
	case len(why) > a.limits.ReasonBytes:
		return malformed("reason has %d bytes, at most %d are allowed (admin.reason_bytes)", len(why), a.limits.ReasonBytes)
	case strings.ContainsFunc(why, func(r rune) bool { return !unicode.IsPrint(r) }):
		return malformed("reason must be one line of visible text")
	}
	return nil
}

// release takes a lock from its holder, or out of the queue.
func (a *Service) release(r *request) (any, error) {
	x, err := a.action(r)
	if err != nil {
		return nil, err
	}
	if x.Lock == 0 {
		return nil, malformed("lock is missing: a session's lock is named by both of them")
	}
	log := a.log.With("remote", r.RemoteAddr, "namespace", x.Namespace, "reason", x.Reason)
	l, err := a.server.AdminRelease(x.Namespace, x.Session, x.Lock, x.Reason)
	if err != nil {
		log.Info("administrator: no lock released", "session", x.Session, "lock", x.Lock, "error", err)
		return nil, err
	}
	log = log.With("session", l.Session, "lock", l.Lock, "state", l.State)
	if l.Conn != 0 { // of version 1
		log = log.With("conn", l.Conn)
	}
	if l.Token != 0 { // a lock that waits has none
		log = log.With("token", l.Token)
	}
	log.Info("administrator: lock released")
	return lockOf(&l), nil
}

// end ends a session, and all its locks.
func (a *Service) end(r *request) (any, error) {
	x, err := a.action(r)
	if err != nil {
		return nil, err
	}
	if x.Lock != 0 {
		return nil, malformed("lock has no meaning here: all of a session's locks end with it")
	}
	log := a.log.With("remote", r.RemoteAddr, "namespace", x.Namespace, "reason", x.Reason)
	s, err := a.server.AdminEnd(x.Namespace, x.Session, x.Reason)
	if err != nil {
		log.Info("administrator: no session ended", "session", x.Session, "error", err)
		return nil, err
	}
	log.Info("administrator: session ended", "session", s.ID, "name", s.Name, "principal", s.Principal, "held", s.Held, "waiting", s.Waiting)
	return sessionOf(&s), nil
}
