package main

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// model says what the rules mean, slowly and by other means.
type model struct {
	NFC        *bool             `json:"nfc,omitempty"`
	FoldCase   bool              `json:"fold_case,omitempty"`
	TrimSpaces bool              `json:"trim_spaces,omitempty"`
	TrimEnd    string            `json:"trim_end,omitempty"`
	DropEmpty  bool              `json:"drop_empty,omitempty"`
	Aliases    map[string]string `json:"aliases,omitempty"`
}

// segment is a segment's normal form.
func (m *model) segment(s string) string {
	switch {
	case m.FoldCase:
		s = wantFolded(s)
	case m.NFC == nil || *m.NFC:
		s = norm.NFC.String(s)
	}
	if m.TrimSpaces {
		s = strings.TrimSpace(s)
	}
	return strings.TrimRightFunc(s, func(r rune) bool {
		return strings.ContainsRune(m.TrimEnd, r) || m.TrimSpaces && unicode.IsSpace(r)
	})
}

// path is a path's normal form; not ok if it isn't taken.
func (m *model) path(p []string) (normal []string, ok bool) {
	for _, s := range p {
		if s = m.segment(s); s != "" {
			normal = append(normal, s)
		} else if !m.DropEmpty {
			return nil, false
		}
	}
	if len(normal) == 0 && len(p) > 0 {
		return nil, false
	}
	for {
		next := m.replaced(normal)
		if next == nil {
			return normal, true
		}
		normal = next
	}
}

// replaced is the path by another name; nil: it has none.
func (m *model) replaced(p []string) []string {
	for n := len(p); n > 0; n-- {
		for from, to := range m.Aliases {
			if slices.Equal(m.alias(from), p[:n]) {
				return slices.Concat(m.alias(to), p[n:])
			}
		}
	}
	return nil
}

// alias is the normal form of a path that an alias names.
func (m *model) alias(text string) (p []string) {
	for s := range strings.SplitSeq(text, "/") {
		p = append(p, m.segment(s))
	}
	return p
}

// syllables are what texts are put together from, so that they meet, and have what is odd in them.
var syllables = []string{
	"a", "b", "A", "home", "Users", "x", " ", "\u00a0", "\u2003", "\t", ".", "!", "é", "E\u0301", "e\u0301", "\u0301", "\u0345", "ᾳ", "Ά", "α", "ß", "SS",
	"İ", "i\u0307", "ﬀ", "ǰ", "J\u030c", "각", "\u1100", "\u1161", "\u11a8", "가", "中", "\ufa1e", "\U0001d160", "K", "ſ", "\u0f73", "\u0344", ";", "\u037e", "`",
	"\u1fef", "Ꭰ", "ꭰ", "\u034f", "=", "\u0338", "≠", "\u09c7", "\u09be", "🐙",
}

func randomSegment(random *rand.Rand) (s string) {
	for range random.IntN(5) {
		s += syllables[random.IntN(len(syllables))]
	}
	return s
}

// randomPath has few segments, many of them such as aliases have.
func randomPath(random *rand.Rand) (p []string) {
	for range random.IntN(5) {
		if random.IntN(3) > 0 {
			p = append(p, syllables[random.IntN(6)])
		} else {
			p = append(p, randomSegment(random))
		}
	}
	return p
}

