package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/locktopus-project/locktopus/v2/client"
)

// foreignSession is what the server calls the sessions of clients of version 1, which have none.
const foreignSession = "v1"

// seen is a lock as it is shown. Names, notes and paths are other people's texts: nothing in them may pass for
// an order to the terminal, for a column, or for a line of ours.
type seen client.LockInfo

// word is a text as one word: as it is, or in quotes where it has blanks, quotes, or what isn't visible.
func word(text string) string {
	switch {
	case text == "":
		return "-"
	case text == "-" || strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || r == '"' || r == utf8.RuneError || !unicode.IsPrint(r) }):
		return strconv.Quote(text)
	}
	return text
}

// pathWord is a path as command lines have it.
func pathWord(path []string) string {
	if len(path) == 0 {
		return `""`
	}
	segments := make([][]byte, len(path))
	for i, s := range path {
		segments[i] = []byte(s)
	}
	if text := pathText(segments); text != "" {
		return word(text)
	}
	return `[""]` // the one path that has no other text
}

func (l *seen) tokenWord() string {
	if l.Token == 0 {
		return "-"
	}
	return strconv.FormatUint(l.Token, 10)
}

// sessionWord is enough of a session's id to name it.
func (l *seen) sessionWord() string {
	const most = 12
	if id := word(l.Session); len(id) <= most || strings.HasPrefix(id, `"`) {
		return id
	}
	return l.Session[:most]
}

func (l *seen) lockWord() string { return strconv.FormatUint(l.Lock, 10) }

// age is how long a lock has been held or has waited.
func (l *seen) age() string { return ageOf(l.Session, l.SinceMS) }

func ageOf(session string, ms int64) string {
	if session == foreignSession {
		return "-" // nobody knows
	}
	return spanOf(ms)
}

// spanOf is a time as people read it.
func spanOf(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	return d.String()
}

func resourceText(r client.Resource) string {
	text := word(r.Type) + " " + pathWord(r.Path)
	if r.Type == "permit" {
		text += fmt.Sprintf(" (%d of %d)", r.Weight, r.Limit)
	}
	return text
}

func (l *seen) resourcesText() string {
	all := make([]string, len(l.Resources))
	for i, r := range l.Resources {
		all[i] = resourceText(r)
	}
	if l.Cut {
		all = append(all, "and more than the server says")
	}
	return strings.Join(all, ", ")
}

func (l *seen) noteText() string {
	if l.Note == "" {
		return ""
	}
	return "  # " + strconv.Quote(l.Note)
}

// who is a lock for a sentence.
func (l *seen) who() string {
	text := "session " + word(l.Session)
	if l.Session == foreignSession {
		text = "a client of version 1"
	}
	text += fmt.Sprintf(", lock %d", l.Lock)
	if l.Name != "" {
		text += ", name " + word(l.Name)
	}
	return text + noteIn(l.Note)
}

func noteIn(note string) string {
	if note == "" {
		return ""
	}
	return ", note " + strconv.Quote(note)
}

func stateText(state, session string, ms int64) string {
	if since := ageOf(session, ms); since != "-" {
		return word(state) + " for " + since
	}
	return word(state)
}

// blockersTold is how many of those in the way the server tells of at most.
const blockersTold = 8

// detailsText is all about a lock.
func (l *seen) detailsText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  %s by %s", l.resourcesText(), stateText(l.State, l.Session, l.SinceMS), l.who())
	if l.Token != 0 {
		fmt.Fprintf(&b, ", token %d", l.Token)
	}
	b.WriteByte('\n')
	for _, w := range l.WaitsFor {
		fmt.Fprintf(&b, "  waits for %s, lock %d: %s %s, %s%s\n", word(w.Session), w.Lock, word(w.Type), pathWord(w.Path),
			stateText(w.State, w.Session, w.SinceMS), noteIn(w.Note))
	}
	switch {
	case l.State == "acquired":
	case len(l.WaitsFor) == 0:
		b.WriteString("  waits for somebody that the server doesn't tell of here: at another path, or one of very many\n")
	case len(l.WaitsFor) == blockersTold:
		b.WriteString("  waits for others, too, if there are more than these\n")
	}
	return b.String()
}

// happening is when a watch has seen what.
type happening struct {
	Time   string `json:"time"`
	Change string `json:"change"`
}

// seenJSON is a lock as a line of JSON, in the terms of the protocol.
type seenJSON struct {
	*happening
	Session   string            `json:"session"`
	Name      string            `json:"name,omitempty"`
	Lock      uint64            `json:"lock"`
	Token     string            `json:"token,omitempty"`
	State     string            `json:"state"`
	Resources []client.Resource `json:"resources"`
	Note      string            `json:"note,omitempty"`
	SinceMS   *int64            `json:"since_ms,omitempty"`
	WaitsFor  []blockerJSON     `json:"waits_for,omitempty"`
	Cut       bool              `json:"cut,omitempty"`
}

type blockerJSON struct {
	Session string   `json:"session"`
	Note    string   `json:"note,omitempty"`
	Lock    uint64   `json:"lock"`
	Type    string   `json:"type"`
	Path    []string `json:"path"`
	State   string   `json:"state"`
	SinceMS *int64   `json:"since_ms,omitempty"`
}

func (l *seen) jsonLine(h *happening) string {
	x := seenJSON{
		happening: h, Session: l.Session, Name: l.Name, Lock: l.Lock, State: l.State, Note: l.Note, Cut: l.Cut,
		Resources: append([]client.Resource{}, l.Resources...), SinceMS: sinceOf(l.Session, &l.SinceMS),
	}
	if l.Token != 0 {
		x.Token = strconv.FormatUint(l.Token, 10)
	}
	for i := range l.WaitsFor {
		w := &l.WaitsFor[i]
		x.WaitsFor = append(x.WaitsFor, blockerJSON{
			w.Session, w.Note, w.Lock, w.Type, append([]string{}, w.Path...), w.State, sinceOf(w.Session, &w.SinceMS),
		})
	}
	return visibleJSON(x)
}

// sinceOf is how long a lock has been held or has waited; nil: nobody knows.
func sinceOf(session string, ms *int64) *int64 {
	if session == foreignSession {
		return nil
	}
	return ms
}

// visibleJSON is a value in one line. What a terminal might take for orders is escaped.
func visibleJSON(v any) string {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("locktopus: what is shown is no JSON: " + err.Error())
	}
	var b strings.Builder
	for _, r := range strings.TrimSuffix(plain.String(), "\n") {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	return b.String()
}
