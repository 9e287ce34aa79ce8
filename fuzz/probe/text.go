package probe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// segments are few, so that requests meet.
var segments = []string{"a", "b", "a", "b", "c", "a", "", "*", "é\"\\\n", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}

// resources draws what a request wants.
func (s *source) resources() []oracle.Resource {
	rs := make([]oracle.Resource, pickOf(s, 1, 1, 1, 2, 2, 3))
	for i := range rs {
		rs[i].Write = s.below(2) == 0
		for range pickOf(s, 1, 1, 2, 2, 3, 0) {
			rs[i].Path = append(rs[i].Path, pickOf(s, segments...))
		}
	}
	return rs
}

// lock draws a request and a way to write it.
func (s *source) lock() string { return s.write(s.resources()) }

// write writes a request in one of the ways that mean the same.
func (s *source) write(rs []oracle.Resource) string {
	types, quote := [2]string{"read", "write"}, quoteJSON
	form := s.below(10)
	switch form {
	case 1:
		types = [2]string{"r", "w"}
	case 2:
		types = [2]string{"Read", "WRITE"}
	case 3:
		quote = escapeAll
	}
	parts := make([]string, len(rs))
	for i, r := range rs {
		path := make([]string, len(r.Path))
		for k, seg := range r.Path {
			path[k] = quote(seg)
		}
		members := []string{`"type":` + quote(types[0]), `"path":[` + strings.Join(path, ",") + `]`}
		if r.Write {
			members[0] = `"type":` + quote(types[1])
		}
		if form == 4 {
			slices.Reverse(members)
		}
		parts[i] = "{" + strings.Join(members, ",") + "}"
	}
	action, resources := `"action":`+quote("lock"), `"resources":[`+strings.Join(parts, ",")+`]`
	switch form {
	case 4:
		return "{" + resources + "," + action + "}"
	case 5:
		return `{"":{"action":[null,1e3,{"x":false}]},` + action + `,"id":17,` + resources + `,"more":"\u0000"}`
	case 6:
		return spaced("{" + action + "," + resources + "}")
	}
	return "{" + action + "," + resources + "}"
}

func (s *source) release() string {
	return pickOf(s, releaseText, releaseText, ` { "action" : "release" } `, `{"\u0061ction":"releas\u0065","resources":"none"}`)
}

const releaseText = `{"action":"release"}`

func quoteJSON(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic("probe: a text is no JSON: " + err.Error())
	}
	return string(b)
}

// escapeAll writes a text with nothing but escapes.
func escapeAll(text string) string {
	var b strings.Builder
	for _, r := range text {
		fmt.Fprintf(&b, `\u%04X`, r)
	}
	return `"` + b.String() + `"`
}

// spaced puts white space between all that a request is made of; none of its strings has such bytes in it.
func spaced(text string) string {
	return strings.NewReplacer(`{`, " {\n", `}`, "\t} ", `[`, " [ ", `]`, " ] ", `,`, " ,\r\n ").Replace(text)
}

// badMessages break the protocol in all states.
var badMessages = []string{
	``, ` `, `x`, `null`, `17`, `"release"`, `[]`, `{}`, `{"action":"release"`, `{"action":"release"}}`, `{"action":"release"}{"action":"release"}`,
	`{"action":"unlock"}`, `{"action":"LOCK","resources":[{"type":"w","path":["a"]}]}`, `{"action":7}`, `{"action":"lock"}`,
	`{"action":"lock","resources":[]}`, `{"action":"lock","resources":{}}`, `{"action":"lock","resources":[7]}`,
	`{"action":"lock","resources":[{"type":"w"}]}`, `{"action":"lock","resources":[{"path":["a"]}]}`,
	`{"action":"lock","resources":[{"type":"x","path":["a"]}]}`, `{"action":"lock","resources":[{"type":"w","path":"a"}]}`,
	`{"action":"lock","resources":[{"type":"w","path":[1]}]}`, `{"action":"lock","resources":[{"type":"w","path":["\u0000"]}]}`,
	`{"action":"lock","resources":[{"type":"w","path":["\ud800"]}]}`, `{"action":"lock","resources":[{"type":"w","type":"r","path":["a"]}]}`,
	`{"action":"lock","action":"lock","resources":[{"type":"w","path":["a"]}]}`, `{'action':'release'}`, `{"action":"release",}`,
	"\ufeff" + releaseText, "\x00", `{"action":"release","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	`{"action":"lock","resources":[` + strings.Repeat(`{"type":"w","path":["a"]},`, 2500), "caf\xe9", "\xff", `{"action":"rele` + "\xc3" + `se"}`,
}

// words are what mutations put in.
var words = []string{`"`, `\`, `{`, `}`, `[`, `]`, `,`, `:`, `\u0000`, `\ud800`, `null`, `""`, `"type":"r",`, `"action":"release",`, "\x00", "\xff", " ", `-1e9`}

// mutate changes a message a little. It may still be one.
func (s *source) mutate(text string) string {
	b := []byte(text)
	for range 1 + s.below(3) {
		at := 0
		if len(b) > 0 {
			at = (s.below(256)<<8 | s.below(256)) % len(b)
		}
		switch s.below(4) {
		case 0:
			b = slices.Insert(b, at, []byte(pickOf(s, words...))...)
		case 1:
			b = slices.Delete(b, at, min(at+1+s.below(4), len(b)))
		case 2:
			if len(b) > 0 {
				b[at] ^= 1 << s.below(8)
			}
		case 3:
			b = b[:at]
		}
	}
	return string(b)
}

// meaning is what a message asks for, by the protocol's own parser.
type meaning struct {
	action    wire.V1Action
	resources []oracle.Resource
}

func meaningOf(text string) (m meaning, err error) {
	r, err := new(wire.V1Parser).Parse([]byte(text))
	if err != nil {
		return m, err
	}
	m.action = r.Action
	for _, res := range r.Resources {
		want := oracle.Resource{Write: res.Type == wire.Write}
		for _, seg := range res.Path {
			want.Path = append(want.Path, string(seg))
		}
		m.resources = append(m.resources, want)
	}
	return m, nil
}

// answer is a message of the server.
type answer struct {
	id            uint64
	action, state string
}

// String is the answer in its form.
func (a answer) String() string {
	return fmt.Sprintf(`{"id":"%d","action":%q,"state":%q}`, a.id, a.action, a.state)
}

// parseAnswer reads a message of the server, which must be an answer of the protocol.
func parseAnswer(text string) (a answer, err error) {
	var raw map[string]string
	if err := json.Unmarshal([]byte(text), &raw); err != nil || len(raw) != 3 {
		return a, fmt.Errorf("%s is no answer of protocol v1", shorten(text))
	}
	a.action, a.state = raw["action"], raw["state"]
	a.id, err = strconv.ParseUint(raw["id"], 10, 63)
	if err != nil || strconv.FormatUint(a.id, 10) != raw["id"] || a.id == 0 {
		return a, fmt.Errorf("%q is no id, in %s", raw["id"], shorten(text))
	}
	if kind := (answer{0, a.action, a.state}); !slices.Contains(answers, kind) {
		return a, fmt.Errorf("%s is no answer of protocol v1", shorten(text))
	}
	return a, nil
}

// answers are all there are, without their ids.
var answers = []answer{{0, "lock", "enqueued"}, {0, "lock", "acquired"}, {0, "release", "ready"}}
