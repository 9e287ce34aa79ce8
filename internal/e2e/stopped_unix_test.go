//go:build unix

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	locktopus "github.com/locktopus-project/locktopus/v2/client"
)

// holderURL makes the test's own program one that holds a lock of that server.
const holderURL = "E2E_HOLDER_URL"

func init() {
	if url := os.Getenv(holderURL); url != "" {
		if err := hold(url); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// hold takes a lock and says so. For each line that it reads it says whether it would act.
func hold(url string) error {
	c, err := locktopus.Dial(context.Background(), url, &locktopus.Options{TTL: time.Second})
	if err != nil {
		return err
	}
	lock, err := c.Lock(context.Background(), locktopus.Write("a"))
	if err != nil {
		return err
	}
	fmt.Println("token", lock.Token())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if lock.Deadline() > 0 {
			fmt.Println("acts")
			continue
		}
		<-lock.Done()
		fmt.Println("lost:", lock.Err())
	}
	return c.Close()
}

// TestAStoppedProcessKnowsThatItsLockIsLost before it acts: it was stopped for longer than its session lives, and
// another one has the lock.
func TestAStoppedProcessKnowsThatItsLockIsLost(t *testing.T) {
	srv := start(t, setup{})
	self, err := os.Executable()
	require.NoError(t, err)
	url := "ws://" + srv.addr + "/v2?namespace=n"
	cmd := exec.Command(self)
	cmd.Env = append(environment(), holderURL+"="+url)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	says := func() string {
		require.True(t, lines.Scan(), "it has ended: %v", lines.Err())
		return lines.Text()
	}
	ask := func() {
		_, err := fmt.Fprintln(in, "?")
		require.NoError(t, err)
	}
	var token uint64
	_, err = fmt.Sscanf(says(), "token %d", &token)
	require.NoError(t, err)
	ask()
	require.Equal(t, "acts", says())

	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := locktopus.Dial(ctx, url, nil)
	require.NoError(t, err)
	defer c.Close()
	lock, err := c.Lock(ctx, locktopus.Write("a"))
	require.NoError(t, err)
	require.Greater(t, lock.Token(), token)
	ask() // before it can run, so that it is the first thing it hears
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.True(t, strings.HasPrefix(says(), "lost: "))
	require.NoError(t, lock.Err())
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}
