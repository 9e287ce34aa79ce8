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
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// queue is a list in the order of the queue, such as the server gives.
var queue = []client.LockInfo{
	{Session: "574d68be0a11ffff", Name: "worker-7", Lock: 7, Token: 41, State: "acquired", SinceMS: 12_400, Note: "deploy 12", Resources: []client.Resource{client.Write("a", "b"), client.Read("c")}},
	{Session: "v1", Lock: 42, State: "enqueued", Resources: []client.Resource{client.Read("a")}, WaitsFor: []client.Blocker{
		{Session: "worker-7", Lock: 7, Note: "deploy 12", Type: "write", Path: []string{"a", "b"}, State: "acquired", SinceMS: 12_400},
	}},
	{Session: "d0c6a3f2bb01ffff", Lock: 1, State: "enqueued", SinceMS: 250, Resources: []client.Resource{client.Write("a")}, WaitsFor: []client.Blocker{
		{Session: "v1", Lock: 42, Type: "read", Path: []string{"a"}, State: "enqueued"},
	}},
	{Session: "d0c6a3f2bb01ffff", Lock: 2, Token: 44, State: "upgrading", SinceMS: 3_725_000, Resources: []client.Resource{client.Permit(3, "pool").Weighing(2)}, Cut: true},
}

// shown is what is written of a list by one kind of line.
func shown(t *testing.T, list []client.LockInfo, asJSON bool, show func(*lines, *seen) error) string {
	var b strings.Builder
	out := newLines(&b, asJSON)
	for i := range list {
		require.NoError(t, show(out, (*seen)(&list[i])))
	}
	return b.String()
}

func lsLine(out *lines, l *seen) error { return out.lock(word(l.State), l.age(), l) }

func TestLocksAreListedInColumns(t *testing.T) {
	require.Equal(t, `acquired    12s         41         574d68be0a11  7      worker-7          write a/b, read c  # "deploy 12"
enqueued    -           -          v1            42     -                 read a
enqueued    250ms       -          d0c6a3f2bb01  1      -                 write a
upgrading   1h2m5s      44         d0c6a3f2bb01  2      -                 permit pool (2 of 3), and more than the server says
`, shown(t, queue, false, lsLine))
}

func TestDetailsSayWhoWaitsForWhom(t *testing.T) {
	require.Equal(t, `write a/b, read c
  acquired for 12s by session 574d68be0a11ffff, lock 7, name worker-7, note "deploy 12", token 41
read a
  enqueued by a client of version 1, lock 42
  waits for worker-7, lock 7: write a/b, acquired for 12s, note "deploy 12"
write a
  enqueued for 250ms by session d0c6a3f2bb01ffff, lock 1
  waits for v1, lock 42: read a, enqueued
permit pool (2 of 3), and more than the server says
  upgrading for 1h2m5s by session d0c6a3f2bb01ffff, lock 2, token 44
  waits for somebody that the server doesn't tell of here: at another path, or one of very many
`, shown(t, queue, false, (*lines).details))
	many := queue[1]
	for len(many.WaitsFor) < 8 {
		many.WaitsFor = append(many.WaitsFor, many.WaitsFor[0])
	}
	require.Contains(t, (*seen)(&many).detailsText(), "  waits for others, too, if there are more than these\n")
}

func TestJSONHasALineForEachLock(t *testing.T) {
	text := shown(t, queue[:2], true, (*lines).details)
	require.Equal(t, `{"session":"574d68be0a11ffff","name":"worker-7","lock":7,"token":"41","state":"acquired","resources":[{"type":"write","path":["a","b"]},{"type":"read","path":["c"]}],"note":"deploy 12","since_ms":12400}
{"session":"v1","lock":42,"state":"enqueued","resources":[{"type":"read","path":["a"]}],"waits_for":[{"session":"worker-7","note":"deploy 12","lock":7,"type":"write","path":["a","b"],"state":"acquired","since_ms":12400}]}
`, text)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	text = shown(t, []client.LockInfo{{Session: "v1", Lock: 42, State: "enqueued", Resources: queue[1].Resources}}, true, func(out *lines, l *seen) error { return out.change(at, "enqueued", l) })
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
			{Session: "s", Name: evil, Lock: 2, State: "enqueued", Note: evil, Resources: []client.Resource{client.Write(evil)}, WaitsFor: []client.Blocker{
				{Session: evil, Note: evil, Lock: 1, Type: evil, Path: []string{evil}, State: evil},
			}},
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
	require.ErrorIs(t, lsLine(out, (*seen)(&queue[0])), errOutput)
	require.ErrorIs(t, newLines(brokenPipe{}, true).details((*seen)(&queue[0])), errOutput)
}

// TestAHeadingThatCannotBeWrittenIsAnError also when there is nothing else to be written.
func TestAHeadingThatCannotBeWrittenIsAnError(t *testing.T) {
	_, address := testserver.Serve(t, nil)
	for _, command := range [][]string{{"ls"}, {"watch", "a"}} {
		var stderr strings.Builder
		code := process{stdout: brokenPipe{}, stderr: &stderr}.run(append(command, "--url", "ws://"+address+"/v2?namespace=n"))
		require.Equal(t, exitFailed, code, "%v: %s", command, stderr.String())
		require.Contains(t, stderr.String(), "cannot write: no space left")
	}
}
