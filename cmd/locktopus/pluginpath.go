package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// parsePath reads a path as command lines and files of cases have it: segments with "/" between them,
// and "\/" and "\\" for these two within one. "" is the empty path, the whole namespace; "a/" and "/a"
// have an empty segment. The one path that can't be written is that of a single empty segment.
func parsePath(text string) ([]string, error) {
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return nil, errors.New("a path is UTF-8 text without NUL")
	}
	if text == "" {
		return nil, nil
	}
	var path []string
	var segment strings.Builder
	for rest := text; rest != ""; rest = rest[1:] {
		switch rest[0] {
		case '/':
			path = append(path, segment.String())
			segment.Reset()
		case '\\':
			if rest = rest[1:]; rest == "" || rest[0] != '/' && rest[0] != '\\' {
				return nil, fmt.Errorf(`%q: "\" stands before "/" or another "\" only`, text)
			}
			segment.WriteByte(rest[0])
		default:
			segment.WriteByte(rest[0])
		}
	}
	return append(path, segment.String()), nil
}

var escaped = strings.NewReplacer(`\`, `\\`, `/`, `\/`)

// pathText writes a path so that parsePath reads it.
func pathText[S ~string | ~[]byte](path []S) string {
	segments := make([]string, len(path))
	for i, s := range path {
		segments[i] = escaped.Replace(string(s))
	}
	return strings.Join(segments, "/")
}
