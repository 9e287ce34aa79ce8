//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// hold has somebody hold a path, in the namespace "n", until the test ends.
func hold(t *testing.T, s *server.Server, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "ws://"+s.Addr().String()+"/v2?namespace=n", nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Lock(ctx, client.Write(path))
	require.NoError(t, err)
}

// TestWatchGoesOnWhenTheServerIsBack: it is told once that the server is gone, and once that it is back. A server that
// was restarted has other locks.
func TestWatchGoesOnWhenTheServerIsBack(t *testing.T) {
	first, _ := newServer(t)
	second, _ := newServer(t)
	wire := testserver.NewWire(t, first.Addr().String())
	url := "ws://" + wire.Addr() + "/v2?namespace=n"
	hold(t, first, "old")
	text, said := watching(t, url, "")
	objects, _ := watching(t, url, "--json", "")
	next(t, text)
	require.Regexp(t, `\(acquired\) .* write old$`, next(t, text))
	require.Regexp(t, `"change":"present".*"old"`, next(t, objects))

	// A connection that is made again at once.
	wire.Cut()
	require.Equal(t, "locktopus watch: the connection was lost, and the watch with it: here is what there is now", next(t, said))
	require.Regexp(t, `\(acquired\) .* write old$`, next(t, text))
	require.Regexp(t, `^{"time":"[^"]+","change":"anew"}$`, next(t, objects))
	require.Regexp(t, `"change":"present".*"old"`, next(t, objects))

	wire.Shut(true)
	wire.Cut()
	require.Regexp(t, `^locktopus watch: the server is gone since \d\d:\d\d:\d\d \(.+\): this goes on when it is back, or until it is stopped$`, next(t, said))
	hold(t, second, "new")
	wire.Lead(second.Addr().String())
	wire.Shut(false)
	require.Regexp(t, `^locktopus watch: the server is back since \d\d:\d\d:\d\d, and was restarted: what was locked before is not$`, next(t, said))
	require.Regexp(t, `\(acquired\) .* write new$`, next(t, text))
	require.Regexp(t, `^{"time":"[^"]+","change":"anew"}$`, next(t, objects))
	require.Regexp(t, `"change":"present".*"new"`, next(t, objects))
	hold(t, second, "newer")
	require.Regexp(t, ` acquired .* write newer$`, next(t, text))

	// A restart so quick that nobody misses the server, or a little slower.
	third, _ := newServer(t)
	hold(t, third, "newest")
	wire.Lead(third.Addr().String())
	wire.Cut()
	line := next(t, said)
	if strings.Contains(line, "is gone since") {
		require.NotContains(t, line, "the lock is lost")
		line = next(t, said)
	}
	require.Regexp(t, `the server (was restarted|is back since \d\d:\d\d:\d\d, and was restarted): what was locked before is not$`, line)
	require.Regexp(t, `\(acquired\) .* write newest$`, next(t, text))
}

// startWatch runs locktopus watch for a whole namespace.
func startWatch(t *testing.T, address string) (cmd *exec.Cmd, lines *bufio.Reader, stderr *strings.Builder) {
	t.Helper()
	cmd, stderr = exec.Command("locktopus", "watch", "--url", address, ""), new(strings.Builder)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewReader(out), stderr
}

// TestWatchEndsWithItsSession when an administrator ends that, and says why: the server isn't gone.
func TestWatchEndsWithItsSession(t *testing.T) {
	s, address := newServer(t)
	cmd, lines, stderr := startWatch(t, address+"?namespace=n")
	_, err := lines.ReadString('\n') // the heading
	require.NoError(t, err)
	hold(t, s, "a")
	_, err = lines.ReadString('\n') // it watches
	require.NoError(t, err)
	sessions, _, err := s.AdminSessions("n", "", 10)
	require.NoError(t, err)
	for _, x := range sessions {
		if x.Name == "locktopus watch" {
			_, err = s.AdminEnd("n", x.ID, "go home")
			require.NoError(t, err)
		}
	}
	_, err = io.ReadAll(lines)
	require.NoError(t, err)
	_ = cmd.Wait()
	require.Equal(t, "locktopus watch: an administrator has ended this command's session: go home\n", stderr.String())
	require.Equal(t, exitNotObtained, cmd.ProcessState.ExitCode())
}

