package main

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// identity is who a certificate names.
type identity struct {
	seconds            uint32 // for which it holds
	principal, context string
}

// Limits of an identity.
const (
	principalBytesMax = 256
	contextBytesMax   = 4096
)

var (
	revoked      = problem{codeForbidden, "this certificate is revoked"}
	otherIssuer  = problem{codeForbidden, "certificates of this issuer aren't taken here"}
	expired      = problem{codeExpired, "the certificate has expired"}
	noName       = problem{codeNoName, "the certificate has no name that is taken here"}
	severalNames = problem{codeNoName, "the certificate has more than one name that is taken here"}
	badName      = problem{codeNoName, "the certificate's name isn't text without control characters, of at most 256 bytes"}
	badRoles     = problem{codeNoName, "the certificate's roles aren't text without control characters, of at most 4096 bytes"}
)

// judge says who a verified certificate names.
func (s *settings) judge(of facts, now int64) (who identity, p problem) {
	for _, f := range of["fingerprint-sha256"] {
		if s.revoked[f] {
			return who, revoked
		}
	}
	if len(s.issuers) > 0 && !slices.ContainsFunc(of["issuer"], func(name string) bool { return slices.Contains(s.issuers, name) }) {
		return who, otherIssuer
	}
	if who.seconds, p = lifetime(of, now); p.code != 0 {
		return who, p
	}
	if who.principal, p = s.name(of); p.code != 0 {
		return who, p
	}
	who.context, p = s.context(of, who.principal)
	return who, p
}

// lifetime is how many seconds the certificate is still good for: one at least, for none would mean for ever.
// One that doesn't say is good for none.
func lifetime(of facts, now int64) (seconds uint32, p problem) {
	for _, text := range of["not-after"] {
		begun := (now + 999) / 1000
		if until, err := strconv.ParseInt(text, 10, 64); err == nil && until > begun {
			return uint32(min(until-begun, 1<<32-1)), problem{}
		}
	}
	return 0, expired
}

// name is the client's, by the first rule that fits.
func (s *settings) name(of facts) (string, problem) {
	for i := range s.principal {
		switch names := s.principal[i].names(of); {
		case len(names) == 0:
			continue
		case len(names) > 1:
			return "", severalNames
		case len(names[0]) > principalBytesMax || !isPlain(names[0]):
			return "", badName
		default:
			return names[0], problem{}
		}
	}
	return "", noName
}

// names are what a rule takes from a certificate, each once.
func (r *rule) names(of facts) (names []string) {
	for _, value := range of[r.fact] {
		if r.fact == "san-dns" {
			if value = strings.ToLower(value); strings.Contains(value, "*") {
				continue // that is no client's name
			}
		}
		name, begins := strings.CutPrefix(value, r.prefix)
		name, ends := strings.CutSuffix(name, r.suffix)
		if begins && ends && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// context are the roles, one in a line.
func (s *settings) context(of facts, principal string) (string, problem) {
	roles := slices.Clone(s.rolesOf[principal])
	for i := range s.roles {
		for _, role := range s.roles[i].names(of) {
			if !isPlain(role) {
				return "", badRoles // one could be made two
			}
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	context := strings.Join(roles, "\n")
	if len(context) > contextBytesMax {
		return "", badRoles
	}
	return context, problem{}
}

// isPlain says whether a text is UTF-8 without control characters.
func isPlain(text string) bool {
	for _, c := range text {
		if c < ' ' || 0x7f <= c && c < 0xa0 {
			return false
		}
	}
	return utf8.ValidString(text)
}
