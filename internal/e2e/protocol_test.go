package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The examples of docs/PROTOCOL.md are played against the server. How they are to be written:
//
// Each section (## …) is one conversation in a namespace of its own, over all its fenced blocks and its
// tables of requests and answers. A fence without a language is played; one of another kind says its
// language (```sql). A block's lines are
//
//	A → {"op":"renew","id":2}         client A sends that
//	A ← {"id":2,"state":"renewed",…}  the next message that A receives
//	A ← closed with 3001              the next thing that A receives is a close frame
//	A loses its connection            without a word
//	A connects again                  and says hello itself, in a line
//	C connects with version 1         where that isn't the chapter's
//	the server is told to stop        with a signal
//	the server is killed and started again
//	the grace period ends             whenever that is: what follows is waited for
//	an administrator ends A's session: REASON
//	an administrator releases A's lock 1: REASON
//
// Clients are called by a letter and perhaps a digit, and connect when they are met. In the chapter of
// version 2 a client that doesn't begin with a hello has said one before, with its letter for a name:
// {"op":"hello","name":"A"}. A client's messages are compared in their order, and at the end of the
// section there may be none left. Between clients the order is that of the lines.
//
// A table with the columns request and answer is played by client A, row after row. Where an answer's
// cell has several objects one of them must match.
//
// Messages are compared member by member, in any order, and exactly, but for this:
//
//   - … alone is anything: a text "…", members {"id":1,…}, elements […] or ["a",…]; within a longer text
//     any part of it ("resources[0].path has … segments").
//   - A text that ends in … ("574d68be…") stands for one that a server makes up: the same in the whole
//     section, and another one than those that are written differently. Only what was received can be sent.
//   - So do tokens and ids of version 1: their numbers may be others, but are in the same order.
//   - lease_ms and ms may be less than what is written, since_ms is any number.
//
// What stands in the text as `{…}` must be a message of one of the examples, or match one. In the chapter of version 2 a
// name in the text, `renew`, must stand in quotes in one of them, or be listed in unplayed.
//
// What a section needs of the server besides the defaults is in examplesNeed.
const protocolPage = "../../docs/PROTOCOL.md"

var examplesNeed = map[string]setup{
	"When an administrator steps in": administered,
	"After a lost connection":        {config: "[limits]\nsessions_per_address = 3\n"},
	"After a crash":                  {config: "[sessions]\nttl_default = \"5s\"\n"}, // the grace period, too
}

// unplayed are the names that the text needs and no example has, and where else they are tested.
var unplayed = map[string]string{
	"first_event":     "internal/session/limits_test.go",
	"lagged":          "internal/session/lag_test.go",
	"leave":           "internal/session/deadlock_test.go",
	"upgrade_timeout": "internal/server/upgrade_test.go",
	"not_acquired":    "internal/server/upgrade_test.go",
	"no_hello":        "internal/server/v2_test.go",
	"denied":          "internal/server/upgrade_test.go",
	"plugin":          "internal/server/upgrade_test.go",
	"code":            "internal/server/upgrade_test.go",
}

func TestExamplesOfTheProtocol(t *testing.T) {
	text, err := os.ReadFile(protocolPage)
	require.NoError(t, err)
	sections, err := readSections(string(text))
	require.NoError(t, err)
	var said []string
	for _, s := range sections {
		if len(s.steps) == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", s.version, s.title), func(t *testing.T) {
			p := newPlay(t, start(t, examplesNeed[s.title]), s)
			p.needs = examplesNeed[s.title]
			for _, step := range s.steps {
				p.step(step)
			}
			p.end()
			said = append(said, p.said...)
		})
	}
	for title := range examplesNeed {
		require.True(t, slices.ContainsFunc(sections, func(s *section) bool { return s.title == title }), "there is no section %q any more", title)
	}
	for _, s := range sections {
		for _, m := range s.mentions {
			require.True(t, t.Failed() || mentioned(m.text, said), "docs/PROTOCOL.md:%d: no example has a message like %s", m.line, m.text)
		}
	}
	checkNames(t, sections, said)
}

