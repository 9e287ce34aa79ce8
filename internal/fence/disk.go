package fence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// disk is what the package needs of a file system. Tests put one behind it that fails at any step or
// forgets what wasn't synced.
type disk interface {
	Mkdir(dir string) error
	// ReadFile reads a small file whole.
	ReadFile(name string) ([]byte, error)
	// Create makes a file that must not exist yet.
	Create(name string) (file, error)
	Remove(name string) error
	// Rename replaces to, if it exists, in one step.
	Rename(from, to string) error
	// SyncDir makes durable which files are in dir.
	SyncDir(dir string) error
	// Lock takes the lock file, for this process alone, until the result is closed. It is a
	// heldError if somebody else has it.
	Lock(name string) (lock, error)
}

type lock interface {
	io.Closer
	// Check fails if the lock no longer keeps others out, because its file was removed or replaced.
	Check() error
}

type file interface {
	io.WriteCloser
	Sync() error
}

// heldError says that another open lock exists on the file, and who wrote its pid there.
type heldError struct{ pid string }

func (e heldError) Error() string { return "in use by process " + e.pid }

// lockError words why the directory can't be had.
func lockError(dir string, err error) error {
	var held heldError
	if errors.As(err, &held) {
		return fmt.Errorf("fence: state directory %s is in use by another server, process %s: stop it, or give this one its own with --state-dir", dir, held.pid)
	}
	return fmt.Errorf("fence: state directory %s: %w", dir, advised(err))
}

// advised is an error of the disk's, with what an operator can do about it where that is known.
func advised(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: the user that runs the server must be able to read and write there; see to that, or name another directory with --state-dir", err)
	}
	return err
}

// osDisk is the real one.
type osDisk struct{}

func (osDisk) Mkdir(dir string) error   { return os.Mkdir(dir, 0o700) }
func (osDisk) Remove(name string) error { return os.Remove(name) }

func (osDisk) ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, markBytes))
	return content, errors.Join(err, f.Close())
}

func (osDisk) Create(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err // not f: an interface that holds a nil *os.File isn't nil
	}
	return f, nil
}

// Lock takes an advisory lock of the operating system, which ends with the process however that
// ends. The file stays when the lock is given up: removing it would let two processes hold locks on
// two files of the same name.
func (osDisk) Lock(name string) (lock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		if errors.Is(err, errHeld) {
			err = heldError{pid: readPid(f)}
		} else {
			err = fmt.Errorf("cannot lock %s: %w", name, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	if err := writePid(f); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot write %s: %w", name, err), f.Close())
	}
	return osLock{f}, nil
}

type osLock struct{ *os.File }

func (l osLock) Check() error {
	mine, err := l.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.Name())
	if err != nil {
		return fmt.Errorf("the lock file is gone: %w: another server may use the directory now; restart this one", err)
	}
	if !os.SameFile(mine, there) {
		return fmt.Errorf("the lock file %s was replaced: another server may use the directory now; restart this one", l.Name())
	}
	return nil
}

// errHeld is what lockFile returns if the lock is taken.
var errHeld = errors.New("the lock is taken")

func writePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPid is for people: the holder may have taken the lock and not yet written its pid.
func readPid(f *os.File) string {
	content, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid := strings.TrimSpace(string(content))
	if _, bad := strconv.Atoi(pid); err != nil || bad != nil {
		return "unknown"
	}
	return pid
}
