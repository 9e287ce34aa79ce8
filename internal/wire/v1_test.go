package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lockOf wraps a list of resources, without its brackets.
func lockOf(resources string) string {
	return `{"action":"lock","resources":[` + resources + `]}`
}

// bothWays parses with a new parser, and again by the general way alone where the scanner took it.
func bothWays(t *testing.T, msg string) (V1Request, error) {
	t.Helper()
	var p, q V1Parser
	r, err := p.Parse([]byte(msg))
	again, againErr := q.parse([]byte(msg))
	require.Equal(t, err, againErr, "the two ways differ on %q", msg)
	requireSame(t, []byte(msg), r, again)
	return r, err
}

func TestValidMessagesPrintCanonically(t *testing.T) {
	one := lockOf(`{"type":"write","path":["a","b"]}`)
	for rule, c := range map[string]struct{ msg, canonical string }{
		"canonical":                      {one, one},
		"release":                        {`{"action":"release"}`, `{"action":"release"}`},
		"two resources":                  {twoResources, twoResources},
		"white space anywhere":           {"\t{ \"action\" :\r\n\"lock\" , \"resources\" : [ { \"type\" : \"write\" , \"path\" : [ \"a\" , \"b\" ] } ] } \n", one},
		"members in any order":           {`{"resources":[{"path":["a","b"],"type":"write"}],"action":"lock"}`, one},
		"type w":                         {lockOf(`{"type":"w","path":["a","b"]}`), one},
		"type in capitals":               {lockOf(`{"type":"WrItE","path":["a","b"]}`), one},
		"type R":                         {lockOf(`{"type":"R","path":[]}`), lockOf(`{"type":"read","path":[]}`)},
		"an empty path":                  {lockOf(`{"type":"r","path":[ ]}`), lockOf(`{"type":"read","path":[]}`)},
		"an empty segment":               {lockOf(`{"type":"r","path":["",""]}`), lockOf(`{"type":"read","path":["",""]}`)},
		"the same resource twice":        {lockOf(`{"type":"r","path":["a"]},{"type":"r","path":["a"]}`), lockOf(`{"type":"read","path":["a"]},{"type":"read","path":["a"]}`)},
		"escapes":                        {lockOf(`{"type":"r","path":["\u0061\/\"\\\b\f\n\r\t"]}`), lockOf(`{"type":"read","path":["a/\"\\\u0008\u000c\u000a\u000d\u0009"]}`)},
		"a surrogate pair":               {lockOf(`{"type":"r","path":["\ud83d\uDE00"]}`), lockOf(`{"type":"read","path":["😀"]}`)},
		"an escaped backslash before u":  {lockOf(`{"type":"r","path":["\\ud800"]}`), lockOf(`{"type":"read","path":["\\ud800"]}`)},
		"any UTF-8":                      {lockOf(`{"type":"r","path":["é😀\u2028` + "\x7f" + `"]}`), lockOf(`{"type":"read","path":["é😀` + "\u2028\x7f" + `"]}`)},
		"escaped names and words":        {`{"\u0061ction":"l\u006fck","resources":[{"typ\u0065":"\u0057","path":["a","b"]}]}`, one},
		"unknown members of a lock":      {`{"id":{"a":[1,{}]},"action":"lock","resources":[{"n":[],"type":"w","path":["a","b"]}],"":null}`, one},
		"unknown members given twice":    {`{"x":1,"x":2,"action":"release"}`, `{"action":"release"}`},
		"a torn pair where nobody looks": {`{"action":"release","\ud800":"\udc00"}`, `{"action":"release"}`},
		"a release with resources":       {`{"action":"release","resources":[{"path":["\u0000"]},7]}`, `{"action":"release"}`},
		"numbers of every form":          {`{"action":"release","n":[0,-0,10,-1.50,1e9,1E+9,2.5e-07,123456789012345678901234567890]}`, `{"action":"release"}`},
	} {
		t.Run(rule, func(t *testing.T) {
			r, err := bothWays(t, c.msg)
			require.NoError(t, err)
			require.Equal(t, c.canonical, string(AppendV1Request(nil, r)))
			_, oracleErr := oracle([]byte(c.msg))
			require.NoError(t, oracleErr)
		})
	}
}

