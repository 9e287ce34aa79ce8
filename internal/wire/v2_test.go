package wire

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func lockOfV2(resources string) string {
	return `{"op":"lock","id":7,"resources":[` + resources + `]}`
}

func TestValidV2MessagesPrintCanonically(t *testing.T) {
	one := lockOfV2(`{"type":"write","path":["a","b"]}`)
	for rule, c := range map[string]struct{ msg, canonical string }{
		"canonical":                  {one, one},
		"members in any order":       {`{"resources":[{"path":["a","b"],"type":"W"}],"id":7,"op":"lock"}`, one},
		"white space anywhere":       {" { \"op\" : \"lock\" ,\n\"id\" : 7 , \"resources\" : [ { \"type\" : \"w\" , \"path\" : [ \"a\" , \"b\" ] } ] } ", one},
		"escaped names and words":    {`{"\u006fp":"\u006cock","id":7,"resources":[{"t\u0079pe":"w","path":["a","\u0062"]}]}`, one},
		"escaped name, underscore":   {`{"op":"upgrade","id":2,"lock":1,"wait\u005fms":5}`, `{"op":"upgrade","id":2,"lock":1,"wait_ms":5}`},
		"unknown members":            {`{"op":"lock","id":7,"x":[1.5e3,{}],"resources":[{"y":null,"type":"w","path":["a","b"]}]}`, one},
		"unknown members twice":      {`{"x":1,"x":2,"op":"bye","id":1}`, `{"op":"bye","id":1}`},
		"members of no use":          {`{"op":"bye","id":1,"lock":"x","resources":7,"wait_ms":-1,"note":[],"credentials":1,"limit":0}`, `{"op":"bye","id":1}`},
		"no use, for the scanner":    {`{"op":"bye","id":1,"lock":2,"wait_ms":3}`, `{"op":"bye","id":1}`},
		"a permit weighs one":        {lockOfV2(`{"type":"p","path":[],"limit":3}`), lockOfV2(`{"type":"permit","path":[],"limit":3,"weight":1}`)},
		"a permit with all":          {lockOfV2(`{"type":"PERMIT","path":["a"],"limit":4294967295,"weight":4294967295}`), lockOfV2(`{"type":"permit","path":["a"],"limit":4294967295,"weight":4294967295}`)},
		"a lock with all":            {`{"op":"lock","id":7,"leave":true,"party":3,"note":"n","lease_ms":0,"wait_ms":9007199254740991,"resources":[{"type":"r","path":[]}]}`, `{"op":"lock","id":7,"resources":[{"type":"read","path":[]}],"wait_ms":9007199254740991,"lease_ms":0,"note":"n","leave":true,"party":3}`},
		"what is as if not there":    {`{"op":"lock","id":7,"leave":false,"party":0,"note":"","resources":[{"type":"r","path":[]}]}`, lockOfV2(`{"type":"read","path":[]}`)},
		"release":                    {`{"op":"release","lock":7,"id":8}`, `{"op":"release","id":8,"lock":7}`},
		"renew":                      {`{"op":"renew","id":8}`, `{"op":"renew","id":8}`},
		"renew a lease":              {`{"op":"renew","id":8,"lock":7,"lease_ms":5}`, `{"op":"renew","id":8,"lock":7,"lease_ms":5}`},
		"locks":                      {`{"op":"locks","id":8,"after":"0"}`, `{"op":"locks","id":8}`},
		"inspect":                    {`{"op":"inspect","id":8,"after":"9223372036854775807","limit":3,"path":["\ud83d\ude00"]}`, `{"op":"inspect","id":8,"path":["😀"],"limit":3,"after":"9223372036854775807"}`},
		"watch":                      {`{"op":"watch","id":8,"path":[]}`, `{"op":"watch","id":8,"path":[]}`},
		"unwatch":                    {`{"op":"unwatch","watch":8,"id":9}`, `{"op":"unwatch","id":9,"watch":8}`},
		"hello":                      {`{"op":"hello"}`, `{"op":"hello"}`},
		"hello with all":             {`{"op":"hello","resume":{"event":3,"secret":"s","session":"i"},"credentials":{"b":"2","\u0061":"1"},"name":"n","ttl_ms":0,"id":"?"}`, `{"op":"hello","ttl_ms":0,"name":"n","credentials":{"b":"2","a":"1"},"resume":{"session":"i","secret":"s","event":3}}`},
		"hello without credentials":  {`{"op":"hello","credentials":{},"resume":{"secret":"","session":""}}`, `{"op":"hello","resume":{"session":"","secret":"","event":0}}`},
		"the largest id":             {`{"op":"bye","id":9007199254740991}`, `{"op":"bye","id":9007199254740991}`},
		"control characters in text": {`{"op":"lock","id":7,"note":"a\n\u001b","resources":[{"type":"r","path":[]}]}`, `{"op":"lock","id":7,"resources":[{"type":"read","path":[]}],"note":"a\u000a\u001b"}`},
	} {
		t.Run(rule, func(t *testing.T) {
			var p, q V2Parser
			require.True(t, requireAgreed(t, &p, &q, []byte(c.msg)))
			r, err := p.Parse([]byte(c.msg))
			require.NoError(t, err)
			require.Equal(t, c.canonical, string(AppendV2Request(nil, r)))
		})
	}
}

