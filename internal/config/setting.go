package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting describes one key: where its value lives in a Config or a Plugin, which is its owner, and what
// it may be.
type setting struct {
	key      string   // dotted path, from the owner
	path     []string // the same, apart
	env      string   // name of its environment variable; a Plugin's has none
	index    []int    // reflect path into the owner
	kind     reflect.Type
	min, max int64           // of integers, and of durations in nanoseconds; both zero if unbounded
	oneof    []string        // the words it may be, or that an array may hold
	check    func(any) error // nil: no rule of its own
	restart  bool
	initial  string // of a Plugin's that may be left out: its default as text; "": its zero value
	required string // of a Plugin's that may not: an example
}

// node is a table of the schema, or, with a setting, a leaf, or the list of plugins.
type node struct {
	children map[string]*node
	order    []string // names of the children as declared
	setting  *setting
	plugins  bool
}

var (
	schema, settings             = describe(reflect.TypeFor[Config]())
	pluginSchema, pluginSettings = describe(reflect.TypeFor[Plugin]())
	byEnv                        = indexByEnv(settings)

	durationType = reflect.TypeFor[time.Duration]()
	stringsType  = reflect.TypeFor[[]string]()
	jsonType     = reflect.TypeFor[[]byte]()
)

// describe turns a struct's fields and tags into its schema. A tag it can't read is our fault: it panics.
func describe(owner reflect.Type) (*node, []*setting) {
	var all []*setting
	root := describeTable(owner, nil, nil, &all)
	return root, all
}

func describeTable(t reflect.Type, path []string, index []int, all *[]*setting) *node {
	n := &node{children: map[string]*node{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("toml")
		if name == "" {
			panic("config: field without a toml tag: " + f.Name)
		}
		p := append(append([]string(nil), path...), name)
		ix := append(append([]int(nil), index...), i)
		n.order = append(n.order, name)
		switch {
		case f.Type.Kind() == reflect.Struct:
			n.children[name] = describeTable(f.Type, p, ix, all)
		case f.Type == reflect.TypeFor[[]Plugin]():
			n.children[name] = &node{plugins: true}
		default:
			s := describeSetting(f, p, ix)
			n.children[name] = &node{setting: s}
			*all = append(*all, s)
		}
	}
	return n
}

func describeSetting(f reflect.StructField, path []string, index []int) *setting {
	key := strings.Join(path, ".")
	s := &setting{
		key:      key,
		path:     path,
		index:    index,
		kind:     f.Type,
		min:      bound(f, "min"),
		max:      bound(f, "max"),
		oneof:    strings.Fields(f.Tag.Get("oneof")),
		restart:  f.Tag.Get("restart") == "yes",
		initial:  f.Tag.Get("default"),
		required: f.Tag.Get("required"),
	}
	if name := f.Tag.Get("check"); name != "" {
		s.check = checks[name]
		if s.check == nil {
			panic("config: unknown check " + name)
		}
	}
	return s
}

func bound(f reflect.StructField, tag string) int64 {
	text, ok := f.Tag.Lookup(tag)
	if !ok {
		return 0
	}
	if f.Type == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic("config: " + err.Error())
		}
		return int64(d)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic("config: " + err.Error())
	}
	return n
}

// indexByEnv names the environment variables of settings.
func indexByEnv(all []*setting) map[string]*setting {
	m := make(map[string]*setting, len(all))
	for _, s := range all {
		s.env = envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
		if m[s.env] != nil {
			panic("config: two settings share " + s.env)
		}
		m[s.env] = s
	}
	return m
}

// field is the setting's place in its owner, a *Config or a *Plugin.
func (s *setting) field(owner any) reflect.Value {
	return reflect.ValueOf(owner).Elem().FieldByIndex(s.index)
}

// set stores a value as TOML gives it (int64, string, bool, []any, map[string]any). The error says what
// the value must be, to follow the setting's name; the owner is unchanged then.
func (s *setting) set(owner any, raw any) error {
	switch s.kind {
	case durationType:
		return s.setDuration(owner, raw)
	case stringsType:
		return s.setStrings(owner, raw)
	case jsonType:
		return s.setTable(owner, raw)
	}
	switch s.kind.Kind() {
	case reflect.String:
		return s.setString(owner, raw)
	case reflect.Bool:
		b, ok := raw.(bool)
		if !ok {
			return fmt.Errorf("must be true or false, but is %s", describeValue(raw))
		}
		s.field(owner).SetBool(b)
		return nil
	default:
		return s.setInteger(owner, raw)
	}
}

func (s *setting) setInteger(owner any, raw any) error {
	n, ok := raw.(int64)
	if !ok {
		return fmt.Errorf("must be an integer, but is %s", describeValue(raw))
	}
	if n < s.min || n > s.max {
		return fmt.Errorf("must be from %s, but is %s", s.rangeText(), FormatInteger(n))
	}
	f := s.field(owner)
	if f.CanUint() {
		f.SetUint(uint64(n))
	} else {
		f.SetInt(n)
	}
	return nil
}