// faults are refused messages and what is said of each.
var faults = map[string]string{
	// The message as a whole.
	``:                             `at byte 0: the message is empty`,
	"  \n":                         `at byte 3: the message is empty`,
	`[]`:                           `at byte 0: want a JSON object like {"action":"release"}, found '['`,
	`"lock"`:                       `at byte 0: want a JSON object like {"action":"release"}, found '"'`,
	` null`:                        `at byte 1: want a JSON object like {"action":"release"}, found 'n'`,
	`lock`:                         `at byte 0: want a JSON object like {"action":"release"}, found 'l'`,
	`{"action":"release"} x`:       `at byte 21: want nothing behind the message's end, found 'x'`,
	`{"action":"release"}{}`:       `at byte 20: want nothing behind the message's end, found '{'`,
	"{\"action\":\"release\"}\x00": `at byte 20: want nothing behind the message's end, found '\x00'`,
	// JSON.
	`{`:                          `at byte 1: want a member's name in quotes, found the message's end`,
	`{"action"`:                  `at byte 9: want ':' behind a member's name, found the message's end`,
	`{"action":`:                 `at byte 10: want a value, found the message's end`,
	`{"action":"release"`:        `at byte 19: want ',' or '}' behind a member, found the message's end`,
	`{"action":"release",}`:      `at byte 20: want a member's name in quotes, found '}'`,
	`{"action":"release" "x":1}`: `at byte 20: want ',' or '}' behind a member, found '"'`,
	`{action:"release"}`:         `at byte 1: want a member's name in quotes, found 'a'`,
	`{"a" 1}`:                    `at byte 5: want ':' behind a member's name, found '1'`,
	`{"a":[1 2]}`:                `at byte 8: want ',' or ']' behind an element, found '2'`,
	`{"a":[1,]}`:                 `at byte 8: want a value, found ']'`,
	`{"a":nul}`:                  `at byte 5: want a value, found 'n'`,
	`{"a":nan}`:                  `at byte 5: want a value, found 'n'`,
	`{"a":Infinity}`:             `at byte 5: want a value, found 'I'`,
	`{"a":tru`:                   `at byte 5: want a value, found 't'`,
	`{"a":'b'}`:                  `at byte 5: want a value, found '\''`,
	"{\"a\":\xff}":               `at byte 5: want a value, found byte 0xff`,
	`{"a":01}`:                   `at byte 6: want ',' or '}' behind a member, found '1'`,
	`{"a":-}`:                    `at byte 6: want a digit, found '}'`,
	`{"a":+1}`:                   `at byte 5: want a value, found '+'`,
	`{"a":.5}`:                   `at byte 5: want a value, found '.'`,
	`{"a":1.}`:                   `at byte 7: want a digit behind the point, found '}'`,
	`{"a":1e+}`:                  `at byte 8: want a digit in the exponent, found '}'`,
	`{"a":0x1}`:                  `at byte 6: want ',' or '}' behind a member, found 'x'`,
	`{"a":"b}`:                   `at byte 5: a string is opened and never closed`,
	`{"a":"b\`:                   `at byte 7: want an escape, found the message's end`,
	`{"a":"\x"}`:                 `at byte 6: JSON knows no escape of 'x': a backslash is written \\`,
	`{"a":"\u12g4"}`:             `at byte 6: want four hexadecimal digits behind \u`,
	`{"a":"\u12`:                 `at byte 6: want four hexadecimal digits behind \u`,
	"{\"a\":\"\n\"}":             `at byte 6: control character 0x0a in a string: write \u000a`,
	"{\"a\x00\":1}":              `at byte 3: control character 0x00 in a string: write \u0000`,
	"{\"a\":\"é\xc3\"}":          `at byte 8: byte 0xc3 is no valid UTF-8`,
	"{\"a\":\"\xed\xa0\x80\"}":   `at byte 6: byte 0xed is no valid UTF-8`,
	// Members.
	`{"action":"release","action":"release"}`:                          `at byte 20: member "action" is there twice`,
	`{"action":"release","acti\u006fn":"lock"}`:                        `at byte 20: member "acti\u006fn" is there twice`,
	`{"resources":[],"action":"lock","resources":[]}`:                  `at byte 32: member "resources" is there twice`,
	lockOf(`{"type":"r","path":[]},{"type":"r","path":[],"type":"r"}`): `at byte 75: resources[1]: member "type" is there twice`,
	lockOf(`{"path":[],"type":"r","path":[]}`):                         `at byte 52: resources[0]: member "path" is there twice`,
	// Action.
	`{}`:                          `no action: want "lock" or "release"`,
	`{"Action":"lock"}`:           `no action: want "lock" or "release"`,
	`{"action":null}`:             `action: want "lock" or "release", found null`,
	`{"action":true}`:             `action: want "lock" or "release", found true`,
	`{"action":["lock"]}`:         `action: want "lock" or "release", found an array`,
	`{"action":{"lock":{}}}`:      `action: want "lock" or "release", found an object`,
	`{"action":1}`:                `action: want "lock" or "release", found a number`,
	`{"action":"Lock"}`:           `action: want "lock" or "release", found "Lock"`,
	`{"action":"un\u0007\nlöck"}`: `action: want "lock" or "release", found "un\a\nlöck"`,
	`{"action":"` + strings.Repeat("ä", 99) + `"}`: `action: want "lock" or "release", found "` + strings.Repeat("ä", 20) + `"…`,
	// Resources.
	`{"action":"lock"}`:                      `no resources: a lock names at least one`,
	lockOf(``):                               `no resources: a lock names at least one`,
	`{"action":"lock","resources":null}`:     `resources: want an array, found null`,
	`{"action":"lock","resources":{"a":[]}}`: `resources: want an array, found an object`,
	lockOf(`{"type":"r","path":[]},[{}]`):    `resources[1]: want an object, found an array`,
	lockOf(`"a"`):                            `resources[0]: want an object, found a string`,
	lockOf(`{"path":[]}`):                    `resources[0]: no type: want "read", "r", "write" or "w"`,
	lockOf(`{"type":1,"path":[]}`):           `resources[0].type: want "read", "r", "write" or "w", found a number`,
	lockOf(`{"type":"","path":[]}`):          `resources[0].type: want "read", "r", "write" or "w", found ""`,
	lockOf(`{"type":"x","path":[]}`):         `resources[0].type: want "read", "r", "write" or "w", found "x"`,
	lockOf(`{"type":"\u0012","path":[]}`):    `resources[0].type: want "read", "r", "write" or "w", found "\x12"`,
	lockOf(`{"type":"rEAÐ","path":[]}`):      `resources[0].type: want "read", "r", "write" or "w", found "rEAÐ"`,
	lockOf(`{"type":"r"}`):                   `resources[0]: no path: want an array of strings`,
	lockOf(`{"type":"r","path":null}`):       `resources[0].path: want an array of strings, found null`,
	lockOf(`{"type":"r","path":"a/b"}`):      `resources[0].path: want an array of strings, found a string`,
	lockOf(`{"type":"r","path":{}}`):         `resources[0].path: want an array of strings, found an object`,
	lockOf(`{"type":"r","path":[]},{"type":"r","path":[]},{"type":"w","path":[7]}`): `resources[2].path[0]: want a string, found a number`,
	lockOf(`{"type":"r","path":["a",["b"]]}`):                                       `resources[0].path[1]: want a string, found an array`,
	lockOf(`{"type":"r","path":["a","b\u0000"]}`):                                   `resources[0].path[1]: a segment can't contain the character NUL`,
	lockOf(`{"type":"r","path":["\ud800"]}`):                                        `resources[0].path[0]: a \u escape is half of a surrogate pair, the other half is missing`,
	lockOf(`{"type":"r","path":["a","\udc00\ud800"]}`):                              `resources[0].path[1]: a \u escape is half of a surrogate pair, the other half is missing`,
	lockOf(`{"type":"r","path":["\ud800\u0041"]}`):                                  `resources[0].path[0]: a \u escape is half of a surrogate pair, the other half is missing`,
	lockOf(`{"type":"r","path":["\ud800\ud83d\ude00"]}`):                            `resources[0].path[0]: a \u escape is half of a surrogate pair, the other half is missing`,
}