// faultsV2 are refused messages and what is said of each, where version 2 differs from version 1.
var faultsV2 = map[string]string{
	`[]`:                                 `at byte 0: want a JSON object like {"op":"renew","id":1}, found '['`,
	`{}`:                                 `no op: want "lock", "release" or another operation`,
	`{"op":7}`:                           `op: want "lock", "release" or another operation, found a number`,
	`{"op":"Lock"}`:                      `op: want "lock", "release" or another operation, found "Lock"`,
	`{"op":"\ud800"}`:                    `op: want "lock", "release" or another operation, found "\\ud800"`,
	`{"action":"release"}`:               `no op: want "lock", "release" or another operation`,
	`{"op":"bye"}`:                       `no id: want a whole number from 1 to 9007199254740991`,
	`{"op":"bye","id":"1"}`:              `id: want a whole number from 1 to 9007199254740991, found a string`,
	`{"op":"bye","id":0}`:                `id: want a whole number from 1 to 9007199254740991, found 0`,
	`{"op":"bye","id":-1}`:               `id: want a whole number from 1 to 9007199254740991, found -1`,
	`{"op":"bye","id":1.0}`:              `id: want a whole number from 1 to 9007199254740991, found 1.0`,
	`{"op":"bye","id":1e2}`:              `id: want a whole number from 1 to 9007199254740991, found 1e2`,
	`{"op":"bye","id":9007199254740992}`: `id: want a whole number from 1 to 9007199254740991, found 9007199254740992`,
	`{"op":"bye","id":` + strings.Repeat("9", 99) + `}`:                 `id: want a whole number from 1 to 9007199254740991, found ` + strings.Repeat("9", 40),
	`{"op":"bye","id":1,"id":2}`:                                        `at byte 19: member "id" is there twice`,
	`{"op":"bye","id":1,"watch":1,"w\u0061tch":2}`:                      `at byte 29: member "w\u0061tch" is there twice`,
	`{"op":"bye","id":1,"note":"\u0000"}`:                               `at byte 26: this string contains the character NUL`,
	`{"op":"bye","id":1,"resources":[{"path":["a","\ud800"]}]}`:         `at byte 45: in this string a \u escape is half of a surrogate pair, the other half is missing`,
	`{"op":"release","id":8}`:                                           `no lock: want a whole number from 1 to 9007199254740991`,
	`{"op":"release","id":8,"lock":"7"}`:                                `lock: want a whole number from 1 to 9007199254740991, found a string`,
	`{"op":"renew","id":8,"lease_ms":5}`:                                `lease_ms: a lease is a lock's, and no lock is named`,
	`{"op":"upgrade","id":8,"lock":7,"wait_ms":-5}`:                     `wait_ms: want a whole number from 0 to 9007199254740991, found -5`,
	`{"op":"unwatch","id":8}`:                                           `no watch: want a whole number from 1 to 9007199254740991`,
	`{"op":"watch","id":8}`:                                             `no path: want an array of strings`,
	`{"op":"watch","id":8,"path":"a"}`:                                  `path: want an array of strings, found a string`,
	`{"op":"watch","id":8,"path":[1]}`:                                  `path[0]: want a string, found a number`,
	`{"op":"inspect","id":8,"path":[],"limit":0}`:                       `limit: want a whole number from 1 to 9007199254740991, found 0`,
	`{"op":"inspect","id":8,"path":[],"after":7}`:                       `after: want a string, found a number`,
	`{"op":"inspect","id":8,"path":[],"after":"07"}`:                    `after: want a number in quotes, as "next" gave it, found "07"`,
	`{"op":"locks","id":8,"after":""}`:                                  `after: want a number in quotes, as "next" gave it, found ""`,
	`{"op":"lock","id":8}`:                                              `no resources: a lock names at least one`,
	`{"op":"lock","id":8,"note":1,"resources":[]}`:                      `note: want a string, found a number`,
	`{"op":"lock","id":8,"leave":"yes","resources":[]}`:                 `leave: want true or false, found a string`,
	lockOfV2(`{"type":"x","path":[]}`):                                  `resources[0].type: want "read", "r", "write", "w", "permit" or "p", found "x"`,
	lockOfV2(`{"path":[]}`):                                             `resources[0]: no type: want "read", "r", "write", "w", "permit" or "p"`,
	lockOfV2(`{"type":"r","path":[]},{"type":"p","path":[]}`):           `resources[1]: no limit: want a whole number from 1 to 4294967295`,
	lockOfV2(`{"type":"p","path":[],"limit":0}`):                        `resources[0].limit: want a whole number from 1 to 4294967295, found 0`,
	lockOfV2(`{"type":"p","path":[],"limit":1,"weight":4294967296}`):    `resources[0].weight: want a whole number from 1 to 4294967295, found 4294967296`,
	lockOfV2(`{"type":"w","path":[],"limit":1}`):                        `resources[0]: limit and weight are for permits, this is a write`,
	lockOfV2(`{"type":"p","path":[],"limit":1,"limit":1}`):              `at byte 65: resources[0]: member "limit" is there twice`,
	lockOfV2(`{"type":"p","limit":1}`):                                  `resources[0]: no path: want an array of strings`,
	`{"op":"hello","ttl_ms":1.5}`:                                       `ttl_ms: want a whole number from 0 to 9007199254740991, found 1.5`,
	`{"op":"hello","name":null}`:                                        `name: want a string, found null`,
	`{"op":"hello","credentials":["a"]}`:                                `credentials: want an object of strings, found an array`,
	`{"op":"hello","credentials":{"a":1}}`:                              `credentials: "a": want a string, found a number`,
	`{"op":"hello","credentials":{"a":"1","b":"2","a":"3"}}`:            `credentials: "a" is there twice`,
	`{"op":"hello","credentials":{"a\u0000":"1"}}`:                      `at byte 29: this string contains the character NUL`,
	`{"op":"hello","resume":"x"}`:                                       `resume: want an object, found a string`,
	`{"op":"hello","resume":{"session":"x"}}`:                           `resume: no secret: want a string`,
	`{"op":"hello","resume":{"session":"x","secret":7}}`:                `resume.secret: want a string, found a number`,
	`{"op":"hello","resume":{"session":"x","secret":"y","event":-1}}`:   `resume.event: want a whole number from 0 to 9007199254740991, found -1`,
	`{"op":"hello","resume":{"session":"x","secret":"y","secret":"z"}}`: `at byte 51: resume: member "secret" is there twice`,
	`{"op":"hello","resume":{"session":"x","secret":"` + "\xef" + `"}}`: "at byte 48: byte 0xef is no valid UTF-8",
	`{"op":"hello","credentials":{"a":"\ud800"}}`:                       `at byte 33: in this string a \u escape is half of a surrogate pair, the other half is missing`,
}

