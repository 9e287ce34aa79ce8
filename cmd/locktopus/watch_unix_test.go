//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// TestWatchEndsWhenTheServerIsGone, and says so.
func TestWatchEndsWhenTheServerIsGone(t *testing.T) {
	defer func(d time.Duration) { dialTimeout = d }(dialTimeout)
	dialTimeout = 3 * time.Second // the first answer must come within it, the last one never does
	s, address := newServer(t)
	url := address + "?namespace=n"
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, url, nil)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Lock(ctx, client.Read())
	require.NoError(t, err)
	out, in := io.Pipe()
	var stderr strings.Builder
	code := make(chan int, 1)
	go func() { code <- process{stdout: in, stderr: &stderr}.watch([]string{"--url", url, ""}) }()
	lines := bufio.NewReader(out)
	for range 2 { // the heading, and what there is
		_, err = lines.ReadString('\n')
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	require.Equal(t, exitUnreachable, <-code)
	require.Regexp(t, `^locktopus watch: .*: beginning anew\nlocktopus watch: the server doesn't answer\n$`, stderr.String())
}

// watching runs locktopus watch until the test ends, and returns its lines.
func watching(t *testing.T, url string, args ...string) <-chan string {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "locktopus", append([]string{"watch", "--url", url}, args...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range lines {
		}
		_ = cmd.Wait()
	})
	return lines
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

	text, objects := watching(t, url, "a"), watching(t, url, "--json", "a")
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
