package main

import (
	"crypto/ed25519"
	"strings"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/go/strictjson"
)

// settings are what tokens have to be like.
type settings struct {
	keys       []*key
	issuer     string   // "": anybody who has a key
	audiences  []string // none: the token may not name any
	typ        string   // in small letters; "": a usual one, or none
	leeway     int64    // milliseconds
	principal  []string // the claim, or the way to it
	roles      []string // likewise
	rolePrefix string
	required   []string
	match      []match
	query      string // "": a token in the URL isn't looked at
	credential string
}

// match is a claim that must be, or contain, a value.
type match struct {
	claim string
	value strictjson.Value // a string or a boolean
}

// Leeway of clocks.
const (
	leewaySeconds    = 30
	leewaySecondsMax = 300
)

// read takes a configuration, or says what is wrong with it.
func (s *settings) read(text []byte) (fault string) {
	c := strictjson.Read(text)
	c.Table("keys", "issuer", "audience", "typ", "leeway_seconds", "principal", "roles", "role_prefix", "required", "match", "query", "credential")
	*s = settings{
		keys:       readKeys(c.Must("keys")),
		issuer:     name(c.Key("issuer"), ""),
		audiences:  names(c.Key("audience")),
		typ:        mediaType(name(c.Key("typ"), "")),
		leeway:     1000 * c.Key("leeway_seconds").Integer(leewaySeconds, 0, leewaySecondsMax),
		principal:  names(c.Key("principal"), "sub"),
		roles:      names(c.Key("roles"), "roles"),
		rolePrefix: c.Key("role_prefix").Text(""),
		required:   names(c.Key("required")),
		query:      name(c.Key("query"), ""),
		credential: name(c.Key("credential"), "token"),
	}
	matches := c.Key("match")
	for _, claim := range matches.Keys() {
		f := matches.Key(claim)
		if kind := f.Value().Kind(); kind != strictjson.String && kind != strictjson.Bool {
			f.Fail("it must be a string, true or false")
		}
		s.match = append(s.match, match{claim, f.Value()})
	}
	if c.Fault() == "" {
		s.warmUp()
	}
	return c.Fault()
}

// warmUp has all tables made that signatures are verified with: that takes longer than a call may.
func (s *settings) warmUp() {
	for _, k := range s.keys {
		k.verifies(nil, make([]byte, ed25519.SignatureSize))
	}
}

// name is a text that isn't empty, if it is there.
func name(f strictjson.Field, otherwise string) string {
	text := f.Text(otherwise)
	if f.Given() && text == "" {
		f.Fail("it is empty: leave it out")
	}
	return text
}

// names is a text, or a list of them. None is empty.
func names(f strictjson.Field, otherwise ...string) (all []string) {
	switch {
	case !f.Given():
		return otherwise
	case !f.IsList():
		return []string{name(f, "")}
	}
	for _, e := range f.List() {
		all = append(all, name(e, ""))
	}
	if len(all) == 0 {
		f.Fail("the list is empty")
	}
	return all
}

// mediaType is how types of tokens are compared: RFC 7515, section 4.1.9.
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}