func (s *setting) setDuration(owner any, raw any) error {
	text, ok := raw.(string)
	if !ok {
		return fmt.Errorf(`must be a duration in quotes, such as "10s", but is %s`, describeValue(raw))
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf(`must be a duration: a number with its unit, such as "500ms", "10s" or "1h30m", but is %q`, text)
	}
	if int64(d) < s.min || int64(d) > s.max {
		return fmt.Errorf("must be from %s, but is %s", s.rangeText(), FormatDuration(d))
	}
	s.field(owner).SetInt(int64(d))
	return nil
}

func (s *setting) setString(owner any, raw any) error {
	text, ok := raw.(string)
	if !ok {
		return fmt.Errorf("must be a string in quotes, but is %s", describeValue(raw))
	}
	if strings.ContainsRune(text, 0) {
		return fmt.Errorf("must not contain NUL")
	}
	if err := s.checkWord(text); err != nil {
		return err
	}
	if s.check != nil {
		if err := s.check(text); err != nil {
			return err
		}
	}
	s.field(owner).SetString(text)
	return nil
}

func (s *setting) checkWord(text string) error {
	if len(s.oneof) == 0 {
		return nil
	}
	for _, w := range s.oneof {
		if w == text {
			return nil
		}
	}
	return fmt.Errorf("must be %s, but is %q%s", orList(s.oneof), text, didYouMean(text, s.oneof))
}

func (s *setting) setStrings(owner any, raw any) error {
	list, ok := raw.([]any)
	if !ok {
		return fmt.Errorf(`must be an array of strings, such as ["a", "b"], but is %s`, describeValue(raw))
	}
	out := make([]string, 0, len(list))
	for i, item := range list {
		text, ok := item.(string)
		if !ok {
			return fmt.Errorf("must be an array of strings, but element %d is %s", i+1, describeValue(item))
		}
		out = append(out, text)
	}
	if err := s.checkWords(out); err != nil {
		return err
	}
	if s.check != nil {
		if err := s.check(out); err != nil {
			return err
		}
	}
	s.field(owner).Set(reflect.ValueOf(out))
	return nil
}

// checkWords wants some of the words of an enumeration, each once.
func (s *setting) checkWords(list []string) error {
	if len(s.oneof) == 0 {
		return nil
	}
	if len(list) == 0 {
		return fmt.Errorf("must hold at least one of %s", orList(s.oneof))
	}
	for i, w := range list {
		if !slices.Contains(s.oneof, w) {
			return fmt.Errorf("must hold %s, but has %q%s", orList(s.oneof), w, didYouMean(w, s.oneof))
		}
		if slices.Contains(list[:i], w) {
			return fmt.Errorf("must hold each word once, but has %q twice", w)
		}
	}
	return nil
}

// setTable keeps a table as JSON.
func (s *setting) setTable(owner any, raw any) error {
	table, ok := raw.(map[string]any)
	if !ok {
		return fmt.Errorf("must be a table: write [plugins.%s] and its settings below it, but is %s", s.key, describeValue(raw))
	}
	text, err := tableJSON(table)
	if err != nil {
		return err
	}
	s.field(owner).SetBytes(text)
	return nil
}

// parse reads a value from an environment variable or a flag, into the form that set takes. A table
// comes as JSON.
func (s *setting) parse(text string) (any, error) {
	switch {
	case s.kind == durationType, s.kind.Kind() == reflect.String:
		return text, nil
	case s.kind == stringsType:
		list := []any{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		return list, nil
	case s.kind.Kind() == reflect.Bool:
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("must be true or false, but is %q", text)
	case s.kind == jsonType:
		return parseTable(text)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("must be an integer from %s, but is %q", s.rangeText(), text)
	}
	return n, nil
}

// format is the setting's value as TOML writes it; a table has no such format, see printPlugin.
func (s *setting) format(owner any) string {
	f := s.field(owner)
	switch {
	case s.kind == durationType:
		return FormatString(FormatDuration(time.Duration(f.Int())))
	case s.kind == stringsType:
		items := make([]string, f.Len())
		for i := range items {
			items[i] = FormatString(f.Index(i).String())
		}
		return "[" + strings.Join(items, ", ") + "]"
	case f.Kind() == reflect.String:
		return FormatString(f.String())
	case f.Kind() == reflect.Bool:
		return strconv.FormatBool(f.Bool())
	case f.CanUint():
		return FormatInteger(int64(f.Uint()))
	default:
		return FormatInteger(f.Int())
	}
}

// rangeText is "1 to 65_536" or "1s to 1h": what config.toml's comment says, and faults do.
func (s *setting) rangeText() string {
	if s.kind == durationType {
		return FormatDuration(time.Duration(s.min)) + " to " + FormatDuration(time.Duration(s.max))
	}
	return FormatInteger(s.min) + " to " + FormatInteger(s.max)
}