func TestFaultsAreNamedWithTheirPlace(t *testing.T) {
	for msg, want := range faults {
		t.Run(want, func(t *testing.T) {
			_, err := bothWays(t, msg)
			require.EqualError(t, err, want)
			requireFit(t, err)
			_, oracleErr := oracle([]byte(msg))
			require.Error(t, oracleErr)
		})
	}
}

func TestNestingIsBounded(t *testing.T) {
	nest := func(n int) string {
		return `{"action":"release","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	_, err := bothWays(t, nest(V1Depth-1))
	require.NoError(t, err)
	_, err = bothWays(t, nest(V1Depth))
	require.EqualError(t, err, "at byte 87: nested deeper than 64")
}

func TestTheNumberOfValuesIsBounded(t *testing.T) {
	// 2 members of the message, 1 resource, its 2 members; the rest segments.
	segments := func(n int, text string) string {
		return lockOf(`{"type":"r","path":["a"` + strings.Repeat(`,"`+text+`"`, n-1) + `]}`)
	}
	const most = V1Values - 5
	const want = "more than 8192 members, resources and segments in one message (limits.message_values)"
	for _, text := range []string{"", `\u0061`} { // by the scanner, and not
		r, err := bothWays(t, segments(most, text))
		require.NoError(t, err)
		require.Len(t, r.Resources[0].Path, most)
		_, err = bothWays(t, segments(most+1, text))
		require.ErrorContains(t, err, want)
	}
	_, err := bothWays(t, `{"action":"release"`+strings.Repeat(`,"x":0`, V1Values)+`}`)
	require.ErrorContains(t, err, want)
	_, err = bothWays(t, `{"action":"release","x":[0`+strings.Repeat(`,0`, V1Values)+`]}`)
	require.NoError(t, err, "what is in an unknown member doesn't count")
}

func TestAParserIsNotUpsetByWhatCameBefore(t *testing.T) {
	var p V1Parser
	for range 3 {
		for _, msg := range seeds {
			want, wantErr := new(V1Parser).Parse([]byte(msg))
			got, err := p.Parse([]byte(msg))
			require.Equal(t, wantErr, err, "message %q", msg)
			requireSame(t, []byte(msg), want, got)
		}
	}
}

func TestAnswersAreByteForByteTheOriginals(t *testing.T) {
	for want, got := range map[string][]byte{
		`{"id":"1","action":"lock","state":"acquired"}`:                    AppendV1(nil, 1, V1Lock, V1Acquired),
		`{"id":"18446744073709551615","action":"lock","state":"enqueued"}`: AppendV1(nil, 1<<64-1, V1Lock, V1Enqueued),
		`x{"id":"7","action":"release","state":"ready"}`:                   AppendV1([]byte("x"), 7, V1Release, V1Ready),
	} {
		require.Equal(t, want, string(got))
	}
}

func TestAnErrorIsSentPrintableAndShort(t *testing.T) {
	for text, want := range map[string]string{
		"no resources":           "communication error: no resources",
		"a\x00\n\tb\u0085\u2028": "communication error: a   b  ",
		"bad \xff\xc3 bytes":     "communication error: bad \ufffd\ufffd bytes",
	} {
		require.Equal(t, want, string(AppendV1Error(nil, errors.New(text))))
	}
	for n := range 8 { // so that the cut falls into a character
		got := AppendV1Error([]byte("x"), errors.New(strings.Repeat("a", n)+strings.Repeat("€", 1000)))
		require.LessOrEqual(t, len(got), 1+V1ErrorBytes)
		require.Greater(t, len(got), V1ErrorBytes-8)
		require.True(t, bytes.HasSuffix(got, []byte("€…")), "%q", got)
	}
}

func TestNamesOfWhatIsNotAreOurFault(t *testing.T) {
	require.PanicsWithValue(t, "wire: a Type is Read, Write or Permit", func() { _ = Type(9).String() })
	require.PanicsWithValue(t, "wire: a V1Action is V1Lock or V1Release", func() { _ = V1Action(9).String() })
	require.PanicsWithValue(t, "wire: a V1State is V1Ready, V1Enqueued or V1Acquired", func() { _ = V1State(9).String() })
}

func TestParserMayAllowOtherThanV1Values(t *testing.T) {
	for _, shape := range []string{`"x"`, `"\u0078"`} { // for the scanner, and not
		for more, ok := range map[int]bool{0: true, 1: false} {
			p := V1Parser{Values: 10} // two members, a resource and its two members, five segments
			_, err := p.Parse([]byte(`{"action":"lock","resources":[{"type":"r","path":[` + shape + strings.Repeat(`,""`, 4+more) + `]}]}`))
			require.Equal(t, ok, err == nil, "%v", err)
		}
	}
}