func TestV2FaultsAreNamedWithTheirPlace(t *testing.T) {
	for msg, want := range faultsV2 {
		t.Run(want, func(t *testing.T) {
			var p, q V2Parser
			require.False(t, requireAgreed(t, &p, &q, []byte(msg)))
			_, err := p.Parse([]byte(msg))
			require.EqualError(t, err, want)
		})
	}
}

func TestV2BoundsAreThoseOfV1(t *testing.T) {
	var p, q V2Parser
	nest := func(n int) []byte {
		return []byte(`{"op":"bye","id":1,"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	require.True(t, requireAgreed(t, &p, &q, nest(V2Depth-1)))
	require.False(t, requireAgreed(t, &p, &q, nest(V2Depth)))
	for _, text := range []string{"", `\u0061`} { // by the scanner, and not
		// 3 members, a resource with 2; the rest segments.
		segments := func(n int) []byte {
			return []byte(lockOfV2(`{"type":"r","path":["a"` + strings.Repeat(`,"`+text+`"`, n-1) + `]}`))
		}
		require.True(t, requireAgreed(t, &p, &q, segments(V2Values-6)))
		require.False(t, requireAgreed(t, &p, &q, segments(V2Values-5)))
		for more, ok := range map[int]bool{0: true, 1: false} {
			p := V2Parser{Values: 10}
			_, err := p.Parse([]byte(lockOfV2(`{"type":"r","path":["` + text + `"` + strings.Repeat(`,""`, 3+more) + `]}`)))
			require.Equal(t, ok, err == nil, "%v", err)
		}
	}
}

func TestCredentialsAreBounded(t *testing.T) {
	var p, q V2Parser
	hello := func(n int) []byte {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"c%d":"x"`, i))
		}
		return []byte(`{"op":"hello","credentials":{` + strings.Join(list, ",") + `}}`)
	}
	require.True(t, requireAgreed(t, &p, &q, hello(V2Credentials)))
	require.False(t, requireAgreed(t, &p, &q, hello(V2Credentials+1)))
	_, err := p.Parse(hello(V2Credentials + 1))
	require.EqualError(t, err, "credentials: 33 are too many, at most 32 are allowed")
}

