package fence

import (
	"encoding/json"
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
// file by hand writes "crc32=by-hand". Version 1 has no sessions_ms, and is read as if it were 0. A process that
// ends in order and leaves somebody to be waited for writes version 3, with two more lines above the checksum, the
// second one JSON. sessions_ms is the longest time of them. The next process writes version 2 again before it does
// anything: whatever becomes of it, nobody is believed to have nothing because of what was true before.
//
//	others_ms=0
//	namespaces_ms={"demo":12000}
const (
	markMagic   = "locktopus fence, version "
	markVersion = "2"
	markBefore  = "1"
	markSpaces  = "3"
	markByHand  = "by-hand"
	// markBytes is the most that a mark's file may have.
	markBytes = 64 << 10
	// sessionsMax is the most milliseconds that a time.Duration has room for.
	sessionsMax = math.MaxInt64 / int64(time.Millisecond)
)

// mark is what the file says.
type mark struct {
	ids      uint64  // up to this one they may have been used
	sessions int64   // milliseconds: no session can live for longer, when nothing is heard of its client
	spaces   *spaces // nil: that is so in all namespaces
}

// spaces is the same by namespaces.
type spaces struct {
	others int64
	named  map[string]int64
}

// settlement is the mark of what is owed, without ids.
func settlement(owed Debt) mark {
	m := mark{sessions: inMilliseconds(owed.Longest())}
	if owed = owed.short(); owed.Named == nil {
		return m
	}
	by := &spaces{others: inMilliseconds(owed.Others), named: map[string]int64{}}
	for name, named := range owed.Named {
		by.named[name] = inMilliseconds(named)
	}
	whole := mark{ids: idMax, sessions: m.sessions, spaces: by}
	if len(whole.format()) <= markBytes {
		m.spaces = by
	}
	return m
}

// debt is what the file says as times.
func (m mark) debt() (d Debt) {
	if m.spaces == nil {
		return Debt{Others: time.Duration(m.sessions) * time.Millisecond}
	}
	d = Debt{Others: time.Duration(m.spaces.others) * time.Millisecond, Named: map[string]time.Duration{}}
	for name, ms := range m.spaces.named {
		d.Named[name] = time.Duration(ms) * time.Millisecond
	}
	return d
}

// format is the content of the file.
func (m mark) format() []byte {
	version, more := markVersion, ""
	if m.spaces != nil {
		named, err := json.Marshal(m.spaces.named)
		if err != nil {
			panic("fence: numbers are no JSON: " + err.Error())
		}
		version, more = markSpaces, fmt.Sprintf("others_ms=%d\nnamespaces_ms=%s\n", m.spaces.others, named)
	}
	text := fmt.Sprintf("%s%s\nreserved=%d\nsessions_ms=%d\n%s", markMagic, version, m.ids, m.sessions, more)
	return fmt.Appendf(nil, "%scrc32=%s\n", text, checksum(text))
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text)))
}

// markLines are the names of the lines between a version's first and the checksum.
var markLines = map[string][]string{
	markSpaces:  {"reserved=", "sessions_ms=", "others_ms=", "namespaces_ms="},
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
		return m, fmt.Errorf("it is of version %.20q and this program knows versions up to %s: a newer program wrote it", version, markSpaces)
	}
	last := len(names) + 1
	if len(lines) != last+2 || lines[last+1] != "" {
		return m, fmt.Errorf("it isn't %d whole lines: it was cut off or added to", last+1)
	}
	values := [4]string{1: "0"}
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

// numbers reads the values of a mark. Those of namespaces are empty where there are none.
func numbers(values [4]string) (m mark, err error) {
	if m.ids, err = strconv.ParseUint(values[0], 10, 63); err != nil {
		return m, fmt.Errorf("%.30q is no number below 2^63", values[0])
	}
	if m.sessions, err = milliseconds(values[1], sessionsMax); err != nil || values[2]+values[3] == "" {
		return m, err
	}
	m.spaces = &spaces{}
	if m.spaces.others, err = milliseconds(values[2], m.sessions); err != nil {
		return m, err
	}
	var named map[string]json.Number
	if err := json.Unmarshal([]byte(values[3]), &named); err != nil || named == nil {
		return m, fmt.Errorf("%.30q is no JSON object of namespaces", values[3])
	}
	m.spaces.named = make(map[string]int64, len(named))
	for name, ms := range named {
		if m.spaces.named[name], err = milliseconds(ms.String(), m.sessions); err != nil {
			return m, err
		}
	}
	return m, nil
}

func milliseconds(text string, most int64) (int64, error) {
	ms, err := strconv.ParseUint(text, 10, 63)
	if err != nil || ms > uint64(most) {
		return 0, fmt.Errorf("%.30q is no number of milliseconds up to %d", text, most)
	}
	return int64(ms), nil
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
