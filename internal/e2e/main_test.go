package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// patience bounds every wait for something that a working server does promptly.
const patience = 60 * time.Second

// program is the path of the program under test: built here, or LOCKTOPUS_PROGRAM.
var program string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "locktopus-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	// Tests that may run beside others mostly wait for deadlines of the server, not for a processor.
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))); err != nil {
		return 1, err
	}
	if program = os.Getenv("LOCKTOPUS_PROGRAM"); program == "" {
		if program, err = build(dir); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// build makes the program, with the race detector where the tests have it.
func build(dir string) (string, error) {
	out := filepath.Join(dir, "locktopus")
	if runtime.GOOS == "windows" {
		out += ".exe"
	}
	args := []string{"build", "-o", out}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "../../cmd/locktopus")...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, text)
	}
	return out, nil
}
