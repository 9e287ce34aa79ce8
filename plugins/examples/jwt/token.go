package main

import (
	"bytes"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/go/strictjson"
)

// tokenBytesMax is how long a token may be.
const tokenBytesMax = 8192

// decoded is where the parts of a token are decoded, one after the other.
var decoded [tokenBytesMax]byte

var (
	tooLong     = problem{codeMalformed, "the token is longer than 8192 bytes"}
	notThree    = problem{codeMalformed, "the token doesn't have three parts, with dots between them"}
	notBase64   = problem{codeMalformed, "a part of the token isn't base64url without padding"}
	notTyped    = problem{codeElsewhere, "the token's typ isn't one that is taken here"}
	critical    = problem{codeMalformed, "the token has extensions (crit)"}
	unknownKey  = problem{codeSignature, "no key is known for the token's kid"}
	otherAlg    = problem{codeSignature, "the token's alg isn't that of its key"}
	notVerified = problem{codeSignature, "the token's signature is wrong"}
)

// open takes a token apart. Nothing is made of its claims until its signature has been found to be right.
func (s *settings) open(token []byte) (claims strictjson.Value, p problem) {
	if len(token) > tokenBytesMax {
		return claims, tooLong
	}
	defer clear(decoded[:])
	first, last := bytes.IndexByte(token, '.'), bytes.LastIndexByte(token, '.')
	if first < 0 || first == last || bytes.IndexByte(token[first+1:last], '.') >= 0 {
		return claims, notThree
	}
	header, p := table(token[:first], "header")
	if p.code != 0 {
		return claims, p
	}
	k, p := s.keyFor(header)
	if p.code != 0 {
		return claims, p
	}
	signature, ok := decode(decoded[:0], token[last+1:])
	if !ok {
		return claims, notBase64
	}
	if !k.verifies(token[:last], signature) {
		return claims, notVerified
	}
	return table(token[first+1:last], "body")
}

// table decodes a part that is a JSON object.
func table(text []byte, name string) (v strictjson.Value, p problem) {
	b, ok := decode(decoded[:0], text)
	if !ok {
		return v, notBase64
	}
	v, err := strictjson.Parse(b)
	switch {
	case err != nil:
		return v, problem{codeMalformed, "the token's " + name + ": " + err.Error()}
	case v.Kind() != strictjson.Table:
		return v, problem{codeMalformed, "the token's " + name + " isn't a JSON object"}
	}
	return v, problem{}
}

// keyFor finds the key that must have signed a token with this header. What the header says of other keys,
// or of where there are some, doesn't count.
func (s *settings) keyFor(header strictjson.Value) (*key, problem) {
	if _, found := header.Member("crit"); found {
		return nil, critical
	}
	if !s.takes(header) {
		return nil, notTyped
	}
	kid, named := header.Member("kid")
	if named && kid.Text() == "" {
		return nil, unknownKey
	}
	for _, k := range s.keys {
		if k.id != kid.Text() {
			continue
		}
		if alg, _ := header.Member("alg"); alg.Text() != k.alg {
			return nil, otherAlg
		}
		return k, problem{}
	}
	return nil, unknownKey
}

// takes says whether a token is of a type that may be used here: RFC 8725, section 3.11. Tokens that are for
// something else altogether say so there.
func (s *settings) takes(header strictjson.Value) bool {
	typ, named := header.Member("typ")
	got := mediaType(typ.Text())
	if s.typ != "" || named && got == "" {
		return got == s.typ && got != ""
	}
	return !named || got == "jwt" || got == "at+jwt"
}
