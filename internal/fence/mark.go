package fence

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The mark's file, four lines of text:
//
//	locktopus fence, version 2
//	reserved=3000000
//	sessions_ms=15000
//	crc32=9f0c1a2b
//
// The checksum is CRC-32 (IEEE) of the lines before it, in hexadecimal. An operator who has to write the
// file by hand writes "crc32=by-hand". Version 1 has no sessions_ms, and is read as if it were 0.
const (
	markMagic   = "locktopus fence, version "
	markVersion = "2"
	markBefore  = "1"
	markByHand  = "by-hand"
	// markBytes is more than a mark's file ever has.
	markBytes = 4096
	// sessionsMax is the most milliseconds that a time.Duration has room for.
	sessionsMax = math.MaxInt64 / int64(time.Millisecond)
)

// mark is what the file says.
type mark struct {
	ids      uint64 // up to this one they may have been used
	sessions int64  // milliseconds: no session can live for longer, when nothing is heard of its client
}

// format is the content of the file.
func (m mark) format() []byte {
	text := fmt.Sprintf("%s%s\nreserved=%d\nsessions_ms=%d\n", markMagic, markVersion, m.ids, m.sessions)
	return fmt.Appendf(nil, "%scrc32=%s\n", text, checksum(text))
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text)))
}

// markLines are the names of the lines between a version's first and the checksum.
var markLines = map[string][]string{
	markVersion: {"reserved=", "sessions_ms="},
	markBefore:  {"reserved="},
}

// parseMark reads a mark's file, or says what is wrong with it.
func parseMark(content []byte) (m mark, err error) {
	if len(content) == 0 {
		return m, errors.New("it is empty")
	}
	lines := strings.Split(string(content), "\n")
	version, ok := strings.CutPrefix(lines[0], markMagic)
	if !ok {
		return m, fmt.Errorf("its first line isn't %q", markMagic+markVersion)
	}
	names, ok := markLines[version]
	if !ok {
		return m, fmt.Errorf("it is of version %.20q and this program knows versions up to %s: a newer program wrote it", version, markVersion)
	}
	last := len(names) + 1
	if len(lines) != last+2 || lines[last+1] != "" {
		return m, fmt.Errorf("it isn't %d whole lines: it was cut off or added to", last+1)
	}
	values := [2]string{1: "0"}
	for i, name := range append(slices.Clone(names), "crc32=") {
		value, ok := strings.CutPrefix(lines[i+1], name)
		if !ok {
			return m, fmt.Errorf("its line %d doesn't start with %q", i+2, name)
		}
		if i < len(names) {
			values[i] = value
		} else if want := checksum(strings.Join(lines[:last], "\n") + "\n"); value != want && value != markByHand {
			return m, errors.New("its checksum doesn't fit its content")
		}
	}
	return numbers(values)
}

// numbers reads the values of a mark.
func numbers(values [2]string) (m mark, err error) {
	if m.ids, err = strconv.ParseUint(values[0], 10, 63); err != nil {
		return m, fmt.Errorf("%.30q is no number below 2^63", values[0])
	}
	ms, err := strconv.ParseUint(values[1], 10, 63)
	if err != nil || ms > uint64(sessionsMax) {
		return m, fmt.Errorf("%.30q is no number of milliseconds up to %d", values[1], sessionsMax)
	}
	m.sessions = int64(ms)
	return m, nil
}

// readMark reads the mark in dir; without a file it is zero.
func readMark(d disk, dir string) (m mark, err error) {
	name := filepath.Join(dir, markName)
	content, err := d.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("fence: %w", err)
	}
	if m, err = parseMark(content); err != nil {
		return m, damaged(name, err)
	}
	return m, nil
}

// damaged tells an operator what to do about a mark that can't be read.
func damaged(name string, err error) error {
	return fmt.Errorf("fence: %s can't be read: %w. It says which lock ids may have been used, so the server doesn't start without it. "+
		"Write these four lines to it, with a number above every id that a client ever got, and for how many milliseconds clients may "+
		"still believe in their locks (sessions.ttl_max is always enough, 0 if no client is left): %q, %q, %q, %q; "+
		"or remove it if nothing remembers an old id and no client is left: ids then start at 1",
		name, err, markMagic+markVersion, "reserved=NUMBER", "sessions_ms=NUMBER", "crc32="+markByHand)
}

// writeMark replaces the mark in dir. When it returns nil, the new mark is durable; when it fails,
// the old or the new one is there, whole.
func writeMark(d disk, dir string, m mark) error {
	temp := filepath.Join(dir, tempName)
	if err := writeTemp(d, temp, m.format()); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if err := d.Rename(temp, filepath.Join(dir, markName)); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if err := d.SyncDir(dir); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return nil
}

// writeTemp makes a new file each time: after a sync that failed, a second one on the same file may
// report success for data that never got to the disk.
func writeTemp(d disk, name string, content []byte) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := d.Create(name)
	if err != nil {
		return err
	}
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

// makeDir makes dir and what is missing above it, so that they are there after a power cut too.
func makeDir(d disk, dir string) error {
	err := d.Mkdir(dir)
	parent := filepath.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(d, parent); err != nil {
			return err
		}
		err = d.Mkdir(dir)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // if it is no directory, taking the lock in it says so
	}
	if err != nil {
		return err
	}
	return d.SyncDir(parent)
}
