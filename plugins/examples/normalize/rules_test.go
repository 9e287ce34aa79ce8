package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFaultsSayWhatIsWrongAndWhere(t *testing.T) {
	for config, want := range map[string]string{
		`[]`:                                               "it must be a table",
		`{"fold": true}`:                                   "fold: there is no such key; there are nfc, fold_case, trim_spaces, trim_end, drop_empty, aliases, segment_bytes, path_segments",
		`{"nfc": 1}`:                                       "nfc: it must be true or false",
		`{"fold_case": "yes"}`:                             "fold_case: it must be true or false",
		`{"trim_end": true}`:                               "trim_end: it must be a string",
		`{"trim_end": ".x"}`:                               "trim_end: it must consist of these: " + marks,
		`{"trim_end": "é"}`:                                "trim_end: it must consist of these: " + marks,
		`{"trim_end": " "}`:                                "trim_end: it must consist of these: " + marks,
		`{"segment_bytes": 0}`:                             "segment_bytes: it must be an integer from 1 to 65535",
		`{"path_segments": 65536}`:                         "path_segments: it must be an integer from 1 to 65535",
		`{"aliases": ["a"]}`:                               "aliases: it must be a table",
		`{"aliases": {"a": 1}}`:                            "aliases.a: it must be a string",
		`{"aliases": {"": "a"}}`:                           "aliases.: a path is empty, or a segment of one",
		`{"aliases": {"a": "b//c"}}`:                       "aliases.a: a path is empty, or a segment of one",
		`{"aliases": {"a/": "b"}}`:                         "aliases.a/: a path is empty, or a segment of one",
		`{"aliases": {"a\\b": "c"}}`:                       `aliases.a\b: "\" stands before "/" or another "\" only`,
		`{"aliases": {"a": "b\\"}}`:                        `aliases.a: "\" stands before "/" or another "\" only`,
		`{"aliases": {"a": "\u0000"}}`:                     "aliases.a: a segment cannot contain NUL",
		`{"nfc": false, "fold_case": true}`:                "fold_case: it needs nfc, which tells letters from their accents",
		`{"trim_spaces": true, "aliases": {"a": "b/ /c"}}`: "aliases.a: a path is empty, or a segment of one",
		`{"fold_case": true, "aliases": {"a": "c", "A": "d"}}`:          "aliases.A: aliases.a is the same path",
		`{"segment_bytes": 3, "aliases": {"abc": "abcd"}}`:              "aliases.abc: a segment is longer than segment_bytes allows",
		`{"aliases": {"a": "a"}}`:                                       "aliases.a: it stands for itself, or for a path above or below it",
		`{"aliases": {"a": "a/b"}}`:                                     "aliases.a: it stands for itself, or for a path above or below it",
		`{"aliases": {"a/b": "a"}}`:                                     "aliases.a/b: it stands for itself, or for a path above or below it",
		`{"fold_case": true, "aliases": {"a": "A/b"}}`:                  "aliases.a: it stands for itself, or for a path above or below it",
		`{"aliases": {"x": "a", "a": "b", "b": "c/d", "c": "a"}}`:       "aliases.a: it leads back to itself, by aliases.b, aliases.c",
		`{"aliases": {"a": "b", "b/c": "a/d"}}`:                         "aliases.a: it leads back to itself, by aliases.b/c",
		`{"aliases": {"a": "b", "` + strings.Repeat("é", 50) + `": 1}}`: "aliases." + strings.Repeat("é", 20) + ": it must be a string",
		`{"aliases": {"` + strings.Repeat("a/", 64) + `a": "b"}}`:       "aliases." + strings.Repeat("a/", 20) + ": a path has more than 64 segments",
		`{"aliases": {"a": "b` + strings.Repeat(`\u0301`, 31) + `"}}`:   "aliases.a: there are more than 30 marks on one letter",
	} {
		require.Equal(t, want, new(rules).read([]byte(config)), config)
	}
}

