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
	path = buildProgram(t) + string(os.PathListSeparator) + path
	dir := filepath.Join(t.TempDir(), "it's a plugin")
	said := shell(t, ".", path, "locktopus plugin new --lang "+language+" "+shellQuoted(dir))
	next := between(t, said, "builds and tries it:\n\n", "\n\nThis, in")
	require.Contains(t, shell(t, ".", path, next), "\nplugin.wasm: ok\ncases.toml: ok, 5 cases\n")

	config := between(t, said, "uses it:\n\n", "\n\nREADME.md")
	require.Contains(t, config, "name = \"it-s-a-plugin\"\n")
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte("[state]\ndir = \"\"\n"+config+"\ninit_timeout = \"1m\"\n"), 0o600))
	require.Equal(t, file+": ok\n", shell(t, ".", path, "locktopus config check "+file))

	readme := readFile(t, filepath.Join(dir, "README.md"))
	steps := strings.Split(next, "\n")[1:] // without cd
	require.Equal(t, steps[0], between(t, readme, "## Build\n\n    ", "\n"))
	tries := strings.ReplaceAll(between(t, readme, "## Try\n\n", "\n\n## Configure"), "    ", "")
	more, found := strings.CutPrefix(tries, strings.Join(steps[1:], "\n")+"\n") // that was tried above
	require.True(t, found, tries)
	require.Contains(t, shell(t, dir, path, more), "\nallowed\na call  ")
	require.Contains(t, config, strings.ReplaceAll(between(t, readme, "```toml\n", "\n```"), "/etc/locktopus/it-s-a-plugin.wasm", filepath.Join(dir, "plugin.wasm")))

	takeAwayComments(t, dir)
	outcome := shell(t, ".", path, next)
	require.Regexp(t, `\nhooks +authenticate, authorize, normalize\n`, outcome)
	require.Regexp(t, `\nconfiguration +takes one; none was given\n`, outcome)
	require.Contains(t, outcome, "\nplugin.wasm: ok\ncases.toml: ok, 8 cases\n")
	outcome = shell(t, dir, path, `locktopus plugin run plugin.wasm normalize --config '{"a": "B"}' --write A`)
	if language != "wat" { // whose init takes any configuration, and says nothing
		require.Contains(t, outcome, "info: plugin says: {\"a\":\"B\"}\n")
	}
	require.Contains(t, outcome, "allowed\nwrite A becomes a\n")
}

// buildProgram is a folder with the program as people have it. The one that the tests are part of takes minutes
// to load a guest in Go if it has the race detector in it.
func buildProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "locktopus"), ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// shell runs commands as a person would type them, but for how long a busy machine may take.
func shell(t *testing.T, dir, path, commands string) string {
	t.Helper()
	commands = regexp.MustCompile(`(?m)^locktopus plugin (check|run|test|bench) .*`).ReplaceAllString(commands, "$0 --init-timeout 1m --call-timeout 1s")
	cmd := exec.Command("sh", "-ec", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", commands, out)
	return string(out)
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
