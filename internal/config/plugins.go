package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// PluginsMax is how many plugins there may be.
const PluginsMax = 16

const pluginsKey = "plugins"

// PluginKey names a plugin, or one of its settings, for Where, in faults and in changes: plugins.acl,
// plugins.acl.path. A name with a point in it is in quotes.
func PluginKey(plugin string, setting ...string) string {
	return append(toml.Key{pluginsKey, plugin}, setting...).String()
}

// NewPlugin has the defaults of what need not be given.
func NewPlugin() Plugin {
	var p Plugin
	for _, s := range pluginSettings {
		if s.initial == "" {
			continue
		}
		if err := p.Set(s.key, s.initial); err != nil {
			panic("config: the default of " + s.key + " " + err.Error())
		}
	}
	return p
}

// Set changes one setting as a file would, for programs that load a plugin without a file. The value is
// text, as an environment variable would give it and of config a JSON object; or a table of config, as
// the TOML library gives it. The error says what the value must be, to follow the setting's name; nothing
// is changed then.
func (p *Plugin) Set(key string, value any) error {
	k := slices.IndexFunc(pluginSettings, func(s *setting) bool { return s.key == key })
	if k < 0 {
		panic("config: plugins have no setting " + key)
	}
	s := pluginSettings[k]
	if text, ok := value.(string); ok {
		var err error
		if value, err = s.parse(text); err != nil {
			return err
		}
	}
	return s.set(p, value)
}

// plugins applies the tables [[plugins]], or the array of tables that is written as a value. All of
// them take the place of all that were there.
func (d *document) plugins() {
	value, given := d.tree[pluginsKey]
	if !given {
		return
	}
	own, of := d.pluginMarks()
	list, ok := elements(value)
	if !ok {
		d.notList(value, own)
		return
	}
	d.into.Plugins = nil
	begins := map[string]origin{}
	for i, item := range list {
		table, ok := item.(map[string]any)
		if !ok {
			d.fault(d.origin(own.start), "%q is a list of tables, but element %d is %s", pluginsKey, i+1, describeValue(item))
			continue
		}
		marks := of[i+1]
		if i >= PluginsMax {
			d.fault(d.origin(marks[0].path[1].at), "there can be at most %d plugins, but this is number %d of %d", PluginsMax, i+1, len(list))
			return
		}
		d.plugin(table, marks, begins)
	}
}

// pluginMarks are the first mark of the list, and those of each element (numbered from 1), the first
// of which says where it begins.
func (d *document) pluginMarks() (own mark, of map[int][]mark) {
	of = map[int][]mark{}
	for _, m := range d.marks {
		if m.path[0].name != pluginsKey {
			continue
		}
		if own.path == nil {
			own = m
		}
		if len(m.path) > 1 {
			of[m.path[1].item] = append(of[m.path[1].item], m)
		}
	}
	return own, of
}

// elements are those of an array, written as a value or as tables below [[x]].
func elements(value any) ([]any, bool) {
	switch v := value.(type) {
	case []any:
		return v, true
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list, true
	}
	return nil, false
}

func (d *document) notList(value any, own mark) {
	instead := ""
	if _, ok := value.(map[string]any); ok {
		instead = " instead of [plugins]"
	}
	d.fault(d.origin(own.path[0].at), "%q is a list of tables: write [[plugins]] above the settings of each plugin%s", pluginsKey, instead)
}

