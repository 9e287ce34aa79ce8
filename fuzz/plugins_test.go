package fuzz

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// FuzzPluginModules has a server load any file. It is refused with a reason, or can be asked, within its
// limits; neither takes memory out of proportion.
func FuzzPluginModules(f *testing.F) {
	for _, m := range hostile.Modules() {
		if bin := m.Make(); len(bin) < 1000 {
			f.Add(bin)
		}
	}
	f.Add(hostile.Good.Module())
	f.Add(hostile.Guest)
	path := filepath.Join(f.TempDir(), "plugin.wasm")
	limits := host.Limits{MemoryBytes: 1 << 20, Call: time.Millisecond, Init: 10 * time.Millisecond}
	f.Fuzz(func(t *testing.T, module []byte) {
		require.NoError(t, os.WriteFile(path, module, 0o600))
		g := host.New(host.Options{Instances: 1})
		defer g.Close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := g.Load([]host.Spec{{Name: "any", Path: path, Hooks: host.Authorize, Limits: limits}})
		runtime.ReadMemStats(&after)
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(1000*len(module)+32<<20), "%d bytes", len(module))
		if err != nil {
			require.ErrorContains(t, err, `plugin "any": `)
			require.Empty(t, g.Stats())
			return
		}
		c := g.Caller()
		for range 3 {
			v := c.Judge(&host.Request{Namespace: "n", Identity: &host.Identity{Principal: "p"}, Operation: host.Lock})
			require.Contains(t, []host.Outcome{host.Allowed, host.Denied, host.Failed}, v.Outcome)
			require.True(t, utf8.Valid(v.Reason) && len(v.Reason) <= 256, "%q", v.Reason)
		}
	})
}
