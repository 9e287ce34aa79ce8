// Package sdk holds what plugins are built on, for each language the files that an author copies
// beside the plugin. They stand in a folder per language; conformance tries them all.
package sdk

import (
	"embed"
	"path"
	"slices"
)

// A language is here once its folder has a file of this name.
//
//go:embed */locktopus.* go/log_wasm.go
var files embed.FS

// File is one file of an SDK.
type File struct {
	Name string // without a folder
	Text []byte // the caller's own
}

// Languages are the names of all languages, in alphabetical order.
func Languages() (all []string) {
	folders, err := files.ReadDir(".")
	if err != nil {
		panic("sdk: the embedded files are gone: " + err.Error())
	}
	for _, f := range folders {
		all = append(all, f.Name())
	}
	return all
}

// Files are all that a plugin in this language needs, the one that it includes or imports first;
// none for a language that isn't one of Languages.
func Files(language string) (all []File) {
	if !slices.Contains(Languages(), language) {
		return nil
	}
	entries, err := files.ReadDir(language)
	if err != nil {
		panic("sdk: an embedded folder is gone: " + err.Error())
	}
	for _, e := range entries {
		text, err := files.ReadFile(path.Join(language, e.Name()))
		if err != nil {
			panic("sdk: an embedded file is gone: " + err.Error())
		}
		all = append(all, File{e.Name(), text})
	}
	return all
}
