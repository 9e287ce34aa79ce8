package conformance

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write golden.toml anew")

const goldenFile = "golden.toml"

func TestGoldenFileIsWhatTheCasesSay(t *testing.T) {
	want := goldenText(Cases())
	if *update {
		require.NoError(t, os.WriteFile(goldenFile, []byte(want), 0o644))
	}
	got, err := os.ReadFile(goldenFile)
	require.NoError(t, err)
	require.True(t, string(got) == want, "%s is not what the cases say; -update writes it anew, then read the difference", goldenFile)
}

// golden is a case as others read it.
type golden struct {
	Name, About, Hook, Config, Request, Text, Answer string
	Status, Code                                     int
	Trap                                             bool
	Logs                                             []struct {
		Level int
		Text  string
	}
}

// TestGoldenFileIsReadAsTheReadmeSays reads with nothing but what README.md says of the file.
func TestGoldenFileIsReadAsTheReadmeSays(t *testing.T) {
	var file struct{ Case []golden }
	meta, err := toml.DecodeFile(goldenFile, &file)
	require.NoError(t, err)
	require.Empty(t, meta.Undecoded())
	cases := Cases()
	require.Len(t, file.Case, len(cases))
	for i, g := range file.Case {
		c := cases[i]
		require.Equal(t, []string{c.Name, c.About, c.Hook}, []string{g.Name, g.About, g.Hook})
		require.True(t, bytes.Equal(c.Config, unhex(t, g.Config)), "%s: config", c.Name)
		require.True(t, bytes.Equal(c.Request, unhex(t, g.Request)), "%s: request", c.Name)
		require.Equal(t, c.Want.Trap, g.Trap, c.Name)
		require.Equal(t, []int{int(c.Want.Status), int(c.Want.Code)}, []int{g.Status, g.Code}, c.Name)
		require.True(t, g.Text == "" || g.Answer == "", c.Name)
		require.True(t, bytes.Equal(c.Want.Bytes, append(unhex(t, g.Answer), g.Text...)), "%s: answer", c.Name)
		require.Len(t, g.Logs, len(c.Want.Logs), c.Name)
		for j, l := range c.Want.Logs {
			require.Equal(t, l, Line{int32(g.Logs[j].Level), g.Logs[j].Text}, c.Name)
		}
	}
}

func unhex(t *testing.T, text string) (all []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.Fields(line) {
			digits, times, repeated := strings.Cut(word, "*")
			n := 1
			if repeated {
				var err error
				n, err = strconv.Atoi(times)
				require.NoError(t, err, word)
			}
			b, err := hex.DecodeString(digits)
			require.NoError(t, err, word)
			all = append(all, bytes.Repeat(b, n)...)
		}
	}
	return all
}

// TestCasesAreSound checks the cases against the ABI's own rules.
func TestCasesAreSound(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Cases() {
		require.False(t, names[c.Name], "%s stands there twice", c.Name)
		names[c.Name] = true
		require.LessOrEqual(t, len(c.Request), bufferBytes, c.Name)
		require.LessOrEqual(t, len(c.Want.Bytes), textBytesMax, c.Name)
		n := 0
		for _, note := range c.Notes {
			n += note.Bytes
		}
		require.Equal(t, len(c.Request), n, "%s: the notes are not those of the request", c.Name)
		require.NotEmpty(t, c.About, c.Name)
	}
}
