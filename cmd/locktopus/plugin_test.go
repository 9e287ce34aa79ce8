package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk"
)

// ran is what a command said.
type ran struct {
	code           int
	stdout, stderr string
}

// command runs a command of this process.
func runCommand(args ...string) ran {
	var stdout, stderr bytes.Buffer
	code := process{stdout: &stdout, stderr: &stderr}.run(args)
	return ran{code, stdout.String(), stderr.String()}
}

func casesFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cases.toml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestAQuestionThatDoesNotFitFails is about the buffer of plugins: 65536 bytes.
func TestAQuestionThatDoesNotFitFails(t *testing.T) {
	const head = 64 + 12 + len("default") + len("127.0.0.1:50000") + 1 // the last of the path's segment
	fits, long := strings.Repeat("x", 65_536-head), strings.Repeat("x", 65_537-head)
	got := runCommand("plugin", "test", ownPaths, casesFile(t, fmt.Sprintf(`
		[[case]]
		hook = "authorize"
		read = "%s"
		want = "allow"
		[[case]]
		hook = "authorize"
		read = "%s"
		want = "fail"
		reason = "the question is too long"`, fits, long)))
	require.Equal(t, exitOK, got.code, got.stdout)
	got = runCommand("plugin", "test", ownPaths, casesFile(t, "[[case]]\nhook = 'authorize'\nwant = 'deny'\nread = '"+long+"'"))
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stdout, ": got failed: the question is too long, want denied\n")
	got = runCommand("plugin", "bench", ownPaths, "authorize", "--read", long)
	require.Equal(t, ran{exitFailed, "failed: the question is too long\n", ""}, got)
}

// TestWhatHelpShowsIsACasesFile reads the example in the help text.
func TestWhatHelpShowsIsACasesFile(t *testing.T) {
	var example strings.Builder
	for line := range strings.Lines(helpTexts["plugin test"]) {
		if text, indented := strings.CutPrefix(line, "    "); indented || line == "\n" {
			example.WriteString(text)
		}
	}
	s := readSuite(casesFile(t, example.String()))
	require.Empty(t, s.faults, example.String())
	require.Len(t, s.cases, 3)
	require.Equal(t, `{"admins":["carol"]}`, string(s.config))
	require.Equal(t, `denied, code 1: "that is alice's"`, s.cases[0].want.String())
	require.Equal(t, `authorize --principal bob --write alice/inbox --read bob/inbox`, s.cases[0].question.String())
	require.Equal(t, `allowed as "alice", for 1h`, s.cases[1].want.String())
	require.Equal(t, `authenticate --now 2030-01-01T00:00:00Z --header 'authorization: Bearer abc'`, s.cases[1].question.String())
	require.Equal(t, `allowed: a/b c`, s.cases[2].want.String())
}

// TestHelpNamesDefaults compares the limits in the help texts with those that hold.
func TestHelpNamesDefaults(t *testing.T) {
	d := host.DefaultLimits()
	require.Equal(t, host.Limits{ModuleBytes: 8_388_608, MemoryBytes: 16_777_216, Call: 5e6, Init: 1e9, LogLines: 100}, d)
	for _, line := range []string{"--module-bytes N .*8_388_608", "--memory-bytes N .*16_777_216", "--call-timeout TIME .*5ms", "--init-timeout TIME .*1s"} {
		require.Regexp(t, regexp.MustCompile(`(?m)^  `+line+`\)$`), loadHelp)
	}
}

// everyInput is a case for each hook with all that it can be told, odd characters included.
const everyInput = `
[[case]]
hook = "authenticate"
namespace = "it's"
now = 2030-01-01T00:00:00.25+01:00
remote = "[2001:db8::1]:5"
url_path = "/v2"
header = ["b: 2", "A:  1 ", "b:1"]
query = ["q=a b&c", "q==", "p=ü"]
fact = ["version=1.3", "subject-cn=al\nice"]
credential = "token=\u001b[31m\\'"
want = "allow"
[[case]]
hook = "authorize"
namespace = "ns"
now = 2030-01-01T00:00:00Z
remote = ""
operation = "force-release"
principal = "al ice"
context = "a\tb\u0000\n"
permit = ["", "a/"]
write = 'a\/\\b/c'
read = ["/a", "ü\r"]
want = "allow"
[[case]]
hook = "normalize"
namespace = "-"
write = ["-a", "--"]
want = "allow"`

