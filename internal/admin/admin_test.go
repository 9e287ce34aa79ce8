package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// patience is for what ought to happen at once; it is only used up when a test fails.
const patience = 30 * time.Second

const token = "correct-horse-battery"

var testLimits = Limits{Connections: 4, RequestBytes: 8192, Timeout: patience, ReasonBytes: 20}

// world is a server and its administration.
type world struct {
	t       *testing.T
	server  string // HOST:PORT
	admin   string
	service *Service
	log     *logged
}

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func listenAny(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return ln
}

func newWorld(t *testing.T, l Limits) *world {
	w := &world{t: t, log: &logged{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	ln, adminLn := listenAny(t), listenAny(t)
	w.server, w.admin = ln.Addr().String(), adminLn.Addr().String()
	o := testserver.Options(ln)
	o.Log, o.Settings.DefaultAbandon = log, 0
	s, err := server.New(o)
	require.NoError(t, err)
	w.service = New(s, token, l, log)
	done := make(chan error, 1)
	go func() { done <- w.service.Serve(adminLn, nil) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		w.service.Close(ctx)
		require.NoError(t, <-done)
		require.NotContains(t, w.log.String(), token)
	})
	return w
}

func (w *world) dial(name string) *client.Client {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "ws://"+w.server+"/v2?namespace=n", &client.Options{Name: name, TTL: time.Minute})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) lock(c *client.Client, items ...client.Item) *client.Lock {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := c.Lock(ctx, items...)
	require.NoError(w.t, err)
	return l
}

// ask sends a request; change may make it another one.
func (w *world) ask(method, path, body string, change ...func(*http.Request)) (status int, answer map[string]any) {
	w.t.Helper()
	r, err := http.NewRequest(method, "http://"+w.admin+path, strings.NewReader(body))
	require.NoError(w.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	for _, c := range change {
		c(r)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(r)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	require.Equal(w.t, "application/json", resp.Header.Get("Content-Type"))
	require.NoError(w.t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(w.t, resp.StatusCode == http.StatusUnauthorized, resp.Header.Get("WWW-Authenticate") != "")
	return resp.StatusCode, answer
}

// list is a page of a list.
func (w *world) list(what string, pairs ...string) []any {
	w.t.Helper()
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	status, answer := w.ask("GET", "/admin/v1/"+what+"?"+q.Encode(), "")
	require.Equal(w.t, 200, status, answer)
	return answer[what].([]any)
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestOnlyWhoShowsTheTokenIsAnswered(t *testing.T) {
	w := newWorld(t, testLimits)
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"the token", header("Authorization", "bearer "+token), 200},
		{"none", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"another", header("Authorization", "Bearer "+token+"x"), 401},
		{"a beginning", header("Authorization", "Bearer "+token[:10]), 401},
		{"nothing", header("Authorization", "Bearer "), 401},
		{"another scheme", header("Authorization", "Basic "+token), 401},
		{"two", func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+token) }, 401},
		{"a page's", header("Origin", "http://127.0.0.1"), 403},
		{"a page's of this origin", header("Sec-Fetch-Site", "same-origin"), 403},
		{"the address bar's", header("Sec-Fetch-Site", "none"), 200},
		{"asking first", func(r *http.Request) {
			r.Method = "OPTIONS"
			r.Header.Set("Origin", "http://x")
			r.Header.Del("Authorization")
		}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer := w.ask("GET", "/admin/v1/namespaces", "", c.change)
			require.Equal(t, c.status, status)
			require.Equal(t, c.status != 200, answer["message"] != nil)
		})
	}
	require.Contains(t, w.log.String(), "administration refused")
	require.Less(t, strings.Count(w.log.String(), "administration refused"), 8, "one a second")

	require.False(t, w.service.SetToken(token))
	require.True(t, w.service.SetToken("another-token-altogether"))
	status, _ := w.ask("GET", "/admin/v1/namespaces", "")
	require.Equal(t, 401, status)
	status, _ = w.ask("GET", "/admin/v1/namespaces", "", header("Authorization", "Bearer another-token-altogether"))
	require.Equal(t, 200, status)
}

