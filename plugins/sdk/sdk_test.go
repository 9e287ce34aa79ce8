package sdk_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk"
)

func TestEachLanguageHasItsFiles(t *testing.T) {
	languages := sdk.Languages()
	require.True(t, slices.IsSorted(languages), languages)
	require.Subset(t, languages, []string{"c", "go"})
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
