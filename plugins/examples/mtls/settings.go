package main

import (
	"strings"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/go/strictjson"
)

// settings are what certificates mean.
type settings struct {
	principal []rule // the first that fits names the client
	roles     []rule // all that fit are roles
	rolesOf   map[string][]string
	issuers   []string // none: all that the server trusts
	revoked   map[string]bool
}

// rule takes a name from a fact: what is left of its value without prefix and suffix, which it must have.
type rule struct{ fact, prefix, suffix string }

// Facts that rules may be about.
var nameFacts = []string{"subject-cn", "subject-o", "subject-ou", "san-dns", "san-email", "san-uri", "san-ip", "subject", "fingerprint-sha256"}

// read takes a configuration, or says what is wrong with it.
func (s *settings) read(text []byte) (fault string) {
	c := strictjson.Read(text)
	c.Table("principal", "roles", "roles_of", "issuers", "revoked")
	*s = settings{
		principal: readRules(c.Key("principal")),
		roles:     readRules(c.Key("roles")),
		rolesOf:   map[string][]string{},
		issuers:   c.Key("issuers").Texts(),
		revoked:   map[string]bool{},
	}
	if s.principal == nil {
		s.principal = []rule{{fact: "subject-cn"}}
	}
	of := c.Key("roles_of")
	for _, name := range of.Keys() {
		s.rolesOf[name] = readRoles(of.Key(name))
	}
	for _, f := range c.Key("revoked").List() {
		s.revoked[readFingerprint(f)] = true
	}
	return c.Fault()
}

func readRoles(f strictjson.Field) []string {
	roles := f.Texts()
	for i, role := range roles {
		if role == "" || !isPlain(role) {
			f.List()[i].Fail("a role has one character at least, and none that is a control character")
		}
	}
	return roles
}

// readFingerprint takes what tools print, AB:CD… and abcd…, to what the server says.
func readFingerprint(f strictjson.Field) string {
	const digits = 64
	text := strings.ToLower(strings.ReplaceAll(f.Text(""), ":", ""))
	if len(text) != digits || strings.Trim(text, "0123456789abcdef") != "" {
		f.Fail("it must be a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons")
	}
	return text
}

func readRules(list strictjson.Field) (rules []rule) {
	for _, f := range list.List() {
		rules = append(rules, readRule(f))
	}
	if list.Given() && len(rules) == 0 {
		list.Fail("the list is empty")
	}
	return rules
}

func readRule(f strictjson.Field) rule {
	f.Table("fact", "prefix", "suffix")
	r := rule{f.Must("fact").Text(""), f.Key("prefix").Text(""), f.Key("suffix").Text("")}
	known := false
	for _, name := range nameFacts {
		known = known || r.fact == name
	}
	if !known {
		f.Key("fact").Fail("it must be one of " + strings.Join(nameFacts, ", "))
	}
	r.checkBorders(f)
	return r
}

// checkBorders sees to it that names of others don't begin or end in the same way by chance, as those of
// spiffe://example.org.evil.net do.
func (r *rule) checkBorders(f strictjson.Field) {
	_, authority, isURL := strings.Cut(r.prefix, "://")
	switch {
	case r.fact == "san-uri" && isURL && !strings.Contains(authority, "/"):
		f.Key("prefix").Fail(`it must hold all up to the "/" behind the host, such as "spiffe://example.org/": others could begin so, too`)
	case r.fact == "san-uri" && !isURL && r.prefix != "" && !strings.HasSuffix(r.prefix, ":"):
		f.Key("prefix").Fail(`it must end in ":", or hold all up to the "/" behind the host: others could begin so, too`)
	case r.fact == "san-dns" && r.suffix != "" && r.suffix[0] != '.':
		f.Key("suffix").Fail(`it must begin with ".": other domains could end so, too`)
	case r.fact == "san-email" && r.suffix != "" && !strings.Contains(r.suffix, "@"):
		f.Key("suffix").Fail(`it must hold the "@": other domains could end so, too`)
	}
	if r.fact == "san-dns" && (r.prefix != strings.ToLower(r.prefix) || r.suffix != strings.ToLower(r.suffix)) {
		f.Fail("DNS names are compared in small letters: prefix and suffix must have no others")
	}
}
