//go:build unix

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// unread starts a server that logs all it can into a pipe. Nothing is read from it behind the line
// "listening"; the test has its reading end.
func unread(t *testing.T) (*program, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	args := []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", ""}
	p := &program{t: t, cmd: exec.Command("locktopus", args...), lines: make(chan string), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "LOCKTOPUS_LOG_CLIENTS=true", "LOCKTOPUS_LOG_LOCKS=true", "LOCKTOPUS_SERVER_DRAIN=1h")
	p.cmd.Stderr = w
	require.NoError(t, p.cmd.Start())
	w.Close()
	close(p.lines)
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
	})
	var text strings.Builder
	for one := make([]byte, 1); !strings.HasSuffix(text.String(), "\n") || !addressOf.MatchString(text.String()); {
		_, err := r.Read(one)
		require.NoError(t, err, text.String())
		text.Write(one)
	}
	p.log = []string{text.String()}
	return p, r
}

// overflow has the server log more than a pipe and the queue before it hold: many clients lock and
// release long paths, and are answered. It returns when they are gone.
func (p *program) overflow() {
	p.t.Helper()
	const clients, pathBytes = 64, 16 << 10
	segments := strings.Repeat(`,"`+strings.Repeat("s", 1000)+`"`, pathBytes/1000)
	var all []*websocket.Conn
	for range clients {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+p.address()+"/v1?namespace=test", nil)
		require.NoError(p.t, err)
		defer c.Close()
		all = append(all, c)
	}
	for logged := 0; logged < 2*logQueueBytes; logged += clients * pathBytes {
		for i, c := range all {
			p.ask(c, fmt.Sprintf(`{"action":"lock","resources":[{"type":"write","path":["%d"%s]}]}`, i, segments), `"acquired"`)
		}
		for _, c := range all {
			p.ask(c, `{"action":"release"}`, `"ready"`)
		}
	}
}

func (p *program) ask(c *websocket.Conn, message, want string) {
	p.t.Helper()
	require.NoError(p.t, c.SetReadDeadline(time.Now().Add(patience)))
	require.NoError(p.t, c.WriteMessage(websocket.TextMessage, []byte(message)))
	_, answer, err := c.ReadMessage()
	require.NoError(p.t, err)
	require.Contains(p.t, string(answer), want)
}

func TestALogThatNobodyReadsHoldsNothingUp(t *testing.T) {
	p, _ := unread(t)
	p.overflow()
	require.Equal(t, "ok\n", output(t, exitOK, "health", "--url", "http://"+p.address()+"/healthz"))
	p.holdLock().Close()
	p.signal(syscall.SIGTERM)
	p.exits(exitOK)
}

func TestASecondSignalDoesNotWaitForALogThatNobodyReads(t *testing.T) {
	p, _ := unread(t)
	p.overflow()
	p.holdLock()
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT)
	p.exits(exitFailed)
}

var droppedOf = regexp.MustCompile(`level=WARN msg="lines of the log were dropped.*" lines=([0-9]+)$`)

func TestALogThatIsReadAgainSaysWhatIsMissing(t *testing.T) {
	p, log := unread(t)
	p.overflow()
	dropped := 0
	s := bufio.NewScanner(log)
	for dropped == 0 && s.Scan() {
		require.True(t, strings.HasPrefix(s.Text(), "time="), s.Text())
		if m := droppedOf.FindStringSubmatch(s.Text()); m != nil {
			n, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			dropped = n
		}
	}
	require.Positive(t, dropped)
	p.signal(syscall.SIGTERM)
	last := ""
	for s.Scan() {
		last = s.Text()
	}
	require.Contains(t, last, "msg=stopped")
	p.exits(exitOK)
}

// TestTheOperatorsPageTellsOfTheLogsQueue: its size, and the line to look for.
func TestTheOperatorsPageTellsOfTheLogsQueue(t *testing.T) {
	page := readRoot(t, "docs/OPERATING.md")
	require.Contains(t, page, fmt.Sprintf(" %d KiB of\nlines wait", logQueueBytes>>10))
	require.Contains(t, page, strings.Replace(strings.TrimSpace(gap(7)), "7", "N", 1))
}
