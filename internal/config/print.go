package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	locktopus "github.com/locktopus-project/locktopus/v2"
)

// Print writes the configuration as TOML that Load takes back: the built-in file with its comments,
// each value that was given in the place of the default, and behind it where it came from. Plugins come
// last. A plugin's config is written as it is, secrets included.
func (l *Loaded) Print(w io.Writer) error {
	doc := locktopus.ConfigTOML
	var b strings.Builder
	at := 0
	for _, m := range locate(doc) {
		if m.end == 0 {
			continue
		}
		s := lookup(m.path)
		if _, given := l.origins[s.key]; !given {
			continue
		}
		b.WriteString(doc[at:m.start])
		b.WriteString(s.format(&l.Config))
		b.WriteString(l.from(s.key))
		at = m.end
	}
	b.WriteString(doc[at:])
	for i := range l.Plugins {
		l.printPlugin(&b, &l.Plugins[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *Loaded) printPlugin(b *strings.Builder, p *Plugin) {
	fmt.Fprintf(b, "\n\n[[plugins]]%s\n", l.from(PluginKey(p.Name)))
	for _, s := range pluginSettings {
		if s.kind == jsonType {
			continue // the last one
		}
		fmt.Fprintf(b, "%s = %s%s\n", s.key, s.format(p), l.from(PluginKey(p.Name, s.key)))
	}
	if p.Config == nil {
		return
	}
	fmt.Fprintf(b, "\n[plugins.config]%s\n", l.from(PluginKey(p.Name, "config")))
	table := decodeTable(p.Config)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintf(b, "%s = %s\n", keyWord(key), tomlText(table[key]))
	}
}

// from says in a comment where a setting or a plugin was given, if it was.
func (l *Loaded) from(key string) string {
	if o, given := l.origins[key]; given {
		return "  # from " + oneLine(o.where)
	}
	return ""
}

// oneLine keeps what a comment can't hold out of it: a path may have any character.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}

// lookup is the setting at a path of the built-in file, where every key is one.
func lookup(path []segment) *setting {
	n := schema
	for _, seg := range path {
		n = n.children[seg.name]
	}
	return n.setting
}

// Change is a setting whose value differs between two configurations, as TOML writes the values. Of a
// plugin (PluginKey) the values are inline tables of what differs, or "none" where it isn't there; they
// show no config. "plugins" is the order of those that are in both.
type Change struct {
	Key, From, To string
	Restart       bool // a running server can't take it over
}

// Changes lists the settings in which two configurations differ, in the order of config.toml, plugins
// last.
func Changes(from, to *Config) []Change {
	var out []Change
	turns := turnsTLS(from, to)
	for _, s := range settings {
		f, t := s.format(from), s.format(to)
		if f != t {
			out = append(out, Change{Key: s.key, From: f, To: t, Restart: s.needsRestart(turns)})
		}
	}
	return append(out, changedPlugins(from.Plugins, to.Plugins)...)
}

// turnsTLS: a server that serves plain connections can't begin to serve TLS, and the reverse.
func turnsTLS(from, to *Config) bool {
	return (from.Server.TLS.Cert == "") != (to.Server.TLS.Cert == "")
}

// needsRestart: only a new process takes the setting's change over.
func (s *setting) needsRestart(turnsTLS bool) bool {
	return s.restart || turnsTLS && strings.HasPrefix(s.key, "server.tls.")
}

// Keep copies into to the settings that a reload can't change, so that to is what a running server
// has after it.
func Keep(from, to *Config) {
	turns := turnsTLS(from, to)
	for _, s := range settings {
		if s.needsRestart(turns) {
			s.field(to).Set(s.field(from))
		}
	}
}
