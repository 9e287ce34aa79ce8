package main

import (
	"strings"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/go/strictjson"
)

// identity is who a token is about.
type identity struct {
	seconds            uint32 // for which it holds
	principal, context string
}

var (
	expired       = problem{codeTime, "the token has expired"}
	notYet        = problem{codeTime, "the token isn't valid yet"}
	noExp         = problem{codeMalformed, "the token's exp is missing, or isn't a number as it should be"}
	noTime        = problem{codeMalformed, "the token's nbf or iat isn't a number as it should be"}
	otherIssuer   = problem{codeElsewhere, "the token's iss isn't the issuer that is trusted here"}
	otherAudience = problem{codeElsewhere, "the token's aud doesn't name this server"}
	badRoles      = problem{codeMalformed, "the token's roles are neither a text nor a list of texts, or there are control characters in them"}
	tooManyRoles  = problem{codeForbidden, "the token has more roles than fit into 4096 bytes"}
)

// Limits of an identity.
const (
	principalBytesMax = 256
	contextBytesMax   = 4096
)

// judge says who a token is about, if it is right.
func (s *settings) judge(token []byte, now int64) (who identity, p problem) {
	claims, p := s.open(token)
	if p.code != 0 {
		return who, p
	}
	if who.seconds, p = s.lifetime(claims, now); p.code != 0 {
		return who, p
	}
	if p = s.checkClaims(claims); p.code != 0 {
		return who, p
	}
	if who.principal, p = s.principalOf(claims); p.code != 0 {
		return who, p
	}
	who.context, p = s.rolesOf(claims)
	return who, p
}

// lifetime is for how many seconds the token is still good: one at least, for none would mean for ever.
func (s *settings) lifetime(claims strictjson.Value, now int64) (seconds uint32, p problem) {
	exp, ok := moment(claims, "exp")
	if !ok {
		return 0, noExp
	}
	for _, name := range [...]string{"nbf", "iat"} {
		if _, given := claims.Member(name); !given {
			continue
		}
		from, ok := moment(claims, name)
		if !ok {
			return 0, noTime
		}
		if now < from-s.leeway {
			return 0, notYet
		}
	}
	left := (exp + s.leeway - now) / 1000
	if left < 1 {
		return 0, expired
	}
	return uint32(min(left, 1<<32-1)), problem{}
}

// moment is a claim's NumericDate (RFC 7519, section 2) in milliseconds since 1970.
func moment(claims strictjson.Value, name string) (ms int64, ok bool) {
	v, _ := claims.Member(name)
	seconds, ok := v.Floor()
	return 1000 * seconds, ok
}

func (s *settings) checkClaims(claims strictjson.Value) problem {
	if iss, _ := claims.Member("iss"); s.issuer != "" && iss.Text() != s.issuer {
		return otherIssuer
	}
	// Who isn't named where there are names must refuse: RFC 7519, section 4.1.3.
	if aud, given := claims.Member("aud"); (given || len(s.audiences) > 0) && !anyIn(s.audiences, aud) {
		return otherAudience
	}
	for _, name := range s.required {
		if v, _ := claims.Member(name); v.Kind() == strictjson.Null {
			return problem{codeForbidden, "the token's claim " + name + " is missing"}
		}
	}
	for _, m := range s.match {
		if v, _ := claims.Member(m.claim); !holds(v, m.value) {
			return problem{codeForbidden, "the token's claim " + m.claim + " isn't what it must be"}
		}
	}
	return problem{}
}

func anyIn(names []string, v strictjson.Value) bool {
	for _, n := range names {
		if isText(v, n) {
			return true
		}
		for _, item := range v.Items() {
			if isText(item, n) {
				return true
			}
		}
	}
	return false
}

func isText(v strictjson.Value, text string) bool {
	return v.Kind() == strictjson.String && v.Text() == text
}

// holds says whether a claim is a value, or a list with it.
func holds(claim, value strictjson.Value) bool {
	if value.Kind() == strictjson.String {
		return anyIn([]string{value.Text()}, claim)
	}
	return claim.Kind() == strictjson.Bool && claim.True() == value.True()
}

// claim is what stands at the end of a way through tables.
func claim(v strictjson.Value, way []string) strictjson.Value {
	for _, name := range way {
		v, _ = v.Member(name)
	}
	return v
}

func (s *settings) principalOf(claims strictjson.Value) (string, problem) {
	principal := claim(claims, s.principal).Text()
	if principal == "" || len(principal) > principalBytesMax || hasControls(principal) {
		name := s.principal[len(s.principal)-1]
		return "", problem{codeMalformed, "the token's " + name + " is no name: 1 to 256 bytes without control characters"}
	}
	return principal, problem{}
}

// hasControls says whether a text has a control character. One in a role could make two of it.
func hasControls(text string) bool {
	for _, c := range text {
		if c < ' ' || 0x7f <= c && c < 0xa0 {
			return true
		}
	}
	return false
}

// rolesOf are the roles, one in a line. A text has them with blanks in between, as scopes are.
func (s *settings) rolesOf(claims strictjson.Value) (context string, p problem) {
	var roles []string
	switch v := claim(claims, s.roles); v.Kind() {
	case strictjson.Null:
	case strictjson.String:
		roles = strings.Split(v.Text(), " ")
	case strictjson.List:
		for _, item := range v.Items() {
			if item.Kind() != strictjson.String {
				return "", badRoles
			}
			roles = append(roles, item.Text())
		}
	default:
		return "", badRoles
	}
	for _, role := range roles {
		role, ours := strings.CutPrefix(role, s.rolePrefix)
		switch {
		case !ours || role == "":
			continue
		case hasControls(role):
			return "", badRoles
		case context != "":
			context += "\n"
		}
		if context += role; len(context) > contextBytesMax {
			return "", tooManyRoles
		}
	}
	return context, problem{}
}
