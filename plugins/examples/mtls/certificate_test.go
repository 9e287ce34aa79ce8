package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const now = int64(1_800_000_000_000) // in milliseconds

func reading(t testing.TB, config string) *settings {
	t.Helper()
	s := &settings{}
	require.Empty(t, s.read([]byte(config)), config)
	return s
}

// certificate are the facts of one that is good for an hour.
func certificate(more ...string) facts {
	of := facts{"not-after": {"1800003600"}}
	for _, fact := range more {
		name, value, _ := strings.Cut(fact, "=")
		of[name] = append(of[name], value)
	}
	return of
}

// told is what comes of a certificate: whom it names, or why it names nobody.
func (s *settings) told(of facts) string {
	who, p := s.judge(of, now)
	if p.code != 0 {
		return fmt.Sprintf("%d %s", p.code, p.text)
	}
	return fmt.Sprintf("%s %q %ds", who.principal, who.context, who.seconds)
}

const (
	noNameText  = "2 the certificate has no name that is taken here"
	severalText = "2 the certificate has more than one name that is taken here"
	badNameText = "2 the certificate's name isn't text without control characters, of at most 256 bytes"
	badRoleText = "2 the certificate's roles aren't text without control characters, of at most 4096 bytes"
	expiredText = "4 the certificate has expired"
)

func TestCertificatesNameClients(t *testing.T) {
	uri := `{"principal": [{"fact": "san-uri", "prefix": "spiffe://example.org/"}, {"fact": "subject-cn", "prefix": "svc-", "suffix": ".x"}]}`
	long := strings.Repeat("é", 128)
	for _, test := range []struct {
		config string
		of     facts
		want   string
	}{
		{``, certificate("subject-cn=alice"), `alice "" 3600s`},
		{``, certificate("subject-cn=alice", "subject-ou=ops", "san-dns=bob"), `alice "" 3600s`},
		{``, certificate("san-dns=bob"), noNameText},
		{``, certificate("subject-cn="), noNameText},
		{``, certificate("subject-cn=a\nb"), badNameText},
		{``, certificate("subject-cn=a\x00"), badNameText},
		{``, certificate("subject-cn=a\u0085"), badNameText},
		{``, certificate("subject-cn=a\xff"), badNameText},
		{``, certificate("subject-cn=" + long), long + ` "" 3600s`},
		{``, certificate("subject-cn=" + long + "x"), badNameText},
		{uri, certificate("san-uri=spiffe://example.org/ns/a"), `ns/a "" 3600s`},
		{uri, certificate("san-uri=spiffe://example.org.evil.net/ns/a"), noNameText},
		{uri, certificate("san-uri=spiffe://example.org/"), noNameText},
		{uri, certificate("san-uri=https://example.org/", "san-uri=spiffe://example.org/a"), `a "" 3600s`},
		{uri, certificate("san-uri=spiffe://example.org/b", "san-uri=spiffe://example.org/a"), severalText},
		{uri, certificate("san-uri=spiffe://example.org/a", "san-uri=spiffe://example.org/a"), `a "" 3600s`},
		{uri, certificate("san-uri=spiffe://example.org/a", "subject-cn=svc-b.x"), `a "" 3600s`}, // the first rule that fits
		{uri, certificate("subject-cn=svc-b.x"), `b "" 3600s`},
		{uri, certificate("subject-cn=svc-.x"), noNameText},
		{uri, certificate("subject-cn=svc-b"), noNameText},
		{uri, certificate("subject-cn=svc-x"), noNameText},
		{`{"principal": [{"fact": "subject-cn", "prefix": "ab", "suffix": "bc"}]}`, certificate("subject-cn=abc"), noNameText},
		{`{"principal": [{"fact": "san-dns", "suffix": ".example.org"}]}`, certificate("san-dns=Web-1.EXAMPLE.org"), `web-1 "" 3600s`},
		{`{"principal": [{"fact": "san-dns", "suffix": ".example.org"}]}`, certificate("san-dns=*.example.org"), noNameText},
		{`{"principal": [{"fact": "san-dns", "suffix": ".example.org"}]}`, certificate("san-dns=a.example.org", "san-dns=A.example.org"), `a "" 3600s`},
		{`{"principal": [{"fact": "san-email", "suffix": "@example.org"}]}`, certificate("san-email=bob@example.org"), `bob "" 3600s`},
		{`{"principal": [{"fact": "san-email", "suffix": "@example.org"}]}`, certificate("san-email=bob@evil-example.org"), noNameText},
		{`{"principal": [{"fact": "san-ip"}]}`, certificate("san-ip=192.0.2.1"), `192.0.2.1 "" 3600s`},
	} {
		require.Equal(t, test.want, reading(t, test.config).told(test.of), "%s %q", test.config, test.of)
	}
}