func TestTokensHaveALengthAndAForm(t *testing.T) {
	for text, good := range map[string]bool{
		strings.Repeat("x", 15): false, strings.Repeat("x", 16): true, strings.Repeat("x", 1024): true, strings.Repeat("x", 1025): false,
		"": false, "sixteen or more!": false, "sixteen\nor-more!": false, "sixteen-or-moreä": false, "!sixteen~or-more": true,
	} {
		err := CheckToken(text)
		require.Equal(t, good, err == nil, "%q: %v", text, err)
		if err != nil && text != "" {
			require.NotContains(t, err.Error(), text)
		}
	}
}

func TestListsShowWhoHoldsAndWhoWaitsForWhom(t *testing.T) {
	w := newWorld(t, testLimits)
	a, b := w.dial("alice"), w.dial("bob")
	l := w.lock(a, client.Write("x", "y"), client.Permit(3, "pool"), client.Note("deploy"))
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error, 1)
	go func() {
		_, err := b.Lock(ctx, client.Read("x"))
		waited <- err
	}()
	defer func() {
		cancel()
		require.Error(t, <-waited)
	}()
	var locks []any
	require.Eventually(t, func() bool {
		locks = w.list("locks", "namespace", "n", "path", `["x"]`)
		return len(locks) == 2
	}, patience, time.Millisecond)
	waiter, holder := locks[1].(map[string]any), locks[0].(map[string]any)
	if holder["state"] != "acquired" {
		waiter, holder = holder, waiter
	}
	require.Equal(t, []any{"alice", "deploy", float64(l.ID()), fmt.Sprint(l.Token())}, []any{holder["name"], holder["note"], holder["lock"], holder["token"]})
	require.Equal(t, []any{map[string]any{"type": "write", "path": []any{"x", "y"}}}, holder["resources"])
	require.Nil(t, holder["waits_for"])
	require.Equal(t, []any{"bob", "enqueued", nil}, []any{waiter["name"], waiter["state"], waiter["token"]})
	first := waiter["waits_for"].([]any)[0].(map[string]any)
	require.Equal(t, []any{holder["session"], holder["lock"], "alice", "write", []any{"x", "y"}}, []any{first["session"], first["lock"], first["name"], first["type"], first["path"]})
	require.Equal(t, map[string]any{"type": "read", "path": []any{"x"}}, first["wants"])

	all := w.list("locks", "namespace", "n")
	require.Len(t, all, 2)
	require.Len(t, w.list("locks", "namespace", "n", "path", `["pool"]`), 1)
	require.Empty(t, w.list("locks", "namespace", "n", "path", `["y"]`))
	sessions := w.list("sessions", "namespace", "n")
	require.Len(t, sessions, 2)
	s := sessions[0].(map[string]any)
	require.Equal(t, []any{"alice", true, 60000.0, 1.0, 0.0}, []any{s["name"], s["attached"], s["ttl_ms"], s["held"], s["waiting"]})
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, s["remote"])
	namespaces := w.list("namespaces")
	require.Len(t, namespaces, 1)
	n := namespaces[0].(map[string]any)
	require.Equal(t, []any{"n", 2.0, 1.0, 1.0}, []any{n["name"], n["sessions"], n["held"], n["waiting"]})
}

func TestListsComeInPages(t *testing.T) {
	w := newWorld(t, testLimits)
	c := w.dial("alice")
	for i := range 7 {
		w.lock(c, client.Write(fmt.Sprint(i)))
		w.dial("other")
	}
	for what, want := range map[string]int{"locks": 7, "sessions": 8, "namespaces": 1} {
		seen, next, more := 0, "", true
		for more {
			q := url.Values{"limit": {"3"}, "after": {next}}
			if what != "namespaces" {
				q.Set("namespace", "n")
			}
			status, answer := w.ask("GET", "/admin/v1/"+what+"?"+q.Encode(), "")
			require.Equal(t, 200, status, answer)
			require.LessOrEqual(t, len(answer[what].([]any)), 3)
			seen += len(answer[what].([]any))
			next, more = answer["next"].(string)
		}
		require.Equal(t, want, seen, what)
	}
}

