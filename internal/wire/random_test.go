package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestRandomMessagesAgreeWithTheOracle writes messages that are nearly right in every way that the
// grammar of v1 can be bent, which a fuzzer of bytes finds slowly.
func TestRandomMessagesAgreeWithTheOracle(t *testing.T) {
	w := writer{testseed.Rand(t)}
	var p, q V1Parser
	valid := 0
	for range 10000 {
		msg := []byte(w.message())
		want, wantErr := oracle(msg)
		got, err := p.Parse(bytes.Clone(msg))
		require.Equal(t, wantErr == nil, err == nil, "message %q\noracle: %v\nparser: %v", msg, wantErr, err)
		again, againErr := q.parse(bytes.Clone(msg))
		require.Equal(t, err, againErr, "message %q", msg)
		if err != nil {
			require.NotErrorIs(t, err, errDisagree, "message %q", msg)
			requireFit(t, err)
			continue
		}
		valid++
		requireSame(t, msg, want, got)
		requireSame(t, msg, want, again)
	}
	require.Greater(t, valid, 500, "too few valid ones to mean anything")
}

// writer writes messages at random.
type writer struct{ *rand.Rand }

func (w writer) one(of ...string) string { return of[w.IntN(len(of))] }

// rarely is true once in n times.
func (w writer) rarely(n int) bool { return w.IntN(n) == 0 }

func (w writer) space() string {
	if w.rarely(10) {
		return w.one(" ", "\n", "\t", "\r", "  ", "\v", "\u00a0")
	}
	return ""
}

func (w writer) message() string {
	ms := []string{w.member("action", w.str(w.one("lock", "lock", "lock", "release")))}
	if !w.rarely(10) {
		ms = append(ms, w.member("resources", w.list(3, w.resource)))
	}
	msg := w.object(ms)
	if w.rarely(20) {
		msg = w.mutate(msg)
	}
	return msg + w.space()
}

// mutate changes, cuts or doubles a byte.
func (w writer) mutate(msg string) string {
	i := w.IntN(len(msg))
	return msg[:i] + w.one("", "\x00", "\xff", `"`, `\`, "{", "]", ",", "e", msg[i:i+1]+msg[i:i+1]) + msg[i+1:]
}

func (w writer) object(ms []string) string {
	if w.rarely(10) {
		ms = append(ms, w.member(w.one("x", "", "path", "action", "Type"), w.any(4)))
	}
	if w.rarely(30) {
		ms = append(ms, ms[w.IntN(len(ms))])
	}
	if w.rarely(30) {
		ms = ms[1:]
	}
	w.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
	return w.space() + "{" + w.space() + strings.Join(ms, ",") + "}" + w.space()
}

func (w writer) member(name, value string) string {
	if w.rarely(60) {
		value = w.any(3)
	}
	return w.space() + w.str(name) + w.space() + ":" + w.space() + value + w.space()
}

func (w writer) list(most int, element func() string) string {
	var list []string
	for range w.IntN(most + 1) {
		list = append(list, w.space()+element()+w.space())
	}
	return "[" + w.space() + strings.Join(list, ",") + "]"
}

func (w writer) resource() string {
	if w.rarely(60) {
		return w.any(3)
	}
	return w.object([]string{
		w.member("type", w.str(w.one("r", "w", "read", "write", "R", "wRITE", "Read", "readr"))),
		w.member("path", w.list(4, w.segment)),
	})
}

func (w writer) segment() string {
	if w.rarely(60) {
		return w.any(2)
	}
	return w.str(w.one("", "a", "group_x", "é", "😀", "\ufffd", "a\\b", `"`, "\n", "/", "\u2028", strings.Repeat("x", 40)))
}

// any writes any value, mostly of a kind that isn't wanted where it stands.
func (w writer) any(deep int) string {
	if deep > 0 && w.rarely(3) {
		return w.list(3, func() string { return w.any(deep - 1) })
	}
	if deep > 0 && w.rarely(3) {
		return "{" + w.str(w.one("a", "type", "path")) + ":" + w.any(deep-1) + "}"
	}
	return w.one("0", "-1.5e3", "01", "1.", "true", "null", "nan", `"x"`, `"\ud800"`, `"\ud83d\ude00"`, `"\u0000"`, `"\x"`)
}

// str writes a string, some of its characters as escapes, rarely a wrong one.
func (w writer) str(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case w.rarely(40):
			fmt.Fprintf(&b, `\u%04X`, r&0xffff)
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '/' && w.rarely(2):
			b.WriteString(`\/`)
		case r < ' ' && !w.rarely(5):
			fmt.Fprintf(&b, `\u%04x`, r)
		case r > 0xffff && w.rarely(2):
			b.WriteString(w.one(`\ud83d\ude00`, `\uD83D\uDE00`, `\ud83d`, `\ude00\ud83d`, `\ud83d\u0041`, `\\ud83d`))
		default:
			b.WriteRune(r)
		}
	}
	if w.rarely(200) {
		b.WriteString(w.one(`\u0000`, `\u12`, `\`, "\x1f", "\xc3", "\xed\xa0\x80"))
	}
	return b.String() + `"`
}
