package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	locktopus "github.com/locktopus-project/locktopus/v2"
)

// FileBytes bounds a configuration file: a larger one was given by mistake.
const FileBytes = 1 << 20

// Input is where values may come from, weakest first.
type Input struct {
	Path    string   // the operator's file; empty: none
	Environ []string // as os.Environ gives it
	Flags   []Flag
}

// Flag is a setting given on the command line.
type Flag struct {
	Name  string // as the user typed it: "--listen"
	Key   string // the setting's dotted path; must exist
	Value string
}

// Loaded is a valid configuration that remembers where its values came from.
type Loaded struct {
	Config
	origins map[string]origin // by key, of plugins by PluginKey; absent: the default
}

// origin is where a value was given. rank orders faults: by source, then by place.
type origin struct {
	where  string // "my.toml:3:1", "environment LOCKTOPUS_LOG_LEVEL", "--listen"
	source source
	at     int // offset in the file, or index of the variable or flag
}

type source uint8

const (
	fromFile source = iota
	fromEnviron
	fromFlag
)

// Fault is one thing that is wrong and where. Its text is one line.
type Fault struct {
	Where string
	What  string
	order origin
}

func (f Fault) Error() string { return f.Where + ": " + f.What }

// Faults is the error of Load: everything that is wrong, in the order of the sources, then of the
// place. It is never empty.
type Faults []Fault

func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads the sources over the defaults. The error is a Faults.
func Load(in Input) (*Loaded, error) {
	ld := loader{into: defaults()}
	ld.file(in.Path)
	ld.environ(in.Environ)
	ld.flags(in.Flags)
	ld.across()
	if len(ld.faults) > 0 {
		slices.SortStableFunc(ld.faults, func(a, b Fault) int {
			if a.order.source != b.order.source {
				return int(a.order.source) - int(b.order.source)
			}
			return a.order.at - b.order.at
		})
		return nil, ld.faults
	}
	return ld.into, nil
}

// defaults decodes the built-in file, whose faults are ours.
func defaults() *Loaded {
	ld := loader{into: &Loaded{origins: map[string]origin{}}}
	ld.document("config.toml", locktopus.ConfigTOML)
	if len(ld.faults) > 0 {
		panic("config: the built-in config.toml is faulty:\n" + ld.faults.Error())
	}
	clear(ld.into.origins)
	return ld.into
}

type loader struct {
	into   *Loaded
	faults Faults
}

func (ld *loader) fault(o origin, format string, args ...any) {
	ld.faults = append(ld.faults, Fault{Where: o.where, What: fmt.Sprintf(format, args...), order: o})
}

func (ld *loader) file(path string) {
	if path == "" {
		return
	}
	doc, err := ReadFile(path)
	if err != nil {
		ld.fault(origin{where: path}, "%v", err)
		return
	}
	ld.document(path, doc)
}

// ReadFile is a whole file of at most FileBytes; its errors don't repeat the path.
func ReadFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", bareError(err)
	}
	defer f.Close()
	doc, err := io.ReadAll(io.LimitReader(f, FileBytes+1))
	if err != nil {
		return "", bareError(err)
	}
	if len(doc) > FileBytes {
		return "", fmt.Errorf("it must have at most %s bytes", FormatInteger(FileBytes))
	}
	return string(doc), nil
}

func bareError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cannot %s it: %w", pe.Op, pe.Err)
	}
	return err
}

// document applies a file's text. If it is no TOML at all, that is its only fault: the rest of such
// a file can't be judged.
func (ld *loader) document(path, doc string) {
	tree := map[string]any{}
	if _, err := toml.Decode(doc, &tree); err != nil {
		o := origin{where: path}
		pe, ok := errors.AsType[toml.ParseError](err)
		if !ok {
			ld.fault(o, "%s", strings.TrimPrefix(err.Error(), "toml: "))
			return
		}
		ld.fault(placed(path, doc, blamed(doc, pe)), "%s", pe.Message)
		return
	}
	d := document{loader: ld, path: path, doc: doc, tree: tree, marks: locate(doc), done: map[*node]bool{}, unknown: map[string]bool{}}
	for _, m := range d.marks {
		d.apply(m)
	}
	d.plugins()
}

// blamed is the offset of an error of the TOML library. Its lines and columns don't always belong
// together, and where text isn't UTF-8 it names the beginning of the value.
func blamed(doc string, pe toml.ParseError) int {
	mark := byteOrderMark(doc)
	if strings.HasPrefix(pe.Message, "invalid UTF-8") {
		for i, r := range doc[mark:] {
			if r == utf8.RuneError && !strings.HasPrefix(doc[mark+i:], string(utf8.RuneError)) {
				return mark + i
			}
		}
	}
	return mark + max(pe.Position.Start, 0) // it is -1 for a control character at the very beginning
}

// placed is a place in a file.
func placed(path, doc string, at int) origin {
	line, col := position(doc, at)
	return origin{where: fmt.Sprintf("%s:%d:%d", path, line, col), source: fromFile, at: at}
}

// document is a file being applied. Each node is set or blamed once, however often its keys occur.
type document struct {
	*loader
	path, doc string
	tree      map[string]any
	marks     []mark
	done      map[*node]bool
	unknown   map[string]bool
}

func (d *document) origin(at int) origin { return placed(d.path, d.doc, at) }

