package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// suite is a file of cases.
type suite struct {
	file   string
	config []byte // nil: none
	cases  []*testCase
	faults []error
}

// testCase is a question and what is wanted of the answer.
type testCase struct {
	place    string // in the file, for people
	question *question
	want     wanted
}

// wanted is what an answer must be. What is nil may be anything.
type wanted struct {
	outcome  host.Outcome
	code     *uint8
	reason   *string
	identity *host.Identity
	paths    []string
}

// readSuite reads a file of cases. All faults are found at once.
func readSuite(file string) *suite {
	text, err := config.ReadFile(file)
	if err != nil {
		return &suite{file: file, faults: []error{fmt.Errorf("%s: %w", file, err)}}
	}
	return parseSuite(file, text)
}

func parseSuite(file, text string) *suite {
	s := &suite{file: file}
	var doc map[string]any
	if _, err := toml.Decode(text, &doc); err != nil {
		if pe, ok := errors.AsType[toml.ParseError](err); ok {
			file, err = fmt.Sprintf("%s:%d:%d", file, pe.Position.Line, max(pe.Position.Col, 1)), errors.New(pe.Message)
		}
		s.fault("%s: %w", file, err)
		return s
	}
	s.read(doc, caseLines(text))
	return s
}

func (s *suite) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Errorf(format, args...))
}

func (s *suite) counted() string {
	if len(s.cases) == 1 {
		return "1 case"
	}
	return fmt.Sprintf("%d cases", len(s.cases))
}

func (s *suite) read(doc map[string]any, lines []int) {
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		switch key {
		case "config":
			s.readConfig(doc[key])
		case "case":
		default:
			s.fault("%s: unknown key %q%s", s.file, key, orHint(key, []string{"config", "case"}, "; each case is a table [[case]]"))
		}
	}
	tables, ok := doc["case"].([]map[string]any)
	if !ok {
		s.fault("%s: there is no case: each is a table [[case]]", s.file)
	}
	for k, table := range tables {
		place := fmt.Sprintf("%s: case %d", s.file, k+1)
		if len(lines) == len(tables) {
			place = fmt.Sprintf("%s:%d", s.file, lines[k])
		}
		s.readCase(place, table)
	}
}

var caseHeader = regexp.MustCompile(`^\s*\[\[\s*case\s*\]\]`)

// caseLines are where the cases begin. The TOML library doesn't tell. In a document that has such a line in
// a string, too, there are more of them than cases.
func caseLines(text string) (lines []int) {
	number := 0
	for line := range strings.Lines(text) {
		if number++; caseHeader.MatchString(line) {
			lines = append(lines, number)
		}
	}
	return lines
}

// readConfig takes what would stand in [plugins.config] as a table, or else as JSON.
func (s *suite) readConfig(value any) {
	var err error
	switch v := value.(type) {
	case string:
		value, err = inlineOrFile(v, filepath.Dir(s.file))
	case map[string]any:
	default:
		err = errors.New("must be a table, or a string of JSON, or @FILE with JSON")
	}
	var pl config.Plugin
	if err == nil {
		err = pl.Set("config", value)
	}
	if err != nil {
		for _, e := range each(err) {
			s.fault("%s: config %w", s.file, e)
		}
	}
	s.config = pl.Config
}

// Keys of a case besides those of inputs.
var otherKeys = []string{"name", "hook", "want", "code", "reason", "identity", "paths"}

func (s *suite) readCase(place string, table map[string]any) {
	r := caseReader{table: table, place: place}
	if name := r.text("name"); name != "" {
		r.place += ": " + printable(name)
	}
	r.unknownKeys(caseKeys())
	c := &testCase{place: r.place}
	if word, ok := r.required("hook", "authorize"); ok {
		r.questionAndWant(c, word)
	}
	s.cases = append(s.cases, c)
	s.faults = append(s.faults, r.faults...)
}

// caseKeys are all that a case can have.
func caseKeys() []string {
	keys := slices.Clone(otherKeys)
	for _, in := range inputs {
		keys = append(keys, in.name)
	}
	return keys
}

// caseReader takes a case's table apart.
type caseReader struct {
	table  map[string]any
	place  string
	faults []error
}

func (r *caseReader) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s: "+format, append([]any{r.place}, args...)...))
}

func (r *caseReader) unknownKeys(known []string) {
	for _, key := range slices.Sorted(maps.Keys(r.table)) {
		if !slices.Contains(known, key) {
			r.fault("unknown key %q%s", key, orHint(key, known, ""))
		}
	}
}

func (r *caseReader) questionAndWant(c *testCase, word string) {
	hook, err := parseHook(word)
	if err != nil {
		r.fault("%w", err)
		return
	}
	c.question, err = newQuestion(hook, r.words(), func(in *input) string { return in.name })
	if err != nil {
		for _, e := range each(err) {
			r.fault("%w", e)
		}
	}
	r.want(hook, &c.want)
}

// text is a key's string; "" if it isn't there.
func (r *caseReader) text(key string) string {
	text, ok := r.table[key].(string)
	if r.table[key] != nil && !ok {
		r.fault("%s must be a string", key)
	}
	return text
}

