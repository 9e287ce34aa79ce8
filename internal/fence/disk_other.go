//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package fence

import (
	"errors"
	"os"
)

func lockFile(*os.File) error {
	return errors.New("this operating system has no lock for files that the server knows: run without a state directory")
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) SyncDir(string) error { return nil }