// checkNames: the text on version 2 calls nothing by a name that there isn't.
func checkNames(t *testing.T, sections []*section, said []string) {
	there, used := map[string]bool{}, map[string]bool{}
	for _, quoted := range quotedName.FindAllStringSubmatch(strings.Join(said, "\n"), -1) {
		there[quoted[1]] = true
	}
	for _, s := range sections {
		if s.version != 2 {
			continue
		}
		for _, n := range s.names {
			used[n.text] = true
			require.True(t, t.Failed() || there[n.text] || unplayed[n.text] != "", "docs/PROTOCOL.md:%d: no example has a %q", n.line, n.text)
		}
	}
	for n := range unplayed {
		require.True(t, t.Failed() || used[n] && !there[n], "unplayed: the text doesn't need %q, or an example has it", n)
	}
}

// section is a part of the page under a heading.
type section struct {
	title    string
	version  int
	steps    []exampleStep
	mentions []exampleStep // objects within the text
	names    []exampleStep // of operations, members, states and codes, within the text
}

// exampleStep is a line of an example.
type exampleStep struct {
	line int
	text string
}

var (
	chapterLine = regexp.MustCompile(`^# .*version (\d)$`)
	mention     = regexp.MustCompile("`(\\{[^`]*\\})`")
	nameInText  = regexp.MustCompile("`([a-z][a-z0-9_]*)`")
	quotedName  = regexp.MustCompile(`"([a-z][a-z0-9_]*)"`)
	tableRow    = regexp.MustCompile("^\\| `(\\{.*\\})` \\| (.*) \\|$")
)

// readSections takes the page apart.
func readSections(page string) (all []*section, err error) {
	now, version, fence, played, table := &section{}, 0, false, false, false
	for i, line := range strings.Split(page, "\n") {
		at := exampleStep{i + 1, strings.TrimSpace(line)}
		chapter := chapterLine.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "```"):
			fence, played = !fence, line == "```"
		case fence && played && at.text != "":
			now.steps = append(now.steps, at)
		case fence:
		case chapter != nil || strings.HasPrefix(line, "## "):
			if chapter != nil {
				version, _ = strconv.Atoi(chapter[1])
			}
			now = &section{title: strings.TrimLeft(line, "# "), version: version}
			all = append(all, now)
		case strings.HasPrefix(line, "| request | answer"):
			table = true
		case table && tableRow.MatchString(line):
			row := tableRow.FindStringSubmatch(line)
			now.steps = append(now.steps, exampleStep{at.line, "A → " + row[1]}, exampleStep{at.line, "A ← " + row[2]})
		case table && strings.HasPrefix(line, "|"):
			if !strings.HasPrefix(line, "| ---") {
				return nil, fmt.Errorf("docs/PROTOCOL.md:%d: a row of requests and answers begins with a request: %s", at.line, line)
			}
		default:
			table = false
			for _, m := range mention.FindAllStringSubmatch(line, -1) {
				now.mentions = append(now.mentions, exampleStep{at.line, m[1]})
			}
			for _, m := range nameInText.FindAllStringSubmatch(line, -1) {
				now.names = append(now.names, exampleStep{at.line, m[1]})
			}
		}
	}
	return all, nil
}

// play is a section that is being played.
type play struct {
	*testing.T
	srv     *server
	needs   setup // of the server
	version int
	clients map[string]*exampleClient
	names   names
	said    []string // all messages, as they went over the wire
	stopped bool     // the server was told to
	line    exampleStep
}

type exampleClient struct {
	*rawClient
	version int
	greeted bool
}

func newPlay(t *testing.T, srv *server, s *section) *play {
	return &play{T: t, srv: srv, version: s.version, clients: map[string]*exampleClient{}, names: names{}}
}

var lineOfExample = regexp.MustCompile(`^([A-Z]\d?) (→|←|loses its connection|connects again|connects with version)( (.+))?$`)

