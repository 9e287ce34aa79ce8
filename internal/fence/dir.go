package fence

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
)

var errNoDir = errors.New("no place for the server's state is known: the environment has no home directory; set --state-dir")

// DefaultDir is the state directory of a server that was told none: what systemd gives it in
// $STATE_DIRECTORY, or else the customary place of the user that runs it: $XDG_STATE_HOME/locktopus
// or ~/.local/state/locktopus, on macOS ~/Library/Application Support/locktopus, on Windows
// %LocalAppData%\locktopus. Relative paths in the environment are passed over. It makes nothing.
func DefaultDir(getenv func(string) string) (string, error) {
	return defaultDir(runtime.GOOS, getenv)
}

func defaultDir(goos string, getenv func(string) string) (string, error) {
	const name = "locktopus"
	if goos == "windows" {
		if data := getenv("LocalAppData"); data != "" {
			return filepath.Join(data, name), nil
		}
		return "", errNoDir
	}
	// systemd joins several directories by colons; ours is the first.
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home := getenv("HOME")
	if goos == "darwin" {
		if filepath.IsAbs(home) {
			return filepath.Join(home, "Library", "Application Support", name), nil
		}
		return "", errNoDir
	}
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, name), nil
	}
	if filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", name), nil
	}
	return "", errNoDir
}
