package main

import (
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// reading are the rules of a configuration.
func reading(t testing.TB, config string) *rules {
	t.Helper()
	r := &rules{}
	require.Empty(t, r.read([]byte(config)), config)
	return r
}

// form is what the rules make of a text.
func (r *rules) form(t testing.TB, text string) string {
	t.Helper()
	joining.start()
	got := r.appendForm(nil, []byte(text))
	require.Empty(t, joining.fault, "%+q", text)
	return string(got)
}

var caseFold = cases.Fold()

// wantFolded is the normal form by other means. Package cases has Cherokee the wrong way round.
func wantFolded(text string) string {
	folded := []rune(caseFold.String(norm.NFD.String(text)))
	for i, r := range folded {
		switch {
		case 0xab70 <= r && r <= 0xabbf:
			folded[i] = r - 0xab70 + 0x13a0
		case 0x13f8 <= r && r <= 0x13fd:
			folded[i] = r - 8
		}
	}
	return norm.NFC.String(string(folded))
}

// eachRune calls f with everything that can be a character, unassigned ones included.
func eachRune(f func(rune)) {
	for r := rune(1); r <= utf8.MaxRune; r++ {
		if utf8.ValidRune(r) {
			f(r)
		}
	}
}

func TestEachCharacterHasTheFormThatUnicodeSays(t *testing.T) {
	for config, want := range map[string]func(string) string{
		`{}`:                  norm.NFC.String,
		`{"fold_case": true}`: wantFolded,
	} {
		rules := reading(t, config)
		eachRune(func(r rune) {
			text := string(r)
			if got := rules.form(t, text); got != want(text) {
				t.Fatalf("%s: %U becomes %+q, want %+q", config, r, got, want(text))
			}
			if p := norm.NFC.PropertiesString(text); rules.characters.joins(r) == p.BoundaryBefore() {
				t.Fatalf("%s: %U: joins is %v", config, r, rules.characters.joins(r))
			}
			if got := rules.characters.stays(r); got && want(text) != text {
				t.Fatalf("%s: %U doesn't stay", config, r)
			}
		})
	}
}

// odd are the characters that there is something to know of, some syllables of Hangul, and some others.
func (r *rules) odd() (all, joining []rune) {
	eachRune(func(c rune) {
		if r.characters.of(c) != nil {
			all = append(all, c)
		}
		if r.characters.joins(c) {
			joining = append(joining, c)
		}
	})
	return append(all, ' ', 'a', 'A', '中', '\u034f', '가', '각', '힣', 'ᄀ', 'ᄒ', '\u2000', '\u00a0'), joining
}

// randomText has a few characters, about half of which join, and few marks in a row.
func randomText(random *rand.Rand, all, joining []rune) string {
	var text []rune
	for range 1 + random.IntN(8) {
		from := all
		if random.IntN(2) == 0 {
			from = joining
		}
		text = append(text, from[random.IntN(len(from))])
	}
	return string(text)
}

func TestTextsHaveTheFormThatUnicodeSays(t *testing.T) {
	random := testseed.Rand(t)
	for config, want := range map[string]func(string) string{
		`{}`:                  norm.NFC.String,
		`{"fold_case": true}`: wantFolded,
	} {
		rules := reading(t, config)
		all, joining := rules.odd()
		for range 30_000 {
			text := randomText(random, all, joining)
			got := rules.form(t, text)
			if got != want(text) {
				t.Fatalf("%s: %+q becomes %+q, want %+q", config, text, got, want(text))
			}
			if again := rules.form(t, got); again != got {
				t.Fatalf("%s: %+q becomes %+q, and that %+q", config, text, got, again)
			}
			if rules.fine([]byte(text+"\x00")) && got != text {
				t.Fatalf("%s: %+q isn't fine, but becomes %+q", config, text, got)
			}
		}
	}
}
