package admin

import (
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/session"
)

// Lengths of a page.
const (
	pageDefault = 100
	pageMax     = 1000
)

// query is a request's parameters, each once.
func (r *request) query(known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, malformed("the URL's query cannot be read: %v", err)
	}
	for name, values := range q {
		if len(values) > 1 {
			return nil, malformed("%q is given twice", name)
		}
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return nil, malformed("%q is unknown here: there are %q", name, known)
		}
	}
	return q, nil
}

// page is how many are asked for.
func page(q url.Values) (int, error) {
	text := q.Get("limit")
	if text == "" {
		return pageDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageMax {
		return 0, malformed("limit must be from 1 to %d, but is %q", pageMax, text)
	}
	return n, nil
}

// namespaceOf is the namespace that is asked about.
func namespaceOf(name string) (string, error) {
	if name == "" {
		return "", malformed("namespace is missing")
	}
	return name, nil
}

type namespaceAnswer struct {
	Name     string `json:"name"`
	Users    int    `json:"users"`
	Sessions int    `json:"sessions"`
	Held     int    `json:"held"`
	Waiting  int    `json:"waiting"`
	Bytes    int64  `json:"bytes"`
	LastID   string `json:"last_id"`
}

func (a *Service) namespaces(r *request) (any, error) {
	q, err := r.query("after", "limit")
	if err != nil {
		return nil, err
	}
	most, err := page(q)
	if err != nil {
		return nil, err
	}
	infos, next := a.server.AdminNamespaces(q.Get("after"), most)
	answer := struct {
		Namespaces []namespaceAnswer `json:"namespaces"`
		Next       string            `json:"next,omitempty"`
	}{[]namespaceAnswer{}, next}
	for _, x := range infos {
		answer.Namespaces = append(answer.Namespaces, namespaceAnswer{
			x.Name, x.Users, x.Sessions, x.Held, x.Waiting, x.Bytes, strconv.FormatUint(x.LastID, 10),
		})
	}
	return answer, nil
}

type sessionAnswer struct {
	Session   string `json:"session"`
	Name      string `json:"name,omitempty"`
	Principal string `json:"principal,omitempty"`
	Remote    string `json:"remote,omitempty"`
	Attached  bool   `json:"attached"`
	TTLMS     int64  `json:"ttl_ms"`
	LeftMS    int64  `json:"left_ms"`
	SinceMS   int64  `json:"since_ms"`
	Held      int    `json:"held"`
	Waiting   int    `json:"waiting"`
}

func sessionOf(x *session.Info) sessionAnswer {
	s := sessionAnswer{
		Session: x.ID, Name: x.Name, Principal: x.Principal, Attached: x.Attached,
		TTLMS: x.TTL, LeftMS: x.Left, SinceMS: x.Age, Held: x.Held, Waiting: x.Waiting,
	}
	if x.Remote.IsValid() {
		s.Remote = x.Remote.String()
	}
	return s
}

func (a *Service) sessions(r *request) (any, error) {
	name, q, most, err := r.listOf("namespace", "after", "limit")
	if err != nil {
		return nil, err
	}
	infos, next, err := a.server.AdminSessions(name, q.Get("after"), most)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Sessions []sessionAnswer `json:"sessions"`
		Next     string          `json:"next,omitempty"`
	}{[]sessionAnswer{}, next}
	for i := range infos {
		answer.Sessions = append(answer.Sessions, sessionOf(&infos[i]))
	}
	return answer, nil
}

// listOf reads what all lists of a namespace are asked for with.
func (r *request) listOf(known ...string) (name string, q url.Values, most int, err error) {
	if q, err = r.query(known...); err != nil {
		return "", nil, 0, err
	}
	if most, err = page(q); err != nil {
		return "", nil, 0, err
	}
	name, err = namespaceOf(q.Get("namespace"))
	return name, q, most, err
}

