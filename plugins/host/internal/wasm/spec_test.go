package wasm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"
)

// specDir is where the module cache holds the specification's test scripts, compiled.
func specDir(t testing.TB) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	require.NoError(t, err)
	return filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest")
}

// A script is one of the specification's test scripts, as wast2json makes it.
type script struct {
	Commands []struct {
		Type     string
		Line     int
		Name     string // of a module, for later commands
		Filename string
		As       string // what a module is registered as
		Action   struct {
			Type   string
			Module string
			Field  string
			Args   []scriptValue
		}
	}
}

type scriptValue struct {
	Type     string
	LaneType string `json:"lane_type"`
	Value    any
}

// stack is the value as it lies on wazero's stack.
func (v scriptValue) stack(t testing.TB) []uint64 {
	if lanes, ok := v.Value.([]any); ok {
		all := make([]uint64, 2)
		width := 128 / len(lanes)
		for i, l := range lanes {
			all[i*width/64] |= parse(t, l.(string), width) << (i * width % 64)
		}
		return all
	}
	if v.Value == nil || v.Value == "null" {
		return []uint64{0}
	}
	bits := 64
	if strings.Contains(v.Type, "32") {
		bits = 32
	}
	return []uint64{parse(t, v.Value.(string), bits)}
}

func parse(t testing.TB, s string, bits int) uint64 {
	if strings.HasPrefix(s, "-") {
		n, err := strconv.ParseInt(s, 10, bits)
		require.NoError(t, err)
		return uint64(n) & (1<<bits - 1)
	}
	n, err := strconv.ParseUint(s, 10, bits)
	require.NoError(t, err)
	return n
}

// registered is the name under which later commands import the module of a command; wazero wants to know it at once.
func (s script) registered(module int) string {
	name, last := s.Commands[module].Name, true
	for _, c := range s.Commands[module+1:] {
		last = last && c.Type != "module"
		if c.Type == "register" && (c.Name == "" && last || c.Name != "" && c.Name == name) {
			return c.As
		}
	}
	return ""
}

// A specRun runs scripts with modules as they are and, side by side, metered.
type specRun struct {
	t              *testing.T
	dir            string
	plain, metered *host
	pairs          map[string]pair
	last           pair
	modules        int
	refused        map[string]int
	actions        int
	traps          int
	skipped        int
	bad            int
}

// A pair is a module as it is, and metered. The second may be nil.
type pair struct{ plain, metered api.Module }

// TestSpecification runs the specification's test scripts: whatever a module does, it does metered too.
func TestSpecification(t *testing.T) {
	t.Parallel()
	r := &specRun{t: t, refused: map[string]int{}}
	for _, version := range []string{"v1", "v2"} {
		r.dir = filepath.Join(specDir(t), version, "testdata")
		scripts, err := filepath.Glob(filepath.Join(r.dir, "*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, scripts)
		for _, path := range scripts {
			r.run(path)
		}
	}
	t.Logf("%d modules, %d actions, %d of them traps, %d skipped, %d bad modules, refused: %v", r.modules, r.actions, r.traps,
		r.skipped, r.bad, r.refused)
}

func (r *specRun) run(path string) {
	text, err := os.ReadFile(path)
	require.NoError(r.t, err)
	var s script
	require.NoError(r.t, json.Unmarshal(text, &s))
	spectest, err := os.ReadFile(filepath.Join(r.dir, "../../testdata/spectest.wasm"))
	require.NoError(r.t, err)
	r.plain, r.metered = newHost(r.t), newHost(r.t)
	r.pairs, r.last = map[string]pair{}, pair{}
	_, err = r.plain.load(spectest, "spectest")
	require.NoError(r.t, err)
	_, err = r.metered.load(metered(r.t, spectest), "spectest")
	require.NoError(r.t, err)
	for i, c := range s.Commands {
		at := fmt.Sprintf("%s:%d", filepath.Base(path), c.Line)
		switch c.Type {
		case "module":
			r.last = r.module(c.Filename, s.registered(i), at)
			r.pairs[c.Name] = r.last
		case "assert_return", "action", "assert_trap", "assert_exhaustion":
			p := r.last
			if c.Action.Module != "" {
				p = r.pairs[c.Action.Module]
			}
			var args []uint64
			for _, a := range c.Action.Args {
				args = append(args, a.stack(r.t)...)
			}
			if c.Action.Type == "invoke" {
				r.invoke(p, c.Action.Field, args, c.Type, at)
			}
		case "assert_malformed", "assert_invalid":
			if strings.HasSuffix(c.Filename, ".wasm") && strings.Contains(r.dir, "v2") {
				r.badModule(c.Filename, at)
			}
		}
	}
}

func (r *specRun) module(file, name, at string) pair {
	bin, err := os.ReadFile(filepath.Join(r.dir, file))
	require.NoError(r.t, err)
	r.modules++
	var p pair
	p.plain, err = r.plain.load(bin, name)
	require.NoError(r.t, err, at)
	m, err := Check(bin, Limits{})
	if err != nil {
		r.refused[err.Error()]++
		for name, shared := range r.pairs { // it may have changed what others share with it
			shared.metered = nil
			r.pairs[name] = shared
		}
		return p
	}
	out, _, err := m.Meter(metering)
	require.NoError(r.t, err, at)
	requireHeights(r.t, m)
	requireBounded(r.t, out)
	p.metered, err = r.metered.load(out, name)
	if err != nil {
		r.refused["metered: "+at+err.Error()]++
	}
	return p
}

func (r *specRun) invoke(p pair, name string, args []uint64, typ, at string) {
	ctx := context.Background()
	if p.metered == nil {
		_, _ = p.plain.ExportedFunction(name).Call(ctx, args...) // others may see what it does
		r.skipped++
		return
	}
	r.actions++
	want, wantErr := p.plain.ExportedFunction(name).Call(ctx, args...)
	p.metered.ExportedGlobal(metering.FuelExport).(api.MutableGlobal).Set(Fill(metering.Slice))
	got, gotErr := p.metered.ExportedFunction(name).Call(ctx, args...)
	if wantErr == nil {
		require.NoError(r.t, gotErr, at)
		require.Equal(r.t, want, got, at)
		return
	}
	r.traps++
	require.Error(r.t, gotErr, at)
	if typ == "assert_exhaustion" {
		require.ErrorIs(r.t, gotErr, errDeep, at) // before the runtime notices
		return
	}
	require.Equal(r.t, trap(wantErr), trap(gotErr), at)
}

func (r *specRun) badModule(file, at string) {
	r.bad++
	bin, err := os.ReadFile(filepath.Join(r.dir, file))
	require.NoError(r.t, err)
	m, err := Check(bin, Limits{})
	if err != nil {
		return
	}
	_, err = r.plain.CompileModule(context.Background(), bin)
	require.Error(r.t, err, at)
	_, _, _ = m.Meter(metering)
}