func TestCertificatesGiveRoles(t *testing.T) {
	s := reading(t, `{"roles": [{"fact": "subject-ou"}, {"fact": "san-uri", "prefix": "urn:role:"}], "roles_of": {"alice": ["dev", "ops"], "bob": ["x"]}}`)
	for _, test := range []struct {
		of   facts
		want string
	}{
		{certificate("subject-cn=alice"), `alice "dev\nops" 3600s`},
		{certificate("subject-cn=carol"), `carol "" 3600s`},
		{certificate("subject-cn=carol", "subject-ou=b", "subject-ou=a", "subject-ou=b"), `carol "b\na" 3600s`},
		{certificate("subject-cn=alice", "subject-ou=ops", "subject-ou=qa", "san-uri=urn:role:r", "san-uri=urn:roles:s"), `alice "dev\nops\nqa\nr" 3600s`},
		{certificate("subject-cn=carol", "subject-ou=a\nops"), badRoleText},
		{certificate("subject-cn=carol", "subject-ou="), `carol "" 3600s`},
		{certificate("subject-cn=carol", "subject-ou="+strings.Repeat("r", 4096)), `carol "` + strings.Repeat("r", 4096) + `" 3600s`},
		{certificate("subject-cn=carol", "subject-ou="+strings.Repeat("r", 4097)), badRoleText},
	} {
		require.Equal(t, test.want, s.told(test.of), "%q", test.of)
	}
	require.Equal(t, []string{"dev", "ops"}, s.rolesOf["alice"], "what one client gets, the next doesn't")
}

func TestCertificatesHaveAnEnd(t *testing.T) {
	s := reading(t, "")
	for text, want := range map[string]string{
		"1800000001":           `a "" 1s`,
		"1800000000":           expiredText, // nothing less than a second, which would be for ever
		"1799999999":           expiredText,
		"0":                    expiredText,
		"-9223372036854775808": expiredText,
		"9223372036854775807":  `a "" 4294967295s`,
		"9223372036854775808":  expiredText,
		"soon":                 expiredText,
		"":                     expiredText,
	} {
		require.Equal(t, want, s.told(facts{"subject-cn": {"a"}, "not-after": {text}}), text)
	}
	require.Equal(t, expiredText, s.told(facts{"subject-cn": {"a"}}), "it must say")
	who, p := s.judge(facts{"subject-cn": {"a"}, "not-after": {"1800000002"}}, now+1)
	require.Equal(t, problem{}, p)
	require.Equal(t, uint32(1), who.seconds, "rounded down")
}

func TestSomeCertificatesAreNotTaken(t *testing.T) {
	print := strings.Repeat("AB:", 31) + "AB"
	s := reading(t, `{"issuers": ["CN=clients,O=Example", "CN=spare"], "revoked": ["`+print+`", "`+strings.Repeat("0", 64)+`"]}`)
	for _, test := range []struct {
		of   facts
		want string
	}{
		{certificate("subject-cn=a", "issuer=CN=clients,O=Example", "fingerprint-sha256="+strings.Repeat("1", 64)), `a "" 3600s`},
		{certificate("subject-cn=a", "issuer=CN=spare"), `a "" 3600s`},
		{certificate("subject-cn=a", "issuer=CN=Clients,O=Example"), "3 certificates of this issuer aren't taken here"},
		{certificate("subject-cn=a"), "3 certificates of this issuer aren't taken here"},
		{certificate("subject-cn=a", "issuer=CN=spare", "fingerprint-sha256="+strings.Repeat("ab", 32)), "3 this certificate is revoked"},
		{certificate("subject-cn=a", "issuer=CN=spare", "fingerprint-sha256="+strings.Repeat("0", 64)), "3 this certificate is revoked"},
	} {
		require.Equal(t, test.want, s.told(test.of), "%q", test.of)
	}
}
