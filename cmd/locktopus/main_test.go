package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// patience is for what ought to happen at once; it is only used up when a test fails.
const patience = 30 * time.Second

// TestMain makes the program itself a command that scripts and tests can start. With the race detector
// each of those processes would wait a second at its end; what was found before counts all the same.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10")
	}
	testscript.Main(m, map[string]func(){"locktopus": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			return nil
		},
	})
}

// exits is the script command `exits CODE PROGRAM ARG...`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		got = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// commandFlags finds the flags that each command reads, by the functions that declare them.
func commandFlags(t *testing.T) map[string][]string {
	functions := map[string]string{"serve": "serve", "configCheck": "config check", "configPrint": "config print", "health": "health", "version": "version"}
	found := map[string][]string{}
	for _, name := range []string{"serve.go", "config.go", "health.go", "version.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || functions[f.Name.Name] == "" {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				kv, ok := n.(*ast.KeyValueExpr)
				if !ok {
					return true
				}
				if key, ok := kv.Key.(*ast.Ident); ok && (key.Name == "long" || key.Name == "short") {
					flag, err := strconv.Unquote(kv.Value.(*ast.BasicLit).Value)
					require.NoError(t, err)
					found[functions[f.Name.Name]] = append(found[functions[f.Name.Name]], flag)
				}
				return true
			})
		}
	}
	return found
}

func TestHelpNamesEveryFlagAndNoOther(t *testing.T) {
	flags := commandFlags(t)
	for _, c := range commands {
		text := helpTexts[c.name]
		require.NotEmpty(t, text, c.name)
		for _, flag := range flags[c.name] {
			require.Regexp(t, `(?m)^  .*`+flag+`[ ,]`, text, "help %s has no line on %s", c.name, flag)
		}
		for _, word := range regexp.MustCompile(`(^|[\s\[])(--?[a-z][a-z-]*)`).FindAllStringSubmatch(text, -1) {
			if word[2] != "-c" || c.name != "config check" { // which speaks of serve -c
				require.True(t, slices.Contains(flags[c.name], word[2]), "help %s names %s", c.name, word[2])
			}
		}
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	for name, text := range helpTexts {
		for line := range strings.Lines(text) {
			require.LessOrEqual(t, len(line), 99, "help %s: %s", name, line)
		}
		if name != "" {
			require.True(t, strings.HasPrefix(text, "Usage: locktopus "+name), name)
		}
	}
}

func TestParseFlags(t *testing.T) {
	var file, listen string
	parse := func(args ...string) ([]string, error) {
		file, listen = "", ""
		return parseFlags(args, 1, &flagValue{long: "--config", short: "-c", value: &file}, &flagValue{long: "--listen", value: &listen})
	}
	rest, err := parse("-c", "a", "x", "--listen=b=c")
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, rest)
	require.Equal(t, [2]string{"a", "b=c"}, [2]string{file, listen})
	_, err = parse("-listen", "")
	require.NoError(t, err)
	rest, err = parse("--", "-c")
	require.NoError(t, err)
	require.Equal(t, []string{"-c"}, rest)

	for _, c := range []struct {
		want string
		args []string
	}{
		{"-c needs a value", []string{"-c"}},
		{"--config is given twice", []string{"-c", "a", "--config", "b"}},
		{`unexpected "y"`, []string{"x", "y"}},
		{"unknown flag --confg, did you mean --config?", []string{"--confg", "a"}},
		{"unknown flag -x", []string{"-x"}},
		{"unknown flag --zzzzzzzzz", []string{"--zzzzzzzzz=1"}},
	} {
		_, err := parse(c.args...)
		require.EqualError(t, err, c.want)
	}
}
