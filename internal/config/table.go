package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// PluginConfigBytes bounds a plugin's config as JSON: it is what the plugin's buffer holds.
const PluginConfigBytes = 65_536

// pluginConfigDepth is how many tables and arrays may lie in one another, the outermost counted: what
// reads the JSON may recurse on a small stack.
const pluginConfigDepth = 64

// tableFaults are all reasons why a table can't be had as JSON.
type tableFaults []tableFault

// tableFault is one of them. Its path leads from the table to the key of the value at fault; it is empty
// if the table as a whole is.
type tableFault struct {
	path []segment
	what string
}

func (fs tableFaults) Error() string { return errors.Join(fs.Unwrap()...).Error() }

// Unwrap gives each fault by itself.
func (fs tableFaults) Unwrap() []error {
	all := make([]error, len(fs))
	for i, f := range fs {
		all[i] = f
	}
	return all
}

func (f tableFault) Error() string {
	if len(f.path) == 0 {
		return f.what
	}
	return join(f.path) + " " + f.what
}

// parseTable reads a JSON object as if its values had been written in TOML, so that tableJSON has the same
// bytes for both.
func parseTable(text string) (map[string]any, error) {
	var value any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("there is nothing")
		}
		return nil, fmt.Errorf("must be a JSON object: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("must be one JSON object, but something follows it")
	}
	table, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New(`must be a JSON object, which "{" begins`)
	}
	var r reader
	r.value(table, nil)
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	return table, nil
}

// reader turns what encoding/json reads into what the TOML library would have read.
type reader struct{ faults tableFaults }

func (r *reader) value(v any, path []segment) any {
	path = slices.Clip(path)
	switch v := v.(type) {
	case nil:
		r.faults = append(r.faults, tableFault{path, "is null, which TOML doesn't have"})
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			v[name] = r.value(v[name], append(path, segment{name: name}))
		}
	case []any:
		for i, item := range v {
			v[i] = r.value(item, append(path, segment{item: i + 1}))
		}
	case json.Number:
		return r.number(v, path)
	}
	return v
}

// number keeps integers apart from other numbers.
func (r *reader) number(n json.Number, path []segment) any {
	if strings.ContainsAny(n.String(), ".eE") {
		if f, err := n.Float64(); err == nil {
			return f
		}
	} else if i, err := n.Int64(); err == nil {
		return i
	}
	r.faults = append(r.faults, tableFault{path, "is out of range: " + n.String()})
	return int64(0)
}

// tableJSON is a table as compact JSON with sorted keys. An integer stays one of the same digits, a
// float has a point or an exponent. Dates and times become strings: those with an offset as RFC 3339
// has them, others as TOML does. The error is a tableFaults.
func tableJSON(table map[string]any) ([]byte, error) {
	var c converter
	tree := c.value(table, nil, 1)
	if c.tooDeep {
		c.faults = append(c.faults, tableFault{what: fmt.Sprintf("must be nested at most %d deep", pluginConfigDepth)})
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		panic("config: a converted table is no JSON: " + err.Error())
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(text) > PluginConfigBytes {
		return nil, tableFaults{{what: fmt.Sprintf("must be at most %s bytes as JSON, but has %s", FormatInteger(PluginConfigBytes), FormatInteger(int64(len(text))))}}
	}
	return slices.Clip(text), nil
}

// converter turns values of the TOML library into such as encoding/json writes in the same meaning.
type converter struct {
	faults  tableFaults
	tooDeep bool
}

func (c *converter) value(v any, path []segment, depth int) any {
	path = slices.Clip(path)
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			item, at := v[name], append(path, segment{name: name})
			if name == "" {
				// The library can lose what is in an array of that name.
				c.faults = append(c.faults, tableFault{at, "is an empty key: give it a name"})
				continue
			}
			out[name] = c.below(item, at, depth)
		}
		return out
	case []map[string]any:
		return c.list(len(v), func(i int) any { return v[i] }, path, depth)
	case []any:
		return c.list(len(v), func(i int) any { return v[i] }, path, depth)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			c.notFinite(path, v)
		}
		return json.Number(tomlNumber(v))
	case time.Time:
		return v.Format(layout(v))
	default:
		return v // string, int64, bool
	}
}

func (c *converter) list(n int, at func(int) any, path []segment, depth int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = c.below(at(i), append(path, segment{item: i + 1}), depth)
	}
	return out
}

// notFinite blames the key, once for all elements of its array.
func (c *converter) notFinite(path []segment, f float64) {
	for isElement(path) {
		path = path[:len(path)-1]
	}
	if n := len(c.faults); n > 0 && slices.Equal(c.faults[n-1].path, path) {
		return
	}
	c.faults = append(c.faults, tableFault{path, "must not have " + tomlNumber(f) + ": numbers in JSON are finite"})
}

// below converts what is in a table or an array. Too deep inside, nothing is looked at any more.
func (c *converter) below(v any, path []segment, depth int) any {
	switch v.(type) {
	case map[string]any, []map[string]any, []any:
		if depth++; depth > pluginConfigDepth {
			c.tooDeep = true
			return nil
		}
	}
	return c.value(v, path, depth)
}

// layout finds out which of TOML's four kinds a date or time is. The library tells them apart by the
// names of time zones that it made up.
func layout(t time.Time) string {
	switch t.Location().String() {
	case "datetime-local":
		return "2006-01-02T15:04:05.999999999"
	case "date-local":
		return "2006-01-02"
	case "time-local":
		return "15:04:05.999999999"
	}
	return time.RFC3339Nano
}

// tomlNumber writes a float so that TOML reads it as one, and JSON too if it is finite.
func tomlNumber(f float64) string {
	switch size := math.Abs(f); {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'f', -1, 64)), "+")
	case size != 0 && (size < 1e-6 || size >= 1e21):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// decodeTable reads what tableJSON wrote.
func decodeTable(text []byte) map[string]any {
	table := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&table); err != nil {
		panic("config: a plugin's configuration is no JSON object: " + err.Error())
	}
	return table
}

// tomlText writes a value of decodeTable as TOML, all in one line.
func tomlText(v any) string {
	var items []string
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			items = append(items, keyWord(key)+" = "+tomlText(v[key]))
		}
		return inlineTable(items)
	case []any:
		for _, item := range v {
			items = append(items, tomlText(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case string:
		return FormatString(v)
	default: // json.Number, bool
		return fmt.Sprint(v)
	}
}

func inlineTable(pairs []string) string {
	if len(pairs) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}

// keyWord is one word of a key, in quotes where TOML wants them.
func keyWord(name string) string { return toml.Key{name}.String() }