// TestRunIsAskedWhatTestPrints reads the flags of a question as "plugin run" does: it must be the same question.
func TestRunIsAskedWhatTestPrints(t *testing.T) {
	s := readSuite(casesFile(t, everyInput))
	require.Empty(t, s.faults)
	told := map[string]bool{}
	for _, c := range s.cases {
		a, err := parseAsking(append([]string{"x.wasm", hookNames(c.question.hook)}, c.question.words...))
		require.NoError(t, err)
		require.True(t, c.question.now.Equal(a.question.now))
		a.question.now = c.question.now // of another time zone
		require.Equal(t, c.question, a.question)
		for _, w := range c.question.words {
			told[w] = true
		}
	}
	for _, in := range inputs {
		require.True(t, told[in.flag()], "no case has %s", in.name)
	}
	require.Equal(t, host.Connect{
		Namespace: "it's", Remote: "[2001:db8::1]:5", URLPath: "/v2", RawQuery: "q=a+b%26c&q=%3D&p=%C3%BC", TLS: true, Verified: true,
		Fields: []host.Field{
			{Kind: host.Header, Name: "a", Value: "1"}, {Kind: host.Header, Name: "b", Value: "2"}, {Kind: host.Header, Name: "b", Value: "1"},
			{Kind: host.Query, Name: "p", Value: "ü"}, {Kind: host.Query, Name: "q", Value: "a b&c"}, {Kind: host.Query, Name: "q", Value: "="},
			{Kind: host.Fact, Name: "subject-cn", Value: "al\nice"}, {Kind: host.Fact, Name: "version", Value: "1.3"},
			{Kind: host.Credential, Name: "token", Value: "\x1b[31m\\'"},
		},
	}, s.cases[0].question.connect)
	require.Equal(t, `authenticate --namespace 'it'\''s' --now 2030-01-01T00:00:00.25+01:00 --remote '[2001:db8::1]:5' --url-path /v2 `+
		`--header 'b: 2' --header 'A:  1 ' --header b:1 --query 'q=a b&c' --query q== --query 'p=ü' --fact version=1.3 --fact $'subject-cn=al\012ice' `+
		`--credential $'token=\033[31m\\\''`, s.cases[0].question.String())
}

func TestQuestionsAreOnesThatAServerCouldPut(t *testing.T) {
	long := strings.Repeat("x", 257)
	for _, c := range []struct{ hook, flag, value, want string }{
		{"normalize", "--namespace", "", "--namespace must be a name of 1 to 4096 bytes"},
		{"normalize", "--namespace", "a\n", "--namespace must be a name"},
		{"normalize", "--namespace", strings.Repeat("x", 4097), "--namespace must be a name"},
		{"authorize", "--principal", long, "--principal must be a name of at most 256 bytes"},
		{"authorize", "--principal", "a\x7f", "--principal must be a name"},
		{"authorize", "--principal", "\xff", "--principal must be a name"},
		{"authorize", "--context", strings.Repeat("x", 4097), "--context must have at most 4096 bytes, but has 4097"},
		{"authorize", "--context", "x", "--context is kept with a name: give --principal, too"},
		{"authorize", "--write", "\xff", "--write must be UTF-8 without NUL"},
		{"authenticate", "--header", "a b: c", "--header must be a header such as"},
		{"authenticate", "--header", "a : c", "--header must be a header such as"},
		{"authenticate", "--header", "a: b\nc: d", "--header must be a header such as"},
		{"authenticate", "--header", "\xc3\xa4: b", "--header must be a header such as"},
	} {
		_, err := parseAsking([]string{"x.wasm", c.hook, c.flag, c.value})
		require.ErrorContains(t, err, c.want, "%s %q", c.flag, c.value)
	}
	for _, args := range [][]string{
		{"--namespace", strings.Repeat("x", 4096), "--principal", long[1:], "--context", strings.Repeat("\xff", 4096)},
		{"--principal", ""},
		{"--context", ""},
		{"--remote", "", "--write", "", "--write", "/", "--write", "a//b/"},
	} {
		_, err := parseAsking(append([]string{"x.wasm", "authorize"}, args...))
		require.NoError(t, err, args)
	}
	_, err := parseAsking([]string{"x.wasm", "authenticate", "--header", "x:", "--header", "a: b\tc \xe9 "})
	require.NoError(t, err)
}

