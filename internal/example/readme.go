// Package example reads the READMEs of plugins/examples and does what they say, for tests: it finds the
// compilers, makes the plugin, and configures it.
package example

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Plugin is an example with a README that says how it is built, configured and tried.
type Plugin struct {
	Dir     string
	Module  string // the file that the command makes, such as acl.wasm
	Command string // for a POSIX shell in Dir
	Config  string // TOML
	Tries   []Try
}

// Try is a command of a transcript, and what it prints.
type Try struct{ Command, Output string }

var (
	commandSection  = regexp.MustCompile(`(?s)\n## Build\n\n    (.*?)\n\n`)
	commandOutput   = regexp.MustCompile(`(?:-o |-femit-bin=)(\S+\.wasm)`)
	configBlock     = regexp.MustCompile("(?s)\n```toml\n(.*?)```\n")
	transcriptBlock = regexp.MustCompile("(?s)\n```console\n(.*?)```\n")
	nextTry         = regexp.MustCompile(`(?m)^\$ `)
)

// Read takes the README in dir apart.
func Read(t testing.TB, dir string) *Plugin {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	find := func(what string, in string, re *regexp.Regexp) string {
		m := re.FindStringSubmatch(in)
		if m == nil {
			t.Fatalf("%s: its README has no %s: nothing is like %s", dir, what, re)
		}
		return m[1]
	}
	x := &Plugin{Dir: dir, Command: find("command to build it", text, commandSection), Config: find("configuration", text, configBlock)}
	x.Module = find("file that is built", x.Command, commandOutput)
	for _, try := range nextTry.Split(find("transcript", text, transcriptBlock), -1)[1:] {
		x.Tries = append(x.Tries, parseTry(try))
	}
	return x
}

// parseTry reads a command, whose lines but the last end in "\", and the output behind it.
func parseTry(text string) (try Try) {
	for {
		line, rest, _ := strings.Cut(text, "\n")
		try.Command, try.Output, text = try.Command+line+"\n", rest, rest
		if !strings.HasSuffix(line, `\`) {
			return try
		}
	}
}

// CanMake says whether the compiler is there.
func (x *Plugin) CanMake() bool {
	for _, plain := range []string{"main.go", "plugin.wasm"} {
		if _, err := os.Stat(filepath.Join(x.Dir, plain)); err == nil {
			return true
		}
	}
	return Toolchains
}

// Make runs the README's command, but for where the module goes to, and returns the file, which is in a
// folder of its own, under its own name. Without the toolchains, a module that is kept beside its
// source takes its place.
func (x *Plugin) Make(t testing.TB) string {
	t.Helper()
	NoteSources(t)
	out := filepath.Join(t.TempDir(), x.Module)
	if kept, err := os.ReadFile(filepath.Join(x.Dir, "plugin.wasm")); err == nil && !Toolchains {
		if err := os.WriteFile(out, kept, 0o600); err != nil {
			t.Fatal(err)
		}
		return out
	}
	cmd := exec.Command("sh", "-ec", strings.Replace(x.Command, x.Module, "'"+out+"'", 1))
	cmd.Dir = x.Dir
	cmd.Env = append(os.Environ(), "PATH="+Path(t))
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %s: %v\n%s", x.Dir, x.Command, err, said)
	}
	return out
}

// ConfigOf is the README's configuration for a module in this file.
func (x *Plugin) ConfigOf(t testing.TB, file string) string {
	t.Helper()
	named := `"/etc/locktopus/` + x.Module + `"`
	if strings.Count(x.Config, named) != 1 {
		t.Fatalf("%s: the configuration doesn't name %s once:\n%s", x.Dir, named, x.Config)
	}
	return strings.Replace(x.Config, named, "'"+file+"'", 1)
}

// Path is a PATH on which all compilers are that there are: some aren't what their names alone stand for.
func Path(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name := range compilers {
		file, err := exec.LookPath(Compiler(name))
		if err != nil {
			continue
		}
		if file, err = filepath.Abs(file); err == nil {
			err = os.Symlink(file, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir + string(os.PathListSeparator) + os.Getenv("PATH")
}
