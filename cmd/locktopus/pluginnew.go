package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk"
)

func (p process) pluginNew(args []string) int {
	language := "go"
	operands, err := parseFlags(args, 1, &flagValue{long: "--lang", value: &language})
	if err == nil && (len(operands) == 0 || operands[0] == "") {
		err = errors.New("name the directory of the project")
	}
	if err != nil {
		return p.misused("plugin new", "locktopus plugin new: %v", err)
	}
	dir, err := filepath.Abs(operands[0])
	if err != nil {
		fmt.Fprintf(p.stderr, "locktopus plugin new: %v\n", err)
		return exitFailed
	}
	project, found := sdk.NewProject(language, pluginName(filepath.Base(dir)))
	if !found {
		languages := sdk.ProjectLanguages()
		return p.misused("plugin new", "locktopus plugin new: unknown language %q%s", language, orHint(language, languages, "; there are "+strings.Join(languages, ", ")))
	}
	if err := writeProject(dir, &project); err != nil {
		fmt.Fprintf(p.stderr, "locktopus plugin new: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(p.stdout, nextSteps, shellQuoted(operands[0]), project.Language, shellQuoted(notAFlag(operands[0])), project.Build,
		config.FormatString(project.Name), config.FormatString(filepath.Join(dir, "plugin.wasm")))
	return exitOK
}

// notAFlag is a directory's name as commands take it.
func notAFlag(dir string) string {
	if strings.HasPrefix(dir, "-") {
		return "./" + dir
	}
	return dir
}

const nextSteps = `%s has the beginnings of a plugin in %s. This builds and tries it:

cd %s
%s
locktopus plugin check plugin.wasm
locktopus plugin test plugin.wasm cases.toml

This, in the configuration of a server, uses it:

[[plugins]]
name = %s
path = %s
hooks = ["authorize"]

README.md says more.
`

// pluginName makes a name that config.toml allows.
func pluginName(base string) string {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(allowed, r) {
			return r
		}
		return '-'
	}, base)
	return name[:min(len(name), 64)]
}

// writeProject makes the files. If one is there already, nothing is done.
func writeProject(dir string, project *sdk.Project) error {
	for _, f := range project.Files {
		if _, err := os.Lstat(filepath.Join(dir, f.Name)); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = errors.New("it is there already, and nothing is overwritten")
			}
			return fmt.Errorf("%s: %w", filepath.Join(dir, f.Name), bareError(err))
		}
	}
	for _, f := range project.Files {
		if err := writeNew(filepath.Join(dir, f.Name), f.Text); err != nil {
			return err
		}
	}
	return nil
}

func writeNew(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
