package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// queue is a list in the order of the queue, such as the server gives.
var queue = []client.LockInfo{
	{Session: "574d68be0a11ffff", Name: "worker-7", Lock: 7, Token: 41, State: "acquired", SinceMS: 12_400, Note: "deploy 12", Resources: []client.Resource{client.Write("a", "b"), client.Read("c")}},
	{Session: "v1", Lock: 42, State: "enqueued", Resources: []client.Resource{client.Read("a")}},
	{Session: "d0c6a3f2bb01ffff", Lock: 1, State: "enqueued", SinceMS: 250, Resources: []client.Resource{client.Write("a")}},
	{Session: "d0c6a3f2bb01ffff", Lock: 2, Token: 44, State: "acquired", SinceMS: 3_725_000, Resources: []client.Resource{client.Permit(3, "pool").Weighing(2)}},
	{Session: "d0c6a3f2bb01ffff", Lock: 3, State: "enqueued", SinceMS: 1000, Resources: []client.Resource{client.Permit(3, "pool").Weighing(2)}},
}

// shown is what is written of a list by one kind of line.
func shown(t *testing.T, list []client.LockInfo, asJSON bool, show func(*lines, *seen) error) string {
	var b strings.Builder
	out := newLines(&b, asJSON)
	for i := range list {
		require.NoError(t, show(out, seenIn(list, i)))
	}
	return b.String()
}

func lsLine(out *lines, l *seen) error { return out.lock(word(l.State), l.age(), l) }

func TestLocksAreListedInColumns(t *testing.T) {
	require.Equal(t, `acquired    12s         41        574d68be0a11  7      worker-7          write a/b, read c  # "deploy 12"
enqueued    -           -         v1            42     -                 read a
enqueued    250ms       -         d0c6a3f2bb01  1      -                 write a
acquired    1h2m5s      44        d0c6a3f2bb01  2      -                 permit pool (2 of 3)
enqueued    1s          -         d0c6a3f2bb01  3      -                 permit pool (2 of 3)
`, shown(t, queue, false, lsLine))
}

func TestDetailsSayWhoWaitsForWhom(t *testing.T) {
	require.Equal(t, `write a/b, read c
  acquired for 12s by session 574d68be0a11ffff, lock 7, name worker-7, note "deploy 12", token 41
read a
  enqueued by a client of version 1, lock 42
  waits for session 574d68be0a11ffff, lock 7, name worker-7, note "deploy 12": write a/b, read c, acquired for 12s
write a
  enqueued for 250ms by session d0c6a3f2bb01ffff, lock 1
  waits for session 574d68be0a11ffff, lock 7, name worker-7, note "deploy 12": write a/b, read c, acquired for 12s
  waits for a client of version 1, lock 42: read a, enqueued
permit pool (2 of 3)
  acquired for 1h2m5s by session d0c6a3f2bb01ffff, lock 2, token 44
permit pool (2 of 3)
  enqueued for 1s by session d0c6a3f2bb01ffff, lock 3
  waits for session d0c6a3f2bb01ffff, lock 2: permit pool (2 of 3), acquired for 1h2m5s
`, shown(t, queue, false, (*lines).details))
}

func TestWaitersAreToldFrom(t *testing.T) {
	many := []client.LockInfo{}
	for range 10 {
		many = append(many, client.LockInfo{Session: "s", Lock: 1, State: "acquired", Resources: []client.Resource{client.Read("a")}})
	}
	last := client.LockInfo{Session: "s", Lock: 2, State: "enqueued", Resources: []client.Resource{client.Write("a")}}
	text := shown(t, append(many, last), false, (*lines).details)
	require.Equal(t, 9, strings.Count(text, "  waits for "))
	require.Contains(t, text, "  waits for 2 more\n")

	require.Contains(t, shown(t, []client.LockInfo{last}, false, (*lines).details), "  waits for somebody at another path\n")
	upgrading := client.LockInfo{Session: "s", Lock: 3, Token: 2, State: "upgrading", Resources: []client.Resource{client.Read("a", "b")}}
	list := []client.LockInfo{last, upgrading, many[0]}
	require.Len(t, seenIn(list, 1).waitsFor, 1, "an upgrade waits for holders only, also for younger ones")
	require.Len(t, seenIn(list, 0).waitsFor, 2, "who waits does so for holders that came later, too")
	partial := seenIn(list, 0)
	partial.partial = true
	require.Contains(t, partial.detailsText(), "it may wait for others, too")
}