// chain has n aliases that follow one another.
func chain(n int) string {
	aliases := map[string]string{}
	for i := range n {
		aliases[fmt.Sprint(i)] = fmt.Sprint(i + 1)
	}
	text, err := json.Marshal(map[string]any{"nfc": false, "aliases": aliases})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestChainsOfAliasesAreFollowedToTheirLimit(t *testing.T) {
	r := reading(t, chain(8))
	got, ok := r.take(joined([]string{"0", "x"}))
	require.True(t, ok)
	require.Equal(t, string(joined([]string{"8", "x"})), got)
	require.Equal(t, "aliases.0: more than 8 aliases follow one another from here on", new(rules).read([]byte(chain(9))))
}

func TestThereAreAsManyAliasesAsTheLimitSays(t *testing.T) {
	many := func(n int) string {
		aliases := map[string]string{}
		for i := range n {
			aliases[fmt.Sprintf("from/%d", i)] = "to"
		}
		text, err := json.Marshal(map[string]any{"aliases": aliases})
		require.NoError(t, err)
		return string(text)
	}
	reading(t, many(1024))
	require.Equal(t, "aliases: there are more than 1024", new(rules).read([]byte(many(1025))))
	deep := strings.Repeat("a/", 63) + "a"
	r := reading(t, `{"aliases": {"`+deep+`": "b"}}`)
	got, ok := r.take(joined(strings.Split(deep, "/")))
	require.True(t, ok)
	require.Equal(t, "b\x00", got)
}

func TestSlashesInSegmentsOfAliases(t *testing.T) {
	r := reading(t, `{"aliases": {"a\\/b\\\\": "c\\/d/e"}}`)
	got, ok := r.take(joined([]string{`a/b\`, "x"}))
	require.True(t, ok)
	require.Equal(t, string(joined([]string{"c/d", "e", "x"})), got)
}

// problemOf is why the rules don't take a path.
func problemOf(r *rules, p ...string) problem {
	joining.start()
	return written.write(r, joined(p))
}

func TestPathsAreTakenUpToTheirLimits(t *testing.T) {
	r := reading(t, `{"segment_bytes": 4, "path_segments": 3, "aliases": {"x": "y/z"}}`)
	require.Zero(t, problemOf(r, "aaaa", "b", "c"))
	require.Equal(t, problem{codeTooLong, "it is too long", 1}, problemOf(r, "a", "aaaaa"))
	require.Equal(t, problem{codeTooLong, "it is too long", 0}, problemOf(r, "\U0001d160")) // of four bytes, it becomes twelve
	require.Equal(t, tooLong, problemOf(r, "a", "b", "c", "d"))
	require.Zero(t, problemOf(r, "x", "c"))
	require.Equal(t, tooLong, problemOf(r, "x", "c", "d"))
	require.Equal(t, problem{codeEmpty, "it is empty", 1}, problemOf(r, "a", "", "b"))
	r = reading(t, `{"drop_empty": true, "path_segments": 2}`)
	require.Zero(t, problemOf(r, "", "b"))
	require.Equal(t, problem{codeEmpty, "nothing is left of the path", -1}, problemOf(r, "", ""))
	require.Zero(t, problemOf(r), "the whole namespace was meant")
	require.Equal(t, tooLong, problemOf(r, "", "", "b"))
}

func TestPathsAreTakenUpToTheLengthOfAnAnswer(t *testing.T) {
	r := reading(t, `{"segment_bytes": 65535}`)
	require.Zero(t, problemOf(r, strings.Repeat("a", answerBytes-1)))
	require.Equal(t, tooLong, problemOf(r, strings.Repeat("a", answerBytes)))
}

func TestMarksAreTakenUpToTheirLimits(t *testing.T) {
	r := reading(t, `{"segment_bytes": 65535, "path_segments": 65535}`)
	marks := func(n int) string { return "a" + strings.Repeat("\u0301", n) }
	require.Zero(t, problemOf(r, marks(30), marks(30)))
	require.Equal(t, problem{codeTooLong, "there are more than 30 marks on one letter", 1}, problemOf(r, "b", marks(31)))
	require.Zero(t, problemOf(r, strings.Repeat(marks(1), joinedMax/2)))
	want := problem{codeTooLong, "the request has more than 4096 characters that join others: ask for less at once", 1}
	require.Equal(t, want, problemOf(r, strings.Repeat(marks(1), joinedMax/2), marks(1)))
}

// TestEachMarkOfTrimEndStays sees to it that what trim_end may have is never made of anything else by folding.
func TestEachMarkOfTrimEndStays(t *testing.T) {
	r := reading(t, `{"fold_case": true}`)
	for c := rune(0); c < 0x80; c++ {
		is := strings.ContainsRune(marks, c)
		require.Equal(t, c > ' ' && c < 0x7f && !strings.ContainsRune("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c), is, "%q", c)
		require.True(t, !is || r.characters.stays(c), "%q", c)
	}
}

// TestScanLooksNoFurtherThanThePath has a path at the end of memory, and others before something else.
func TestScanLooksNoFurtherThanThePath(t *testing.T) {
	r := reading(t, `{"fold_case": true, "trim_spaces": true, "trim_end": "."}`)
	for n := 1; n < 40; n++ {
		whole := []byte(strings.Repeat("a", n) + "\x00")
		require.True(t, r.scan.plain(whole[:len(whole):len(whole)]), n)
		behind := append(whole, "\x00A .\xff\x00"...)
		require.True(t, r.scan.plain(behind[:n+1]), n)
		for i := range n {
			for _, c := range []byte("A\x80\x00") {
				bad := append([]byte(nil), whole...)
				bad[i] = c
				if c == 0 && i > 0 && i < n-1 {
					bad[i+1] = 0
				}
				require.False(t, i == 0 && c == 0 && r.scan.plain(bad), "%q", bad)
				require.False(t, c != 0 && r.scan.plain(bad), "%q", bad)
			}
		}
		for _, c := range []byte(". \t") {
			bad := append([]byte(nil), whole...)
			bad[n-1] = c
			require.False(t, r.scan.plain(bad), "%q", bad)
		}
	}
	require.True(t, r.scan.plain(nil))
}

func TestReadingAgainForgets(t *testing.T) {
	r := reading(t, `{"fold_case": true, "aliases": {"a": "b"}}`)
	require.Empty(t, r.read(nil))
	got, ok := r.take(joined([]string{"a", "A"}))
	require.True(t, ok)
	require.Equal(t, "a\x00A\x00", got)
}
