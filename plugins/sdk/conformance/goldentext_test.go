package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sizes of the golden file's hexadecimal.
const (
	lineBytes = 32  // on one line
	runBytes  = 16  // of something repeated, at least, that is written as one word
	periodMax = 8   // bytes that are repeated
	notesMax  = 100 // notes of one request; what comes after goes without
)

// goldenText is the text of golden.toml.
func goldenText(cases []Case) string {
	var b strings.Builder
	b.WriteString("# Golden requests and answers of plugin ABI 1. README.md says how to read them.\n" +
		"# Written by `go test ./plugins/sdk/conformance -update`; not by hand.\n")
	for i := range cases {
		cases[i].write(&b)
	}
	return b.String()
}

func (c *Case) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n[[case]]\nname = %q\nabout = %q\nhook = %q\n", c.Name, c.About, c.Hook)
	if len(c.Config) > 0 {
		fmt.Fprintf(b, "config = '''\n%s'''\n", hexLines([]Note{{len(c.Config), ""}}, c.Config))
	}
	fmt.Fprintf(b, "request = '''\n%s'''\n", hexLines(c.Notes, c.Request))
	c.Want.write(b)
}

func (a *Answer) write(b *strings.Builder) {
	if a.Trap {
		b.WriteString("trap = true\n")
		return
	}
	fmt.Fprintf(b, "status = %d\ncode = %d\n", a.Status, a.Code)
	switch {
	case len(a.Bytes) == 0:
	case legible(a.Bytes):
		fmt.Fprintf(b, "text = '''\n%s'''\n", a.Bytes)
	default:
		fmt.Fprintf(b, "answer = '''\n%s'''\n", hexLines([]Note{{len(a.Bytes), ""}}, a.Bytes))
	}
	if len(a.Logs) > 0 {
		b.WriteString("logs = [\n")
		for _, l := range a.Logs {
			fmt.Fprintf(b, "    { level = %d, text = \"%s\" },\n", l.Level, strings.ReplaceAll(l.Text, "\x00", `\u0000`))
		}
		b.WriteString("]\n")
	}
}

// legible says whether b can stand between three quotes as it is, and is nicer to read than
// hexadecimal.
func legible(b []byte) bool {
	return utf8.Valid(b) && len(b) < 8192 && b[len(b)-1] != '\'' && !bytes.Contains(b, []byte("'''")) &&
		bytes.IndexFunc(b, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) < 0
}

// hexLines are the bytes with their notes. A note goes behind the first line of its bytes.
func hexLines(notes []Note, data []byte) string {
	var b strings.Builder
	at := 0
	for i := 0; i < len(notes); {
		n, text := notes[i].Bytes, notes[i].Text
		for i++; i < len(notes) && (notes[i].Text == "" || i > notesMax); i++ {
			n += notes[i].Bytes
		}
		for _, words := range wordLines(data[at : at+n]) {
			b.WriteString(words)
			if text != "" {
				fmt.Fprintf(&b, "  # %d: %s", at, text)
				text = ""
			}
			b.WriteByte('\n')
		}
		at += n
	}
	return b.String()
}

// wordLines are lines of words: of hexadecimal, or of something that repeats.
func wordLines(data []byte) (lines []string) {
	for len(data) > 0 {
		if period, times := repetition(data); times > 0 {
			lines = append(lines, fmt.Sprintf("%x*%d", data[:period], times))
			data = data[period*times:]
			continue
		}
		n := 1
		for n < len(data) && n < lineBytes {
			if _, times := repetition(data[n:]); times > 0 {
				break
			}
			n++
		}
		lines = append(lines, fmt.Sprintf("%x", data[:n]))
		data = data[n:]
	}
	return lines
}

// repetition is how many bytes stand at the start of data again and again, and how often, if that
// is worth a word.
func repetition(data []byte) (period, times int) {
	for period = 1; period <= periodMax; period++ {
		times = 1
		for ; (times+1)*period <= len(data); times++ {
			if !bytes.Equal(data[:period], data[times*period:(times+1)*period]) {
				break
			}
		}
		if times*period >= runBytes && times > 2 {
			return period, times
		}
	}
	return 0, 0
}