func TestAV2ParserIsNotUpsetByWhatCameBefore(t *testing.T) {
	var p V2Parser
	for range 3 {
		for _, msg := range seedsV2 {
			want, wantErr := new(V2Parser).Parse([]byte(msg))
			got, err := p.Parse([]byte(msg))
			require.Equal(t, wantErr, err, "message %q", msg)
			requireSameV2(t, []byte(msg), want, got)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	const secret = "0123456789abcdef"
	r, err := new(V2Parser).Parse([]byte(`{"op":"hello","credentials":{"a":"` + secret + `"},"resume":{"session":"s","secret":"` + secret + `"}}`))
	require.NoError(t, err)
	var log strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+verb+verb, *r.Hello, r.Hello.Secret, V2Welcome{Secret: r.Hello.Secret})
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("hello", "hello", *r.Hello, "secret", r.Hello.Secret)
	}
	for _, shown := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret[:3])), "[]")} {
		require.NotContains(t, log.String(), shown)
	}
	require.Contains(t, log.String(), hidden)
}

func TestV2MessagesAreTheProtocols(t *testing.T) {
	path := [][]byte{[]byte("a"), []byte("é")}
	blocker := V2Blocker{Session: []byte("w"), Note: []byte("n\n"), Lock: 3, Type: Write, Path: path, State: V2Acquired, SinceMS: 1234}
	stranger := V2Blocker{Session: []byte("v1"), Type: Read, State: V2Enqueued}
	const b = `{"session":"w","lock":3,"note":"n\u000a","type":"write","path":["a","é"],"state":"acquired","since_ms":1234}`
	const s = `{"session":"v1","type":"read","path":[],"state":"enqueued","since_ms":0}`
	for want, m := range map[string]V2Message{
		`{"id":7,"state":"acquired","token":"41"}`:                                 {ID: 7, State: V2Acquired, Token: 41},
		`{"id":7,"state":"acquired","token":"18446744073709551615","slots":[0,2]}`: {ID: 7, State: V2Acquired, Token: 1<<64 - 1, Slots: []uint32{0, 2}},
		`{"id":7,"state":"enqueued","ahead":0}`:                                    {ID: 7, State: V2Enqueued},
		`{"id":7,"state":"enqueued"}`:                                              {ID: 7, State: V2Enqueued, Ahead: V2None},
		`{"id":7,"state":"unavailable","blockers":[` + b + `,` + s + `]}`:          {ID: 7, State: V2Unavailable, Blockers: []V2Blocker{blocker, stranger}},
		`{"id":7,"state":"deadlock","cycle":[` + b + `]}`:                          {ID: 7, State: V2Deadlock, Cycle: []V2Blocker{blocker}},
		`{"id":7,"state":"denied","plugin":"acl","code":-7,"message":"no"}`:        {ID: 7, State: V2Denied, Plugin: []byte("acl"), Code: -7, Message: []byte("no")},
		`{"id":8,"lock":7,"state":"released"}`:                                     {ID: 8, Lock: 7, State: V2Released},
		`{"id":9,"state":"renewed","ttl_ms":15000}`:                                {ID: 9, State: V2Renewed, TTLMS: 15000},
		`{"id":9,"lock":7,"state":"renewed","ttl_ms":15000,"lease_ms":60000}`:      {ID: 9, Lock: 7, State: V2Renewed, TTLMS: 15000, LeaseMS: 60000},
		`{"id":11,"state":"listed","locks":[]}`:                                    {ID: 11, State: V2Listed},
		`{"id":11,"state":"inspected","locks":[],"next":"57"}`:                     {ID: 11, State: V2Inspected, Next: 57},
		`{"id":7,"error":"other_limit","message":"m","limit":3}`:                   {ID: 7, Error: V2OtherLimit, Message: []byte("m"), Limit: 3},
		`{"error":"no_session","message":"m","epoch":"EP"}`:                        {Error: V2NoSession, Message: []byte("m"), Epoch: []byte("EP")},
		`{"id":7,"error":"unavailable","blockers":[]}`:                             {ID: 7, Error: V2NotNow, Blockers: []V2Blocker{}},
		`{"event":2,"lock":7,"state":"timeout","blockers":[]}`:                     {Event: 2, Lock: 7, State: V2Timeout, Blockers: []V2Blocker{}},
		`{"event":1,"lock":7,"state":"acquired","token":"41"}`:                     {Event: 1, Lock: 7, State: V2Acquired, Token: 41},
		`{"event":2,"lock":7,"state":"revoked","message":"by \"root\""}`:           {Event: 2, Lock: 7, State: V2Revoked, Message: []byte(`by "root"`)},
		`{"event":2,"lock":7,"state":"enqueued"}`:                                  {Event: 2, Lock: 7, State: V2Enqueued},
		`{"watch":12,"n":9,"change":"lagged"}`:                                     {Watch: 12, N: 9, Change: V2Lagged},
		`{"error":"taken_over"}`:                                                   {Error: V2TakenOver},
		`{"error":"malformed","message":"a\ufffdb"}`:                               {Error: V2Malformed, Message: []byte("a\xffb")},
		`{"notice":"draining","ms":10000}`:                                         {Notice: "draining", Millis: 10000},
		`{"notice":"draining","ms":0}`:                                             {Notice: "draining"},
		`{"id":11,"state":"listed","locks":[{"lock":7,"state":"acquired","token":"41","slots":[0],"lease_ms":0},{"lock":9,"state":"enqueued"}],"next":"9"}`: {
			ID: 11, State: V2Listed, Next: 9,
			Held: []V2Held{{Lock: 7, State: V2Acquired, Token: 41, Slots: []uint32{0}}, {Lock: 9, State: V2Enqueued, LeaseMS: V2None}},
		},
		`{"watch":12,"n":1,"change":"acquired","locks":[{"session":"S","name":"w","lock":7,"note":"n","token":"41","state":"acquired","since_ms":5,"resources":[{"type":"permit","path":["a","é"],"limit":2,"weight":1}],"waits_for":[` + s + `]}]}`: {
			Watch: 12, N: 1, Change: V2WasAcquired,
			Locks: []V2Seen{{
				Session: []byte("S"), Name: []byte("w"), Lock: 7, Token: 41, State: V2Acquired, Note: []byte("n"), SinceMS: 5,
				Resources: []Resource{{Type: Permit, Path: path, Limit: 2, Weight: 1}}, WaitsFor: []V2Blocker{stranger},
			}},
		},
	} {
		got := AppendV2([]byte("x"), &m)
		require.JSONEq(t, want, string(got[1:]))
		if !strings.Contains(want, `\ufffd`) {
			require.Equal(t, "x"+want, string(got))
		}
	}
	w := V2Welcome{Session: []byte("SID"), Secret: V2Secret("SEC"), TTLMS: 15000, Epoch: []byte("EP"), Durable: true}
	require.Equal(t, `{"op":"welcome","session":"SID","secret":"SEC","ttl_ms":15000,"epoch":"EP","durable":true,"last_id":0,"locks":[],"event":0}`, string(AppendV2Welcome(nil, &w)))
	w.Held, w.Next, w.LastID, w.Event, w.FirstEvent = []V2Held{{Lock: 9, State: V2Enqueued, LeaseMS: V2None}}, 9, 10, 5, 3
	require.Equal(t, `{"op":"welcome","session":"SID","secret":"SEC","ttl_ms":15000,"epoch":"EP","durable":true,"last_id":10,"locks":[{"lock":9,"state":"enqueued"}],"next":"9","event":5,"first_event":3}`, string(AppendV2Welcome(nil, &w)))
	w = V2Welcome{Session: []byte("SID"), Secret: V2Secret("SEC"), Epoch: []byte("EP"), MessageBytes: 65536, MessageValues: 4096}
	require.Equal(t, `{"op":"welcome","session":"SID","secret":"SEC","ttl_ms":0,"epoch":"EP","durable":false,"last_id":0,"locks":[],"event":0,"message_bytes":65536,"message_values":4096}`, string(AppendV2Welcome(nil, &w)))
}

