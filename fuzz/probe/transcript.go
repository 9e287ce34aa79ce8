package probe

import (
	"fmt"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// transcript is what was said in a round, as people read it. Of a long one it keeps the end.
type transcript struct {
	from  oracle.Moment
	lines []string
	cut   bool
}

const transcriptLines = 500

func newTranscript() *transcript { return &transcript{from: oracle.Now()} }

func (t *transcript) add(format string, args ...any) {
	if len(t.lines) == transcriptLines {
		t.lines, t.cut = t.lines[transcriptLines/2:], true
	}
	at := time.Duration(oracle.Now() - t.from).Round(10 * time.Microsecond)
	t.lines = append(t.lines, fmt.Sprintf("%12v  ", at)+fmt.Sprintf(format, args...))
}

func (t *transcript) heard(n int, e event) { t.add("    client %d ← %v", n, e) }

func (t *transcript) note(n int, format string, args ...any) {
	t.add("    client %d %s", n, fmt.Sprintf(format, args...))
}

// String is all of it, a line each.
func (t *transcript) String() string {
	text := strings.Join(t.lines, "\n")
	if t.cut {
		text = "(the beginning is cut)\n" + text
	}
	return text
}
