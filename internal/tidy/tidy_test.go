package tidy

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "github.com/locktopus-project/locktopus/v2"
)

// imports is the plan of the house: what each package may import besides the standard library.
// Arrows point one way, from cmd to the leaves. A package that isn't listed fails, so that a new
// folder gets a thought before it gets a file.
var imports = map[string][]string{
	"":                  {},
	"engine":            {},
	"engine/enginetest": {"engine"},
	"wsnet":             {"github.com/gobwas/ws", "golang.org/x/sys/unix"},
	"internal/wire":     {"github.com/valyala/fastjson"},
	"internal/session":  {"engine", "internal/wire"},
	"internal/fence":    {"golang.org/x/sys/unix", "golang.org/x/sys/windows"},
	"internal/config":   {"", "github.com/BurntSushi/toml"},
	"internal/server":   {"engine", "wsnet", "internal/wire", "internal/fence", "internal/session", "plugins/host"},
	"internal/admin":    {"engine", "internal/server", "internal/session"},
	"client":            {"github.com/coder/websocket", "golang.org/x/sys/unix"},
	"client/quorum":     {"client"},
	"plugins/host": {
		"plugins/host/internal/wasm", "golang.org/x/sys/unix", "github.com/tetratelabs/wazero",
		"github.com/tetratelabs/wazero/api", "github.com/tetratelabs/wazero/experimental",
	},
	"plugins/host/internal/wasm": {},
	"plugins/internal/build":     {"internal/example"},
	"plugins/sdk":                {},
	"plugins/sdk/go":             {},
	"plugins/sdk/go/conformance": {"plugins/sdk/go"},
	"plugins/sdk/go/strictjson":  {},
	"plugins/sdk/conformance": {
		"github.com/tetratelabs/wazero", "github.com/tetratelabs/wazero/api", "github.com/tetratelabs/wazero/experimental",
		"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1", "github.com/tetratelabs/wazero/sys",
		"github.com/BurntSushi/toml",
	},
	"plugins/sdk/conformance/conform": {"plugins/sdk/conformance"},
	"plugins/examples":                {},
	"plugins/examples/jwt":            {"plugins/sdk/go", "plugins/sdk/go/strictjson"},
	"plugins/examples/mtls":           {"plugins/sdk/go", "plugins/sdk/go/strictjson"},
	"plugins/examples/normalize":      {"plugins/sdk/go", "plugins/sdk/go/strictjson", "golang.org/x/text/unicode/norm"},
	"plugins/examples/smallest-go":    {"plugins/sdk/go"},
	"internal/tidy":                   {},
	"internal/hostile":                {},
	"internal/testseed":               {},
	"internal/testserver":             {"internal/fence", "internal/server", "internal/session", "wsnet"},
	"internal/example":                {},
	"internal/e2e":                    {},
	"internal/oracle":                 {},
	"internal/histories":              {"internal/oracle", "github.com/anishathalye/porcupine"},
	"bench": {
		"bench/internal/report", "engine", "wsnet", "golang.org/x/sys/unix", "github.com/HdrHistogram/hdrhistogram-go",
	},
	"bench/internal/report": {"github.com/HdrHistogram/hdrhistogram-go", "golang.org/x/perf/benchmath"},
	"bench/plugin-go":       {"plugins/sdk/go"},
	"fuzz":                  {},
	"fuzz/probe":            {"internal/oracle", "internal/wire", "github.com/gobwas/ws"},
	"fuzz/cmd/protocol":     {"fuzz/probe"},
	"fuzz/internal/world":   {"engine", "fuzz/probe", "internal/fence", "internal/server", "internal/session", "wsnet"},
	"cmd/locktopus": {
		"client", "internal/admin", "internal/server", "internal/session", "internal/config", "internal/fence", "engine", "wsnet",
		"plugins/host", "plugins/sdk",
		"github.com/coreos/go-systemd/v22/activation", "github.com/coreos/go-systemd/v22/daemon",
		"github.com/BurntSushi/toml", "golang.org/x/sys/unix",
	},
}

// TestImportsFollowTheTable looks at every file, whatever system it is for.
func TestImportsFollowTheTable(t *testing.T) {
	for _, p := range packages(t) {
		allowed, listed := imports[p.dir]
		require.True(t, listed, "package %q is not in the table of imports", p.dir)
		for _, imp := range p.imports {
			short, ours := strings.CutPrefix(imp, module)
			if ours {
				imp = strings.TrimPrefix(short, "/")
			} else if !strings.Contains(strings.Split(imp, "/")[0], ".") {
				continue // the standard library
			}
			require.Contains(t, allowed, imp, "package %q must not import %q", p.dir, imp)
		}
	}
}

type pkg struct {
	dir     string
	imports []string
}

// packages lists the imports of every package's own files on all systems we build for.
func packages(t *testing.T) []pkg {
	found := map[string][]string{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		out, err := cmd.Output()
		require.NoError(t, err, "%s", out)
		for dec := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				ImportPath string
				Imports    []string
			}
			err := dec.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			dir := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
			found[dir] = append(found[dir], p.Imports...)
		}
	}
	var all []pkg
	for dir, imps := range found {
		slices.Sort(imps)
		all = append(all, pkg{dir, slices.Compact(imps)})
	}
	return all
}

