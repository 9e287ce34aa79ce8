package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

func TestTablesAsJSON(t *testing.T) {
	for _, c := range []struct{ toml, want string }{
		{``, `{}`},
		{`a = "é\t\"\\ <&> \u0000\u007f𝄞"`, `{"a":"é\t\"\\ <&> \u0000` + "\x7f" + `𝄞"}`},
		{"a = '''\n x\ny'''", `{"a":" x\ny"}`},
		{`a = 0`, `{"a":0}`},
		{`a = -9_223_372_036_854_775_808`, `{"a":-9223372036854775808}`},
		{`a = 9007199254740993`, `{"a":9007199254740993}`},
		{`a = 0xff`, `{"a":255}`},
		{`a = 1.0`, `{"a":1.0}`},
		{`a = -0.0`, `{"a":-0.0}`},
		{`a = 0.1`, `{"a":0.1}`},
		{`a = 1e6`, `{"a":1000000.0}`},
		{`a = 1e21`, `{"a":1e+21}`},
		{`a = 9e20`, `{"a":900000000000000000000.0}`},
		{`a = 1e-6`, `{"a":0.000001}`},
		{`a = 9.5e-7`, `{"a":9.5e-07}`},
		{`a = [true, false]`, `{"a":[true,false]}`},
		{`a = [[], [1, "x"], {}]`, `{"a":[[],[1,"x"],{}]}`},
		{"b = 1\na = 2\n[A]\nB = 3\n\"a.b\" = 4\n\"é\" = 5", `{"A":{"B":3,"a.b":4,"é":5},"a":2,"b":1}`},
		{"[[a]]\nb = 1\n[[a.c]]\n[[a]]", `{"a":[{"b":1,"c":[{}]},{}]}`},
		{`a = 1979-05-27T07:32:00Z`, `{"a":"1979-05-27T07:32:00Z"}`},
		{`a = 1979-05-27 00:32:00.500-07:00`, `{"a":"1979-05-27T00:32:00.5-07:00"}`},
		{`a = 1979-05-27T07:32:00.999999`, `{"a":"1979-05-27T07:32:00.999999"}`},
		{`a = 1979-05-27`, `{"a":"1979-05-27"}`},
		{`a = 07:32:00`, `{"a":"07:32:00"}`},
	} {
		table := map[string]any{}
		_, err := toml.Decode(c.toml, &table)
		require.NoError(t, err, c.toml)
		got, err := tableJSON(table)
		require.NoError(t, err, c.toml)
		require.Equal(t, c.want, string(got), c.toml)
		require.True(t, json.Valid(got), c.toml)
		var p Plugin
		require.NoError(t, p.Set("config", string(got)), c.toml)
		require.Equal(t, c.want, string(p.Config), "as JSON it is the same")
	}
}

func TestJSONIsWhatTheSameTableIs(t *testing.T) {
	for _, c := range []struct{ json, want string }{
		{`{}`, `{}`},
		{" {\n} \n", `{}`},
		{`{"b": 1.50, "a": "<\u00e9\ud834\udd1e\/", "c": [1e2, -0, -0.0, 9007199254740993]}`, `{"a":"<é𝄞/","b":1.5,"c":[100.0,0,-0.0,9007199254740993]}`},
		{`{"a": 1, "a": {"c": true, "b": []}}`, `{"a":{"b":[],"c":true}}`},
	} {
		var p Plugin
		require.NoError(t, p.Set("config", c.json), c.json)
		require.Equal(t, c.want, string(p.Config), c.json)
	}
	for _, c := range []struct{ json, want string }{
		{``, "must be a JSON object: there is nothing"},
		{`{`, "must be a JSON object: unexpected EOF"},
		{`{"a": 01}`, "must be a JSON object: invalid character '1' after object key:value pair"},
		{`{}{}`, "must be one JSON object, but something follows it"},
		{`{} x`, "must be one JSON object, but something follows it"},
		{`null`, `must be a JSON object, which "{" begins`},
		{`[{}]`, `must be a JSON object, which "{" begins`},
		{`5`, `must be a JSON object, which "{" begins`},
		{`{"b": {"c d": [null]}, "a": 9223372036854775808, "e": 1e999}`,
			"a is out of range: 9223372036854775808\nb.\"c d\" is null, which TOML doesn't have\ne is out of range: 1e999"},
		{`{"a": {"": 1}}`, `a."" is an empty key: give it a name`},
		{`{"a": ` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, "must be nested at most 64 deep"},
		{`{"x":"` + strings.Repeat("x", PluginConfigBytes-7) + `"}`, "must be at most 65_536 bytes as JSON, but has 65_537"},
	} {
		p := Plugin{Config: []byte("before")}
		require.EqualError(t, p.Set("config", c.json), c.want, c.json)
		require.Equal(t, "before", string(p.Config))
	}
	var p Plugin
	require.NoError(t, p.Set("config", `{"x":"`+strings.Repeat("x", PluginConfigBytes-8)+`"}`))
	require.Len(t, p.Config, PluginConfigBytes)
	require.NoError(t, p.Set("config", map[string]any{"a": int64(1)}))
	require.Equal(t, `{"a":1}`, string(p.Config))
	require.EqualError(t, p.Set("memory_bytes", "1"), "must be from 65_536 to 1_073_741_824, but is 1")
	require.NoError(t, p.Set("memory_bytes", "65_536"))
	require.Equal(t, int64(65_536), p.MemoryBytes)
	require.Panics(t, func() { _ = p.Set("nothing", "1") })
}

