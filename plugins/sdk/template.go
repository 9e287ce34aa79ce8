package sdk

import (
	"bytes"
	"embed"
	"path"
	"slices"
	"text/template"
)

// Project is what an author begins with: the smallest plugin, with the hooks that it doesn't serve in
// comments, cases to test it with, a README, and the SDK.
type Project struct {
	Name     string
	Language string // as people write it
	Build    string // the command that makes plugin.wasm, for a POSIX shell in the project's folder
	Needs    string // for that
	Source   string // the plugin's file
	SDK      string // the SDK's file, or the folder of its files, which ends in "/"; "": there is none
	Files    []File // all; names may have a folder, with "/" behind it
}

//go:embed template
var templates embed.FS

// projects are by the name of the language, which is also that of the folder with the template.
var projects = map[string]Project{
	"go": {
		Language: "Go", Source: "main.go", SDK: "locktopus/",
		Build: `GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o plugin.wasm`,
		Needs: "Go 1.24 or later, and nothing from the network",
		Files: []File{{"go.mod", []byte("module locktopus-plugin\n\ngo 1.24\n")}}, // a folder with one can't be embedded
	},
	"c": {
		Language: "C", Source: "plugin.c", SDK: "locktopus.h",
		Build: "clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--stack-first -Wl,--strip-all -o plugin.wasm plugin.c",
		Needs: "clang and wasm-ld (Debian: `clang`, `lld`), and no C library",
	},
	"rust": {
		Language: "Rust", Source: "plugin.rs", SDK: "locktopus.rs",
		Build: "rustc --edition=2021 --target=wasm32-unknown-unknown --crate-type=cdylib -Copt-level=3 -Clto -Cpanic=abort -Cstrip=symbols -o plugin.wasm plugin.rs",
		Needs: "rustc with that target (`rustup target add wasm32-unknown-unknown`; Debian: `rustc`, `libstd-rust-dev-wasm32`), and no crate",
	},
	"assemblyscript": {
		Language: "AssemblyScript", Source: "plugin.ts", SDK: "locktopus.ts",
		Build: "asc plugin.ts -O3 -o plugin.wasm",
		Needs: "`asc` (`npm install -g assemblyscript@0.28`), and no other package",
	},
	"zig": {
		Language: "Zig", Source: "plugin.zig", SDK: "locktopus.zig",
		Build: "zig build-lib -target wasm32-freestanding -dynamic -rdynamic -O ReleaseSafe -fstrip -femit-bin=plugin.wasm plugin.zig",
		Needs: "Zig 0.11; later ones say `build-exe -fno-entry --stack 65536` instead of `build-lib -dynamic`",
	},
	"wat": {
		Language: "WebAssembly text", Source: "plugin.wat",
		Build: "wat2wasm -o plugin.wasm plugin.wat",
		Needs: "wabt (Debian: `wabt`)",
	},
}

// ProjectLanguages are the languages that there are projects in, in alphabetical order.
func ProjectLanguages() (all []string) {
	for language := range projects {
		all = append(all, language)
	}
	slices.Sort(all)
	return all
}

// NewProject is a project in one of ProjectLanguages. The name is used in texts only.
func NewProject(language, name string) (p Project, found bool) {
	p, found = projects[language]
	if !found {
		return p, false
	}
	p.Name, p.Files = name, slices.Clone(p.Files)
	folder, _ := path.Split(p.SDK)
	for _, f := range Files(language) {
		p.Files = append(p.Files, File{folder + f.Name, f.Text})
	}
	from := path.Join(language, p.Source)
	if language == "go" {
		from += ".txt" // or it would be a package of this module
	}
	p.Files = append(p.Files, File{p.Source, readTemplate(from)}, File{"cases.toml", readTemplate("cases.toml")})
	var readme bytes.Buffer
	if err := template.Must(template.New("").Parse(string(readTemplate("README.md")))).Execute(&readme, p); err != nil {
		panic("sdk: the README of projects: " + err.Error())
	}
	p.Files = append(p.Files, File{"README.md", readme.Bytes()})
	return p, true
}

func readTemplate(name string) []byte {
	text, err := templates.ReadFile(path.Join("template", name))
	if err != nil {
		panic("sdk: a template is gone: " + err.Error())
	}
	return text
}