func TestASentenceIsCutBetweenCharacters(t *testing.T) {
	for n := range 4 {
		text := strings.Repeat("a", n) + strings.Repeat("€", V2TextBytes)
		var m struct{ Message string }
		require.NoError(t, json.Unmarshal(AppendV2(nil, &V2Message{Error: V2Malformed, Message: []byte(text)}), &m))
		require.LessOrEqual(t, len(m.Message), V2TextBytes)
		require.Greater(t, len(m.Message), V2TextBytes-4)
		require.True(t, strings.HasPrefix(text, m.Message))
	}
}

func TestNamesOfWhatIsNotAreOurFaultInV2(t *testing.T) {
	require.PanicsWithValue(t, "wire: there is no such V2Op", func() { _ = v2Ops.String() })
	require.PanicsWithValue(t, "wire: there is no such V2State", func() { _ = v2States.String() })
	require.PanicsWithValue(t, "wire: there is no such V2Code", func() { _ = v2Codes.String() })
	require.PanicsWithValue(t, "wire: there is no such V2ChangeKind", func() { _ = v2Changes.String() })
	for s := range v2States {
		require.Equal(t, s != V2NoState, s.String() != "")
		require.Equal(t, strings.Contains("released canceled timeout unavailable expired revoked deadlock denied", s.String()) && s != 0, s.End(), s)
	}
	for c := range v2Codes {
		require.Equal(t, c != V2NoError, c.String() != "")
	}
	for c := range v2Changes {
		require.Equal(t, c != V2NoChange, c.String() != "")
	}
}