// required is the string of a key that must be there.
func (r *caseReader) required(key, example string) (string, bool) {
	if r.table[key] == nil {
		r.fault("%s is missing: give it, such as %s = %q", key, key, example)
		return "", false
	}
	_, ok := r.table[key].(string)
	return r.text(key), ok
}

// words are the case's inputs in the order of inputs.
func (r *caseReader) words() (words []given) {
	for k := range inputs {
		in := &inputs[k]
		many, isList := r.table[in.name].([]any)
		if !isList {
			many = []any{r.table[in.name]}
		}
		for _, item := range many {
			text, ok := item.(string)
			if at, isTime := item.(time.Time); isTime && in.name == "now" {
				text, ok = zoned(at), true
			}
			if item != nil && (!ok || isList && !in.many) {
				r.fault("%s must be %s", in.name, kindOf(in))
				break
			}
			if ok {
				words = append(words, given{in.name, text})
			}
		}
	}
	return words
}

func kindOf(in *input) string {
	if in.name == "now" {
		return "a date with a time, or a string"
	}
	if in.many {
		return "a string or an array of strings"
	}
	return "a string"
}

// zoned writes a time, if it says of which zone it is.
func zoned(t time.Time) string {
	if strings.HasSuffix(t.Location().String(), "-local") {
		return t.Format("2006-01-02T15:04:05.999999999") // which setNow doesn't take
	}
	return t.Format(time.RFC3339Nano)
}

var outcomes = map[string]host.Outcome{"allow": host.Allowed, "deny": host.Denied, "fail": host.Failed}

// want reads what is wanted of the answer.
func (r *caseReader) want(hook host.Hooks, w *wanted) {
	word, given := r.required("want", "allow")
	if !given {
		return
	}
	var ok bool
	if w.outcome, ok = outcomes[word]; !ok {
		r.fault(`want must be "allow", "deny" or "fail", but is %q`, word)
		return
	}
	if v := r.only("code", w.outcome == host.Denied, "a denial has"); v != nil {
		n, ok := v.(int64)
		if code := uint8(n); ok && int64(code) == n {
			w.code = &code
		} else {
			r.fault("code must be an integer from 0 to 255")
		}
	}
	if r.only("reason", w.outcome != host.Allowed, "a denial or a failure has") != nil {
		text := r.text("reason")
		w.reason = &text
	}
	if v := r.only("identity", w.outcome == host.Allowed && hook == host.Authenticate, "authenticate gives when it allows"); v != nil {
		w.identity = r.identity(v)
	}
	if v := r.only("paths", w.outcome == host.Allowed && hook == host.Normalize, "normalize gives when it allows"); v != nil {
		w.paths = r.paths(v)
	}
}

// only is a key's value if it may be there.
func (r *caseReader) only(key string, may bool, who string) any {
	v := r.table[key]
	if v != nil && !may {
		r.fault("%s is what only %s", key, who)
		return nil
	}
	return v
}

// identity reads a table. What it doesn't have is empty in the identity, too.
func (r *caseReader) identity(value any) *host.Identity {
	table, ok := value.(map[string]any)
	if !ok {
		r.fault(`identity must be a table, such as identity = {principal = "alice"}`)
		return nil
	}
	in := caseReader{table: table, place: r.place + ": identity"}
	id := &host.Identity{Authenticated: true, Principal: in.text("principal"), Context: in.text("context")}
	if ttl := in.text("ttl"); ttl != "" {
		var err error
		if id.TTL, err = time.ParseDuration(ttl); err != nil || id.TTL < 0 || id.TTL%time.Second != 0 {
			in.fault(`ttl must be a duration of whole seconds, such as "1h", but is %q`, ttl)
		}
	}
	in.unknownKeys([]string{"principal", "context", "ttl"})
	r.faults = append(r.faults, in.faults...)
	return id
}

// paths reads a path or an array of them, into the form that pathText gives.
func (r *caseReader) paths(value any) []string {
	items, ok := value.([]any)
	if !ok {
		items = []any{value}
	}
	texts := make([]string, len(items))
	for k, item := range items {
		text, ok := item.(string)
		if !ok {
			r.fault("paths must be a string or an array of strings")
			return nil
		}
		path, err := parsePath(text)
		if err != nil {
			r.fault("paths %w", err)
		}
		texts[k] = pathText(path)
	}
	return texts
}

// met says whether an answer is what is wanted.
func (w *wanted) met(a *answer) bool {
	if a.failed() != (w.outcome == host.Failed) || a.allowed() != (w.outcome == host.Allowed) {
		return false
	}
	return (w.code == nil || *w.code == a.code) && (w.reason == nil || *w.reason == a.reason) &&
		(w.identity == nil || *w.identity == a.identity) && (w.paths == nil || slices.Equal(w.paths, a.paths))
}

func (w *wanted) String() string {
	switch {
	case w.identity != nil:
		return "allowed " + identityText(w.identity)
	case w.paths != nil:
		return "allowed: " + pathList(w.paths)
	}
	text := map[host.Outcome]string{host.Allowed: "allowed", host.Denied: "denied", host.Failed: "failed"}[w.outcome]
	if w.code != nil {
		text += fmt.Sprintf(", code %d", *w.code)
	}
	if w.reason != nil && w.outcome == host.Denied {
		text += fmt.Sprintf(": %q", *w.reason)
	} else if w.reason != nil {
		text += ": " + printable(*w.reason)
	}
	return text
}
