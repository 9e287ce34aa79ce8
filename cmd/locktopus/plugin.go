package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// loadFlags are the flags that say how a plugin is loaded, with the meanings of the settings of
// [[plugins]].
type loadFlags struct {
	values [5]string
	flags  []*flagValue
}

func newLoadFlags() *loadFlags {
	l := &loadFlags{}
	l.flags = []*flagValue{
		{long: "--config", value: &l.values[0]},
		{long: "--module-bytes", value: &l.values[1]},
		{long: "--memory-bytes", value: &l.values[2]},
		{long: "--call-timeout", value: &l.values[3]},
		{long: "--init-timeout", value: &l.values[4]},
	}
	return l
}

// logLines is as many as plugins.log_lines may say: whoever tries a plugin wants to see them all.
const logLines = 10_000

// spec is how the module is loaded. The ranges are those of config.toml.
func (l *loadFlags) spec(file string, hooks host.Hooks) (host.Spec, error) {
	s := host.Spec{Name: "plugin", Path: file, Hooks: hooks, Limits: host.Limits{LogLines: logLines}}
	if file == "" {
		return s, errors.New("the name of the module's file is empty")
	}
	for _, f := range l.flags {
		if !f.given {
			continue
		}
		var err error
		switch f.long {
		case "--config":
			s.Config, err = pluginConfig(*f.value, ".")
		case "--module-bytes":
			s.Limits.ModuleBytes, err = between(*f.value, 8, 67_108_864)
		case "--memory-bytes":
			s.Limits.MemoryBytes, err = between[int64](*f.value, 65_536, 1_073_741_824)
		case "--call-timeout":
			s.Limits.Call, err = lasting(*f.value, time.Millisecond, time.Second)
		case "--init-timeout":
			s.Limits.Init, err = lasting(*f.value, 10*time.Millisecond, time.Minute)
		}
		if err != nil {
			return s, fmt.Errorf("%s %w", f.as, err)
		}
	}
	return s, nil
}

func between[T int | int64](text string, low, high T) (T, error) {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || n < int64(low) || n > int64(high) {
		return 0, fmt.Errorf("must be from %s to %s, but is %q", grouped(int64(low)), grouped(int64(high)), text)
	}
	return T(n), nil
}

func lasting(text string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("must be a duration from %v to %v, but is %q", low, high, text)
	}
	return d, nil
}

// grouped writes a number as config.toml does.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	if n < 10_000 {
		return s
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "_" + s[i:]
	}
	return s
}

// pluginConfig is a plugin's configuration, given as JSON or as @FILE, whose name is relative to dir. It
// is brought to the form in which a server hands it over: compact, with sorted keys.
func pluginConfig(text, dir string) ([]byte, error) {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, bareError(err))
		}
		text = string(b)
	}
	var object map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	err := dec.Decode(&object)
	if err == nil && object == nil {
		err = errors.New("it is null")
	}
	if _, more := dec.Token(); err == nil && more != io.EOF {
		err = errors.New("something follows")
	}
	if err != nil {
		return nil, fmt.Errorf(`must be a JSON object or @FILE with one: %w`, err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return nil, err
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(out) > config.PluginConfigBytes {
		return nil, fmt.Errorf("must be at most %s bytes, but has %s", grouped(config.PluginConfigBytes), grouped(int64(len(out))))
	}
	return out, nil
}

// loadFaults prints why a module can't be loaded, a line for each fault.
func (p process) loadFaults(spec *host.Spec, err error) int {
	for _, e := range each(err) {
		fmt.Fprintf(p.stderr, "%s: %v\n", spec.Path, e)
	}
	return exitFailed
}

// relay writes what the host and its guests log, in lines for people. A line may come from anybody who
// wrote a plugin, so what a terminal could take for orders is taken out.
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

// printable is a text with everything escaped that isn't to be seen, but for ends of lines and tabs.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
