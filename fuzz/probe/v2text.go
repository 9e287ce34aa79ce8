package probe

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// longText is longer than any note or name may be.
var longText = strings.Repeat("longer ", 600)

// ask is a request of version 2. What is zero isn't written, but for what its operation must have.
type ask struct {
	op               string
	id, lock         uint64
	wants            []want
	path             []string
	wait, lease      int // in milliseconds; below zero: not written
	note             string
	leave            bool
	party            uint64
	after            string
	limit            uint64
	watch, upgradeID uint64
}

// newAsk is one without times.
func newAsk(op string) ask { return ask{op: op, wait: -1, lease: -1} }

// members of its JSON object, in order.
func (a *ask) members(quote func(string) string) []string {
	list := []string{`"op":` + quote(a.op), number("id", a.id)}
	add := func(is bool, member string) {
		if is {
			list = append(list, member)
		}
	}
	add(a.lock > 0, number("lock", a.lock))
	add(a.wants != nil, `"resources":[`+joined(a.wants, func(w want) string { return w.text(quote) })+`]`)
	add(a.op == "inspect" || a.op == "watch", `"path":`+pathText(a.path, quote))
	add(a.wait >= 0, number("wait_ms", uint64(max(0, a.wait))))
	add(a.lease >= 0, number("lease_ms", uint64(max(0, a.lease))))
	add(a.note != "", `"note":`+quote(a.note))
	add(a.leave, `"leave":true`)
	add(a.party > 0, number("party", a.party))
	add(a.after != "", `"after":`+quote(a.after))
	add(a.limit > 0, number("limit", a.limit))
	add(a.watch > 0, number("watch", a.watch))
	add(a.upgradeID > 0, number("upgrade", a.upgradeID))
	return list
}

func number(name string, n uint64) string { return fmt.Sprintf("%q:%d", name, n) }

func joined[T any](list []T, text func(T) string) string {
	parts := make([]string, len(list))
	for i, x := range list {
		parts[i] = text(x)
	}
	return strings.Join(parts, ",")
}

func pathText(path []string, quote func(string) string) string {
	return "[" + joined(path, quote) + "]"
}

func (w want) text(quote func(string) string) string {
	text := `{"type":` + quote(w.kind) + `,"path":` + pathText(w.path, quote)
	if w.kind == "permit" {
		text += "," + number("limit", uint64(w.limit)) + "," + number("weight", uint64(w.weight))
	}
	return text + "}"
}

// writings are the ways to write a message that mean the same.
const writings = 10

// write writes a request in one of them.
func (a *ask) write(form int) string {
	quote := quoteJSON
	if form == 1 {
		quote = escapeAll
	}
	list := a.members(quote)
	switch form {
	case 2:
		slices.Reverse(list)
	case 3:
		list = append(list, `"more":{"op":[null,1e3,{"x":false}]}`)
	case 4:
		return spaced("{" + strings.Join(list, ",") + "}")
	}
	return "{" + strings.Join(list, ",") + "}"
}

// wants draws what a lock is for.
func (s *source) wants() []want {
	ws := make([]want, pickOf(s, 1, 1, 1, 1, 2, 2, 3))
	for i := range ws {
		if ws[i].kind = pickOf(s, "read", "write", "write", "read", "permit"); ws[i].kind == "permit" {
			ws[i].limit = pickOf(s, 2, 2, 2, 3, 1)
			ws[i].weight = 1 + s.below(ws[i].limit)
		}
		ws[i].path = s.path()
	}
	return ws
}

func (s *source) path() (path []string) {
	path = []string{}
	for range pickOf(s, 1, 1, 1, 2, 2, 3, 0) {
		path = append(path, pickOf(s, segments...))
	}
	return path
}

