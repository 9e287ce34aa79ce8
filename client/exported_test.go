package client_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEverythingExportedIsInAnExample looks for each exported function, method, variable and field of options.
func TestEverythingExportedIsInAnExample(t *testing.T) {
	text, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			for _, exported := range exports(d) {
				require.Regexp(t, regexp.MustCompile(`\b`+exported+`\b`), string(text), "no example shows %s", exported)
			}
		}
	}
}

// exports are the exported names that a declaration declares. Errors' and formatters' methods are the language's.
func exports(d ast.Decl) (names []string) {
	add := func(name string) {
		if ast.IsExported(name) && name != "Error" && name != "String" && name != "Is" && name != "Unwrap" {
			names = append(names, name)
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		add(d.Name.Name)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					add(n.Name)
				}
			case *ast.TypeSpec:
				if s, ok := spec.Type.(*ast.StructType); ok && spec.Name.Name == "Options" {
					for _, f := range s.Fields.List {
						add(f.Names[0].Name)
					}
				}
			}
		}
	}
	return names
}
