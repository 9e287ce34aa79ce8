package strictjson

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// plain is the value as package json has it.
func (v Value) plain() any {
	switch v.kind {
	case Null:
		return nil
	case Bool:
		return v.True()
	case Number:
		return json.Number(v.text)
	case String:
		return v.Text()
	case List:
		list := []any{}
		for _, item := range v.Items() {
			list = append(list, item.plain())
		}
		return list
	}
	table := map[string]any{}
	for _, name := range v.Names() {
		member, _ := v.Member(name)
		table[name] = member.plain()
	}
	return table
}

// decoded is a text as package json reads it.
func decoded(t testing.TB, text []byte) (v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	require.NoError(t, dec.Decode(&v), "%q", text)
	return v
}

// strict says whether a text that package json takes is to be taken here.
func strict(text []byte) bool {
	if !utf8.Valid(text) || !json.Valid(text) {
		return false
	}
	type table struct{ names map[string]bool }
	var open []*table // nil: a list
	dec := json.NewDecoder(bytes.NewReader(text))
	name := false
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if s, ok := token.(string); ok && name {
			inner := open[len(open)-1]
			if inner.names[s] {
				return false
			}
			inner.names[s], name = true, false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &table{map[string]bool{}})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) > depthMax+1 || len(open) == depthMax+1 && token != json.Delim('{') && token != json.Delim('[') {
			return false
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
	return !halfCharacters(string(text))
}

// halfCharacters says whether a valid text has an escape of half a character.
func halfCharacters(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if i++; text[i] != 'u' {
			continue
		}
		switch c := strings.ToLower(text[i+1 : i+3]); {
		case c >= "dc" && c <= "df":
			return true
		case c >= "d8" && c <= "db":
			if low := text[i+5:]; len(low) < 4 || low[:2] != `\u` || strings.ToLower(low[2:4]) < "dc" || strings.ToLower(low[2:4]) > "df" {
				return true
			}
			i += 10
		}
	}
	return false
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "null", "true", "[false]", "-0", "0", "01", "1.5e+10", "1.", ".5", "-", "1e", `""`, `"a\"\\\/\b\f\n\r\tb"`, `"\u00e9\uD83d\ude00"`, `"\ud83d"`,
		`"\ude00"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\u00g0"`, `"\x"`, "\"\x01\"", "\"\xff\"", `{}`, `{"a":1,"b":[1,2,{"c":null}]}`, `{"a":1,"a":2}`,
		`{"a":1,"\u0061":2}`, `{"a":{"x":1},"b":{"x":1}}`, `[1,]`, `{"a":1,}`, `{,}`, `[1 2]`, `{"a" 1}`, `{a:1}`, `{"a":1}x`, "\ufeff{}", " \t\r\n[ 1 , 2 ] ", "nullx", "nul",
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 66) + strings.Repeat("]", 66), `["` + strings.Repeat(`","`, 20) + `"]`,
		`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"9":0}`, `"\u0000"`, "\x0b1", "[\u00a0]", `'a'`, `// c`, "NaN", "Infinity", "+1", "0x10", "1_000",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text)
		if want := strict(text); want != (err == nil) {
			t.Fatalf("%q: %v, want it to be taken: %v", text, err, want)
		}
		if err == nil {
			require.Equal(t, decoded(t, text), v.plain(), "%q", text)
		}
	})
}

func TestFaultsOfTexts(t *testing.T) {
	for text, want := range map[string]string{
		"\xff":                     "it isn't UTF-8",
		"":                         "it isn't JSON: a value is missing",
		"nil":                      "it isn't JSON: a value is missing",
		"1 2":                      "there is something behind its end",
		"-":                        "it isn't JSON: a digit is missing",
		"1.e5":                     "it isn't JSON: a digit is missing",
		"[1 2]":                    "it isn't JSON: a comma or the end is missing",
		`{"a" 1}`:                  "it isn't JSON: a colon is missing",
		`{a: 1}`:                   "it isn't JSON: a string is missing",
		`{"a": 1, "a": 2}`:         "a member is there twice",
		`"a`:                       "it isn't JSON: a string has no end",
		"\"\n\"":                   "it isn't JSON: there is a control character in a string",
		`"\a"`:                     "it isn't JSON: there is an escape that JSON doesn't know",
		`"\u12"`:                   "it isn't JSON: there is an escape that JSON doesn't know",
		`"\ud800"`:                 "there is half a character in it",
		strings.Repeat("[", 66):    "it is nested more than 64 deep",
		strings.Repeat("[", 100e3): "it is nested more than 64 deep",
	} {
		_, err := Parse([]byte(text))
		require.EqualError(t, err, want, "%.100q", text)
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]struct {
		integer   int64
		isInteger bool
		floor     int64
		hasFloor  bool
	}{
		"0":                       {0, true, 0, true},
		"-0":                      {0, true, 0, true},
		"12":                      {12, true, 12, true},
		"-12":                     {-12, true, -12, true},
		"9007199254740991":        {1<<53 - 1, true, 1<<53 - 1, true},
		"9007199254740992":        {},
		"-9007199254740991":       {-1<<53 + 1, true, -1<<53 + 1, true},
		"-9007199254740992":       {},
		"99999999999999999999999": {},
		"1.0":                     {0, false, 1, true},
		"1.9":                     {0, false, 1, true},
		"-1.0":                    {0, false, -1, true},
		"-1.1":                    {0, false, -2, true},
		"-0.5":                    {0, false, -1, true},
		"1e3":                     {},
		"1.5E3":                   {},
		`"1"`:                     {},
		"null":                    {},
		"true":                    {},
	} {
		v, err := Parse([]byte(text))
		require.NoError(t, err, text)
		n, ok := v.Integer()
		require.Equal(t, want.isInteger, ok, text)
		require.True(t, !ok || n == want.integer, text)
		n, ok = v.Floor()
		require.Equal(t, want.hasFloor, ok, text)
		require.True(t, !ok || n == want.floor, text)
	}
}

func TestValuesAreEmptyOfWhatTheyAreNot(t *testing.T) {
	for _, text := range []string{"null", "true", "1", `"a"`, "[1]", `{"a":1}`} {
		v, err := Parse([]byte(text))
		require.NoError(t, err)
		require.Equal(t, v.Kind() == String, v.Text() != "", text)
		require.Equal(t, v.Kind() == Bool, v.True(), text)
		require.Equal(t, v.Kind() == List, v.Items() != nil, text)
		require.Equal(t, v.Kind() == Table, v.Names() != nil, text)
		_, found := v.Member("a")
		require.Equal(t, v.Kind() == Table, found, text)
	}
}