type resourceAnswer struct {
	Type   string   `json:"type"`
	Path   []string `json:"path"`
	Limit  uint32   `json:"limit,omitempty"`
	Weight uint32   `json:"weight,omitempty"`
}

func resourceOf(r *engine.Resource) resourceAnswer {
	x := resourceAnswer{Type: r.Mode.String(), Path: make([]string, len(r.Path))}
	for i, seg := range r.Path {
		x.Path[i] = string(seg)
	}
	if r.Mode == engine.Permit {
		x.Limit, x.Weight = r.Limit, r.Weight
	}
	return x
}

type lockAnswer struct {
	Session   string           `json:"session"`
	Name      string           `json:"name,omitempty"`
	Principal string           `json:"principal,omitempty"`
	Lock      uint64           `json:"lock"`
	Conn      string           `json:"conn,omitempty"`
	Token     string           `json:"token,omitempty"`
	State     string           `json:"state"`
	Resources []resourceAnswer `json:"resources"`
	Note      string           `json:"note,omitempty"`
	SinceMS   *int64           `json:"since_ms,omitempty"`
	LeaseMS   int64            `json:"lease_ms,omitempty"`
	WaitsFor  []obstacleAnswer `json:"waits_for,omitempty"`
	More      bool             `json:"waits_for_more,omitempty"`
}

type obstacleAnswer struct {
	Session string `json:"session"`
	Name    string `json:"name,omitempty"`
	Lock    uint64 `json:"lock"`
	State   string `json:"state"`
	Note    string `json:"note,omitempty"`
	SinceMS *int64 `json:"since_ms,omitempty"`
	resourceAnswer
	Wants resourceAnswer `json:"wants"`
}

func decimal(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// known is a time that isn't known below zero.
func known(ms int64) *int64 {
	if ms < 0 {
		return nil
	}
	return &ms
}

func lockOf(l *server.LockInfo) lockAnswer {
	x := lockAnswer{
		Session: l.Session, Name: l.Name, Principal: l.Principal, Lock: l.Lock,
		Conn: decimal(l.Conn), Token: decimal(l.Token), State: l.State, Resources: []resourceAnswer{}, Note: l.Note,
		SinceMS: known(l.Since), LeaseMS: l.LeaseMS, More: l.More,
	}
	for i := range l.Resources {
		x.Resources = append(x.Resources, resourceOf(&l.Resources[i]))
	}
	for i := range l.WaitsFor {
		o := &l.WaitsFor[i]
		x.WaitsFor = append(x.WaitsFor, obstacleAnswer{
			Session: o.Session, Name: o.Name, Lock: o.Lock, State: o.State, Note: o.Note,
			SinceMS: known(o.Since), resourceAnswer: resourceOf(&o.Has), Wants: resourceOf(&o.Wants),
		})
	}
	return x
}

func (a *Service) locks(r *request) (any, error) {
	name, q, most, err := r.listOf("namespace", "path", "after", "limit")
	if err != nil {
		return nil, err
	}
	path, err := pathOf(q.Get("path"))
	if err != nil {
		return nil, err
	}
	infos, next, err := a.server.AdminLocks(name, path, q.Get("after"), most)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Locks []lockAnswer `json:"locks"`
		Next  string       `json:"next,omitempty"`
	}{[]lockAnswer{}, next}
	for i := range infos {
		answer.Locks = append(answer.Locks, lockOf(&infos[i]))
	}
	return answer, nil
}

// pathOf reads a path, which is written as in the protocol. "" is the whole namespace.
func pathOf(text string) ([][]byte, error) {
	if text == "" {
		return nil, nil
	}
	var segments []string
	if err := json.Unmarshal([]byte(text), &segments); err != nil {
		return nil, malformed(`path must be an array of strings, such as ["user","bob"], but is %q`, text)
	}
	path := make([][]byte, len(segments))
	for i, s := range segments {
		path[i] = []byte(s)
	}
	return path, nil
}