func TestAReleasedLockIsToldWhyAndGoesToTheNext(t *testing.T) {
	w := newWorld(t, testLimits)
	a, b := w.dial("alice"), w.dial("bob")
	l := w.lock(a, client.Write("x"))
	held := w.list("locks", "namespace", "n")[0].(map[string]any)
	status, answer := w.ask("POST", "/admin/v1/release", fmt.Sprintf(`{"namespace":"n","session":%q,"lock":%d,"reason":"on fire"}`, held["session"].(string)[:8], l.ID()))
	require.Equal(t, 200, status, answer)
	require.Equal(t, held["session"], answer["session"])
	<-l.Context().Done()
	require.Equal(t, &client.LostError{State: "revoked", Message: "on fire"}, context.Cause(l.Context()))
	w.lock(b, client.Write("x"))
	require.Equal(t, []string{fmt.Sprintf(`reason="on fire" session=%s lock=%d state=acquired token=%d`, held["session"], l.ID(), l.Token())}, w.released())
	status, answer = w.ask("POST", "/admin/v1/release", fmt.Sprintf(`{"namespace":"n","session":%q,"lock":%d,"reason":"on fire"}`, held["session"], l.ID()))
	require.Equal(t, []any{404, "no_lock"}, []any{status, answer["error"]})
}

// released is what the log has of locks that were released.
func (w *world) released() (lines []string) {
	for _, m := range regexp.MustCompile(`msg="administrator: lock released" remote=127\.0\.0\.1:\d+ namespace=n (.*)`).FindAllStringSubmatch(w.log.String(), -1) {
		lines = append(lines, m[1])
	}
	return lines
}

func TestTheLogOfALockThatWaitedHasNoToken(t *testing.T) {
	w := newWorld(t, testLimits)
	a, b := w.dial("alice"), w.dial("bob")
	w.lock(a, client.Write("x"))
	waited := make(chan error, 1)
	go func() {
		_, err := b.Lock(t.Context(), client.Write("x"))
		waited <- err
	}()
	var waiter map[string]any
	require.Eventually(t, func() bool {
		for _, l := range w.list("locks", "namespace", "n") {
			if l := l.(map[string]any); l["state"] == "enqueued" {
				waiter = l
			}
		}
		return waiter != nil
	}, patience, time.Millisecond)
	status, answer := w.ask("POST", "/admin/v1/release", fmt.Sprintf(`{"namespace":"n","session":%q,"lock":1,"reason":"later"}`, waiter["session"]))
	require.Equal(t, 200, status, answer)
	require.Error(t, <-waited)
	require.Equal(t, []string{fmt.Sprintf(`reason=later session=%s lock=1 state=enqueued`, waiter["session"])}, w.released())
}

func TestALockOfVersion1IsReleased(t *testing.T) {
	w := newWorld(t, testLimits)
	c, _, err := websocket.DefaultDialer.Dial("ws://"+w.server+"/v1?namespace=n", nil)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(`{"action":"lock","resources":[{"type":"write","path":["x"]}]}`)))
	_, _, err = c.ReadMessage()
	require.NoError(t, err)
	held := w.list("locks", "namespace", "n")[0].(map[string]any)
	require.Equal(t, []any{"v1", 1.0, "1", "acquired", nil}, []any{held["session"], held["lock"], held["token"], held["state"], held["since_ms"]})
	status, answer := w.ask("POST", "/admin/v1/release", `{"namespace":"n","session":"v1","lock":1,"reason":"on fire"}`)
	require.Equal(t, 200, status, answer)
	_, text, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "communication error: an administrator has released this connection's lock: on fire", string(text))
	require.Len(t, w.released(), 1)
	require.Regexp(t, `^reason="on fire" session=v1 lock=1 state=acquired conn=[1-9]\d* token=1$`, w.released()[0])
	_, _, err = c.ReadMessage()
	require.True(t, websocket.IsCloseError(err, 3000), err)
	w.lock(w.dial("bob"), client.Write("x"))
}

