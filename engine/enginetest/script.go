package enginetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// Script is a text of calls, one per line:
//
//	lock NAME MODE PATH, MODE PATH ...    MODE: read, write, permit WEIGHT/LIMIT
//	release NAME
//	upgrade NAME
//	cancel NAME                           a pending upgrade
//	downgrade NAME
//	reserve N                             N numbers above the last one
//	advance
//	stats
//
// A path is /a/b/c; / is the whole namespace; a segment may be quoted as in Go. Indented lines are
// answers; empty ones and those that begin with # are comments.
type Script struct {
	Player
	names []string // of the requests
	out   strings.Builder
}

// Play makes the calls of a text and returns the text with the answers as they are now.
func Play(e *engine.Engine, text string) (string, error) {
	s := Script{Player: Player{Engine: e}}
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		s.out.WriteString(line + "\n")
		if err := s.line(line); err != nil {
			return "", fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return s.out.String(), nil
}

func (s *Script) line(line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "stats":
		t := s.Engine.Stats()
		s.say("%d requests, %d acquired, %d waiting, %d resources, %d nodes, %d entries",
			t.Requests, t.Acquired, t.Waiting, t.Resources, t.Nodes, t.Entries)
		return nil
	case "lock":
		return s.lock(rest)
	case "reserve":
		n, err := strconv.ParseUint(rest, 10, 32)
		s.grants(s.Do(Call{Op: Reserve, Numbers: n}))
		return err
	}
	op := slices.Index(words[:], word)
	if op < 0 {
		return fmt.Errorf("unknown call %q", word)
	}
	s.change(Call{Op: Op(op), Request: s.number(rest)})
	return nil
}

// words are the names of calls in scripts.
var words = [...]string{
	Lock: "lock", Release: "release", Advance: "advance",
	Upgrade: "upgrade", Cancel: "cancel", Downgrade: "downgrade", Reserve: "reserve",
}

// change makes a call about a request that was locked before, or about none.
func (s *Script) change(c Call) {
	a := s.Do(c)
	switch {
	case a.Err != nil:
		s.say("error: %v", a.Err)
		return
	case c.Op == Release:
		s.say("released, was %s", state(a.Released.Acquired))
	case a.Changed.Pending:
		s.say("%d waits for its upgrade", a.Changed.Seq)
	case c.Op != Advance:
		s.say("%d is changed%s", a.Changed.Seq, token(a.Changed.Seq, a.Changed.Token))
	}
	s.grants(a)
}

func (s *Script) say(format string, args ...any) { fmt.Fprintf(&s.out, "\t"+format+"\n", args...) }

// number is that of the last request with a name; -1 if there is none.
func (s *Script) number(name string) int {
	for i := len(s.names) - 1; i >= 0; i-- {
		if s.names[i] == name {
			return i
		}
	}
	return -1
}

func (s *Script) lock(text string) error {
	name, rest, _ := strings.Cut(text, " ")
	c := Call{Op: Lock, Owner: uint64(len(s.names))}
	var err error
	if c.Resources, err = ParseResources(rest); err != nil {
		return err
	}
	s.names = append(s.names, name)
	a := s.Do(c)
	if a.Err != nil {
		s.say("error: %v", a.Err)
		return nil
	}
	s.say("%d %s%s", a.Placed.Seq, state(a.Placed.Acquired), s.slots(a.Placed.Handle))
	return nil
}

func (s *Script) grants(a Answer) {
	for _, g := range a.Grants {
		what := "acquired"
		if g.Upgrade {
			what = "upgraded"
		}
		s.say("%s: %d %s%s%s", s.names[g.Owner], g.Seq, what, token(g.Seq, g.Token), s.slots(g.Handle))
	}
	if a.More {
		s.say("more")
	}
	if s.Engine.Starved() {
		s.say("starved")
	}
}

// token names a token that isn't the sequence number.
func token(seq, token uint64) string {
	if token == seq {
		return ""
	}
	return fmt.Sprintf(", token %d", token)
}

func (s *Script) slots(h engine.Handle) string {
	slots, _ := s.Engine.Slots(h, nil)
	if len(slots) == 0 {
		return ""
	}
	return fmt.Sprintf(", slots %v", slots)
}

func state(acquired bool) string {
	if acquired {
		return "acquired"
	}
	return "waiting"
}

// ParseResources reads the part of a lock line behind the name; empty text is an empty list.
func ParseResources(text string) (rs []engine.Resource, err error) {
	if text == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ", ") {
		f := strings.Fields(part)
		var r engine.Resource
		switch {
		case len(f) == 2 && f[0] == "read":
		case len(f) == 2 && f[0] == "write":
			r.Mode = engine.Write
		case len(f) == 3 && f[0] == "permit":
			r.Mode = engine.Permit
			if _, err := fmt.Sscanf(f[1], "%d/%d", &r.Weight, &r.Limit); err != nil {
				return nil, fmt.Errorf("%q: %w", f[1], err)
			}
		default:
			return nil, fmt.Errorf("unknown resource %q", part)
		}
		if r.Path, err = parsePath(f[len(f)-1]); err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}

func parsePath(text string) (path [][]byte, err error) {
	if text == "/" {
		return nil, nil
	}
	for rest := text; rest != ""; {
		if rest[0] != '/' {
			return nil, fmt.Errorf("path %q: want / before each segment", text)
		}
		rest = rest[1:]
		seg := rest[:strings.IndexByte(rest+"/", '/')]
		if q, err := strconv.QuotedPrefix(rest); err == nil {
			seg = q
		}
		rest = rest[len(seg):]
		if strings.HasPrefix(seg, `"`) {
			if seg, err = strconv.Unquote(seg); err != nil {
				return nil, fmt.Errorf("path %q: %w", text, err)
			}
		}
		path = append(path, []byte(seg))
	}
	return path, nil
}

// Format writes calls as a script; requests are named by their numbers.
func Format(calls []Call) string {
	var out strings.Builder
	locks := 0
	for _, c := range calls {
		switch c.Op {
		case Lock:
			fmt.Fprintln(&out, strings.TrimSpace(fmt.Sprintf("lock %d %s", locks, FormatResources(c.Resources))))
			locks++
		case Advance:
			fmt.Fprintln(&out, words[c.Op])
		case Reserve:
			fmt.Fprintln(&out, words[c.Op], c.Numbers)
		default:
			fmt.Fprintln(&out, words[c.Op], c.Request)
		}
	}
	return out.String()
}

// separators of a script, as they are written in a quoted segment.
var separators = strings.NewReplacer(" ", `\x20`, ",", `\x2c`)

// FormatResources is the opposite of ParseResources.
func FormatResources(rs []engine.Resource) string {
	var parts []string
	for _, r := range rs {
		mode := [...]string{"read ", "write ", fmt.Sprintf("permit %d/%d ", r.Weight, r.Limit)}[r.Mode]
		path := "/"
		for i, seg := range r.Path {
			if i > 0 {
				path += "/"
			}
			s := string(seg)
			if q := strconv.Quote(s); s == "" || q[1:len(q)-1] != s || strings.ContainsAny(s, "/ ,") {
				s = separators.Replace(q)
			}
			path += s
		}
		parts = append(parts, mode+path)
	}
	return strings.Join(parts, ", ")
}
