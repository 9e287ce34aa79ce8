package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// loadSettings are the settings of [[plugins]] that say how a plugin is loaded, and that commands have as
// flags.
var loadSettings = []string{"config", "module_bytes", "memory_bytes", "call_timeout", "init_timeout"}

// loadFlags are flags that are named after settings of [[plugins]], and mean the same.
type loadFlags []*flagValue

func newLoadFlags() (flags loadFlags) {
	for _, setting := range loadSettings {
		flags = append(flags, &flagValue{long: flagOf(setting), value: new(string)})
	}
	return flags
}

func flagOf(name string) string { return "--" + strings.ReplaceAll(name, "_", "-") }

func settingOf(flag string) string {
	return strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "_")
}

// logLines is the most that plugins.log_lines may say: whoever tries a plugin wants to see them all.
const logLines = "10_000"

// spec is how a server would load the module in this file.
func (flags loadFlags) spec(file string) (host.Spec, error) {
	pl := config.NewPlugin()
	pl.Name = "plugin"
	if err := pl.Set("log_lines", logLines); err != nil {
		panic("locktopus: log_lines " + err.Error())
	}
	if err := pl.Set("path", file); err != nil {
		return host.Spec{}, fmt.Errorf("FILE.wasm %w", err)
	}
	for _, f := range flags {
		if !f.given {
			continue
		}
		if err := setPlugin(&pl, settingOf(f.long), *f.value); err != nil {
			return host.Spec{}, fmt.Errorf("%s %w", f.as, each(err)[0])
		}
	}
	return pluginSpec(pl), nil
}

// setPlugin also takes a configuration from a file.
func setPlugin(pl *config.Plugin, setting, value string) (err error) {
	if setting == "config" {
		value, err = inlineOrFile(value, ".")
	}
	if err != nil {
		return err
	}
	return pl.Set(setting, value)
}

// inlineOrFile is the text itself or, of @FILE, what is in the file, whose name is relative to dir.
func inlineOrFile(text, dir string) (string, error) {
	name, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	text, err := config.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("names %s: %w", name, err)
	}
	return text, nil
}

// loadFaults prints why a module can't be loaded, a line for each fault.
func (p process) loadFaults(spec *host.Spec, err error) int {
	for _, e := range each(err) {
		fmt.Fprintf(p.stderr, "%s: %s\n", spec.Path, printable(e.Error()))
	}
	return exitFailed
}

// relay writes what the host and its guests log, in lines for people.
type relay struct{ to io.Writer }

func (r relay) log() *slog.Logger { return slog.New(r) }

// Enabled implements slog.Handler.
func (r relay) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (r relay) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup implements slog.Handler.
func (r relay) WithGroup(string) slog.Handler { return r }

// Handle implements slog.Handler.
func (r relay) Handle(_ context.Context, rec slog.Record) error {
	line := strings.ToLower(rec.Level.String()) + ": " + rec.Message
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key != "plugin" {
			line += ": " + a.Value.String()
		}
		return true
	})
	_, err := fmt.Fprintln(r.to, printable(line))
	return err
}

// printable is a text as it may be shown. It can come from whoever wrote a plugin, so what a terminal might
// take for orders is escaped, and what follows an end of a line is set off: it can't pass for a line of ours.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString("\n    ")
		case r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