func TestAnEndedSessionIsToldWhy(t *testing.T) {
	w := newWorld(t, testLimits)
	a := w.dial("alice")
	l := w.lock(a, client.Write("x"))
	s := w.list("sessions", "namespace", "n")[0].(map[string]any)
	body := fmt.Sprintf(`{"namespace":"n","session":%q,"reason":"go home"}`, s["session"])
	status, answer := w.ask("POST", "/admin/v1/end", body)
	require.Equal(t, 200, status, answer)
	require.Equal(t, []any{s["session"], 1.0}, []any{answer["session"], answer["held"]})
	<-l.Context().Done()
	require.Equal(t, &client.LostError{State: "revoked", Message: "go home"}, context.Cause(l.Context()))
	status, answer = w.ask("POST", "/admin/v1/end", body)
	require.Contains(t, []any{"no_session", "no_namespace"}, answer["error"])
	require.Equal(t, 404, status)
	require.Contains(t, w.log.String(), `msg="administrator: session ended"`)
}

func TestWhatIsAskedWronglyIsRefusedWithASentence(t *testing.T) {
	w := newWorld(t, testLimits)
	w.lock(w.dial("alice"), client.Write("x"))
	const good = `"namespace":"n","reason":"why"`
	const nobody = `{"namespace":"n","session":"nobody","lock":1`
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/", "", 404, `there is nothing at "/"`},
		{"GET", "/admin/v1/release", "", 405, "needs the method POST"},
		{"POST", "/admin/v1/locks", "", 405, "needs the method GET"},
		{"GET", "/admin/v1/locks", "", 400, "namespace is missing"},
		{"GET", "/admin/v1/locks?namespace=none", "", 404, "nobody uses"},
		{"GET", "/admin/v1/locks?namespace=n&namespace=m", "", 400, `"namespace" is given twice`},
		{"GET", "/admin/v1/locks?namespace=n&pth=x", "", 400, `"pth" is unknown here: there are ["namespace" "path" "after" "limit"]`},
		{"GET", "/admin/v1/locks?namespace=n&path=x", "", 400, `path must be an array of strings, such as ["user","bob"], but is "x"`},
		{"GET", "/admin/v1/locks?namespace=n&after=x", "", 400, "give back what next said"},
		{"GET", "/admin/v1/sessions?namespace=n&after=x", "", 400, "give back what next said"},
		{"GET", "/admin/v1/locks?namespace=n&limit=0", "", 400, "limit must be from 1 to 1000"},
		{"GET", "/admin/v1/locks?namespace=n&limit=1", "", 200, ""},
		{"GET", "/admin/v1/locks?namespace=n&limit=1000", "", 200, ""},
		{"GET", "/admin/v1/locks?namespace=n&limit=1001", "", 400, "limit must be from 1 to 1000"},
		{"GET", "/admin/v1/locks?%zz", "", 400, "the URL's query cannot be read"},
		{"POST", "/admin/v1/release", "", 400, "the body must be a JSON object"},
		{"POST", "/admin/v1/release", "[]", 400, "the body must be a JSON object"},
		{"POST", "/admin/v1/release", `{} {}`, 400, "something follows it"},
		{"POST", "/admin/v1/release", `{"sesion":"x"}`, 400, `unknown field "sesion"`},
		{"POST", "/admin/v1/release", `{"reason":"why"}`, 400, "namespace is missing"},
		{"POST", "/admin/v1/release", nobody + `}`, 400, "reason is missing"},
		{"POST", "/admin/v1/release", nobody + `,"reason":" "}`, 400, "reason is missing"},
		{"POST", "/admin/v1/release", nobody + `,"reason":"a\nb"}`, 400, "one line of visible text"},
		{"POST", "/admin/v1/release", nobody + `,"reason":"a\u202eb"}`, 400, "one line of visible text"},
		{"POST", "/admin/v1/release", nobody + `,"reason":"` + strings.Repeat("x", 21) + `"}`, 400, "reason has 21 bytes, at most 20 are allowed (admin.reason_bytes)"},
		{"POST", "/admin/v1/release", nobody + `,"reason":"` + strings.Repeat("x", 20) + `"}`, 404, "there is no such session"},
		{"POST", "/admin/v1/release", `{` + good + `,"session":"s"}`, 400, "lock is missing"},
		{"POST", "/admin/v1/release", `{` + good + `,"lock":1}`, 400, "session is missing"},
		{"POST", "/admin/v1/release", `{` + good + `,"session":"v1","lock":7}`, 404, "there is no such lock"},
		{"POST", "/admin/v1/release", `{` + good + `,"session":"s","lock":-1}`, 400, "the body must be a JSON object"},
		{"POST", "/admin/v1/end", `{` + good + `}`, 400, "session is missing"},
		{"POST", "/admin/v1/end", `{` + good + `,"session":"s","lock":1}`, 400, "lock has no meaning here"},
		{"POST", "/admin/v1/end", `{` + good + `,"session":"v1"}`, 404, "there is no such session"},
		{"POST", "/admin/v1/end", `{` + good + `,"session":"nobody"}`, 404, "there is no such session"},
		{"POST", "/admin/v1/end?namespace=n", `{}`, 400, `"namespace" is unknown here`},
	} {
		status, answer := w.ask(c.method, c.path, c.body)
		require.Equal(t, c.status, status, "%s %s %s: %v", c.method, c.path, c.body, answer)
		if c.want != "" {
			require.Contains(t, answer["message"], c.want)
			require.NotEmpty(t, answer["error"])
		}
	}
}

