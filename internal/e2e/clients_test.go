//go:build clients

package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPublishedJavaScriptClient runs the suite in npm/ under Node.js and in headless Chromium. It
// needs node, npm and Chromium (E2E_CHROMIUM, or where Debian puts it), hence the build tag; npm
// installs what npm/package-lock.json names.
func TestPublishedJavaScriptClient(t *testing.T) {
	ca := newAuthority(t)
	ca.leaf("server")
	plain, tls := start(t, setup{}), start(t, setup{config: ca.config(false)})
	locked := start(t, setup{config: "[server]\nallowed_origins = [\"https://good.example\"]\n"})
	npm(t, "npm", nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	env := []string{
		"E2E_PLAIN=" + plain.addr, "E2E_TLS=" + tls.addr, "E2E_LOCKED=" + locked.addr, "NODE_EXTRA_CA_CERTS=" + ca.path("ca.pem"),
	}
	for _, file := range []string{"node.test.mjs", "browser.test.mjs"} {
		t.Run(file, func(t *testing.T) { npm(t, "npm", env, "node", "--test", "--test-reporter=spec", file) })
	}
}

// TestOurJavaScriptClient builds clients/typescript and runs its suite in the same places.
func TestOurJavaScriptClient(t *testing.T) {
	const folder = "../../clients/typescript"
	env := []string{"LOCKTOPUS_URL=ws://" + start(t, setup{}).addr + "/v2"}
	npm(t, folder, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm(t, folder, nil, "npm", "run", "build")
	for _, as := range [][]string{{"--module", "node16", "--moduleResolution", "node16"}, {"--module", "esnext", "--moduleResolution", "bundler"}} {
		t.Run("types "+as[3], func(t *testing.T) {
			npm(t, folder, nil, "npm", append([]string{"exec", "--", "tsc", "-p", "test/types"}, as...)...)
		})
	}
	for _, file := range []string{"node.test.mjs", "browser.test.mjs", "readme.test.mjs"} {
		t.Run(file, func(t *testing.T) {
			npm(t, folder, env, "node", "--test", "--test-reporter=spec", "test/"+file)
		})
	}
}

// TestOurJavaScriptClientKnowsOfAServersEnd: it takes it for the end of its locks, and answers, so that the next server
// needn't wait for it.
func TestOurJavaScriptClientKnowsOfAServersEnd(t *testing.T) {
	const folder = "../../clients/typescript"
	npm(t, folder, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm(t, folder, nil, "npm", "run", "build")
	srv := start(t, setup{config: shortLived})
	cmd := exec.Command("node", "test/stopped.mjs")
	cmd.Dir, cmd.Env, cmd.Stderr = folder, append(os.Environ(), "LOCKTOPUS_URL=ws://"+srv.addr+"/v2"), os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	said := bufio.NewScanner(out)
	require.True(t, said.Scan())
	require.Equal(t, "holds", said.Text())
	eventually(t, "it waits, too", func() bool { return srv.stats("stopped").GroupsPending == 1 })
	srv.stop()
	require.True(t, said.Scan())
	require.Equal(t, "shutdown", said.Text())
	require.NotContains(t, srv.log.String(), "may believe in their locks")
	require.NoError(t, cmd.Wait())
}

// npm runs a command in a folder.
func npm(t *testing.T, folder string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%v\n%s", cmd.Args, out)
	t.Logf("%v\n%s", cmd.Args, out)
}
