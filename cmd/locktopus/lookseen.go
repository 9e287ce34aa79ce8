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
type seen struct {
	*client.LockInfo
	waitsFor []*client.LockInfo // who is in the way, as far as it is shown
	partial  bool               // there are locks that aren't looked at for that
}

// seenIn is a lock of a list that is in the order of the queue, with those of the list that it waits for.
func seenIn(list []client.LockInfo, i int) *seen {
	l := &seen{LockInfo: &list[i]}
	if l.State == "acquired" {
		return l
	}
	for k := range list {
		if k != i && inTheWay(l.LockInfo, &list[k], k < i) {
			l.waitsFor = append(l.waitsFor, &list[k])
		}
	}
	return l
}

// inTheWay says whether a lock that waits, or whose upgrade does, waits for another one: of those that conflict
// with it that are acquired, or older.
func inTheWay(l, other *client.LockInfo, older bool) bool {
	held := other.State != "enqueued"
	upgrade := l.State == "upgrading"
	if !held && (!older || upgrade) {
		return false
	}
	for _, a := range l.Resources {
		for _, b := range other.Resources {
			if conflict(a, b, upgrade) {
				return true
			}
		}
	}
	return false
}

// conflict says whether two resources can't be had at once; of two permits of a path, whether one may have to wait
// for the other.
func conflict(a, b client.Resource, upgrade bool) bool {
	if a.Type == "permit" && b.Type == "permit" {
		return !upgrade && samePath(a.Path, b.Path)
	}
	writes := a.Type == "write" || b.Type == "write" || upgrade && a.Type == "read"
	n := min(len(a.Path), len(b.Path))
	return writes && samePath(a.Path[:n], b.Path[:n])
}

func samePath(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

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
func (l *seen) age() string { return ageOf(l.LockInfo) }

func ageOf(l *client.LockInfo) string {
	switch d := l.Since(); {
	case l.Session == foreignSession:
		return "-" // nobody knows
	case d < time.Second:
		return d.String()
	default:
		return d.Round(time.Second).String()
	}
}

func resourceText(r client.Resource) string {
	text := word(r.Type) + " " + pathWord(r.Path)
	if r.Type == "permit" {
		text += fmt.Sprintf(" (%d of %d)", r.Weight, r.Limit)
	}
	return text
}

func (l *seen) resourcesText() string { return resourcesOf(l.LockInfo) }

func resourcesOf(l *client.LockInfo) string {
	all := make([]string, len(l.Resources))
	for i, r := range l.Resources {
		all[i] = resourceText(r)
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
func who(l *client.LockInfo) string {
	text := fmt.Sprintf("session %s, lock %d", word(l.Session), l.Lock)
	if l.Session == foreignSession {
		text = fmt.Sprintf("a client of version 1, lock %d", l.Lock)
	}
	if l.Name != "" {
		text += ", name " + word(l.Name)
	}
	if l.Note != "" {
		text += ", note " + strconv.Quote(l.Note)
	}
	return text
}

func stateText(l *client.LockInfo) string {
	if since := ageOf(l); since != "-" {
		return word(l.State) + " for " + since
	}
	return word(l.State)
}

// mostWaitedFor is how many of those that are in the way are told of.
const mostWaitedFor = 8

// detailsText is all about a lock.
func (l *seen) detailsText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  %s by %s", l.resourcesText(), stateText(l.LockInfo), who(l.LockInfo))
	if l.Token != 0 {
		fmt.Fprintf(&b, ", token %d", l.Token)
	}
	b.WriteByte('\n')
	for _, w := range l.waitsFor[:min(len(l.waitsFor), mostWaitedFor)] {
		fmt.Fprintf(&b, "  waits for %s: %s, %s\n", who(w), resourcesOf(w), stateText(w))
	}
	switch more := len(l.waitsFor) - mostWaitedFor; {
	case more > 0:
		fmt.Fprintf(&b, "  waits for %d more\n", more)
	case l.State != "acquired" && len(l.waitsFor) == 0:
		b.WriteString("  waits for somebody at another path\n")
	}
	if l.partial && l.State != "acquired" {
		b.WriteString("  there are more locks here than were looked at: it may wait for others, too\n")
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
	WaitsFor  []seenJSON        `json:"waits_for,omitempty"`
}

func asJSON(l *client.LockInfo) seenJSON {
	x := seenJSON{
		Session: l.Session, Name: l.Name, Lock: l.Lock, State: l.State, Resources: l.Resources, Note: l.Note,
	}
	if l.Token != 0 {
		x.Token = strconv.FormatUint(l.Token, 10)
	}
	if l.Session != foreignSession {
		x.SinceMS = &l.SinceMS
	}
	if x.Resources == nil {
		x.Resources = []client.Resource{}
	}
	return x
}

func (l *seen) jsonLine(h *happening) string {
	x := asJSON(l.LockInfo)
	x.happening = h
	for _, w := range l.waitsFor {
		x.WaitsFor = append(x.WaitsFor, asJSON(w))
	}
	return visibleJSON(x)
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
