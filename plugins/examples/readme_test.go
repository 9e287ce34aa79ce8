package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/example"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

// folders are those of all examples.
func folders(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	require.NotEmpty(t, names)
	return names
}

// program is the folder of the program locktopus, made once.
var program = sync.OnceValues(func() (string, error) {
	name := "locktopus"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	dir := filepath.Join(compiled, "bin")
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), "../../cmd/locktopus").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return dir, nil
})

// TestReadmesAreRight goes through the README of each example: its configuration is one, its command builds
// the plugin, and its transcript is what happens then.
func TestReadmesAreRight(t *testing.T) {
	for _, folder := range folders(t) {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			x := example.Read(t, folder)
			mayBeLeftOut(t, x)
			if !x.CanMake() {
				return
			}
			module := x.Make(t)
			wasm, err := os.ReadFile(module)
			require.NoError(t, err)
			if strings.HasPrefix(folder, "smallest-") {
				require.NoError(t, conformance.Smallest(t.Context(), wasm))
			}
			dir := filepath.Dir(module)
			require.NoError(t, os.CopyFS(dir, os.DirFS(folder)))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(x.ConfigOf(t, module)), 0o600))
			for _, try := range append(x.Tries, example.Try{Command: "locktopus config check config.toml", Output: "config.toml: ok\n"}) {
				require.Equal(t, try.Output, prints(t, dir, try.Command), "$ %s", try.Command)
			}
		})
	}
}

var leftOut = regexp.MustCompile(`(?s)# These may be left out; this is what they are then\.\n.*?(\n\n|$)`)

// mayBeLeftOut leaves out the settings of which the configuration says so.
func mayBeLeftOut(t *testing.T, x *example.Plugin) {
	t.Helper()
	require.Equal(t, plugins(t, x.Config), plugins(t, leftOut.ReplaceAllString(x.Config, "")), x.Config)
}

// prints is what a command prints in a folder, from which the program can be called.
func prints(t *testing.T, dir, command string) string {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LOCKTOPUS_") })
	cmd.Env = append(cmd.Env, "PATH="+path+string(os.PathListSeparator)+os.Getenv("PATH"), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	said, err := cmd.CombinedOutput()
	if err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError), command)
	}
	return string(said)
}

func plugins(t testing.TB, text string) []config.Plugin {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	loaded, err := config.Load(config.Input{Path: file})
	require.NoError(t, err, text)
	require.NotEmpty(t, loaded.Config.Plugins, text)
	return loaded.Config.Plugins
}

func TestReadmeNamesAllExamples(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, folder := range folders(t) {
		require.Contains(t, string(text), "]("+folder+")")
	}
}
