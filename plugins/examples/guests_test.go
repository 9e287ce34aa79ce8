package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// compiled is where the host keeps compiled modules for all tests.
var compiled string

func TestMain(m *testing.M) {
	var err error
	if compiled, err = os.MkdirTemp("", "locktopus-examples-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(compiled)
	os.Exit(code)
}

// patient are limits that hold on a machine that is busy with other things.
var patient = host.Limits{Call: 10 * time.Second, Init: time.Minute}

// load makes a gate with one plugin; config is a JSON object, or nothing.
func load(t testing.TB, wasm []byte, hooks host.Hooks, config string) (*host.Gate, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plugin.wasm")
	require.NoError(t, os.WriteFile(file, wasm, 0o600))
	gate := host.New(host.Options{CacheDir: compiled})
	t.Cleanup(gate.Close)
	spec := host.Spec{Name: "plugin", Path: file, Hooks: hooks, Limits: patient}
	if config != "" {
		spec.Config = []byte(config)
	}
	return gate, gate.Load([]host.Spec{spec})
}

// loaded asks the plugin of a gate that must load.
func loaded(t testing.TB, wasm []byte, hooks host.Hooks, config string) *host.Caller {
	t.Helper()
	gate, err := load(t, wasm, hooks, config)
	require.NoError(t, err, config)
	return gate.Caller()
}

// fault is what the plugin says about a configuration that it must refuse.
func fault(t testing.TB, wasm []byte, hooks host.Hooks, config string) string {
	t.Helper()
	_, err := load(t, wasm, hooks, config)
	require.Error(t, err, config)
	_, said, found := strings.Cut(err.Error(), "locktopus_init refused the configuration: ")
	require.True(t, found, "%v\n%s", err, config)
	return said
}

// path reads "a/b"; "" is the empty path.
func path(text string) (p [][]byte) {
	if text == "" {
		return nil
	}
	for s := range strings.SplitSeq(text, "/") {
		p = append(p, []byte(s))
	}
	return p
}

// pathText is the reverse of path.
func pathText(p [][]byte) string {
	var texts []string
	for _, s := range p {
		texts = append(texts, string(s))
	}
	return strings.Join(texts, "/")
}

var modes = map[string]host.Mode{"read": host.Read, "write": host.Write, "permit": host.Permit, "odd": 3}

// resources reads "write a/b, read c".
func resources(t testing.TB, text string) (rs []host.Resource) {
	t.Helper()
	for part := range strings.SplitSeq(text, ", ") {
		mode, where, _ := strings.Cut(part, " ")
		require.Contains(t, modes, mode, text)
		rs = append(rs, host.Resource{Mode: modes[mode], Path: path(where)})
	}
	return rs
}
