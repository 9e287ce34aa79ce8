package main

import (
	"strings"
	"unicode/utf8"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/go/strictjson"
)

// rules are what is done with paths.
type rules struct {
	nfc, fold  bool
	trimSpaces bool
	trimEnd    string // marks of ASCII
	dropEmpty  bool
	limits     limits
	aliases    aliases
	scan       scan
	characters characters          // if nfc
	ascii      [utf8.RuneSelf]byte // what these become, beside others of them
	ends       [utf8.RuneSelf]bool // of trimEnd
}

// limits are what a path may be at most. The server has the same ones, and takes a plugin that passes
// them for broken.
type limits struct{ segmentBytes, pathSegments int }

// What the limits are, and can be.
const (
	limitUsual = 1024
	limitMax   = 65535
)

// read takes a configuration, or says what is wrong with it.
func (r *rules) read(text []byte) (fault string) {
	c := strictjson.Read(text)
	c.Table("nfc", "fold_case", "trim_spaces", "trim_end", "drop_empty", "aliases", "segment_bytes", "path_segments")
	*r = rules{
		nfc:        c.Key("nfc").Bool(true),
		fold:       c.Key("fold_case").Bool(false),
		trimSpaces: c.Key("trim_spaces").Bool(false),
		trimEnd:    c.Key("trim_end").Text(""),
		dropEmpty:  c.Key("drop_empty").Bool(false),
		limits: limits{
			segmentBytes: int(c.Key("segment_bytes").Integer(limitUsual, 1, limitMax)),
			pathSegments: int(c.Key("path_segments").Integer(limitUsual, 1, limitMax)),
		},
	}
	if r.fold && !r.nfc {
		c.Key("fold_case").Fail("it needs nfc, which tells letters from their accents")
	}
	if strings.Trim(r.trimEnd, marks) != "" {
		c.Key("trim_end").Fail("it must consist of these: " + marks)
	}
	if c.Fault() == "" {
		r.scan = newScan(r)
		if r.nfc {
			r.characters = newCharacters(r.fold)
		}
		for _, c := range []byte(r.trimEnd) {
			r.ends[c] = true
		}
		for i := range r.ascii {
			r.ascii[i] = byte(i)
			if known := r.characters.of(rune(i)); known != nil {
				r.ascii[i] = known.alone[0]
			}
		}
		r.aliases.read(r, c.Key("aliases"))
	}
	return c.Fault()
}

// marks are what trim_end can have. None of them becomes anything else by folding case.
const marks = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` + "`"
