package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// parsePath reads a path as command lines and files of cases have it: segments with "/" between them,
// and "\/" and "\\" for these two within one. "" is the empty path, the whole namespace; "a/" and "/a"
// have an empty segment. The one path that can't be written is that of a single empty segment.
func parsePath(text string) ([][]byte, error) {
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return nil, fmt.Errorf("must be UTF-8 without NUL, but is %q", text)
	}
	if text == "" {
		return nil, nil
	}
	var path [][]byte
	segment := []byte{}
	for rest := text; rest != ""; rest = rest[1:] {
		switch rest[0] {
		case '/':
			path, segment = append(path, segment), []byte{}
		case '\\':
			if rest = rest[1:]; rest == "" || rest[0] != '/' && rest[0] != '\\' {
				return nil, fmt.Errorf(`must have "\" before "/" or another "\" only, but is %q`, text)
			}
			segment = append(segment, rest[0])
		default:
			segment = append(segment, rest[0])
		}
	}
	return append(path, segment), nil
}

var escaped = strings.NewReplacer(`\`, `\\`, `/`, `\/`)

// pathText writes a path so that parsePath reads it.
func pathText(path [][]byte) string {
	segments := make([]string, len(path))
	for i, s := range path {
		segments[i] = escaped.Replace(string(s))
	}
	return strings.Join(segments, "/")
}
