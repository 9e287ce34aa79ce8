package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const adminToken = "a-token-for-administrators"

// administered is a server with a listener for administrators.
var administered = setup{config: "[admin]\nlisten = \"127.0.0.1:0\"\n", env: []string{"LOCKTOPUS_ADMIN_TOKEN=" + adminToken}}

// adminURL is where that is.
func (s *server) adminURL() string {
	at := regexp.MustCompile(`admin_address=(\S+)`).FindStringSubmatch(s.log.String())
	require.NotNil(s.t, at)
	return "http://" + at[1]
}

// lineOfAdministrator is a line of the protocol's examples.
var lineOfAdministrator = regexp.MustCompile(`^an administrator (?:ends ([A-Z]\d?)'s session|releases ([A-Z]\d?)'s lock (\d+)): (.+)$`)

// administer plays such a line.
func (p *play) administer(m []string) {
	ask := func(method, path, body string, answer any) {
		r, err := http.NewRequest(method, p.srv.adminURL()+path, strings.NewReader(body))
		p.must(err == nil, "%v", err)
		r.Header.Set("Authorization", "Bearer "+adminToken)
		resp, err := httpClient.Do(r)
		p.must(err == nil, "%v", err)
		defer resp.Body.Close()
		p.must(resp.StatusCode == http.StatusOK, "it is refused with %s", resp.Status)
		p.must(json.NewDecoder(resp.Body).Decode(answer) == nil, "the answer is no JSON")
	}
	var list struct {
		Sessions []struct{ Name, Session string }
	}
	ask("GET", "/admin/v1/sessions?namespace=examples", "", &list)
	for _, x := range list.Sessions {
		switch {
		case x.Name == m[1]:
			ask("POST", "/admin/v1/end", fmt.Sprintf(`{"namespace":"examples","session":%q,"reason":%q}`, x.Session, m[4]), &list)
			return
		case x.Name == m[2]:
			ask("POST", "/admin/v1/release", fmt.Sprintf(`{"namespace":"examples","session":%q,"lock":%s,"reason":%q}`, x.Session, m[3], m[4]), &list)
			return
		}
	}
	p.must(false, "there is no such session")
}

// heard reads messages of version 2 up to one that matches, which it returns.
func heard(t *testing.T, c client, want string) string {
	t.Helper()
	for {
		text, err := c.Recv()
		require.NoError(t, err, "before %s", want)
		if regexp.MustCompile(want).MatchString(text) {
			return text
		}
	}
}

// greet begins a session of version 2.
func greet(t *testing.T, s *server, namespace, name string) (c talk, id string) {
	t.Helper()
	to := s.target(namespace)
	to.version = 2
	c = connect(t, dialGorilla, to)
	c.send(fmt.Sprintf(`{"op":"hello","name":%q}`, name))
	var w struct{ Session string }
	require.NoError(t, json.Unmarshal([]byte(heard(t, c, `"op":"welcome"`)), &w))
	return c, w.Session
}

// TestAdministratorsTakeLocksAndSessionsFromClients, with the program's own command.
func TestAdministratorsTakeLocksAndSessionsFromClients(t *testing.T) {
	s := start(t, administered)
	run := func(code int, args ...string) string {
		t.Helper()
		cmd := command(args...)
		cmd.Env = append(cmd.Env, "LOCKTOPUS_ADMIN_URL="+s.adminURL(), "LOCKTOPUS_ADMIN_TOKEN="+adminToken, "LOCKTOPUS_URL=ws://"+s.addr+"/v2?namespace=n")
		out, err := cmd.CombinedOutput()
		if ee, ok := errors.AsType[*exec.ExitError](err); ok {
			require.Equal(t, code, ee.ExitCode(), "%s", out)
		} else {
			require.NoError(t, err)
			require.Zero(t, code, "%s", out)
		}
		return string(out)
	}
	old := connect(t, dialGorilla, s.target("n"))
	id := old.mustAcquire(write("user"))
	alice, _ := greet(t, s, "n", "alice")
	bob, bobs := greet(t, s, "n", "bob")
	alice.send(`{"op":"lock","id":1,"resources":[{"type":"write","path":["user","bob"]}],"note":"deploy"}`)
	heard(t, alice, `"enqueued"`)
	bob.send(`{"op":"lock","id":1,"resources":[{"type":"read","path":["user"]}]}`)
	heard(t, bob, `"enqueued"`)

	text := run(0, "ls", "user")
	require.Regexp(t, fmt.Sprintf(`(?m)^acquired +- +%d +v1 +%d +- +write user$`, id, id), text)
	require.Regexp(t, `(?m)^enqueued .* alice +write user/bob  # "deploy"$`, text)
	text = run(0, "inspect", "user")
	require.Regexp(t, fmt.Sprintf(`(?m)^  waits for v1, lock %d: write user, acquired$`, id), text)
	require.Regexp(t, `(?m)^  waits for alice, lock 1: write user/bob, enqueued for .*, note "deploy"$`, text)

	require.Regexp(t, `(?m)^connected .* 0      1      [0-9a-f]{12}  alice `, run(0, "sessions"))
	require.Contains(t, run(0, "release", "v1", fmt.Sprint(id), "--reason", "its owner is on holiday"), "released in namespace n: write user, acquired by a client of version 1")
	require.Equal(t, "communication error: an administrator has released this connection's lock: its owner is on holiday", old.mustFault())
	heard(t, alice, `^{"event":1,"lock":1,"state":"acquired"`)

	var found struct{ Session string }
	line := regexp.MustCompile(`(?m)^.*"name":"alice".*$`).FindString(run(0, "ls", "--json", "user/bob"))
	require.NoError(t, json.Unmarshal([]byte(line), &found))
	run(0, "release", found.Session[:10], "1", "--reason", "too slow")
	require.Contains(t, heard(t, alice, `"event":2`), `"lock":1,"state":"revoked","message":"too slow"`)
	heard(t, bob, `^{"event":1,"lock":1,"state":"acquired"`)

	run(0, "release", "--end", bobs, "--reason", "go home")
	require.Contains(t, heard(t, bob, `"event":2`), `"lock":1,"state":"revoked","message":"go home"`)
	heard(t, bob, `^{"error":"ended","message":"go home"}$`)
	_, err := bob.Recv()
	require.NoError(t, wantClosed(err, 3003))
	run(1, "release", "--end", bobs, "--reason", "go home")
	other := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(other, []byte("a-token-of-somebody-else\n"), 0o600))
	run(77, "release", bobs, "1", "--reason", "x", "--token-file", other)

	log := s.log.String()
	require.NotContains(t, log, adminToken)
	require.Equal(t, 2, len(regexp.MustCompile(`(?m)msg="administrator: lock released" remote=127.0.0.1:\d+ namespace=n reason=".*" session=`).FindAllString(log, -1)), log)
	require.Contains(t, log, `msg="administrator: session ended"`)
	require.Zero(t, s.stats("n").Locks)
}
