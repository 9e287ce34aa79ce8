package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// A sentence is something a person can act on: letters, not a code or an empty line.
var sentence = regexp.MustCompile(`^[^\n]{15,}\n?$`)

func TestPages(t *testing.T) {
	srv := start(t, setup{})
	status, body := srv.get("/")
	require.Equal(t, http.StatusOK, status)
	require.Regexp(t, `^Locktopus \S+`, body)
	for _, word := range []string{"/v1", "/stats", "/healthz", "namespace"} {
		require.Contains(t, body, word)
	}
	require.Zero(t, srv.status("namespaces"))
	status, body = srv.get("/healthz")
	require.Equal(t, http.StatusOK, status, body)
	status, _ = srv.get("/no/such/page")
	require.Equal(t, http.StatusNotFound, status)
}

func TestStatistics(t *testing.T) {
	srv := start(t, setup{})
	for _, page := range []string{"/stats", "/stats_v1"} {
		status, body := srv.get(page)
		require.Equal(t, http.StatusBadRequest, status)
		require.Regexp(t, sentence, body)
		require.Contains(t, body, "namespace")
		status, body = srv.get(page + "?namespace=nobody")
		require.Equal(t, http.StatusNotFound, status)
		require.Regexp(t, sentence, body)
	}
	to := srv.target(t.Name())
	holder, waiter := connect(t, dialRaw, to), connect(t, dialRaw, to)
	id := holder.mustAcquire(write("a", "b"), read("c"))
	waiting := waiter.mustEnqueue(write("a"))
	require.Equal(t, 1, srv.status("namespaces"))
	require.Equal(t, 2, srv.status("connections"))
	st := srv.stats(t.Name())
	require.Equal(t, statistics{
		LastGroupID: waiting, GroupsPending: 1, GroupsAcquired: 1, Locks: 3, LockrefCount: 7, PathCount: 4, Users: 2, Bytes: st.Bytes,
	}, st)
	require.Positive(t, st.Bytes)
	holder.release(id)
	waiter.mustBeGranted(waiting)
	waiter.release(waiting)
	st = srv.stats(t.Name())
	require.Zero(t, st.GroupsAcquired+st.GroupsPending+st.Locks+st.LockrefCount)
	status, body := srv.get("/stats_v1?namespace=" + t.Name())
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, fmt.Sprintf(`"LastGroupID":%d`, waiting))
}

// Wrong parameters are answered before any upgrade, to clients and to browsers' address bars alike.
func TestWrongParametersAreAnsweredWithASentence(t *testing.T) {
	srv := start(t, setup{config: "[limits]\nnamespace_name_bytes = 16\n"})
	queries := []string{
		"", "?", "?namespace=", "?abandon-timeout-ms=1", "?namespace=12345678901234567", "?namespace=%ff", "?namespace=a%00",
		"?namespace=a&abandon-timeout-ms=", "?namespace=a&abandon-timeout-ms=-1", "?namespace=a&abandon-timeout-ms=1.5",
		"?namespace=a&abandon-timeout-ms=1s", "?namespace=a&abandon-timeout-ms=99999999999999999999999",
		"?namespace=a&abandon-timeout-ms=9223372036854775807",
	}
	for _, query := range queries {
		t.Run(query, func(t *testing.T) {
			for name, dial := range dialers {
				_, resp, err := dial(target{addr: srv.addr, query: query})
				require.Error(t, err, name)
				require.NotNil(t, resp, "%s: %v", name, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, http.StatusBadRequest, resp.StatusCode, name)
				require.Regexp(t, sentence, string(body), name)
			}
			status, body := srv.get("/v1" + query)
			require.Equal(t, http.StatusBadRequest, status)
			require.Regexp(t, sentence, body)
		})
	}
	require.Zero(t, srv.status("namespaces"))
}

func TestUpgradeElsewhereIsRefused(t *testing.T) {
	srv := start(t, setup{})
	for _, path := range []string{"/", "/v9", "/stats", "/v1/"} {
		resp := ask(t, http.MethodGet, "http://"+srv.addr+path+"?namespace=a", http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		})
		require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
	}
	status, body := srv.get("/v1?namespace=a") // no upgrade at all
	require.Equal(t, http.StatusUpgradeRequired, status)
	require.Regexp(t, sentence, body)
}

func ask(t testing.TB, method, url string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	req.Header = header
	resp, err := httpClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	return resp
}

// preflight asks as a browser does before it lets a page talk to us.
func preflight(t testing.TB, srv *server, path, origin string) *http.Response {
	t.Helper()
	return ask(t, http.MethodOptions, "http://"+srv.addr+path, http.Header{
		"Origin": {origin}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"x-test"},
	})
}

func TestAnyOriginIsAllowedByDefault(t *testing.T) {
	srv := start(t, setup{})
	for _, path := range []string{"/", "/v1?namespace=a", "/stats?namespace=a", "/stats_v1?namespace=a"} {
		resp := preflight(t, srv, path, "https://page.example")
		require.Less(t, resp.StatusCode, 300, path)
		require.Contains(t, []string{"*", "https://page.example"}, resp.Header.Get("Access-Control-Allow-Origin"), path)
		require.Contains(t, resp.Header.Get("Access-Control-Allow-Methods"), "GET", path)
		require.Contains(t, resp.Header.Get("Access-Control-Allow-Headers"), "x-test", path)
	}
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name())
		to.origin = "https://page.example"
		c := connect(t, dial, to)
		c.release(c.mustAcquire(write()))
	})
}

func TestAListOfOriginsKeepsOthersOut(t *testing.T) {
	srv := start(t, setup{config: "[server]\nallowed_origins = [\"https://good.example\", \"http://127.0.0.1:8080\"]\n"})
	for origin, allowed := range map[string]bool{
		"https://good.example": true, "HTTPS://GOOD.example": true, "http://127.0.0.1:8080": true,
		"http://good.example": false, "https://good.example:8443": false, "https://bad.example": false,
		"https://good.example.bad.example": false, "https://sub.good.example": false, "null": false, "http://127.0.0.1": false,
	} {
		t.Run(origin, func(t *testing.T) {
			resp := preflight(t, srv, "/v1?namespace=a", origin)
			require.Equal(t, allowed, resp.Header.Get("Access-Control-Allow-Origin") != "")
			for name, dial := range dialers {
				to := srv.target("a")
				to.origin = origin
				c, resp, err := dial(to)
				if allowed {
					require.NoError(t, err, name)
					c.Drop()
					continue
				}
				require.Error(t, err, name)
				require.NotNil(t, resp, "%s: %v", name, err)
				require.Equal(t, http.StatusForbidden, resp.StatusCode, name)
			}
		})
	}
	c := connect(t, dialRaw, srv.target("a")) // programs send no origin
	c.release(c.mustAcquire(write()))
}