// step plays a line.
func (p *play) step(s exampleStep) {
	p.line = s
	if s.text == "the server is told to stop" {
		p.srv.signal(syscall.SIGTERM)
		p.stopped = true
		return
	}
	if s.text == "the server is killed and started again" {
		p.restart()
		return
	}
	if s.text == "the grace period ends" {
		return
	}
	if m := lineOfAdministrator.FindStringSubmatch(s.text); m != nil {
		p.administer(m)
		return
	}
	m := lineOfExample.FindStringSubmatch(s.text)
	p.must(m != nil, "this is no line of an example")
	name, rest := m[1], m[4]
	switch m[2] {
	case "→":
		p.send(name, rest)
	case "←":
		p.receive(name, rest)
	case "loses its connection":
		p.client(name, true).Drop()
		delete(p.clients, name)
	case "connects again":
		p.connect(name, p.version)
	case "connects with version":
		version, err := strconv.Atoi(rest)
		p.must(err == nil, "which version?")
		p.connect(name, version)
	}
}

// restart kills the server, which all clients lose, and starts it again.
func (p *play) restart() {
	p.srv.kill()
	for name, c := range p.clients {
		c.Drop()
		delete(p.clients, name)
	}
	again := p.needs
	again.stateDir = p.srv.state
	p.srv = start(p.T, again)
}

// must ends the test unless something is so.
func (p *play) must(ok bool, format string, args ...any) {
	p.Helper()
	if !ok {
		p.Fatalf("docs/PROTOCOL.md:%d: %s\n\t%s", p.line.line, p.line.text, fmt.Sprintf(format, args...))
	}
}

// connect makes a new connection for a client.
func (p *play) connect(name string, version int) *exampleClient {
	to := p.srv.target("examples")
	to.version = version
	c, _, err := dialRawFrom("", to)
	p.must(err == nil, "cannot connect: %v", err)
	p.Cleanup(c.Drop)
	p.clients[name] = &exampleClient{rawClient: c, version: version}
	return p.clients[name]
}

// client is a client that has said hello, or is about to.
func (p *play) client(name string, greets bool) *exampleClient {
	c := p.clients[name]
	if c == nil {
		c = p.connect(name, p.version)
	} else if c.version == 2 && !c.greeted {
		greets = true // one that connected again, and what it says is its own
	}
	if c.version == 2 && !c.greeted && !greets {
		p.must(c.Send(fmt.Sprintf(`{"op":"hello","name":%q}`, name)) == nil, "cannot say hello")
		welcome, err := c.Recv()
		p.must(err == nil && strings.Contains(welcome, `"welcome"`), "hello is answered with %s, %v", welcome, err)
	}
	c.greeted = true
	return c
}

func (p *play) send(name, text string) {
	c := p.client(name, strings.Contains(text, `"hello"`))
	out := text
	if pattern, err := parseExample(text); err == nil {
		filled, err := p.names.fill("", pattern)
		p.must(err == nil, "%v", err)
		if !reflect.DeepEqual(filled, pattern) {
			encoded, err := json.Marshal(filled)
			p.must(err == nil, "%v", err)
			out = string(encoded)
		}
	}
	p.said = append(p.said, out)
	p.must(c.Send(out) == nil, "cannot send")
}

func (p *play) receive(name, want string) {
	c := p.client(name, false)
	got, err := c.Recv()
	if code, ok := strings.CutPrefix(want, "closed with "); ok {
		var closed *closedError
		p.must(errors.As(err, &closed) && strconv.Itoa(closed.code) == code, "received %q, %v", got, err)
		delete(p.clients, name)
		return
	}
	p.must(err == nil, "%v", err)
	p.said = append(p.said, got)
	options := []string{want}
	if strings.HasPrefix(want, "`") { // a cell of a table
		options = nil
		for _, m := range mention.FindAllStringSubmatch(want, -1) {
			options = append(options, m[1])
		}
	}
	var faults []error
	for _, o := range options {
		trial := maps.Clone(p.names)
		if err := trial.compareTexts(o, got); err != nil {
			faults = append(faults, err)
			continue
		}
		p.names = trial
		return
	}
	p.must(false, "received %s\n\t%v", got, errors.Join(faults...))
}

