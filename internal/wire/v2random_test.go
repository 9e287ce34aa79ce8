package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestRandomV2MessagesAgreeWithTheOracle is what TestRandomMessagesAgreeWithTheOracle is for v1.
func TestRandomV2MessagesAgreeWithTheOracle(t *testing.T) {
	w := writer{testseed.Rand(t)}
	var p, q V2Parser
	valid := map[V2Op]int{}
	for range 20000 {
		msg := []byte(w.messageV2())
		if requireAgreed(t, &p, &q, msg) {
			r, _ := q.parse(msg)
			valid[r.Op]++
		}
	}
	for op := range v2Ops {
		require.Greater(t, valid[op], 50, "too few valid ones of %s to mean anything", op)
	}
}

// membersV2 are the members of operations; the first two are nearly always there.
var membersV2 = map[string][]string{
	"hello": {"ttl_ms", "name", "credentials", "resume"},
	"lock":  {"id", "resources", "wait_ms", "lease_ms", "note", "leave", "party"}, "release": {"id", "lock"},
	"renew": {"id", "lock", "lease_ms"}, "upgrade": {"id", "lock", "wait_ms"}, "downgrade": {"id", "lock", "upgrade"},
	"locks": {"id", "after", "limit"}, "inspect": {"id", "path", "after", "limit"}, "watch": {"id", "path"},
	"unwatch": {"id", "watch"}, "bye": {"id"},
}

func (w writer) messageV2() string {
	op := w.one(v2OpNames[:]...)
	ms := []string{w.member("op", w.str(op))}
	for i, name := range membersV2[op] {
		if i > 1 && w.rarely(2) {
			continue
		}
		ms = append(ms, w.member(name, w.valueV2(name)))
	}
	if w.rarely(5) { // what the operation has no use for
		name := w.one(knownV2["message"]...)
		ms = append(ms, w.member(name, w.valueV2(name)))
	}
	msg := w.object(ms)
	if w.rarely(20) {
		msg = w.mutate(msg)
	}
	return msg + w.space()
}

func (w writer) valueV2(name string) string {
	switch name {
	case "resources":
		return "[" + w.resourceV2() + strings.Repeat(","+w.resourceV2(), w.IntN(3)) + "]"
	case "path":
		return w.list(3, w.segment)
	case "note", "name", "session", "secret":
		return w.segment()
	case "after":
		return w.str(w.one("0", "1", "42", "42", "9223372036854775807", "9999999999999999999", "18446744073709551615", "007", "", "-1"))
	case "leave":
		return w.one("true", "false")
	case "credentials":
		return w.object([]string{w.member(w.one("a", "b", "\\"), w.segment()), w.member(w.one("c", "d"), w.segment())})
	case "resume":
		ms := []string{w.member("session", w.segment()), w.member("secret", w.segment())}
		if w.rarely(2) {
			ms = append(ms, w.member("event", w.numberV2()))
		}
		return w.object(ms)
	}
	return w.numberV2()
}

func (w writer) numberV2() string {
	if w.rarely(15) {
		return w.one("0", "-0", "-1", "1.0", "1e3", "00", "9007199254740992", "4294967296", "99999999999999999999", "1.5", `"1"`, "null")
	}
	return w.one("1", "2", "7", "1000", "9007199254740991", "4294967295")
}

func (w writer) resourceV2() string {
	if w.rarely(60) {
		return w.any(3)
	}
	typ := w.one("r", "w", "p", "read", "write", "permit", "R", "pERmit", "Read", "q")
	ms := []string{w.member("type", w.str(typ)), w.member("path", w.list(4, w.segment))}
	if strings.HasPrefix(strings.ToLower(typ), "p") != w.rarely(20) {
		ms = append(ms, w.member("limit", w.one("1", "3", "4294967295", w.numberV2())))
		if w.rarely(2) {
			ms = append(ms, w.member("weight", w.one("1", "2", w.numberV2())))
		}
	}
	return w.object(ms)
}
