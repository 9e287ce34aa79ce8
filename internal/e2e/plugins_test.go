package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// plugin is a table of the configuration.
func plugin(name, path, hook, namespace string) string {
	return fmt.Sprintf("[[plugins]]\nname = %q\npath = %q\nhooks = [%q]\nnamespaces = [%q]\n", name, path, hook, namespace)
}

// ownPaths is the smallest example: a client may write below its own name, and everybody may read.
const ownPaths = "../../plugins/examples/smallest-wat/plugin.wasm"

func TestPluginDeniesALock(t *testing.T) {
	srv := start(t, setup{config: plugin("own", ownPaths, "authorize", "*")})
	eachDialer(t, func(t *testing.T, dial dialer) {
		c := connect(t, dial, srv.target(t.Name()))
		c.release(c.mustAcquire(read("a")))
		c.send(lockText(read("a"), write("b")))
		require.Equal(t, `communication error: denied by plugin "own" (code 1): only what is below your own name is yours to write`, c.mustFault())
		eventually(t, "nothing is left of it", func() bool { return srv.stats(t.Name()) == statistics{} })
	})
}

func TestNormalizedPathsAreLocked(t *testing.T) {
	srv := start(t, setup{config: plugin("rename", moduleFile(t, hostile.Guest), "normalize", "*") + "[log]\nlocks = true\n"})
	renames := srv.target(hostile.Saying(hostile.Rewritten, 0, "other\x00\x00"))
	one, two := connect(t, dialGorilla, renames), connect(t, dialCoder, renames)
	held := one.mustAcquire(write("which becomes", "other"))
	waiting := two.mustEnqueue(write("this", "too"))
	one.release(held)
	two.mustBeGranted(waiting)
	two.release(waiting)
	srv.signal(syscall.SIGTERM)
	srv.wait()
	require.Contains(t, srv.log.String(), `write [\"other\"]`)
	require.NotContains(t, srv.log.String(), `which becomes`)
}

// TestReloadDeniesNobodyWrongly reloads a plugin again and again while clients lock what it allows.
func TestReloadDeniesNobodyWrongly(t *testing.T) {
	wasm, err := os.ReadFile(ownPaths)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "plugin.wasm")
	replace := func(k int) {
		// A custom section makes it another file and leaves the plugin what it is.
		next := append(append([]byte{}, wasm...), 0, 3, 1, 'n', byte(k))
		require.NoError(t, os.WriteFile(path+".new", next, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	replace(0)
	srv := start(t, setup{config: plugin("own", path, "authorize", "*") + "[server]\nplugins_poll = \"0s\"\n"})
	var stop atomic.Bool
	var trips atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		c := connect(t, dialGorilla, srv.target("n"))
		all.Go(func() {
			for !stop.Load() {
				if err := roundTrip(c, read("a"), read("b")); err != nil {
					t.Errorf("a client noticed: %v", err)
					return
				}
				trips.Add(1)
			}
		})
	}
	const reloads = 20
	for k := 1; k <= reloads; k++ {
		before := trips.Load()
		replace(k)
		srv.signal(syscall.SIGHUP)
		eventually(t, "reloaded", func() bool { return strings.Count(srv.log.String(), "msg=reloaded") == k })
		eventually(t, "clients go on", func() bool { return t.Failed() || trips.Load() > before+8 })
	}
	stop.Store(true)
	all.Wait()
	t.Logf("%d reloads, %d round trips", reloads, trips.Load())
}

func TestFileReplacedByGarbageLeavesThePluginInUse(t *testing.T) {
	wasm, err := os.ReadFile(ownPaths)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "plugin.wasm")
	require.NoError(t, os.WriteFile(path, wasm, 0o600))
	srv := start(t, setup{config: plugin("own", path, "authorize", "*") + "[server]\nplugins_poll = \"100ms\"\n"})
	for _, garbage := range [][]byte{nil, []byte("garbage"), wasm[:len(wasm)/2], append(wasm[:len(wasm):len(wasm)], 0xff)} {
		require.NoError(t, os.WriteFile(path, garbage, 0o600))
		said := strings.Count(srv.log.String(), "nothing was reloaded")
		eventually(t, "the change is noticed", func() bool { return strings.Count(srv.log.String(), "nothing was reloaded") > said })
		c := connect(t, dialGorilla, srv.target("n"))
		c.release(c.mustAcquire(read("a")))
		c.send(lockText(write("b")))
		require.Contains(t, c.mustFault(), "denied")
	}
	require.NoError(t, os.WriteFile(path, wasm, 0o600))
	// The same as is in use: nothing is loaded, and it is in order again.
	eventually(t, "what is right again is taken", func() bool { return strings.Contains(srv.log.String(), "plugins reloaded") })
}

func TestServerDoesNotStartWithAFaultyPlugin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin.wasm")
	require.NoError(t, os.WriteFile(path, []byte("\x00asm\x01\x00\x00\x00"), 0o600))
	code, text := refuses(t, plugin("empty", path, "authorize", "*"))
	require.Equal(t, 78, code, text)
	for _, part := range []string{
		`config.toml:3:1: plugins.empty.path: it doesn't export the function locktopus_abi_1 () -> (i32)`,
		`it doesn't export the function locktopus_authorize (i32) -> (i64)`,
	} {
		require.Contains(t, text, part)
	}
}

// refuses starts a server that must not start, and returns its exit code and what it said.
func refuses(t *testing.T, config string) (code int, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	cmd := command("serve", "-c", file, "--listen", "127.0.0.1:0", "--state-dir", t.TempDir())
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	return cmd.ProcessState.ExitCode(), string(out)
}
