package host

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/example"
)

// eachExample does something with every example that can be made here: made and configured as its README says,
// with patient limits. With the build tag "toolchains" that is all of them.
func eachExample(t testing.TB, do func(name string, spec Spec)) {
	t.Helper()
	folders, err := filepath.Glob("../examples/*/README.md")
	require.NoError(t, err)
	made := 0
	for _, readme := range folders {
		x := example.Read(t, filepath.Dir(readme))
		if !x.CanMake() {
			continue
		}
		made++
		do(filepath.Base(x.Dir), exampleSpec(t, x))
	}
	require.GreaterOrEqual(t, made, 2)
}

func exampleSpec(t testing.TB, x *example.Plugin) Spec {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte(x.ConfigOf(t, x.Make(t))), 0o600))
	c, err := config.Load(config.Input{Path: file})
	require.NoError(t, err)
	require.Len(t, c.Plugins, 1, x.Dir)
	p := c.Plugins[0]
	spec := Spec{Name: p.Name, Path: p.Path, Config: p.Config, Namespaces: p.Namespaces, Limits: patient}
	for _, hook := range allHooks {
		for _, name := range p.Hooks {
			if hook.name() == name {
				spec.Hooks |= hook
			}
		}
	}
	return spec
}

var quoted = regexp.MustCompile(`"([^"\n]*)"|'([^'\n]*)'`)

// words are what an example's README and cases speak of: its questions are made of these.
func words(t testing.TB, name string) []string {
	t.Helper()
	seen := map[string]bool{"": true, "alice": true, "é": true, "a\nb": true}
	for _, file := range []string{"README.md", "cases.toml"} {
		text, err := os.ReadFile(filepath.Join("../examples", name, file))
		if err != nil {
			continue // not all have cases
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			word := strings.ReplaceAll(m[1]+m[2], `\n`, "\n")
			seen[word] = true
			for _, part := range strings.FieldsFunc(word, func(r rune) bool { return strings.ContainsRune("/ =:,\n", r) }) {
				seen[part] = true
			}
		}
	}
	var all []string
	for w := range seen {
		if len(w) < 2048 {
			all = append(all, w)
		}
	}
	return all
}

// unlimited is the fuel of a guest that isn't metered.
type unlimited struct{ api.MutableGlobal }

// Get implements api.MutableGlobal.
func (unlimited) Get() uint64 { return 1 << 62 }

// Set implements api.MutableGlobal.
func (unlimited) Set(uint64) {}

// plain loads a plugin without metering it, into a gate of one instance.
func plain(t testing.TB, spec Spec) *Gate {
	t.Helper()
	g := New(Options{})
	l := loading{spec: spec.orDefaults(), options: &g.options}
	require.NoError(t, l.read())
	require.NoError(t, l.check())
	p := l.plugin()
	require.NoError(t, l.compileWith(p, l.module.Bytes, ""))
	p.slots[0].instance = plainInstance(t, p)
	g.current.Store(&generation{plugins: []*plugin{p}, hooks: p.hooks})
	t.Cleanup(g.Close)
	return g
}

func plainInstance(t testing.TB, p *plugin) *instance {
	t.Helper()
	i, err := p.instantiate()
	require.NoError(t, err)
	i.fuel = unlimited{}
	require.NoError(t, i.prepare())
	return i
}
