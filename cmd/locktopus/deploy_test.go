//go:build unix

package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

func readRoot(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

// directive is the value of a line of a Dockerfile or a unit file.
func directive(t *testing.T, text, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `[ =](.*)$`).FindStringSubmatch(text)
	require.NotNil(t, m, name)
	return m[1]
}

// TestDockerfileBuildsAStaticBinary runs the Dockerfile's own build command, elsewhere.
func TestDockerfileBuildsAStaticBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "locktopus")
	build := strings.Replace(directive(t, readRoot(t, "Dockerfile"), "RUN CGO_ENABLED=0"), "/out/locktopus", binary, 1)
	cmd := exec.Command("sh", "-c", "export CGO_ENABLED=0; "+build)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "VERSION=v9.9.9-test", "GOOS=linux")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	f, err := elf.Open(binary)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "the binary needs a dynamic loader, which the image doesn't have")
	}
	raw, err := os.ReadFile(binary)
	require.NoError(t, err)
	require.Contains(t, string(raw), "v9.9.9-test")
}

func TestDockerfileStartsCommandsThatExist(t *testing.T) {
	text := readRoot(t, "Dockerfile")
	require.Equal(t, `["/locktopus"]`, directive(t, text, "ENTRYPOINT"))
	require.Equal(t, `["serve"]`, directive(t, text, "CMD"))
	require.Contains(t, directive(t, text, "HEALTHCHECK"), `CMD ["/locktopus", "health"]`)
	var environ []string
	for _, pair := range strings.Fields(directive(t, text, "ENV")) {
		environ = append(environ, strings.Replace(pair, "=/state", "="+t.TempDir(), 1))
	}
	cmd := exec.Command("locktopus", "config", "check")
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestDockerContextHoldsWhatIsBuilt: an import of a new folder must get past .dockerignore.
func TestDockerContextHoldsWhatIsBuilt(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f",
		`{{if .Module}}{{if .Module.Main}}{{.Dir}}{{range .EmbedFiles}} {{.}}{{end}}{{end}}{{end}}`, "./cmd/locktopus")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	lines := strings.Split(readRoot(t, ".dockerignore"), "\n")
	found := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		found++
		dir, err := filepath.Rel(top, words[0])
		require.NoError(t, err)
		first, _, _ := strings.Cut(filepath.ToSlash(dir), "/")
		if first == "." {
			first = "*.go"
			for _, embedded := range words[1:] {
				require.Contains(t, lines, "!"+embedded)
			}
		}
		require.Contains(t, lines, "!"+first)
		require.NotContains(t, lines, dir)
	}
	require.Greater(t, found, 3)
}

// TestUnitStartsTheServer carries out ExecStart with the environment that systemd would give.
func TestUnitStartsTheServer(t *testing.T) {
	unit := readRoot(t, "deploy/locktopus.service")
	require.Equal(t, fmt.Sprintf("%d %d", exitUsage, exitConfig), directive(t, unit, "RestartPreventExitStatus"))
	words := strings.Fields(directive(t, unit, "ExecStart"))
	require.Equal(t, "/usr/local/bin/locktopus", words[0])
	file, state := filepath.Join(t.TempDir(), "config.toml"), t.TempDir()
	write(t, file, "")
	for i, w := range words {
		if w == "/etc/locktopus/config.toml" {
			words[i] = file
		}
	}
	p := start(t, words[1:], withEnv("STATE_DIRECTORY="+state, "LOCKTOPUS_SERVER_LISTEN=127.0.0.1:0"))
	require.Contains(t, p.await("msg=listening"), " state_dir="+state+" ")
	p.stopsWell()
}

// TestUnitsAreWellFormed asks systemd itself where it is installed. Versions before 253 say that they
// ignore the type that they don't know, as the unit's comment promises.
func TestUnitsAreWellFormed(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze here; the units are only read")
		return
	}
	dir := t.TempDir()
	self, err := exec.LookPath("locktopus")
	require.NoError(t, err)
	for _, name := range []string{"locktopus.service", "locktopus.socket"} {
		write(t, filepath.Join(dir, name), strings.Replace(readRoot(t, "deploy/"+name), "/usr/local/bin/locktopus serve", self+" serve", 1))
	}
	out, err := exec.Command(analyze, "verify", filepath.Join(dir, "locktopus.service"), filepath.Join(dir, "locktopus.socket")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) {
			require.Contains(t, line, "Failed to parse service type, ignoring: notify-reload")
		}
	}
}