// plugin applies one element. begins are the plugins before it, by name.
func (d *document) plugin(table map[string]any, marks []mark, begins map[string]origin) {
	begin := d.origin(marks[0].path[1].at)
	name, _ := table["name"].(string)
	whole := pluginsKey // unless it has a name that can be used
	if checkPluginName(name) == nil {
		whole = PluginKey(name)
	}
	if first, taken := begins[whole]; taken {
		at := d.valueAt(append(slices.Clone(marks[0].path[:2]), segment{name: "name"}), begin.at)
		d.fault(d.origin(at), "%s is there already, at %s: each plugin needs a name of its own", whole, first.where)
	} else if whole != pluginsKey {
		begins[whole], d.into.origins[whole] = begin, begin
	}
	p := NewPlugin()
	given := d.pluginKeys(&p, whole, table, marks)
	for _, s := range pluginSettings {
		if s.required != "" && !given[s.key] {
			d.fault(begin, "%s.%s is missing: give it, such as %s = %s", whole, s.key, s.key, s.required)
		}
	}
	d.into.Plugins = append(d.into.Plugins, p)
}

// pluginKeys applies the keys of an element, and says which there are.
func (d *document) pluginKeys(p *Plugin, whole string, table map[string]any, marks []mark) map[string]bool {
	given := map[string]bool{}
	for _, m := range marks {
		if len(m.path) == 2 || given[m.path[2].name] {
			continue
		}
		key := m.path[2].name
		given[key] = true
		if n := pluginSchema.children[key]; n != nil {
			d.setting(n.setting, p, whole+"."+key, table[key], m, 2)
		} else {
			d.unknownKey(m, 2, suggestForPlugin(key))
		}
	}
	return given
}

func suggestForPlugin(key string) string {
	if s := didYouMean(key, pluginSchema.order); s != "" {
		return s
	}
	return "; what only the plugin itself knows belongs below [plugins.config]"
}

// changedPlugins lists the plugins that are gone or changed, those that are new, and a change of order.
func changedPlugins(from, to []Plugin) []Change {
	var out []Change
	before, after := byName(from), byName(to)
	for i := range from {
		old, now := summary(&from[i]), noPlugin
		if t := after[from[i].Name]; t != nil {
			old, now = difference(&from[i], t)
		}
		if old != now {
			out = append(out, Change{Key: PluginKey(from[i].Name), From: old, To: now})
		}
	}
	for i := range to {
		if before[to[i].Name] == nil {
			out = append(out, Change{Key: PluginKey(to[i].Name), From: noPlugin, To: summary(&to[i])})
		}
	}
	if f, t := namesIn(from, after), namesIn(to, before); f != t {
		out = append(out, Change{Key: pluginsKey, From: f, To: t})
	}
	return out
}

// noPlugin is what a plugin is before it is added and after it is taken away.
const noPlugin = "none"

func byName(plugins []Plugin) map[string]*Plugin {
	m := make(map[string]*Plugin, len(plugins))
	for i := range plugins {
		m[plugins[i].Name] = &plugins[i]
	}
	return m
}

// namesIn lists the plugins that are among the others too, in their order.
func namesIn(plugins []Plugin, others map[string]*Plugin) string {
	var names []string
	for _, p := range plugins {
		if others[p.Name] != nil {
			names = append(names, FormatString(p.Name))
		}
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// summary is what a plugin has besides its name and the defaults.
func summary(p *Plugin) string {
	plain := NewPlugin()
	plain.Name = p.Name
	_, own := difference(&plain, p)
	return own
}

// difference writes the settings in which two plugins differ, as an inline table each. What is in a
// config stays out: it may be a secret, and changes are logged.
func difference(a, b *Plugin) (inA, inB string) {
	var as, bs []string
	for _, s := range pluginSettings {
		switch va, vb := s.field(a).Interface(), s.field(b).Interface(); {
		case reflect.DeepEqual(va, vb):
		case s.kind != jsonType:
			as = append(as, s.key+" = "+s.format(a))
			bs = append(bs, s.key+" = "+s.format(b))
		case b.Config == nil:
			as = append(as, s.key+" = {…}")
		case a.Config == nil:
			bs = append(bs, s.key+" = {…}")
		default:
			as = append(as, s.key+" = {…}")
			bs = append(bs, s.key+" = {… changed}")
		}
	}
	return inlineTable(as), inlineTable(bs)
}