// end sees whether a client was told what the page doesn't say.
func (p *play) end() {
	if p.stopped {
		p.srv.wait()
		require.Zero(p, p.srv.cmd.ProcessState.ExitCode())
		return
	}
	for name, c := range p.clients {
		if !c.greeted {
			continue
		}
		probe, answer := `{"action":"nothing"}`, "communication error: action: …"
		if c.version == 2 {
			probe, answer = `{"op":"renew","id":9007199254740991}`, `{"id":9007199254740991,"state":"renewed",…}`
		}
		p.line.text = "the end of the section for " + name
		p.must(c.Send(probe) == nil, "cannot send")
		got, err := c.Recv()
		p.must(err == nil, "%v", err)
		err = names{}.compareTexts(answer, got)
		p.must(err == nil, "the page doesn't say that %s receives %s: %v", name, got, err)
	}
}

// mentioned says whether a message is like what the page's text shows.
func mentioned(pattern string, said []string) bool {
	return slices.ContainsFunc(said, func(m string) bool { return names{}.compareTexts(pattern, m) == nil })
}

const anything = "…"

// Members that the ellipsis stands for in JSON.
var ellipses = strings.NewReplacer(`[…]`, `["…"]`, `{…}`, `{"…":0}`, `,…}`, `,"…":0}`, `,…]`, `,"…"]`)

// parseExample reads JSON in which an ellipsis may stand for members or elements.
func parseExample(text string) (any, error) { return parseJSON(ellipses.Replace(text)) }

func parseJSON(text string) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("there is more than one value in %s", text)
	}
	return v, nil
}

// names are what texts of the page stand for.
type names map[string]string

// compareTexts compares a message with what the page says.
func (n names) compareTexts(want, got string) error {
	pattern, err := parseExample(want)
	if err != nil { // version 1 has messages that aren't JSON
		return n.text("", want, got)
	}
	value, err := parseJSON(got)
	if err != nil {
		return fmt.Errorf("%s is not JSON: %w", got, err)
	}
	return n.compare("", pattern, value)
}

func (n names) compare(member string, want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			return n.object(member, want, got)
		}
	case []any:
		if got, ok := got.([]any); ok {
			return n.array(member, want, got)
		}
	case string:
		if got, ok := got.(string); ok {
			return n.text(member, want, got)
		}
	case json.Number:
		if got, ok := got.(json.Number); ok && numbersMatch(member, want, got) {
			return nil
		}
	default:
		if want == got {
			return nil
		}
	}
	return fmt.Errorf("%s is %v, not %v", member, got, want)
}

func (n names) object(member string, want, got map[string]any) error {
	_, open := want[anything]
	for name, value := range want {
		if name == anything {
			continue
		}
		if _, ok := got[name]; !ok {
			return fmt.Errorf("%s.%s is missing", member, name)
		}
		if err := n.compare(name, value, got[name]); err != nil {
			return err
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !open {
			return fmt.Errorf("there is %s.%s, too", member, name)
		}
	}
	return nil
}

func (n names) array(member string, want, got []any) error {
	if k := len(want); k > 0 && want[k-1] == anything {
		want = want[:k-1]
		got = got[:min(len(got), k-1)]
	}
	if len(want) != len(got) {
		return fmt.Errorf("%s has %d elements, not %d", member, len(got), len(want))
	}
	for i := range want {
		if err := n.compare(member, want[i], got[i]); err != nil {
			return err
		}
	}
	return nil
}

// numbersMatch compares numbers; some are times that pass.
func numbersMatch(member string, want, got json.Number) bool {
	w, err1 := want.Int64()
	g, err2 := got.Int64()
	switch member {
	case "since_ms":
		return err1 == nil && err2 == nil && g >= 0
	case "lease_ms", "ms":
		return err1 == nil && err2 == nil && 0 < g && g <= w
	}
	return want == got
}

// isToken tells whether a member is a number that only its order is known of.
func isToken(member, text string) bool {
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil && slices.Contains([]string{"token", "id"}, member)
}

// text compares texts: some stand for what the server makes up.
func (n names) text(member, want, got string) error {
	switch made := want != anything && strings.HasSuffix(want, anything) && !strings.Contains(want, " "); {
	case isToken(member, want):
		return n.token(want, got)
	case made:
		return n.learn(want, got)
	case glob(want).MatchString(got):
		return nil
	}
	return fmt.Errorf("%s is %q, not %q", member, got, want)
}

// glob makes a pattern of a text in which an ellipsis may stand for anything.
func glob(want string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(want), anything, `.*`) + `$`)
}