// Functions longer than functionLines need a reason here.
const functionLines = 70

var longFunctions = map[string]string{}

// TestFunctionsFitAScreen counts the lines of every function.
func TestFunctionsFitAScreen(t *testing.T) {
	eachFile(t, ".go", func(path string, text []byte) {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1
			if _, excused := longFunctions[path+":"+f.Name.Name]; lines > functionLines && !excused {
				t.Errorf("%s: %s has %d lines, %d are allowed", path, f.Name.Name, lines, functionLines)
			}
		}
	})
}

// TestPackagesSayWhatTheyAre looks for a package comment in every package.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	said := map[string]bool{}
	eachFile(t, ".go", func(path string, text []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.PackageClauseOnly|parser.ParseComments)
		require.NoError(t, err)
		dir := filepath.Dir(path)
		said[dir] = said[dir] || file.Doc != nil
	})
	for dir, ok := range said {
		require.True(t, ok, "package %s has no package comment", dir)
	}
}

// bans are words that may not stand in the tree, with the files they are looked for in and why.
var bans = []struct {
	in    *regexp.Regexp
	word  *regexp.Regexp
	why   string
	allow []string // files
}{
	{regexp.MustCompile(`\.go$`), regexp.MustCompile(`\bencoding/gob\b|\bunsafe\.Slice\b|\breflect\.SliceHeader\b`), "no such magic here", nil},
	{regexp.MustCompile(`_test\.go$`), regexp.MustCompile(`\btime\.Sleep\(`), "tests wait for events, or time is passed in", nil},
	{regexp.MustCompile(`_test\.go$`), regexp.MustCompile(`\b[tb]\.Skip(f|Now)?\(`), "a test that is skipped does not exist", nil},
	{regexp.MustCompile(`\.(go|md|toml|mjs|js|ts)$`), regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`), "finish it", nil},
	{regexp.MustCompile(`\.(go|md|toml|mjs|js|ts|json)$`), regexp.MustCompile(`(^|[^\w.])/(work|root|farm)/`), "a path of somebody's machine", nil},
}

// TestNothingBannedIsWritten searches all text files for the bans.
func TestNothingBannedIsWritten(t *testing.T) {
	eachFile(t, "", func(path string, text []byte) {
		if path == "internal/tidy/tidy_test.go" {
			return
		}
		for _, b := range bans {
			if !b.in.MatchString(path) || slices.Contains(b.allow, path) {
				continue
			}
			if at := b.word.FindIndex(text); at != nil {
				line := 1 + bytes.Count(text[:at[0]], []byte("\n"))
				t.Errorf("%s:%d: %q: %s", path, line, text[at[0]:at[1]], b.why)
			}
		}
	})
}

// fuzzTarget is a fuzz target where it is written, and where the page on fuzzing has its command.
var (
	fuzzTarget  = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)
	fuzzCommand = regexp.MustCompile("`go test \\./(\\S+) -run '\\^\\$' -fuzz '\\^(Fuzz\\w+)\\$'`")
)

// TestThePageOnFuzzingListsEveryTarget of the repository, and no other.
func TestThePageOnFuzzingListsEveryTarget(t *testing.T) {
	var targets, listed []string
	eachFile(t, "_test.go", func(path string, text []byte) {
		for _, m := range fuzzTarget.FindAllSubmatch(text, -1) {
			targets = append(targets, filepath.ToSlash(filepath.Dir(path))+" "+string(m[1]))
		}
	})
	page, err := os.ReadFile(filepath.Join(root, "fuzz", "README.md"))
	require.NoError(t, err)
	for _, m := range fuzzCommand.FindAllSubmatch(page, -1) {
		listed = append(listed, string(m[1])+" "+string(m[2]))
	}
	slices.Sort(targets)
	slices.Sort(listed)
	require.Equal(t, targets, listed)
}

// quoted is text in a document that somebody is to recognize.
var quoted = regexp.MustCompile("`([^`]*)`")

// TestTheOperatorsPageQuotesWhatTheProgramSays where it says what is wrong: whoever searches it for a line of the log
// must find that.
func TestTheOperatorsPageQuotesWhatTheProgramSays(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "OPERATING.md"))
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(page), "\n## When something is wrong\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var program strings.Builder
	eachFile(t, ".go", func(path string, text []byte) {
		if !strings.HasSuffix(path, "_test.go") {
			program.Write(text)
		}
	})
	quotes := 0
	for row := range strings.Lines(section) {
		cells := strings.Split(row, "|")
		if len(cells) < 2 {
			continue
		}
		for _, q := range quoted.FindAllStringSubmatch(cells[1], -1) {
			for _, words := range strings.FieldsFunc(strings.ReplaceAll(q[1], `"NAME"`, "…"), func(r rune) bool { return r == '…' }) {
				if words = strings.TrimSpace(words); strings.Count(words, " ") < 2 {
					continue // a name
				}
				quotes++
				require.Contains(t, program.String(), words)
			}
		}
	}
	require.Greater(t, quotes, 5, "the page has other words for itself")
}

// eachFile calls f for each of the project's files with this ending.
func eachFile(t *testing.T, ending string, f func(path string, text []byte)) {
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ending) {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err == nil {
			f(path, text)
		}
		return err
	})
	require.NoError(t, err)
}
