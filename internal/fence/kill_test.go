package fence

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// childEnv makes the test binary a server that does nothing but hand out ids: it holds the
// state directory.
const childEnv = "LOCKTOPUS_TEST_FENCE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(handOut(dir))
	}
	os.Exit(m.Run())
}

// handOut prints ids as fast as it can until it is killed. An id is handed out by being printed.
func handOut(dir string) int {
	f, err := Open(dir, 50, nil)
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	var lines []byte
	for id := f.Start() + 1; ; {
		lines = lines[:0]
		for len(lines) < 200 && f.Allows(id) {
			lines = strconv.AppendUint(lines, id, 10)
			lines = append(lines, '\n')
			id++
		}
		if _, err := os.Stdout.Write(lines); err != nil {
			return 1
		}
	}
}

// TestIdsNeverRepeatOverKill9 kills the process at random moments while it hands out ids, so that
// blocks are being reserved all the time.
func TestIdsNeverRepeatOverKill9(t *testing.T) {
	rng := testseed.Rand(t)
	dir, last, count := t.TempDir(), uint64(0), 0
	for range 20 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+dir)
		var complaint bytes.Buffer
		child.Stderr = &complaint
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		killAt := count + rng.IntN(3000)
		lines := bufio.NewScanner(out)
		for killed := false; lines.Scan(); {
			id, err := strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err)
			require.Greater(t, id, last, "an id went back")
			last = id
			if count++; count >= killAt && !killed {
				killed = true
				require.NoError(t, child.Process.Kill())
			}
		}
		require.Error(t, child.Wait(), "it was killed")
		require.Empty(t, complaint.String())
	}
	require.Greater(t, count, 20*50, "too few ids to mean anything")
	t.Logf("%d ids handed out, the last is %d", count, last)
}
