package wire

import (
	"bytes"
	"errors"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// seeds are messages with something to them; the committed corpora under testdata hold more.
var seeds = []string{
	twoResources,
	`{"action":"release"}`,
	` { "resources" : [ { "path" : [ ] , "type" : "W" } ] , "action" : "lock" } `,
	`{"action":"lock","resources":[{"type":"READ","path":["a","","\u00e9","é","\ud83d\ude00","\"\\\/\b\f\n\r\t"]}],"x":{"y":[1,-2.5e+3,true,false,null]}}`,
	`{"act\u0069on":"\u006cock","resources":[{"\u0074ype":"r","path":["\ufffd","�"],"more":[[]]}]}`,
	`{"action":"lock","action":"release","resources":[]}`,
	`{"action":"lock","resources":[{"type":"w","path":["\ud800"]},{"type":"r","path":["\u0000"]}]}`,
	`{"action":"release","resources":7,"":{"":{"":[[[["\ud800\\"]]]]}}}`,
	`{"action":"lock","resources":[{"type":"w","path":["a"]}],}`,
	`{"action":"lock","resources":[{"type":"w","path":"a"}]}`,
	`[1,2,{"a":NaN}]`, `"\u12"`, `{"a":01}`, "{\"\x01\":0}", "\xff", "", "nul", `{"a":tru}`,
}

// What a new parser may allocate for a message: so much for each of its bytes, and so much at once. The
// most is taken by many small values in unusual shapes, which fastjson makes a tree of.
const (
	fuzzBytesEach = 200
	fuzzBytes     = 4 << 10
)

// FuzzV1 asserts of any message: no panic, no memory out of proportion; agreement with the oracle; what
// parses prints canonically and parses again to the same; what doesn't, has an error fit to be sent.
func FuzzV1(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p, q V1Parser
		want, wantErr := oracle(msg)
		var got V1Request
		var err error
		seen := bytes.Clone(msg)
		took := allocated(func() { got, err = p.Parse(seen) })
		require.LessOrEqual(t, took, uint64(fuzzBytesEach*len(msg)+fuzzBytes), "message %q", msg)
		require.Equal(t, wantErr == nil, err == nil, "message %q\noracle: %v\nparser: %v", msg, wantErr, err)
		if err != nil {
			require.False(t, errors.Is(err, errDisagree), "message %q", msg)
			requireFit(t, err)
			return
		}
		requireSame(t, msg, want, got)
		canonical := AppendV1Request(nil, got)
		again, err := q.Parse(bytes.Clone(canonical))
		require.NoError(t, err, "canonical %q", canonical)
		requireSame(t, canonical, got, again)
		require.Equal(t, string(canonical), string(AppendV1Request(nil, again)), "printed twice")
	})
}

// FuzzScannerAgreesWithFastjson asserts that what the scanner takes, the general way takes to the
// same result, and that a refusal by the scanner leaves the message as it was.
func FuzzScannerAgreesWithFastjson(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p, q V1Parser
		seen := bytes.Clone(msg)
		scanned, ok := p.scan(seen)
		require.Equal(t, string(msg), string(seen), "the scanner wrote into the message")
		if !ok {
			return
		}
		parsed, err := q.parse(bytes.Clone(msg))
		require.NoError(t, err, "message %q", msg)
		requireSame(t, msg, parsed, scanned)
	})
}

// requireSame compares requests; no path and an empty one are the same.
func requireSame(t *testing.T, msg []byte, want, got V1Request) {
	t.Helper()
	require.Equal(t, want.Action, got.Action, "message %q", msg)
	require.Len(t, got.Resources, len(want.Resources), "message %q", msg)
	for i, w := range want.Resources {
		g := got.Resources[i]
		require.Equal(t, w.Type, g.Type, "message %q, resource %d", msg, i)
		require.Len(t, g.Path, len(w.Path), "message %q, resource %d", msg, i)
		for j := range w.Path {
			require.Equal(t, string(w.Path[j]), string(g.Path[j]), "message %q, resource %d", msg, i)
		}
	}
}

// requireFit asserts that an error can be sent as a text frame and be shown to a person.
func requireFit(t *testing.T, err error) {
	t.Helper()
	text := AppendV1Error(nil, err)
	require.True(t, utf8.Valid(text), "%q", text)
	require.LessOrEqual(t, len(text), V1ErrorBytes)
	require.NotEqual(t, v1ErrorPrefix, string(text))
	for _, r := range string(text) {
		require.False(t, unicode.IsControl(r), "%q", text)
	}
}
