package wire

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

const twoResourcesV2 = `{"op":"lock","id":7,"resources":[{"type":"write","path":["group_x","entity_a"]},{"type":"read","path":["group_y"]}]}`

// seedsV2 are messages with something to them.
var seedsV2 = []string{
	twoResourcesV2,
	`{"op":"hello"}`,
	`{"op":"hello","ttl_ms":15000,"name":"worker-7","credentials":{"authorization":"Bearer x","":"\u00e9"}}`,
	`{"op":"hello","resume":{"session":"s","secret":"t","event":12},"credentials":{"a":"1","\u0061":"2"}}`,
	`{"op":"lock","id":9007199254740991,"resources":[{"type":"p","path":["p"],"limit":3,"weight":2},{"type":"R","path":[]}],"wait_ms":0,"lease_ms":30000,"note":"deploy 12","leave":true}`,
	`{"op":"lock","id":1,"resources":[{"type":"permit","path":["\ud83d\ude00"],"limit":4294967295}],"leave":false}`,
	`{"op":"release","id":8,"lock":7}`,
	`{"op":"renew","id":9}`,
	`{"op":"renew","id":9,"lock":7,"lease_ms":60000}`,
	`{"op":"renew","id":9,"lease_ms":60000}`,
	`{"op":"upgrade","id":9,"lock":7,"wait_ms":100}`,
	`{"op":"downgrade","id":10,"lock":7,"note":5}`,
	`{"op":"locks","id":10,"after":"7"}`,
	`{"op":"inspect","id":11,"path":["a"],"limit":100,"after":"41"}`,
	`{"op":"watch","id":12,"path":["a",""]}`,
	`{"op":"unwatch","id":13,"watch":12}`,
	` { "id" : 14 , "op" : "bye" } `,
	`{"op":"bye","id":1.0}`, `{"op":"bye","id":01}`, `{"op":"bye","id":-1}`, `{"op":"bye","id":"1"}`, `{"op":"bye","id":1e3}`,
	`{"op":"bye","id":1,"note":"\u0000","resources":[{"path":["\ud800"]}]}`,
	`{"op":"bye","id":1,"watch":1,"watch":1}`,
}

// FuzzV2 asserts of any message what FuzzV1 does.
func FuzzV2(f *testing.F) {
	for _, s := range append(seedsV2, seeds...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p, q V2Parser
		requireAgreed(t, &p, &q, msg)
	})
}

// requireAgreed parses a message both ways and by the oracle, and what is printed again.
func requireAgreed(t *testing.T, p, q *V2Parser, msg []byte) (valid bool) {
	t.Helper()
	want, wantErr := oracleV2(msg)
	got, err := p.Parse(bytes.Clone(msg))
	require.Equal(t, wantErr == nil, err == nil, "message %q\noracle: %v\nparser: %v", msg, wantErr, err)
	again, againErr := q.parse(bytes.Clone(msg))
	require.Equal(t, err, againErr, "the two ways differ on %q", msg)
	if err != nil {
		require.NotErrorIs(t, err, errDisagree, "message %q", msg)
		requireFit(t, err)
		return false
	}
	requireSameV2(t, msg, want, got)
	requireSameV2(t, msg, want, again)
	canonical := AppendV2Request(nil, got)
	again, err = q.Parse(bytes.Clone(canonical))
	require.NoError(t, err, "canonical %q", canonical)
	requireSameV2(t, canonical, got, again)
	require.Equal(t, string(canonical), string(AppendV2Request(nil, again)), "printed twice")
	return true
}

// FuzzV2Scanner asserts that a refusal by the scanner leaves the message as it was.
func FuzzV2Scanner(f *testing.F) {
	for _, s := range seedsV2 {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p, q V2Parser
		seen := bytes.Clone(msg)
		scanned, ok := p.scan(seen)
		require.Equal(t, string(msg), string(seen), "the scanner wrote into the message")
		if !ok {
			return
		}
		parsed, err := q.parse(bytes.Clone(msg))
		require.NoError(t, err, "message %q", msg)
		requireSameV2(t, msg, parsed, scanned)
	})
}

// FuzzV2Text asserts that whatever is said is printed as JSON and read back as what it was, but for
// bytes that aren't UTF-8.
func FuzzV2Text(f *testing.F) {
	f.Add([]byte("a\x00\"\\\n\xff\u2028\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got string
		printed := appendText(nil, b)
		require.NoError(t, json.Unmarshal(printed, &got), "%q", printed)
		require.Equal(t, string([]rune(string(b))), got)
	})
}

// requireSameV2 compares requests; no text and an empty one are the same, and so with lists.
func requireSameV2(t *testing.T, msg []byte, want, got V2Request) {
	t.Helper()
	requireSame(t, msg, V1Request{Resources: want.Resources}, V1Request{Resources: got.Resources})
	for i := range want.Resources {
		require.Equal(t, want.Resources[i].Limit, got.Resources[i].Limit, "message %q", msg)
		require.Equal(t, want.Resources[i].Weight, got.Resources[i].Weight, "message %q", msg)
	}
	requireSame(t, msg, V1Request{Resources: []Resource{{Path: want.Path}}}, V1Request{Resources: []Resource{{Path: got.Path}}})
	require.Equal(t, string(want.Note), string(got.Note), "message %q", msg)
	require.Equal(t, want.Hello == nil, got.Hello == nil, "message %q", msg)
	if want.Hello != nil {
		requireSameGreeting(t, msg, *want.Hello, *got.Hello)
	}
	for _, r := range []*V2Request{&want, &got} {
		r.Resources, r.Path, r.Note, r.Hello = nil, nil, nil, nil
	}
	require.Equal(t, want, got, "message %q", msg)
}

func requireSameGreeting(t *testing.T, msg []byte, want, got V2Greeting) {
	t.Helper()
	require.Len(t, got.Credentials, len(want.Credentials), "message %q", msg)
	for i, w := range want.Credentials {
		require.Equal(t, string(w.Name), string(got.Credentials[i].Name), "message %q", msg)
		require.Equal(t, string(w.Value), string(got.Credentials[i].Value), "message %q", msg)
	}
	require.Equal(t, string(want.Name), string(got.Name), "message %q", msg)
	require.Equal(t, string(want.Session), string(got.Session), "message %q", msg)
	require.Equal(t, string(want.Secret), string(got.Secret), "message %q", msg)
	for _, g := range []*V2Greeting{&want, &got} {
		g.Credentials, g.Name, g.Session, g.Secret = nil, nil, nil, nil
	}
	require.Equal(t, want, got, "message %q", msg)
}