// raw sends bytes and returns the status of the answer.
func (w *world) raw(text string) int {
	c, err := net.Dial("tcp", w.admin)
	require.NoError(w.t, err)
	defer c.Close()
	require.NoError(w.t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, text)
	require.NoError(w.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(w.t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func TestRequestsAreBounded(t *testing.T) {
	w := newWorld(t, testLimits)
	head := func(method, path, more string, bytes int) string {
		text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%sX-Fill: ", method, path, token, more)
		return text + strings.Repeat("x", max(0, bytes-len(text)-4)) + "\r\n\r\n"
	}
	require.Equal(t, 200, w.raw(head("GET", "/admin/v1/namespaces", "", 8192)))
	require.Equal(t, 431, w.raw(head("GET", "/admin/v1/namespaces", "", 8193)))
	for bytes, want := range map[int]int{8192: 404, 8193: 413} {
		body := `{"namespace":"nobody","session":"x","lock":1,"reason":"why"}`
		body += strings.Repeat(" ", bytes-len(body))
		require.Equal(t, want, w.raw(head("POST", "/admin/v1/release", fmt.Sprintf("Content-Length: %d\r\n", bytes), 0)+body))
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, testLimits)
	var idle []net.Conn
	for range testLimits.Connections {
		c, err := net.Dial("tcp", w.admin)
		require.NoError(t, err)
		defer c.Close()
		idle = append(idle, c)
	}
	// One more isn't answered before another one has gone.
	c, err := net.Dial("tcp", w.admin)
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout")
	idle[0].Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)
}

func TestSlowRequestsAreCutOff(t *testing.T) {
	l := testLimits
	l.Timeout = 100 * time.Millisecond
	w := newWorld(t, l)
	for _, begun := range []string{"", "GET / HTTP/1.1\r\nHost:", fmt.Sprintf("POST /admin/v1/end HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", token)} {
		c, err := net.Dial("tcp", w.admin)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(c, begun)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, c)
		require.NoError(t, err, "it is closed from the other side")
		c.Close()
	}
}
