package sdk_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk"
)

func TestEachLanguageHasItsFiles(t *testing.T) {
	languages := sdk.Languages()
	require.True(t, slices.IsSorted(languages), languages)
	require.Equal(t, []string{"assemblyscript", "c", "go", "rust", "zig"}, languages)
	for _, language := range languages {
		files := sdk.Files(language)
		require.NotEmpty(t, files, language)
		require.True(t, strings.HasPrefix(files[0].Name, "locktopus."), "%s: %s comes first", language, files[0].Name)
		for _, f := range files {
			want, err := os.ReadFile(filepath.Join(language, f.Name))
			require.NoError(t, err)
			require.Equal(t, string(want), string(f.Text), f.Name)
		}
	}
}

func TestGoIsAllThatHasNoTests(t *testing.T) {
	found, err := filepath.Glob("go/*.go")
	require.NoError(t, err)
	var want, got []string
	for _, f := range found {
		if !strings.HasSuffix(f, "_test.go") {
			want = append(want, filepath.Base(f))
		}
	}
	for _, f := range sdk.Files("go") {
		got = append(got, f.Name)
	}
	require.Equal(t, want, got)
}

func TestOtherLanguagesHaveNone(t *testing.T) {
	for _, language := range []string{"", ".", "/", "..", "cobol", "go/locktopus.go"} {
		require.Empty(t, sdk.Files(language), language)
	}
}

func TestEachLanguageHasAProject(t *testing.T) {
	languages := sdk.ProjectLanguages()
	require.Equal(t, []string{"assemblyscript", "c", "go", "rust", "wat", "zig"}, languages)
	for _, language := range languages {
		p, found := sdk.NewProject(language, "my-plugin")
		require.True(t, found, language)
		files := map[string]string{}
		for _, f := range p.Files {
			require.NotContains(t, files, f.Name, language)
			files[f.Name] = string(f.Text)
		}
		require.NotEmpty(t, files["cases.toml"])
		require.NotEmpty(t, files[p.Source], "%s: %s", language, p.Source)
		require.True(t, language == "go" || strings.Contains(p.Build, " "+p.Source), "%s: %s", language, p.Build)
		for _, f := range sdk.Files(language) {
			require.Equal(t, string(f.Text), files[strings.TrimSuffix(p.SDK, f.Name)+f.Name])
		}
		readme := files["README.md"]
		for _, part := range []string{"# my-plugin\n", "\n    " + p.Build + "\n", "\nIt needs " + p.Needs + ".\n", "| `" + p.Source + "` |", "| `" + p.SDK + "` |"} {
			require.True(t, part == "| `` |" || strings.Contains(readme, part), "%s: %s", language, part)
		}
		require.NotContains(t, readme, "<no value>")
	}
	_, found := sdk.NewProject("cobol", "x")
	require.False(t, found)
}

// TestEachSDKSaysHowToBuild as the project does, in the comment that it begins with.
func TestEachSDKSaysHowToBuild(t *testing.T) {
	continued := regexp.MustCompile(`\\\n\S*\s+`)
	for _, language := range sdk.Languages() {
		p, found := sdk.NewProject(language, "x")
		require.True(t, found)
		require.Contains(t, continued.ReplaceAllString(string(sdk.Files(language)[0].Text), ""), p.Build, language)
	}
}