// learn notes what a text of the page stands for.
func (n names) learn(name, value string) error {
	if known, ok := n[name]; ok && known != value {
		return fmt.Errorf("%s was %q before and is %q now", name, known, value)
	}
	for other, known := range n {
		if other != name && known == value {
			return fmt.Errorf("%s and %s are both %q", other, name, value)
		}
	}
	n[name] = value
	return nil
}

// token learns a number, and sees that it is in order with the others.
func (n names) token(name, value string) error {
	got, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", value)
	}
	mine, _ := strconv.ParseUint(name, 10, 64)
	for other, known := range n {
		theirs, err1 := strconv.ParseUint(other, 10, 64)
		was, err2 := strconv.ParseUint(known, 10, 64)
		if err1 == nil && err2 == nil && (mine < theirs) != (got < was) {
			return fmt.Errorf("%s is %s, and %s was %s: that is another order", name, value, other, known)
		}
	}
	return n.learn(name, value)
}

// fill puts what was received in the place of its names.
func (n names) fill(member string, want any) (any, error) {
	switch v := want.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			filled, err := n.fill(name, value)
			if err != nil {
				return nil, err
			}
			out[name] = filled
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = n.fill(member, v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case string:
		if value, ok := n[v]; ok && (strings.HasSuffix(v, anything) || isToken(member, v)) {
			return value, nil
		}
		if strings.HasSuffix(v, anything) {
			return nil, fmt.Errorf("%q has not been received yet", v)
		}
	}
	return want, nil
}

// TestExamplesAreComparedStrictly has what must and what must not count as the same message.
func TestExamplesAreComparedStrictly(t *testing.T) {
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{`{"id":1,"state":"acquired"}`, `{"state":"acquired","id":1}`, true},
		{`{"id":1}`, `{"id":1,"state":"acquired"}`, false},
		{`{"id":1,…}`, `{"id":1,"state":"acquired"}`, true},
		{`{"id":1,…}`, `{"id":2,"state":"acquired"}`, false},
		{`{"id":1,"state":"acquired"}`, `{"id":1}`, false},
		{`{"locks":[…]}`, `{"locks":[1,2]}`, true},
		{`{"locks":[1,…]}`, `{"locks":[2,1]}`, false},
		{`{"locks":[1]}`, `{"locks":[1,2]}`, false},
		{`{"message":"a … c"}`, `{"message":"a b c"}`, true},
		{`{"message":"a … c"}`, `{"message":"a b d"}`, false},
		{`{"lease_ms":100}`, `{"lease_ms":99}`, true},
		{`{"lease_ms":100}`, `{"lease_ms":101}`, false},
		{`{"lease_ms":100}`, `{"lease_ms":0}`, false},
		{`{"ttl_ms":100}`, `{"ttl_ms":99}`, false},
		{`{"slots":[0]}`, `{"slots":["0"]}`, false},
		{`[{"token":"41"},{"token":"42"}]`, `[{"token":"7"},{"token":"9"}]`, true},
		{`[{"token":"41"},{"token":"42"}]`, `[{"token":"9"},{"token":"7"}]`, false},
		{`[{"token":"41"},{"token":"42"}]`, `[{"token":"7"},{"token":"7"}]`, false},
		{`[{"token":"41"},{"token":"41"}]`, `[{"token":"7"},{"token":"8"}]`, false},
		{`{"token":"41"}`, `{"token":41}`, false},
		{`["574d…","574d…"]`, `["a","a"]`, true},
		{`["574d…","574d…"]`, `["a","b"]`, false},
		{`["574d…","99ab…"]`, `["a","a"]`, false},
		{`communication error: …`, `communication error: a`, true},
		{`communication error: …`, `{"error":"a"}`, false},
	} {
		err := names{}.compareTexts(c.want, c.got)
		require.Equal(t, c.same, err == nil, "%s and %s: %v", c.want, c.got, err)
	}
}
