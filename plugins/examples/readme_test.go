package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// described are the folders whose READMEs are tried.
var described = []string{"smallest-c", "smallest-go", "smallest-wat"}

func readme(t *testing.T, folder string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	require.NoError(t, err)
	return string(text)
}

// matched is what the pattern's parentheses match in the text.
func matched(t *testing.T, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.Len(t, m, 2, "%s\n%s", pattern, text)
	return m[1]
}

// TestConfigurationsInTheReadmesAreWhatTheySay takes away what may be left out.
func TestConfigurationsInTheReadmesAreWhatTheySay(t *testing.T) {
	for _, folder := range described {
		whole := matched(t, readme(t, folder), "(?s)```toml\n(.*?)```")
		needed, _, found := strings.Cut(whole, "# These may be left out")
		require.True(t, found, "%s: %s", folder, whole)
		want := plugins(t, whole)
		require.Len(t, want, 1, folder)
		require.Equal(t, want, plugins(t, needed), folder)
	}
}

func plugins(t *testing.T, text string) []config.Plugin {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	loaded, err := config.Load(config.Input{Path: file})
	require.NoError(t, err, text)
	return loaded.Config.Plugins
}
