package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFaultsSayWhatIsWrongAndWhere(t *testing.T) {
	rule := func(members string) string { return `{"principal": [{"fact": "subject-cn"}, {` + members + `}]}` }
	const fact = "principal[1].fact: it must be one of subject-cn, subject-o, subject-ou, san-dns, san-email, san-uri, san-ip, subject, fingerprint-sha256"
	const host = `principal[1].prefix: it must hold all up to the "/" behind the host, such as "spiffe://example.org/": others could begin so, too`
	const scheme = `principal[1].prefix: it must end in ":", or hold all up to the "/" behind the host: others could begin so, too`
	const roles = "roles_of.a[1]: a role has one character at least, and none that is a control character"
	const print = "revoked[0]: it must be a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons"
	for config, want := range map[string]string{
		`[]`:                                "it must be a table",
		`{"names": []}`:                     "names: there is no such key; there are principal, roles, roles_of, issuers, revoked",
		`{"principal": {}}`:                 "principal: it must be a list",
		`{"principal": []}`:                 "principal: the list is empty",
		`{"roles": []}`:                     "roles: the list is empty",
		rule(``):                            "principal[1]: fact is missing",
		rule(`"fact": "cn"`):                fact,
		rule(`"fact": "version"`):           fact,
		rule(`"fact": "serial"`):            fact, // which is another's at another issuer
		rule(`"fact": "subject-cn", "x":1`): "principal[1].x: there is no such key; there are fact, prefix, suffix",
		rule(`"fact": "subject-cn", "prefix": 1`):                   "principal[1].prefix: it must be a string",
		rule(`"fact": "san-uri", "prefix": "spiffe://example.org"`): host,
		rule(`"fact": "san-uri", "prefix": "spiffe://"`):            host,
		rule(`"fact": "san-uri", "prefix": "spiffe:/"`):             scheme,
		rule(`"fact": "san-uri", "prefix": "urn"`):                  scheme,
		rule(`"fact": "san-dns", "suffix": "example.org"`):          `principal[1].suffix: it must begin with ".": other domains could end so, too`,
		rule(`"fact": "san-email", "suffix": "example.org"`):        `principal[1].suffix: it must hold the "@": other domains could end so, too`,
		rule(`"fact": "san-dns", "suffix": ".Example.org"`):         "principal[1]: DNS names are compared in small letters: prefix and suffix must have no others",
		`{"roles_of": []}`:                                 "roles_of: it must be a table",
		`{"roles_of": {"a": "b"}}`:                         "roles_of.a: it must be a list",
		`{"roles_of": {"a": []}}`:                          "roles_of.a: the list is empty",
		`{"roles_of": {"a": ["b", ""]}}`:                   roles,
		`{"roles_of": {"a": ["b", "c\nd"]}}`:               roles,
		`{"issuers": []}`:                                  "issuers: the list is empty",
		`{"issuers": "CN=a"}`:                              "issuers: it must be a list",
		`{"revoked": ["` + strings.Repeat("a", 63) + `"]}`: print,
		`{"revoked": ["` + strings.Repeat("g", 64) + `"]}`: print,
		`{"revoked": [1]}`:                                 "revoked[0]: it must be a string",
	} {
		require.Equal(t, want, new(settings).read([]byte(config)), config)
	}
	for _, fine := range []string{
		`"fact": "san-uri", "prefix": "spiffe://example.org/ns/ci-"`, `"fact": "san-uri", "prefix": "urn:acme:"`, `"fact": "san-uri"`,
		`"fact": "san-dns", "prefix": "web-", "suffix": ".example.org"`, `"fact": "san-email", "suffix": "-ops@example.org"`,
	} {
		reading(t, rule(fine))
	}
}