func TestPaths(t *testing.T) {
	for text, want := range map[string][]string{
		"":           nil,
		"a":          {"a"},
		"a/b":        {"a", "b"},
		"/":          {"", ""},
		"a/":         {"a", ""},
		"/a":         {"", "a"},
		`a\/b/\\`:    {"a/b", `\`},
		"ü/\x01 /\n": {"ü", "\x01 ", "\n"},
	} {
		path, err := parsePath(text)
		require.NoError(t, err, text)
		got := make([]string, 0, len(path))
		for _, s := range path {
			got = append(got, string(s))
		}
		require.Equal(t, append([]string{}, want...), got, "%q", text)
		require.Equal(t, text, pathText(path))
	}
}

func FuzzPaths(f *testing.F) {
	for _, text := range []string{"", "a/b", `\\/\/`, "//", `\`, "\xff", "a\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := parsePath(text)
		if err != nil {
			return
		}
		require.Equal(t, text, pathText(path), "there is one way to write a path")
	})
}

// FuzzCases reads anything as a file of cases: it is refused with a reason for people, or its questions can be asked.
func FuzzCases(f *testing.F) {
	f.Add(everyInput)
	f.Add("config = '{}'\n[[case]]\nhook = 'normalize'\nwant = 'fail'\nreason = 'x'\n[[case]]\nhook = 'authenticate'\nwant = 'allow'\nidentity = {ttl = '1s'}")
	f.Add("case = [1, {}]\n[config]\na = [[[1]], {b = 1e999}]")
	f.Add("[[case]]\nhook = 1\nwant = []\npaths = 1\nidentity = 07:32:00\n[[case]]\nname = \"\"\"\n[[case]]\"\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseSuite("cases.toml", text)
		for _, fault := range s.faults {
			require.Regexp(t, `^cases\.toml:`, fault.Error())
		}
		if len(s.faults) > 0 {
			return
		}
		require.NotEmpty(t, s.cases)
		for _, c := range s.cases {
			_, err := parseAsking(append([]string{"x.wasm", hookNames(c.question.hook)}, c.question.words...))
			require.NoError(t, err, text)
			require.NotEmpty(t, c.want.String())
		}
	})
}

func TestWordsForAShell(t *testing.T) {
	for word, want := range map[string]string{
		"":            "''",
		"a/b-_.:@%+,": "a/b-_.:@%+,",
		"a b":         "'a b'",
		"it's $x `y`": `'it'\''s $x ` + "`y`'",
		"ü":           "'ü'",
		"a\tb":        `$'a\011b'`,
		"\\'\n\x1b":   `$'\\\'\012\033'`,
		"\u202e":      `$'\342\200\256'`,
		"\xffü":       `$'\377ü'`,
		"~":           "'~'",
		"#":           "'#'",
	} {
		require.Equal(t, want, shellQuoted(word), "%q", word)
	}
}

// TestNobodySpeaksInOurName is about texts that plugins make up.
func TestNobodySpeaksInOurName(t *testing.T) {
	require.Equal(t, "a\tü\n    x.wasm: ok\n    \\x1b[2J\\u202e\\r", printable("a\tü\nx.wasm: ok\n\x1b[2J\u202e\r"))
	var to bytes.Buffer
	relay{&to}.log().Warn("plugin says", "plugin", "p", "text", "hm\nerror: no")
	require.Equal(t, "warn: plugin says: hm\n    error: no\n", to.String())
}

// TestTheTranscriptInTheDocsIsWhatHappens plays it again. Times and sums of them differ each time.
func TestTheTranscriptInTheDocsIsWhatHappens(t *testing.T) {
	page, dir := readFile(t, "../../docs/PLUGINS.md"), t.TempDir()
	require.NoError(t, copyFile(filepath.Join(dir, "plugin.wasm"), ownPaths))
	require.NoError(t, copyFile(filepath.Join(dir, "cases.toml"), "../../plugins/sdk/template/cases.toml"))
	t.Chdir(dir)
	measured := regexp.MustCompile(`(?m)^(compilation|start|a call|calls|limit) .*`)
	number := regexp.MustCompile(`[0-9][0-9_.e-]*(ns|µs|ms|s)?`)
	steady := func(text string) string {
		return measured.ReplaceAllStringFunc(text, func(line string) string { return number.ReplaceAllString(line, "#") })
	}
	commands := strings.Split(between(t, page, "```console\n$ ", "```"), "\n$ ")
	require.Len(t, commands, 4)
	for _, c := range commands {
		command, want, _ := strings.Cut(c, "\n")
		args := strings.Fields(command)[1:]
		if args[1] == "bench" {
			args = append(args, "--for", "20ms")
		}
		got := runCommand(args...)
		require.Empty(t, got.stderr, command)
		require.Equal(t, steady(strings.TrimSuffix(want, "\n")), steady(strings.TrimSuffix(got.stdout, "\n")), command)
	}
}

// TestHelpOfPluginNewNamesAllLanguages also looks at the page for authors.
func TestHelpOfPluginNewNamesAllLanguages(t *testing.T) {
	page := readFile(t, "../../docs/PLUGINS.md")
	for _, language := range sdk.ProjectLanguages() {
		require.Regexp(t, `\b`+language+`\b`, helpTexts["plugin new"])
		require.Contains(t, page, "`"+language+"`")
	}
}

// hookless is a module without hooks:
//
//	(module (memory (export "memory") 2)
//	  (func (export "locktopus_abi_1") (result i32) (i32.const 0))
//	  (func (export "locktopus_buffer") (param i32) (result i32) (i32.const 1024)))
const hookless = "0061736d01000000010a026000017f60017f017f03030200010503010002072f03066d656d6f727902000f6c6f636b74" +
	"6f7075735f6162695f310000106c6f636b746f7075735f62756666657200010a0c02040041000b05004180080b"

func TestThereMustBeAHook(t *testing.T) {
	wasm, err := hex.DecodeString(hookless)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "x.wasm")
	require.NoError(t, os.WriteFile(file, wasm, 0o600))
	got := runCommand("plugin", "check", file)
	require.Equal(t, exitFailed, got.code)
	require.Equal(t, file+": it exports no hook, so there is nothing to ask it: export locktopus_authenticate, locktopus_authorize or locktopus_normalize\n", got.stderr)
	require.Empty(t, got.stdout)
}