// TestWatchEndsWhenItIsDenied, also when the server was gone meanwhile.
func TestWatchEndsWhenItIsDenied(t *testing.T) {
	s, _ := newServer(t)
	hold(t, s, "a")
	wire := testserver.NewWire(t, s.Addr().String())
	no := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not any more", http.StatusForbidden) }))
	defer no.Close()
	cmd, lines, stderr := startWatch(t, "ws://"+wire.Addr()+"/v2?namespace=n")
	for range 2 { // the heading, and what there is
		_, err := lines.ReadString('\n')
		require.NoError(t, err)
	}
	wire.Lead(no.Listener.Addr().String())
	wire.Cut()
	_, err := io.ReadAll(lines)
	require.NoError(t, err)
	_ = cmd.Wait()
	require.Equal(t, exitDenied, cmd.ProcessState.ExitCode())
	require.Contains(t, stderr.String(), "locktopus watch: denied: not any more\n")
}

// TestWhatEndsAWatchForGood, and what doesn't.
func TestWhatEndsAWatchForGood(t *testing.T) {
	for _, err := range []error{
		client.ErrWatchInterrupted, client.ErrWatchLagged, context.DeadlineExceeded, &client.LostError{State: "gone"}, &client.LostError{State: "shutdown"},
		&client.OfflineError{Trouble: io.EOF, Ended: context.DeadlineExceeded}, &client.RefusedError{Code: "try_later"}, &client.RefusedError{Code: "draining"},
	} {
		require.True(t, passes(err), "%v", err)
	}
	for _, err := range []error{nil, errOutput, client.ErrClosed, &client.RefusedError{Code: "denied"}, &client.RefusedError{Code: "limit"}} {
		require.False(t, passes(err), "%v", err)
	}
}

// watching runs locktopus watch until the test ends, and returns the lines of its output and its standard error.
func watching(t *testing.T, url string, args ...string) (shown, said <-chan string) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "locktopus", append([]string{"watch", "--url", url}, args...)...)
	var all [2]chan string
	for i, pipe := range []func() (io.ReadCloser, error){cmd.StdoutPipe, cmd.StderrPipe} {
		from, err := pipe()
		require.NoError(t, err)
		lines := make(chan string, 100)
		all[i] = lines
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(from); s.Scan(); {
				lines <- s.Text()
			}
		}()
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		for _, lines := range all {
			for range lines {
			}
		}
		_ = cmd.Wait()
	})
	return all[0], all[1]
}

func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line, ok := <-lines:
		require.True(t, ok, "locktopus watch has ended")
		return line
	case <-time.After(patience):
		require.Fail(t, "locktopus watch says nothing")
		return ""
	}
}

func TestWatchShowsWhatThereIsAndWhatChanges(t *testing.T) {
	url := serveSessions(t) + "?namespace=n"
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, url, &client.Options{Name: "somebody", TTL: time.Minute})
	require.NoError(t, err)
	defer c.Close()
	first, err := c.Lock(ctx, client.Write("a", "b"), client.Note("deploy"))
	require.NoError(t, err)

	text, _ := watching(t, url, "a")
	objects, _ := watching(t, url, "--json", "a")
	require.Regexp(t, `^TIME        CHANGE      TOKEN      SESSION       LOCK   NAME              RESOURCES$`, next(t, text))
	require.Regexp(t, `^\d\d:\d\d:\d\d    \(acquired\)  1          [0-9a-f]{12}  1      somebody          write a/b  # "deploy"$`, next(t, text))
	var x struct {
		Time          time.Time
		Change, State string
		Token         string
	}
	object := func() {
		require.NoError(t, json.Unmarshal([]byte(next(t, objects)), &x))
		require.WithinDuration(t, time.Now(), x.Time, time.Hour)
	}
	object()
	require.Equal(t, []string{"present", "acquired", "1"}, []string{x.Change, x.State, x.Token})

	require.NoError(t, first.Release(ctx))
	require.Regexp(t, `^\d\d:\d\d:\d\d    released    1 .* somebody `, next(t, text))
	object()
	require.Equal(t, []string{"ended", "released"}, []string{x.Change, x.State})
	_, err = c.Lock(ctx, client.Read())
	require.NoError(t, err)
	require.Regexp(t, `^\d\d:\d\d:\d\d    acquired    2 .* read ""$`, next(t, text))
	object()
	require.Equal(t, []string{"acquired", "acquired", "2"}, []string{x.Change, x.State, x.Token})
}