func TestJSONHasALineForEachLock(t *testing.T) {
	text := shown(t, queue[:2], true, (*lines).details)
	require.Equal(t, `{"session":"574d68be0a11ffff","name":"worker-7","lock":7,"token":"41","state":"acquired","resources":[{"type":"write","path":["a","b"]},{"type":"read","path":["c"]}],"note":"deploy 12","since_ms":12400}
{"session":"v1","lock":42,"state":"enqueued","resources":[{"type":"read","path":["a"]}],"waits_for":[{"session":"574d68be0a11ffff","name":"worker-7","lock":7,"token":"41","state":"acquired","resources":[{"type":"write","path":["a","b"]},{"type":"read","path":["c"]}],"note":"deploy 12","since_ms":12400}]}
`, text)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	text = shown(t, queue[1:2], true, func(out *lines, l *seen) error { return out.change(at, "enqueued", l) })
	require.Equal(t, `{"time":"2030-01-02T03:04:05Z","change":"enqueued","session":"v1","lock":42,"state":"enqueued","resources":[{"type":"read","path":["a"]}]}`+"\n", text)
}

func TestChangesAreLinesWithTheirTime(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.Local)
	ended := queue[0]
	ended.State = "revoked"
	for _, c := range []struct {
		change string
		lock   client.LockInfo
		want   string
	}{
		{"present", queue[0], "03:04:05    (acquired)  41 "},
		{"acquired", queue[0], "03:04:05    acquired    41 "},
		{"ended", ended, "03:04:05    revoked     41 "},
	} {
		text := shown(t, []client.LockInfo{c.lock}, false, func(out *lines, l *seen) error { return out.change(at, c.change, l) })
		require.True(t, strings.HasPrefix(text, c.want), text)
	}
}

// TestNothingThatOthersWroteReachesTheTerminal: what they write may hold anything.
func TestNothingThatOthersWroteReachesTheTerminal(t *testing.T) {
	for _, evil := range []string{"\x1b[2J", "a\nacquired  1s", "\u009b31m", "\u202egnp", "\x7f", "\r", "a\tb", "\U000e0041", "\u2066x", "\u00a0", "a  b", `"`, "\x00", "\ufffd\xff"} {
		l := []client.LockInfo{
			{Session: evil, Name: evil, Lock: 1, State: evil, Note: evil, Resources: []client.Resource{{Type: evil, Path: []string{evil, "x"}}}},
			{Session: "s", Name: evil, Lock: 2, State: "enqueued", Note: evil, Resources: []client.Resource{client.Write(evil)}},
		}
		for _, show := range []func(*lines, *seen) error{lsLine, (*lines).details, func(out *lines, l *seen) error {
			return out.change(time.Now(), evil, l)
		}} {
			for _, asJSON := range []bool{false, true} {
				text := shown(t, l, asJSON, show)
				for line := range strings.Lines(text) {
					require.False(t, strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }), "%q", line)
					if asJSON {
						var back struct{ Name string }
						require.NoError(t, json.Unmarshal([]byte(line), &back), line)
						require.Equal(t, strings.ToValidUTF8(evil, "\ufffd"), back.Name)
					}
				}
				if asJSON {
					require.Equal(t, 2, strings.Count(text, "\n"))
				} else {
					require.NotContains(t, text, "\nacquired  1s")
				}
			}
		}
		f := releaseFlags{}
		answer, err := json.Marshal(map[string]any{"session": evil, "name": evil, "state": evil, "note": evil, "resources": l[0].Resources, "lock": 1})
		require.NoError(t, err)
		for _, text := range []string{f.answerText(answer), visibleJSON(json.RawMessage(answer))} {
			require.False(t, strings.ContainsFunc(strings.TrimSuffix(text, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
		}
	}
}

func TestWordsAreWords(t *testing.T) {
	for text, want := range map[string]string{
		"": "-", "-": `"-"`, "worker-7": "worker-7", "my worker": `"my worker"`, `a"b`: `"a\"b"`, "zürich": "zürich", "a\nb": `"a\nb"`,
	} {
		require.Equal(t, want, word(text))
	}
	for _, c := range []struct {
		path []string
		want string
	}{
		{nil, `""`}, {[]string{"a", "b"}, "a/b"}, {[]string{"a/b", `c\`}, `a\/b/c\\`}, {[]string{""}, `[""]`}, {[]string{"", ""}, "/"}, {[]string{"a b"}, `"a b"`},
	} {
		require.Equal(t, c.want, pathWord(c.path))
		if back, err := parseTextPath(c.want); err == nil && !strings.Contains(c.want, `"`) {
			require.Equal(t, c.path, back)
		}
	}
}

// brokenPipe takes nothing.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	out := newLines(brokenPipe{}, false)
	out.heading("STATE", "FOR")
	require.ErrorIs(t, lsLine(out, seenIn(queue, 0)), errOutput)
	require.ErrorIs(t, newLines(brokenPipe{}, true).details(seenIn(queue, 0)), errOutput)
}
