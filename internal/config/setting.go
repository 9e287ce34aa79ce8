package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// setting describes one key: where its value lives in a Config and what it may be.
type setting struct {
	key      string   // dotted path
	path     []string // the same, apart
	env      string   // name of its environment variable
	index    []int    // reflect path into Config
	kind     reflect.Type
	min, max int64 // of integers, and of durations in nanoseconds; both zero if unbounded
	oneof    []string
	check    func(any) error // nil: no rule of its own
	restart  bool
}

// node is a table of the schema, or, with a setting, a leaf.
type node struct {
	children map[string]*node
	order    []string // names of the children as declared
	setting  *setting
}

var (
	schema, settings = describe()
	byEnv            = indexByEnv(settings)

	durationType = reflect.TypeFor[time.Duration]()
	stringsType  = reflect.TypeFor[[]string]()
)

// describe turns Config's fields and tags into the schema. A tag it can't read is our fault: it panics.
func describe() (*node, []*setting) {
	var all []*setting
	root := describeTable(reflect.TypeFor[Config](), nil, nil, &all)
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
		if f.Type.Kind() == reflect.Struct {
			n.children[name] = describeTable(f.Type, p, ix, all)
			continue
		}
		s := describeSetting(f, p, ix)
		n.children[name] = &node{setting: s}
		*all = append(*all, s)
	}
	return n
}

func describeSetting(f reflect.StructField, path []string, index []int) *setting {
	key := strings.Join(path, ".")
	s := &setting{
		key:     key,
		path:    path,
		env:     envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")),
		index:   index,
		kind:    f.Type,
		min:     bound(f, "min"),
		max:     bound(f, "max"),
		oneof:   strings.Fields(f.Tag.Get("oneof")),
		restart: f.Tag.Get("restart") == "yes",
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

func indexByEnv(all []*setting) map[string]*setting {
	m := make(map[string]*setting, len(all))
	for _, s := range all {
		if m[s.env] != nil {
			panic("config: two settings share " + s.env)
		}
		m[s.env] = s
	}
	return m
}

func (s *setting) field(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index)
}

// set stores a value as TOML gives it (int64, string, bool, []any). The error says what the value
// must be, to follow the setting's name; c is unchanged then.
func (s *setting) set(c *Config, raw any) error {
	switch s.kind {
	case durationType:
		return s.setDuration(c, raw)
	case stringsType:
		return s.setStrings(c, raw)
	}
	switch s.kind.Kind() {
	case reflect.String:
		return s.setString(c, raw)
	case reflect.Bool:
		b, ok := raw.(bool)
		if !ok {
			return fmt.Errorf("must be true or false, but is %s", describeValue(raw))
		}
		s.field(c).SetBool(b)
		return nil
	default:
		return s.setInteger(c, raw)
	}
}

func (s *setting) setInteger(c *Config, raw any) error {
	n, ok := raw.(int64)
	if !ok {
		return fmt.Errorf("must be an integer, but is %s", describeValue(raw))
	}
	if n < s.min || n > s.max {
		return fmt.Errorf("must be from %s, but is %s", s.rangeText(), group(n))
	}
	f := s.field(c)
	if f.CanUint() {
		f.SetUint(uint64(n))
	} else {
		f.SetInt(n)
	}
	return nil
}

func (s *setting) setDuration(c *Config, raw any) error {
	text, ok := raw.(string)
	if !ok {
		return fmt.Errorf(`must be a duration in quotes, such as "10s", but is %s`, describeValue(raw))
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf(`must be a duration: a number with its unit, such as "500ms", "10s" or "1h30m", but is %q`, text)
	}
	if int64(d) < s.min || int64(d) > s.max {
		return fmt.Errorf("must be from %s, but is %s", s.rangeText(), shortDuration(d))
	}
	s.field(c).SetInt(int64(d))
	return nil
}

func (s *setting) setString(c *Config, raw any) error {
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
	s.field(c).SetString(text)
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

func (s *setting) setStrings(c *Config, raw any) error {
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
	if s.check != nil {
		if err := s.check(out); err != nil {
			return err
		}
	}
	s.field(c).Set(reflect.ValueOf(out))
	return nil
}

// parse reads a value from an environment variable or a flag, into the form that set takes.
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
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("must be an integer from %s, but is %q", s.rangeText(), text)
	}
	return n, nil
}

// format is the setting's value in c as TOML writes it.
func (s *setting) format(c *Config) string {
	f := s.field(c)
	switch {
	case s.kind == durationType:
		return quote(shortDuration(time.Duration(f.Int())))
	case s.kind == stringsType:
		items := make([]string, f.Len())
		for i := range items {
			items[i] = quote(f.Index(i).String())
		}
		return "[" + strings.Join(items, ", ") + "]"
	case f.Kind() == reflect.String:
		return quote(f.String())
	case f.Kind() == reflect.Bool:
		return strconv.FormatBool(f.Bool())
	case f.CanUint():
		return group(int64(f.Uint()))
	default:
		return group(f.Int())
	}
}

// rangeText is "1 to 65_536" or "1s to 1h": what config.toml's comment says, and faults do.
func (s *setting) rangeText() string {
	if s.kind == durationType {
		return shortDuration(time.Duration(s.min)) + " to " + shortDuration(time.Duration(s.max))
	}
	return group(s.min) + " to " + group(s.max)
}
