package main

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// ask writes a question about paths, with "/" between their segments, where the server does.
func ask(paths ...string) (n uint32) {
	const header, entry = 64, 12
	buffer := locktopus.NewRequest(65536).Bytes()
	clear(buffer[:header+len(paths)*entry])
	le := binary.LittleEndian
	le.PutUint32(buffer[52:], uint32(len(paths)))
	le.PutUint32(buffer[56:], header)
	le.PutUint32(buffer[60:], entry)
	at := header + len(paths)*entry
	for i, text := range paths {
		var path locktopus.Path
		if text != "" {
			path = joined(strings.Split(text, "/"))
		}
		le.PutUint32(buffer[header+i*entry+4:], uint32(at))
		le.PutUint32(buffer[header+i*entry+8:], uint32(len(path)))
		at += copy(buffer[at:], path)
	}
	return uint32(at)
}

// initialized puts the configuration where the server does.
func initialized(t testing.TB, config string) {
	t.Helper()
	n := copy(locktopus.NewRequest(65536).Bytes(), config)
	require.Equal(t, locktopus.StatusAllow, initialize(uint32(n)).Status())
}

func TestRequestsAreRewrittenOnlyIfTheyMustBe(t *testing.T) {
	initialized(t, `{"fold_case": true, "trim_spaces": true, "drop_empty": true, "aliases": {"home": "users"}}`)
	for text, want := range map[string]locktopus.Status{
		"":                               locktopus.StatusAllow,
		"users/alice":                    locktopus.StatusAllow,
		"users/ü/中":                      locktopus.StatusAllow,
		"users/\u0939\u093f":             locktopus.StatusAllow, // which a closer look is needed for
		"users/ u":                       locktopus.StatusRewritten,
		"users/A":                        locktopus.StatusRewritten,
		"users/Ü":                        locktopus.StatusRewritten,
		"users/u\u0308":                  locktopus.StatusRewritten,
		"users//b":                       locktopus.StatusRewritten,
		"home":                           locktopus.StatusRewritten,
		"homes":                          locktopus.StatusAllow,
		" / ":                            locktopus.StatusDeny,
		strings.Repeat("a/", 1024) + "b": locktopus.StatusDeny,
	} {
		require.Equal(t, want, normalize(ask("users", text, "x/y")).Status(), text)
	}
	require.Equal(t, locktopus.StatusAllow, normalize(ask()).Status())
}

func TestDenialsSayWhereAndWhy(t *testing.T) {
	initialized(t, `{"segment_bytes": 4}`)
	require.Equal(t, locktopus.StatusDeny, normalize(ask("a", "b", "c//d")).Status())
	require.Equal(t, "resources[2]: segment 1: it is empty", string(reason))
	require.Equal(t, locktopus.StatusDeny, normalize(ask(strings.Repeat("a/", 1024)+"Ä")).Status())
	require.Equal(t, "resources[0]: the path is too long", string(reason))
	initialized(t, `{"drop_empty": true}`)
	require.Equal(t, locktopus.StatusDeny, normalize(ask("a", "/")).Status())
	require.Equal(t, "resources[1]: nothing is left of the path", string(reason))
}

// TestAnAnswerHasItsLimit asks for what fits into a question, and not into an answer.
func TestAnAnswerHasItsLimit(t *testing.T) {
	initialized(t, `{"aliases": {"a": "`+strings.Repeat("b", 1000)+`"}}`)
	fits := make([]string, 65)
	for i := range fits {
		fits[i] = "a"
	}
	require.Equal(t, locktopus.StatusRewritten, normalize(ask(fits...)).Status())
	require.Equal(t, locktopus.StatusDeny, normalize(ask(append(fits, "a")...)).Status())
	require.Equal(t, "resources[65]: the path is too long", string(reason))
}

func TestFaultyConfigurationsAreRefused(t *testing.T) {
	n := copy(locktopus.NewRequest(65536).Bytes(), `{"nfc": 1}`)
	require.Equal(t, locktopus.StatusFault, initialize(uint32(n)).Status())
	require.Equal(t, locktopus.StatusAllow, initialize(0).Status())
}

// TestCallsDoNotAllocate is what keeps the collector of garbage asleep.
func TestCallsDoNotAllocate(t *testing.T) {
	initialized(t, `{"fold_case": true, "trim_spaces": true, "aliases": {"home": "users"}}`)
	for _, text := range []string{"users/alice", "Users/Ä", "home/u\u0308/각", "a//b", "क\u093f"} {
		n := ask("a/b", text)
		normalize(n) // has the memory grow
		require.Zero(t, testing.AllocsPerRun(100, func() { normalize(n) }), text)
	}
}