func randomModel(random *rand.Rand) *model {
	yes := func() bool { return random.IntN(2) == 0 }
	m := &model{TrimSpaces: yes(), DropEmpty: yes(), TrimEnd: []string{"", ".", ".!", "=;`"}[random.IntN(4)]}
	if nfc := yes(); nfc {
		m.FoldCase = yes()
	} else {
		m.NFC = &nfc
	}
	m.Aliases = map[string]string{}
	for range random.IntN(6) {
		from, to := randomPath(random), randomPath(random)
		if escaped := strings.ContainsAny(strings.Join(append(from, to...), ""), `/\`); !escaped {
			m.Aliases[strings.Join(from, "/")] = strings.Join(to, "/")
		}
	}
	return m
}

// joined is a path as questions have it.
func joined(p []string) (path locktopus.Path) {
	for _, s := range p {
		path = append(append(path, s...), 0)
	}
	return path
}

// take has the rules write a path, and says whether they take it.
func (r *rules) take(path locktopus.Path) (normal string, ok bool) {
	joining.start()
	p := written.write(r, path)
	return string(written.path), p.code == 0
}

// read has rules read the model's configuration. The fault is empty if they take it.
func (m *model) read(t testing.TB) (r *rules, fault string) {
	t.Helper()
	text, err := json.Marshal(m)
	require.NoError(t, err)
	r = &rules{}
	return r, r.read(text)
}

// check compares the rules with their model on a path.
func (m *model) check(t *testing.T, r *rules, p []string) {
	t.Helper()
	path := joined(p)
	got, ok := r.take(path)
	want, wantOK := m.path(p)
	text, err := json.Marshal(m)
	require.NoError(t, err)
	if ok != wantOK || ok && got != string(joined(want)) {
		t.Fatalf("%+q with %s:\ngot  %+q, %v\nwant %+q, %v", p, text, got, ok, joined(want), wantOK)
	}
	if !ok {
		require.False(t, r.settled(path), "%+q with %s is settled, but not taken", p, text)
		return
	}
	if again, ok := r.take([]byte(got)); !ok || again != got {
		t.Fatalf("%+q with %s becomes %+q, and that %+q, %v", p, text, got, again, ok)
	}
	if r.settled(path) && got != string(path) {
		t.Fatalf("%+q with %s is settled, but becomes %+q", p, text, got)
	}
}

// TestRulesAreWhatTheirModelSays tries paths on configurations, both random: what comes out is what is meant,
// it stays as it is, and what is found to be fine is.
func TestRulesAreWhatTheirModelSays(t *testing.T) {
	random := testseed.Rand(t)
	taken := 0
	for taken < 100 {
		m := randomModel(random)
		r, fault := m.read(t)
		if fault != "" {
			require.Contains(t, fault, "aliases.")
			continue
		}
		taken++
		for range 200 {
			m.check(t, r, randomPath(random))
		}
	}
}

// TestAliasesAreRefusedOnlyIfTheyGoInCircles tries aliases of few words, which often do.
func TestAliasesAreRefusedOnlyIfTheyGoInCircles(t *testing.T) {
	random := testseed.Rand(t)
	words := []string{"a", "b", "c", "a/b", "b/a", "a/b/c", "c/c"}
	circles := 0
	for range 500 {
		m := &model{NFC: new(bool), Aliases: map[string]string{}}
		for range 1 + random.IntN(4) {
			m.Aliases[words[random.IntN(len(words))]] = words[random.IntN(len(words))]
		}
		r, fault := m.read(t)
		require.Equal(t, m.circular(), fault != "", "%s: %s", m.Aliases, fault)
		if fault != "" {
			circles++
			continue
		}
		for range 50 {
			m.check(t, r, randomPath(random))
		}
	}
	require.NotZero(t, circles)
}

// circular says whether aliases may follow one another for ever: each follows those that make paths which it
// replaces.
func (m *model) circular() bool {
	reach := map[string]bool{}
	var visit func(from string, way []string) bool
	visit = func(from string, way []string) bool {
		if slices.Contains(way, from) {
			return true
		}
		if reach[from] {
			return false
		}
		reach[from] = true
		for next := range m.Aliases {
			to := m.Aliases[from]
			if strings.HasPrefix(to+"/", next+"/") || strings.HasPrefix(next+"/", to+"/") {
				if visit(next, append(way, from)) {
					return true
				}
			}
		}
		return false
	}
	for from := range m.Aliases {
		clear(reach)
		if visit(from, nil) {
			return true
		}
	}
	return false
}

func FuzzPath(f *testing.F) {
	m := &model{FoldCase: true, TrimSpaces: true, TrimEnd: ".", DropEmpty: true, Aliases: map[string]string{"Home": "users", "srv/www": "sites", "users/bob": "users/robert"}}
	r, fault := m.read(f)
	require.Empty(f, fault)
	for _, s := range syllables {
		f.Add("home/" + s + "/" + s + s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := strings.Split(strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\ufffd"), "/")
		if within(p) {
			m.check(t, r, p)
		}
	})
}

// within says whether a path has no more of anything than the rules take: the model takes everything.
func within(p []string) bool {
	for _, s := range p {
		for _, form := range []string{s, norm.NFD.String(s), wantFolded(s)} {
			if len(form) > limitUsual || strings.ContainsRune(form, '\u034f') {
				return false // package norm puts this character into what has too many marks
			}
		}
	}
	return len(p) < limitUsual && len(strings.Join(p, "")) < joinedMax
}
