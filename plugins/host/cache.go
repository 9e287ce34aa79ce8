package host

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/tetratelabs/wazero"
)

// cacheFiles is how many compiled modules are kept, the newest.
const cacheFiles = 64

// openCache opens the directory of compiled modules. What lies there is executed, so nobody else may
// write to it.
func openCache(dir string) (wazero.CompilationCache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err == nil {
		err = checkPrivate(dir)
	}
	if err != nil {
		return nil, err
	}
	trimCache(dir, cacheFiles)
	return wazero.NewCompilationCacheWithDir(dir)
}

// emptyCache removes what can't be used, so that the next start finds a directory that can. What isn't ours
// alone is left alone.
func emptyCache(dir string) {
	if checkPrivate(dir) == nil {
		trimCache(dir, 0)
	}
}

// checkPrivate refuses directories that others may write to, as far as the system's mode bits tell.
func checkPrivate(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o022 != 0 && runtime.GOOS != "windows" {
			err = fmt.Errorf("others may write to %s (%v), and what lies there is executed", path, info.Mode())
		}
		return err
	})
}

// trimCache removes the oldest files if there are more. What can't be removed stays: it does no harm.
func trimCache(dir string, most int) {
	type file struct {
		path string
		info fs.FileInfo
	}
	var files []file
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			files = append(files, file{path, info})
		}
		return nil
	})
	if len(files) <= most {
		return
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(b.info.ModTime().UnixNano(), a.info.ModTime().UnixNano()) })
	for _, f := range files[most:] {
		_ = os.Remove(f.path)
	}
}
