package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
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

// ownPaths is the smallest example of a plugin.
const ownPaths = "../../plugins/examples/smallest-wat/plugin.wasm"

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			return errors.Join(copyFile(e.WorkDir+"/own.wasm", ownPaths), copyFile(e.WorkDir+"/odd.wasm", "testdata/odd.wasm"))
		},
	})
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
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

// flagsIn are the flags that the function of each command declares, and those that it takes from elsewhere.
var flagsIn = map[string][]string{
	"serve":        {"serve"},
	"config check": {"configCheck"},
	"config print": {"configPrint"},
	"health":       {"health"},
	"run":          {"parseRun", "dialFlagList"},
	"ls":           {"parseLook", "dialFlagList"},
	"inspect":      {"parseLook", "dialFlagList"},
	"watch":        {"parseLook", "dialFlagList"},
	"sessions":     {"adminFlagList"},
	"release":      {"parseRelease", "adminFlagList"},
	"plugin new":   {"pluginNew"},
	"plugin check": {"pluginCheck", "newLoadFlags"},
	"plugin run":   {"pluginRun", "newLoadFlags", "inputFlags"},
	"plugin test":  {"pluginTest", "newLoadFlags"},
	"plugin bench": {"pluginBench", "newLoadFlags", "inputFlags"},
	"version":      {"version"},
}

// commandFlags finds the flags that each command reads, by the functions that declare them.
func commandFlags(t *testing.T) map[string][]string {
	declared := map[string][]string{}
	for _, in := range inputs {
		declared["inputFlags"] = append(declared["inputFlags"], in.flag())
	}
	for _, setting := range loadSettings {
		declared["newLoadFlags"] = append(declared["newLoadFlags"], flagOf(setting))
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				declared[f.Name.Name] = append(declared[f.Name.Name], flagLiterals(t, f)...)
			}
		}
	}
	found := map[string][]string{}
	for command, functions := range flagsIn {
		for _, f := range functions {
			found[command] = append(found[command], declared[f]...)
		}
	}
	return found
}

// flagLiterals are the strings in a function that begin a flagValue.
func flagLiterals(t *testing.T, f *ast.FuncDecl) (flags []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		literal, ok := kv.Value.(*ast.BasicLit)
		if key, isKey := kv.Key.(*ast.Ident); ok && isKey && (key.Name == "long" || key.Name == "short") {
			flag, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			flags = append(flags, flag)
		}
		return true
	})
	return flags
}

func TestHelpNamesEveryFlagAndNoOther(t *testing.T) {
	flags := commandFlags(t)
	require.Len(t, flags, len(commands))
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
	var paths []string
	parse := func(args ...string) ([]string, error) {
		file, listen, paths = "", "", nil
		return parseFlags(args, 1, &flagValue{long: "--config", short: "-c", value: &file}, &flagValue{long: "--listen", value: &listen},
			&flagValue{long: "--read", each: func(_, v string) { paths = append(paths, "r", v) }},
			&flagValue{long: "--write", each: func(_, v string) { paths = append(paths, "w", v) }})
	}
	rest, err := parse("-c", "a", "x", "--listen=b=c")
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, rest)
	require.Equal(t, [2]string{"a", "b=c"}, [2]string{file, listen})
	_, err = parse("-listen", "")
	require.NoError(t, err)
	rest, err = parse("--read", "a", "x", "--write=", "-read=b=c", "--write", "--write")
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, rest)
	require.Equal(t, []string{"r", "a", "w", "", "r", "b=c", "w", "--write"}, paths, "in their order")
	rest, err = parse("--", "-c")
	require.NoError(t, err)
	require.Equal(t, []string{"-c"}, rest)

	for _, c := range []struct {
		want string
		args []string
	}{
		{"-c needs a value", []string{"-c"}},
		{"--config is given twice", []string{"-c", "a", "--config", "b"}},
		{"--write needs a value", []string{"--write", "a", "--write"}},
		{`unexpected "y"`, []string{"x", "y"}},
		{"unknown flag --confg, did you mean --config?", []string{"--confg", "a"}},
		{"unknown flag -x", []string{"-x"}},
		{"unknown flag --zzzzzzzzz", []string{"--zzzzzzzzz=1"}},
	} {
		_, err := parse(c.args...)
		require.EqualError(t, err, c.want)
	}
}