// apply follows a key through the schema as far as it goes.
func (d *document) apply(m mark) {
	n, value := schema, any(d.tree)
	for i, seg := range m.path {
		table, ok := value.(map[string]any)
		if !ok {
			return // blamed when its own key came up
		}
		value = table[seg.name]
		child := n.children[seg.name]
		switch {
		case child == nil:
			if full := join(m.path[:i+1]); !d.unknown[full] {
				d.unknown[full] = true
				d.unknownKey(m, i, suggest(n, seg.name))
			}
			return
		case child.setting != nil:
			if !d.done[child] {
				d.done[child] = true
				d.setting(child.setting, &d.into.Config, child.setting.key, value, m, i)
			}
			return
		case child.plugins:
			return // all of them together, see plugins
		}
		if _, ok := value.(map[string]any); !ok {
			d.notTable(child, value, m.path[:i+1])
			return
		}
		n = child
	}
}

// setting applies the value of the key that ends at m.path[i]. The name is the setting's in faults and
// for Where.
func (d *document) setting(s *setting, owner any, name string, value any, m mark, i int) {
	at := m.path[i].at
	err := s.set(owner, value)
	if err == nil {
		d.into.origins[name] = d.origin(at)
		return
	}
	if i == len(m.path)-1 && m.end > 0 {
		at = m.start
	}
	inside, ok := errors.AsType[tableFaults](err)
	if !ok {
		inside = tableFaults{{what: err.Error()}}
	}
	for _, f := range inside {
		if len(f.path) == 0 {
			d.fault(d.origin(at), "%s %s", name, f.what)
			continue
		}
		at := d.valueAt(slices.Concat(m.path[:i+1], f.path), at)
		d.fault(d.origin(at), "%s.%s %s", name, join(f.path), f.what)
	}
}

// valueAt is the offset of a key's value, or of the key where it first comes up if it has only what is
// below it, or otherwise.
func (d *document) valueAt(path []segment, otherwise int) int {
	same := func(a, b segment) bool { return a.name == b.name && a.item == b.item }
	for _, m := range d.marks {
		if len(m.path) < len(path) || !slices.EqualFunc(m.path[:len(path)], path, same) {
			continue
		}
		if len(m.path) == len(path) && m.end > 0 {
			return m.start
		}
		return m.path[len(path)-1].at
	}
	return otherwise
}

func (d *document) notTable(n *node, value any, path []segment) {
	if d.done[n] {
		return
	}
	d.done[n] = true
	name := join(path)
	o := d.origin(path[len(path)-1].at)
	if _, ok := value.([]map[string]any); ok {
		d.fault(o, "%q is a single table: write [%s] instead of [[%s]]", name, name, name)
		return
	}
	d.fault(o, "%q is a table: write [%s] and its settings below it", name, name)
}

// unknownKey blames the segment m.path[i], which its table doesn't have. The hint is what may help.
func (d *document) unknownKey(m mark, i int, hint string) {
	what, in := "table", ""
	if i == len(m.path)-1 && m.end > 0 {
		what = "key"
	}
	if table := m.path[:i]; isElement(table) {
		in = " in [[" + join(table) + "]]"
	} else if i > 0 {
		in = " in [" + join(table) + "]"
	}
	d.fault(d.origin(m.path[i].at), "unknown %s %q%s%s", what, m.path[i].name, in, hint)
}

// suggest looks among the node's own names first, then for a setting of that name elsewhere.
func suggest(n *node, name string) string {
	if s := didYouMean(name, n.order); s != "" {
		return s
	}
	var keys, last, tables []string
	for _, s := range settings {
		keys = append(keys, s.key)
		last = append(last, s.path[len(s.path)-1])
		tables = append(tables, "["+strings.Join(s.path[:len(s.path)-1], ".")+"]")
	}
	for _, s := range pluginSettings {
		last = append(last, s.key)
		tables = append(tables, "[[plugins]]")
	}
	if s := didYouMean(name, keys); s != "" {
		return s
	}
	if i := slices.Index(last, Nearest(name, last)); i >= 0 {
		return fmt.Sprintf(", did you mean %q in %s?", last[i], tables[i])
	}
	return ""
}

// join writes the words of a path as TOML does, without the elements between them.
func join(path []segment) string {
	key := make(toml.Key, 0, len(path))
	for _, s := range path {
		if s.item == 0 {
			key = append(key, s.name)
		}
	}
	return key.String()
}

func (ld *loader) flags(flags []Flag) {
	for i, f := range flags {
		k := slices.IndexFunc(settings, func(s *setting) bool { return s.key == f.Key })
		if k < 0 {
			panic("config: a flag for no setting: " + f.Key)
		}
		ld.text(settings[k], f.Value, origin{where: f.Name, source: fromFlag, at: i})
	}
}

// text applies a value given as text.
func (ld *loader) text(s *setting, value string, o origin) {
	raw, err := s.parse(value)
	if err == nil {
		err = s.set(&ld.into.Config, raw)
	}
	if err != nil {
		ld.fault(o, "%v", err)
		return
	}
	ld.into.origins[s.key] = o
}

// across checks the rules between settings. A fault is put where one of them was given.
func (ld *loader) across() {
	for _, c := range crossChecks {
		err := c.rule(&ld.into.Config)
		if err == nil {
			continue
		}
		for _, key := range c.keys {
			if o, ok := ld.into.origins[key]; ok {
				ld.fault(o, "%v", err)
				break
			}
		}
	}
}

// Where is where a setting was given, in the form of Fault.Where. It knows the keys of settings, and
// those that PluginKey makes: a plugin begins where its [[plugins]] stands, and what it leaves to the
// default is there too.
func (l *Loaded) Where(key string) string {
	if o, ok := l.origins[key]; ok {
		return o.where
	}
	for _, p := range l.Plugins {
		whole := PluginKey(p.Name)
		if strings.HasPrefix(key, whole+".") {
			return l.origins[whole].where
		}
	}
	return "default"
}
