package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// The oracle: protocol v1 read with encoding/json and without a thought for speed. Where JSON leaves
// off and v1 is stricter, it applies the rule by itself: valid UTF-8, depth, number of values, known
// members given twice, NUL and torn surrogate pairs in segments.

type member struct {
	name  string
	torn  bool // the name has half of a surrogate pair
	value json.RawMessage
}

// oracle parses msg, or says why it is none.
func oracle(msg []byte) (V1Request, error) {
	var r V1Request
	if !utf8.Valid(msg) || !json.Valid(msg) {
		return r, errors.New("no JSON in UTF-8")
	}
	if d := depth(msg); d > V1Depth {
		return r, fmt.Errorf("nested %d deep", d)
	}
	top, err := members(msg)
	if err != nil {
		return r, err
	}
	resources, err := oracleResources(top)
	if err != nil {
		return r, err
	}
	action, found, err := find(top, "action")
	if err != nil || !found {
		return r, fmt.Errorf("action: %v, %w", found, err)
	}
	switch name, isString := text(action); {
	case isString && name == "release":
		return V1Request{Action: V1Release}, nil
	case isString && name == "lock":
	default:
		return r, errors.New("action unknown")
	}
	if !resources.given || resources.err != nil || len(resources.list) == 0 {
		return r, fmt.Errorf("resources: %w", resources.err)
	}
	return V1Request{Action: V1Lock, Resources: resources.list}, nil
}

type oracleList struct {
	given bool
	list  []Resource
	err   error // matters only to a lock
}

// oracleResources reads the resources. Its own error is one that matters to a release too.
func oracleResources(top []member) (l oracleList, err error) {
	values := len(top)
	raw, given, err := find(top, "resources")
	if err != nil {
		return l, err
	}
	l.given = given
	elements, isArray := array(raw)
	if given && !isArray {
		l.err = errors.New("resources: no array")
	}
	for _, e := range elements {
		values++
		ms, err := members(e)
		if err != nil {
			l.err = err
			continue
		}
		values += len(ms)
		typ, hasType, err := find(ms, "type")
		if err != nil {
			return l, err
		}
		path, hasPath, err := find(ms, "path")
		if err != nil {
			return l, err
		}
		segments, isArray := array(path)
		values += len(segments)
		if !hasType || !hasPath || !isArray {
			l.err = errors.New("no type, no path, or none that is an array")
			continue
		}
		res, err := oracleResource(typ, segments)
		if err != nil {
			l.err = err
		}
		l.list = append(l.list, res)
	}
	if values > V1Values {
		return l, errors.New("too many values")
	}
	return l, nil
}

func oracleResource(typ json.RawMessage, segments []json.RawMessage) (Resource, error) {
	r := Resource{Path: [][]byte{}}
	switch name, isString := text(typ); {
	case isString && (asciiLower(name) == "r" || asciiLower(name) == "read"):
		r.Type = Read
	case isString && (asciiLower(name) == "w" || asciiLower(name) == "write"):
		r.Type = Write
	default:
		return r, errors.New("type unknown")
	}
	for _, s := range segments {
		segment, isString := text(s)
		if !isString || tornText(segment, s) || strings.Contains(segment, "\x00") {
			return r, errors.New("bad segment")
		}
		r.Path = append(r.Path, []byte(segment))
	}
	return r, nil
}

// written counts the U+FFFD in a string as written, plain or as an escape.
func written(raw []byte) int {
	n := bytes.Count(raw, []byte("\ufffd"))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if raw[i+1] == 'u' && strings.EqualFold(string(raw[i+2:i+6]), "fffd") {
			n++
		}
		i++
	}
	return n
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// find looks for a member and refuses two of them.
func find(ms []member, name string) (value json.RawMessage, found bool, err error) {
	for _, m := range ms {
		if m.name != name {
			continue
		}
		if found {
			return nil, true, fmt.Errorf("%s twice", name)
		}
		value, found = m.value, true
	}
	return value, found, nil
}

// members lists the members of an object in order; an error if raw is none.
func members(raw []byte) (list []member, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, errors.New("no object")
	}
	for dec.More() {
		from := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		torn := tornText(name.(string), raw[from:dec.InputOffset()])
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		list = append(list, member{name.(string), torn, value})
	}
	return list, nil
}

func array(raw []byte) (list []json.RawMessage, ok bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	return list, json.Unmarshal(raw, &list) == nil
}

func text(raw []byte) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

// depth is how deep valid JSON is nested.
func depth(msg []byte) (most int) {
	dec := json.NewDecoder(bytes.NewReader(msg))
	dec.UseNumber()
	for now := 0; ; {
		tok, err := dec.Token()
		if err == io.EOF {
			return most
		}
		if err != nil {
			panic(err)
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			now++
			most = max(most, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}
