package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProjectInGo needs no compiler but Go's.
func TestProjectInGo(t *testing.T) {
	tryProject(t, "go", os.Getenv("PATH"))
}

// tryProject makes a project and does all that the program and the project's README say: as it comes, and with
// all hooks that are in comments. The compilers are on the path.
func tryProject(t *testing.T, language, path string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's a plugin")
	said := runCommand("plugin", "new", "--lang", language, dir)
	require.Equal(t, exitOK, said.code, said.stderr)
	next := between(t, said.stdout, "builds and tries it:\n\n", "\n\nThis, in")
	require.Contains(t, shell(t, ".", path, next), "\nplugin.wasm: ok\ncases.toml: ok, 5 cases\n")

	config := between(t, said.stdout, "uses it:\n\n", "\n\nREADME.md")
	require.Regexp(t, `(?m)^name = "it-s-a-plugin"$`, config)
	requireConfigChecks(t, config)

	readme := readFile(t, filepath.Join(dir, "README.md"))
	require.Equal(t, strings.Split(next, "\n")[1], between(t, readme, "## Build\n\n    ", "\n"))
	tries := strings.ReplaceAll(between(t, readme, "## Try\n\n", "\n\n## Configure"), "    ", "")
	require.Contains(t, shell(t, dir, path, tries), "\nallowed\na call  ")
	requireConfigChecks(t, strings.Replace(between(t, readme, "```toml\n", "```"), "/etc/locktopus/it-s-a-plugin.wasm", filepath.Join(dir, "plugin.wasm"), 1))

	takeAwayComments(t, dir)
	outcome := shell(t, ".", path, next)
	require.Regexp(t, `\nhooks +authenticate, authorize, normalize\n`, outcome)
	require.Regexp(t, `\nconfiguration +takes one; none was given\n`, outcome)
	require.Contains(t, outcome, "\nplugin.wasm: ok\ncases.toml: ok, 8 cases\n")
	logged := runCommand("plugin", "run", filepath.Join(dir, "plugin.wasm"), "normalize", "--config", `{"a": "B"}`, "--write", "A", "--init-timeout", "1m", "--call-timeout", "1s")
	require.Equal(t, exitOK, logged.code, logged.stderr)
	require.Equal(t, "allowed\nwrite A becomes a\n", logged.stdout)
	if language != "wat" { // whose init takes any configuration, and says nothing
		require.Equal(t, "info: plugin says: {\"a\":\"B\"}\n", logged.stderr)
	}
}

// shell runs commands as a person would type them, but for how long a busy machine may take.
func shell(t *testing.T, dir, path, commands string) string {
	t.Helper()
	commands = regexp.MustCompile(`(?m)^locktopus plugin .*`).ReplaceAllString(commands, "$0 --init-timeout 1m --call-timeout 1s")
	cmd := exec.Command("sh", "-ec", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", commands, out)
	return string(out)
}

// requireConfigChecks has the configuration of a project checked as a server's.
func requireConfigChecks(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte("[state]\ndir = \"\"\n"+text+"\ninit_timeout = \"1m\"\n"), 0o600))
	require.Equal(t, ran{exitOK, file + ": ok\n", ""}, runCommand("config", "check", file))
}

var (
	commentSigns = regexp.MustCompile(`(?m)^ *(/\*|\*/|\(;|;\))\n`)
	commentLines = map[string]*regexp.Regexp{ // "//" or "#" with no blank behind it
		".zig":  regexp.MustCompile(`(?m)^//([^/ \n!]| {4})`),
		".toml": regexp.MustCompile(`(?m)^#([^ \n])`),
	}
)

// takeAwayComments does what the comments of a project say.
func takeAwayComments(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for _, file := range files {
		ending := filepath.Ext(file)
		if name := filepath.Base(file); strings.HasPrefix(name, "locktopus") || ending == ".md" || ending == ".wasm" || ending == ".o" {
			continue
		}
		text := readFile(t, file)
		if signs := commentLines[ending]; signs != nil {
			text = signs.ReplaceAllString(text, "$1")
		} else {
			text = commentSigns.ReplaceAllString(text, "")
		}
		text = strings.Replace(text, "hooks!(authorize)", "hooks!(init, authenticate, authorize, normalize)", 1)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, from)
	require.True(t, found, "%q is not in\n%s", from, text)
	inside, _, found := strings.Cut(rest, to)
	require.True(t, found, "%q is not in\n%s", to, rest)
	return inside
}
