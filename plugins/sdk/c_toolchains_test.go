//go:build toolchains

package sdk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

const guestInC = "c/conformance/guest.c"

// TestHeaderInTwoFilesOfAPlugin has the hook in one and what it asks in the other.
func TestHeaderInTwoFilesOfAPlugin(t *testing.T) {
	second := filepath.Join(t.TempDir(), "second.c")
	require.NoError(t, os.WriteFile(second, []byte(`
		#include "locktopus.h"
		lk_verdict locktopus_init(uint32_t n) { (void)n; return lk_known(lk_read_request(64).operation) ? lk_allow() : lk_allow(); }
	`), 0o600))
	wasm := build.C(t, "../examples/smallest-c/plugin.c", second, "-Ic")
	require.NoError(t, conformance.Smallest(t.Context(), wasm))
}

// mistakes are what somebody who writes an SDK may get wrong, done to the one for C. The kit has to
// find them all.
var mistakes = []struct{ right, wrong string }{
	// where things are
	{"r->table + i * r->stride", "64 + i * r->stride"},
	{"r->table + i * r->stride", "r->table + i * 12"},
	{"r->table + i * r->stride", "(r->table & ~3u) + i * r->stride"},
	{"c->table + i * c->stride", "64 + i * c->stride"},
	{"c->table + i * c->stride", "c->table + i * 20"},
	{"r.now = lk_i64_at(8)", "r.now = (int32_t)lk_u32_at(8)"},
	{"r.now = lk_i64_at(8)", "r.now = lk_u32_at(8)"},
	{"c.now = lk_i64_at(8)", "c.now = lk_u32_at(8)"},
	{"r.context = lk_ref_at(32)", "r.context = lk_ref_at(24)"},
	{"c.path = lk_ref_at(32)", "c.path = lk_ref_at(40)"},
	{"c.tls = (lk_u32_at(48) & 1) != 0", "c.tls = lk_u32_at(48) == 1"},
	{"c.verified = (lk_u32_at(48) & 2) != 0", "c.verified = lk_u32_at(48) == 3"},
	{"resource.segments = lk_u16_at(at + 2)", "resource.segments = lk_buffer[at + 2]"},
	{"resource.segments = lk_u16_at(at + 2)", "resource.segments = lk_u16_at(at + 2) & 0x7fff"},
	{"resource.mode = lk_buffer[at]", "resource.mode = lk_buffer[at] & 3"},
	{"e.kind = lk_buffer[at]", "e.kind = lk_buffer[at] & 3"},
	{"e.value = lk_ref_at(at + 12)", "e.value = lk_ref_at(at + 4)"},
	// paths
	{"if (rest->len == 0) return false;", "if (rest->len <= 1) return false;"},
	{"(prefix.at[prefix.len - 1] == 0 && lk_starts_with(path, prefix))", "lk_starts_with(path, prefix)"},
	{"return prefix.len == 0 || (", "return prefix.len != 0 && ("},
	{"path.at[segment.len] == 0 && ", ""},
	{"segment.len > 0 && path.len > segment.len", "path.len > segment.len"},
	{" &&\n           lk_find_nul(segment) == segment.len;", ";"},
	{"if (b.len < start.len) return false;", ""},
	{"a.len == b.len && lk_starts_with", "lk_starts_with"},
	{"operation >= LK_LOCK && ", ""},
	{"operation >= LK_LOCK && ", "(operation &= 0xff) >= LK_LOCK && "},
	{"operation <= LK_FORCE_RELEASE", "operation <= 5"},
	// entries
	{"e.kind == kind && lk_equal", "lk_equal"},
	{"lk_equal(e.name, name)) {", "lk_starts_with(e.name, name)) {"},
	{"lk_equal(e.name, name)) {", "lk_starts_with(name, e.name)) {"},
	// answers
	{"if (text.len > LK_TEXT_BYTES_MAX) {", "if (0) {"},
	{"while (text.len > 0 && (text.at[text.len] & 0xc0) == 0x80) text.len--;", ""},
	{"(uint64_t)code << 8 | status", "status"},
	{"(uint64_t)text.len << 16 ", "(uint64_t)(text.len & 0x7fff) << 16 "},
	{"lk_verdict_of(LK_STATUS_FAULT, 0, text)", "lk_verdict_of(LK_STATUS_DENY, 0, text)"},
	{"principal.len == 0 || ", ""},
	{"principal.len > LK_PRINCIPAL_BYTES_MAX || ", ""},
	{"principal.len > LK_PRINCIPAL_BYTES_MAX", "principal.len >= LK_PRINCIPAL_BYTES_MAX"},
	{" || context.len > LK_CONTEXT_BYTES_MAX", ""},
	{"context.len > LK_CONTEXT_BYTES_MAX", "context.len >= LK_CONTEXT_BYTES_MAX"},
	{"lk_identity_bytes, &seconds, 4)", "lk_identity_bytes, &seconds, 2)"},
	// rewritten paths
	{"if (segment.len == 0) {", "if (0) {"},
	{"} else if (lk_find_nul(segment) != segment.len) {", "} else if (0) {"},
	{"segment.len >= LK_TEXT_BYTES_MAX - w->len", "segment.len + 2 >= LK_TEXT_BYTES_MAX - w->len"},
	{"if (w->len == LK_TEXT_BYTES_MAX) {", "if (0) {"},
	{"if (w->fault.len == 0) w->fault = text;", "w->fault = text;"},
	{"if (w->fault.len > 0) return", "if (0) return"},
	{"    w.len = 0;", "    static uint32_t before; w.len = before++ % 2;"},
	// the rest
	{"lk_verdict lk_allow(void) {", "lk_verdict lk_allow(void) { static uint32_t calls; if (++calls % 4096 == 0) __builtin_wasm_memory_grow(0, 1); "},
	{"lk_host_log(level, text.at, text.len)", "lk_host_log(LK_INFO, text.at, text.len)"},
	{"LK_FORBIDDEN = 3", "LK_FORBIDDEN = 4"},
	{"size <= LK_BUFFER_BYTES ? lk_buffer : NULL", "(void)size, lk_buffer"},
	{"uint32_t locktopus_abi_1(void) { return 0; }", "uint32_t locktopus_abi_1(void) { return 1; }"},
	{"{ return lk_bytes_of(lk_buffer, n); }", "{ return lk_bytes_of(lk_buffer, n & 0x7fff); }"},
	{"LK_PARAMETER = 1, LK_FACT = 2, LK_CREDENTIAL = 3", "LK_PARAMETER = 1, LK_FACT = 2, LK_CREDENTIAL = 4"},
}

func TestKitFindsMistakes(t *testing.T) {
	header, err := os.ReadFile("c/locktopus.h")
	require.NoError(t, err)
	guest, err := os.ReadFile(guestInC)
	require.NoError(t, err)
	folder := t.TempDir()
	file := filepath.Join(folder, "conformance", "guest.c")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, guest, 0o600))
	for _, m := range mistakes {
		require.Equal(t, 1, strings.Count(string(header), m.right), m.right)
		wrong := strings.Replace(string(header), m.right, m.wrong, 1)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "locktopus.h"), []byte(wrong), 0o600))
		wasm := build.C(t, file, "-Wno-error")
		require.Error(t, conformance.Run(t.Context(), wasm), "nobody noticed %q in the place of %q", m.wrong, m.right)
	}
}