// randomTable writes a [plugins.config] in one way of many, and says what it is as JSON.
func randomTable(r *rand.Rand) (text string, asJSON []byte) {
	w := tableWriter{Rand: r}
	tree := map[string]any{}
	if r.IntN(3) == 0 {
		w.text.WriteString("config = ")
		tree = w.inline(4)
		w.text.WriteByte('\n')
	} else {
		w.text.WriteString("[plugins.config]\n")
		w.table(tree, "plugins.config", 3)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		panic(err)
	}
	return w.text.String(), bytes.TrimSpace(b.Bytes())
}

// tableWriter writes random TOML, together with the tree that encoding/json writes alike.
type tableWriter struct {
	*rand.Rand
	text strings.Builder
}

// table writes the keys of a table whose header stands already, then the tables below it.
func (w *tableWriter) table(tree map[string]any, header string, depth int) {
	for i := range w.IntN(4) {
		key, word := w.key(i)
		w.text.WriteString(word)
		if w.IntN(5) == 0 {
			w.text.WriteString(" . x")
			w.text.WriteString(" = ")
			tree[key] = map[string]any{"x": w.value(depth)}
		} else {
			w.text.WriteString(" = ")
			tree[key] = w.value(depth)
		}
		w.text.WriteString(" # [x]\n")
	}
	for i := range w.IntN(depth + 1) {
		key, word := w.key(10 + i)
		below := header + "." + word
		if w.IntN(2) == 0 {
			fmt.Fprintf(&w.text, "[%s]\n", below)
			child := map[string]any{}
			tree[key] = child
			w.table(child, below, depth-1)
			continue
		}
		list := []any{}
		for range 1 + w.IntN(3) {
			fmt.Fprintf(&w.text, "[[ %s ]]\n", below)
			child := map[string]any{}
			list = append(list, child)
			w.table(child, below, depth-1)
		}
		tree[key] = list
	}
}

// key is a name that no other number has, and how it is written.
func (w *tableWriter) key(i int) (name, written string) {
	if w.IntN(2) == 0 {
		name = fmt.Sprintf("k%d-%d_", i, w.IntN(100))
		return name, name
	}
	name = fmt.Sprintf("%d%s", i, randomText(w.Rand))
	return name, randomQuote(w.Rand, name)
}

func (w *tableWriter) inline(depth int) map[string]any {
	tree := map[string]any{}
	w.text.WriteByte('{')
	for i := range w.IntN(4) {
		if i > 0 {
			w.text.WriteString(", ")
		}
		key, word := w.key(i)
		w.text.WriteString(word + "=")
		tree[key] = w.value(depth - 1)
	}
	w.text.WriteByte('}')
	return tree
}

func (w *tableWriter) value(depth int) any {
	kinds := 7
	if depth <= 0 {
		kinds = 5
	}
	write := func(text string, v any) any {
		w.text.WriteString(text)
		return v
	}
	switch w.IntN(kinds) {
	case 0:
		s := randomText(w.Rand)
		return write(randomQuote(w.Rand, s), s)
	case 1:
		n := int64(w.Uint64()) >> w.IntN(64)
		return write(strconv.FormatInt(n, 10), n)
	case 2:
		return w.float()
	case 3:
		b := w.IntN(2) == 0
		return write(strconv.FormatBool(b), b)
	case 4:
		date := []string{"1979-05-27T07:32:00Z", "1979-05-27T00:32:00.25-07:00", "1979-05-27T07:32:00", "1979-05-27", "07:32:01.5"}[w.IntN(5)]
		return write(date, date)
	case 5:
		return w.inline(depth)
	}
	list := []any{}
	w.text.WriteByte('[')
	for range w.IntN(4) {
		w.text.WriteString("\n ")
		list = append(list, w.value(depth-1))
		w.text.WriteString(" ,")
	}
	w.text.WriteByte(']')
	return list
}

// float writes one of any size; JSON has it in digits of our own, which must mean the same number.
func (w *tableWriter) float() any {
	f := math.Float64frombits(w.Uint64())
	if w.IntN(2) == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		f = float64(w.IntN(2000)-1000) / 8
	}
	text := strconv.FormatFloat(f, 'e', -1, 64)
	w.text.WriteString(text)
	ours := tomlNumber(f)
	if back, err := strconv.ParseFloat(ours, 64); err != nil || back != f || !strings.ContainsAny(ours, ".e") {
		panic(fmt.Sprintf("%s was written as %s", text, ours))
	}
	return json.Number(ours)
}

// randomText has what strings, keys and comments of TOML and JSON are easily confused by.
func randomText(r *rand.Rand) string {
	const letters = "ab \"'\\#=[]{}.,\n\x1b\x7f<>&é\u2028\u0301𝄞\ufffd\ufeff"
	all := []rune(letters)
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteRune(all[r.IntN(len(all))])
	}
	return b.String()
}

// randomQuote writes a string in one of the ways that it can be written in.
func randomQuote(r *rand.Rand, s string) string {
	if !strings.ContainsAny(s, "'\n\x1b\x7f") && r.IntN(2) == 0 {
		return "'" + s + "'"
	}
	var b strings.Builder
	for _, c := range s {
		if c < 0x20 || strings.ContainsRune("\"\\\x7f", c) || r.IntN(8) == 0 {
			fmt.Fprintf(&b, `\U%08x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return `"` + b.String() + `"`
}
