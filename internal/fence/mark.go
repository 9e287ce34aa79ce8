package fence

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// The mark's file, three lines of text:
//
//	locktopus fence, version 1
//	reserved=3000000
//	crc32=9f0c1a2b
//
// The checksum is CRC-32 (IEEE) of the two lines before it, in hexadecimal. An operator who has to
// write the file by hand writes "crc32=by-hand".
const (
	markMagic   = "locktopus fence, version "
	markVersion = "1"
	markByHand  = "by-hand"
	// markBytes is more than a mark's file ever has.
	markBytes = 4096
)

// formatMark is the content of a file that says that ids up to mark may have been used.
func formatMark(mark uint64) []byte {
	text := markMagic + markVersion + "\nreserved=" + strconv.FormatUint(mark, 10) + "\n"
	return fmt.Appendf(nil, "%scrc32=%s\n", text, checksum(text))
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text)))
}

// parseMark reads a mark's file, or says what is wrong with it.
func parseMark(content []byte) (uint64, error) {
	if len(content) == 0 {
		return 0, errors.New("it is empty")
	}
	lines := strings.Split(string(content), "\n")
	version, ok := strings.CutPrefix(lines[0], markMagic)
	if !ok {
		return 0, fmt.Errorf("its first line isn't %q", markMagic+markVersion)
	}
	if version != markVersion {
		return 0, fmt.Errorf("it is of version %.20q and this program knows version %s: a newer program wrote it", version, markVersion)
	}
	if len(lines) != 4 || lines[3] != "" {
		return 0, errors.New("it isn't three whole lines: it was cut off or added to")
	}
	digits, ok := strings.CutPrefix(lines[1], "reserved=")
	if !ok {
		return 0, errors.New(`its second line doesn't start with "reserved="`)
	}
	sum, ok := strings.CutPrefix(lines[2], "crc32=")
	if !ok {
		return 0, errors.New(`its third line doesn't start with "crc32="`)
	}
	if want := checksum(lines[0] + "\n" + lines[1] + "\n"); sum != want && sum != markByHand {
		return 0, errors.New("its checksum doesn't fit its content")
	}
	mark, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%.30q is no number below 2^63", digits)
	}
	return mark, nil
}

// readMark reads the mark in dir; without a file it is 0.
func readMark(d disk, dir string) (uint64, error) {
	name := filepath.Join(dir, markName)
	content, err := d.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("fence: %w", err)
	}
	mark, err := parseMark(content)
	if err != nil {
		return 0, damaged(name, err)
	}
	return mark, nil
}

// damaged tells an operator what to do about a mark that can't be read.
func damaged(name string, err error) error {
	return fmt.Errorf("fence: %s can't be read: %w. It says which lock ids may have been used, so the server doesn't start without it. "+
		"Write these three lines to it, with a number above every id that a client ever got: %q, %q, %q; "+
		"or remove it if nothing remembers an old id: ids then start at 1",
		name, err, markMagic+markVersion, "reserved=NUMBER", "crc32="+markByHand)
}

// writeMark replaces the mark in dir. When it returns nil, the new mark is durable; when it fails,
// the old or the new one is there, whole.
func writeMark(d disk, dir string, mark uint64) error {
	temp := filepath.Join(dir, tempName)
	if err := writeTemp(d, temp, formatMark(mark)); err != nil {
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