// badAsks break version 2 of the protocol. ID stands for the next id of the session.
var badAsks = []string{
	``, ` `, `x`, `null`, `17`, `"bye"`, `[]`, `{}`, `{"op":"renew","id":ID`, `{"op":"renew","id":ID}}`, `{"op":"renew","id":ID}{"op":"renew","id":ID}`,
	`{"op":"unlock","id":ID}`, `{"op":"LOCK","id":ID,"resources":[{"type":"write","path":["a"]}]}`, `{"op":7,"id":ID}`, `{"id":ID}`,
	`{"op":"renew"}`, `{"op":"renew","id":"ID"}`, `{"op":"renew","id":0}`, `{"op":"renew","id":-1}`, `{"op":"renew","id":1.5}`, `{"op":"renew","id":9007199254740992}`, `{"op":"renew","id":null}`,
	`{"op":"lock","id":ID}`, `{"op":"lock","id":ID,"resources":[]}`, `{"op":"lock","id":ID,"resources":{}}`, `{"op":"lock","id":ID,"resources":[7]}`,
	`{"op":"lock","id":ID,"resources":[{"type":"write"}]}`, `{"op":"lock","id":ID,"resources":[{"path":["a"]}]}`,
	`{"op":"lock","id":ID,"resources":[{"type":"x","path":["a"]}]}`, `{"op":"lock","id":ID,"resources":[{"type":"write","path":"a"}]}`,
	`{"op":"lock","id":ID,"resources":[{"type":"write","path":[1]}]}`, `{"op":"lock","id":ID,"resources":[{"type":"write","path":["\u0000"]}]}`,
	`{"op":"lock","id":ID,"resources":[{"type":"write","path":["\ud800"]}]}`, `{"op":"lock","id":ID,"resources":[{"type":"write","type":"read","path":["a"]}]}`,
	`{"op":"lock","id":ID,"resources":[{"type":"permit","path":["a"]}]}`, `{"op":"lock","id":ID,"resources":[{"type":"permit","path":["a"],"limit":0}]}`,
	`{"op":"lock","id":ID,"resources":[{"type":"write","path":["a"]}],"wait_ms":"5"}`, `{"op":"lock","id":ID,"resources":[{"type":"write","path":["a"]}],"wait_ms":-5}`,
	`{"op":"lock","id":ID,"resources":[{"type":"write","path":["a"]}],"leave":1}`, `{"op":"lock","id":ID,"resources":[{"type":"write","path":["a"]}],"note":7}`,
	`{"op":"release","id":ID}`, `{"op":"release","id":ID,"lock":"1"}`, `{"op":"upgrade","id":ID}`, `{"op":"downgrade","id":ID}`, `{"op":"unwatch","id":ID}`,
	`{"op":"inspect","id":ID}`, `{"op":"watch","id":ID,"path":"a"}`, `{"op":"inspect","id":ID,"path":[],"after":"x"}`, `{"op":"renew","id":ID,"id":ID}`, `{'op':'renew','id':ID}`, `{"op":"renew","id":ID,}`,
	"\ufeff" + `{"op":"renew","id":ID}`, "\x00", `{"op":"renew","id":ID,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	`{"op":"hello"}`, `{"op":"hello","resume":{"session":"x","secret":"y"}}`, `{"action":"lock","resources":[{"type":"w","path":["a"]}]}`,
}

// badHellos are no first messages.
var badHellos = []string{
	``, `{}`, `{"op":"renew","id":1}`, `{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`, `{"op":"bye","id":1}`, `{"op":"hello"`,
	`{"op":"hello","ttl_ms":"5"}`, `{"op":"hello","ttl_ms":-1}`, `{"op":"hello","name":7}`, `{"op":"hello","credentials":"x"}`, `{"op":"hello","credentials":{"a":1}}`,
	`{"op":"hello","resume":7}`, `{"op":"hello","resume":{}}`, `{"op":"hello","resume":{"session":"x"}}`, `{"op":"hello","op":"hello"}`, `{"action":"lock","resources":[{"type":"w","path":["a"]}]}`,
}

// reply is a message of a server of version 2. Each member is taken once; none may be left in the end.
type reply struct {
	at      oracle.Moment
	text    string
	members map[string]json.RawMessage
	err     error // the first that was found wrong
}

func parseReply(text string) (*reply, error) {
	m := &reply{text: text}
	if err := json.Unmarshal([]byte(text), &m.members); err != nil || m.members == nil {
		return nil, fmt.Errorf("%s is no message of protocol v2", shorten(text))
	}
	return m, nil
}

func (m *reply) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format+", in %s", append(args, m.text)...)
	}
}

func (m *reply) has(name string) bool { return m.members[name] != nil }

// take reads a member, which must be there.
func take[T any](m *reply, name string) (x T) {
	raw := m.members[name]
	delete(m.members, name)
	if raw == nil {
		m.fail("there is no %q", name)
	} else if err := json.Unmarshal(raw, &x); err != nil || string(raw) == "null" {
		m.fail("%q is %s", name, raw)
	}
	return x
}

// number takes a whole number.
func (m *reply) number(name string) uint64 { return take[uint64](m, name) }

// is takes a member that must have a value.
func is[T comparable](m *reply, name string, want T) {
	if got := take[T](m, name); got != want {
		m.fail("%q is %v, not %v", name, got, want)
	}
}

// token takes a fencing token.
func (m *reply) token(name string) uint64 {
	text := take[string](m, name)
	n, err := strconv.ParseUint(text, 10, 63)
	if m.err == nil && (err != nil || n == 0 || strconv.FormatUint(n, 10) != text) {
		m.fail("%q is no token", text)
	}
	return n
}

// sentence takes a text for people.
func (m *reply) sentence() {
	if text := take[string](m, "message"); m.err == nil && (text == "" || len(text) > faultBytesMax) {
		m.fail("%q is nothing to tell people", shorten(text))
	}
}

// done says whether all of it was as it must be.
func (m *reply) done() error {
	if m.err == nil && len(m.members) > 0 {
		m.fail("the protocol has no %q here", slices.Sorted(maps.Keys(m.members))[0])
	}
	return m.err
}

// each takes a list of objects.
func (m *reply) each(name string, f func(*reply)) (n int) {
	for _, raw := range take[[]json.RawMessage](m, name) {
		one := &reply{text: m.text}
		if json.Unmarshal(raw, &one.members) != nil || one.members == nil {
			m.fail("%q has %s", name, raw)
			return n
		}
		f(one)
		if err := one.done(); err != nil && m.err == nil {
			m.err = err
		}
		n++
	}
	return n
}

// refusalOfV2 knows the messages that say that the server, or one of its plugins, doesn't want to.
func refusalOfV2(m *reply) error {
	var said struct {
		Error, State string
		Blockers     []struct{ Session string }
	}
	json.Unmarshal([]byte(m.text), &said) // what is no such message is looked at by others
	for _, b := range said.Blockers {
		if b.Session == "server" {
			return &Refused{"it grants nothing yet, as it was killed: " + m.text}
		}
	}
	if no := []string{"denied", "draining", "try_later", "shutdown"}; slices.Contains(no, said.Error) || slices.Contains(no, said.State) {
		return &Refused{m.text}
	}
	return nil
}
