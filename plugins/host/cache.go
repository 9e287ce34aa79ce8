package host

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tetratelabs/wazero"
)

// cacheFiles is how many compiled modules are kept, the newest.
const cacheFiles = 64

// openCache opens the directory of compiled modules. What lies there is executed, so nobody else may
// write to it.
func openCache(dir string) (wazero.CompilationCache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the directory of compiled plugins cannot be made: %w", err)
	}
	trimCache(dir)
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the directory of compiled plugins cannot be used: %w", err)
	}
	return cache, nil
}

// trimCache removes the oldest files of too many. What can't be removed stays: it does no harm.
func trimCache(dir string) {
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
	if len(files) <= cacheFiles {
		return
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(b.info.ModTime().UnixNano(), a.info.ModTime().UnixNano()) })
	for _, f := range files[cacheFiles:] {
		_ = os.Remove(f.path)
	}
}
