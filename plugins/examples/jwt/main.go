// Jwt lets clients in that show a JSON Web Token (RFC 7519), signed with HS256 or EdDSA by a key from the
// configuration, and says who they are and what roles they have. See README.md.
//
// What is not exactly right is refused: each key goes with one algorithm, a member that is there twice or a
// base64 text that could be written in another way is a fault, and nothing of the claims is looked at before
// the signature is found to be right. Denials say what is wrong and show nothing of the token.
package main

import (
	"strings"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// current is what the configuration says.
var current settings

//go:wasmexport locktopus_init
func initialize(n uint32) locktopus.Verdict {
	if fault := current.read(locktopus.Config(n)); fault != "" {
		return locktopus.Fault(fault)
	}
	return locktopus.Allow()
}

//go:wasmexport locktopus_authenticate
func authenticate(n uint32) locktopus.Verdict {
	q := locktopus.NewConnect(n)
	token, p := current.find(q)
	if p.code != 0 {
		return locktopus.Deny(p.code, p.text)
	}
	who, p := current.judge(token, q.Now())
	if p.code != 0 {
		return locktopus.Deny(p.code, p.text)
	}
	return locktopus.Identity(who.seconds, who.principal, who.context)
}

// problem is why a client isn't let in. The zero value is none.
type problem struct {
	code uint8 // which clients get to see
	text string
}

// Codes of denials.
const (
	codeNoToken   = 1
	codeMalformed = 2
	codeForbidden = locktopus.Forbidden // the token is right, but not for this
	codeSignature = 4
	codeTime      = 5
	codeElsewhere = 6 // it is from, or for, somebody else
)

// find is the one token that the client gave.
func (s *settings) find(q locktopus.Connect) (token []byte, p problem) {
	found := 0
	for e := range q.Entries() {
		name, value := e.Name(), e.Value()
		switch kind := e.Kind(); {
		case kind == locktopus.Header && string(name) == "authorization":
			var ok bool
			if value, ok = bearer(value); !ok {
				return nil, problem{codeNoToken, "the header Authorization must be: Bearer TOKEN"}
			}
		case kind == locktopus.Credential && string(name) == s.credential:
		case kind == locktopus.Parameter && s.query != "" && string(name) == s.query:
		default:
			continue
		}
		token = value
		found++
	}
	switch found {
	case 0:
		return nil, problem{codeNoToken, "a token is needed: Authorization: Bearer TOKEN"}
	case 1:
		return token, problem{}
	}
	return nil, problem{codeNoToken, "there is more than one token"}
}

// bearer takes the scheme off an Authorization header (RFC 6750, section 2.1).
func bearer(value []byte) (token []byte, ok bool) {
	const scheme = "bearer "
	if len(value) < len(scheme) || !strings.EqualFold(string(value[:len(scheme)]), scheme) {
		return nil, false
	}
	token = value[len(scheme):]
	for len(token) > 0 && token[0] == ' ' {
		token = token[1:]
	}
	return token, true
}

func main() {}
