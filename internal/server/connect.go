package server

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// connectOf is what plugins are told of a client that wants to connect. wsnet bounds a request's
// head, and with it all that is here.
func connectOf(r *wsnet.Request, p *params) *host.Connect {
	q := &host.Connect{
		Namespace: p.namespace,
		Remote:    remoteText(r.Remote),
		URLPath:   r.Path,
		RawQuery:  r.RawQuery,
		Fields:    []host.Field{{Kind: host.Header, Name: "host", Value: r.Host}},
	}
	for name, values := range r.Header {
		q.Fields = appendFields(q.Fields, host.Header, strings.ToLower(name), values...)
	}
	for name, values := range p.query {
		q.Fields = appendFields(q.Fields, host.Query, name, values...)
	}
	if r.TLS != nil {
		q.TLS, q.Verified = true, len(r.TLS.VerifiedChains) > 0
		q.Fields = appendFacts(q.Fields, r.TLS)
	}
	slices.SortStableFunc(q.Fields, func(a, b host.Field) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return q
}

func remoteText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func appendFields(fs []host.Field, kind host.FieldKind, name string, values ...string) []host.Field {
	for _, v := range values {
		fs = append(fs, host.Field{Kind: kind, Name: name, Value: v})
	}
	return fs
}

// appendFacts adds what TLS says of a client. Of a certificate it says something only if it was
// verified: anybody can show any.
func appendFacts(fs []host.Field, state *tls.ConnectionState) []host.Field {
	fs = appendFact(fs, "version", strings.TrimPrefix(tls.VersionName(state.Version), "TLS "))
	fs = appendFact(fs, "server-name", state.ServerName)
	fs = appendFact(fs, "alpn", state.NegotiatedProtocol)
	if len(state.VerifiedChains) == 0 {
		return fs
	}
	return appendCertificate(fs, state.VerifiedChains[0][0])
}

func appendCertificate(fs []host.Field, c *x509.Certificate) []host.Field {
	digest := sha256.Sum256(c.Raw)
	fs = appendFact(fs, "subject", c.Subject.String())
	fs = appendFact(fs, "subject-cn", c.Subject.CommonName)
	for _, name := range c.Subject.Organization {
		fs = appendFact(fs, "subject-o", name)
	}
	for _, name := range c.Subject.OrganizationalUnit {
		fs = appendFact(fs, "subject-ou", name)
	}
	fs = appendFact(fs, "issuer", c.Issuer.String())
	fs = appendFact(fs, "serial", c.SerialNumber.String())
	fs = appendFact(fs, "fingerprint-sha256", hex.EncodeToString(digest[:]))
	fs = appendFact(fs, "not-after", strconv.FormatInt(c.NotAfter.Unix(), 10))
	for _, name := range c.DNSNames {
		fs = appendFact(fs, "san-dns", name)
	}
	for _, address := range c.EmailAddresses {
		fs = appendFact(fs, "san-email", address)
	}
	for _, uri := range c.URIs {
		fs = appendFact(fs, "san-uri", uri.String())
	}
	for _, ip := range c.IPAddresses {
		fs = appendFact(fs, "san-ip", ip.String())
	}
	return fs
}

// appendFact adds a fact; an empty one is none.
func appendFact(fs []host.Field, name, value string) []host.Field {
	if value == "" {
		return fs
	}
	return append(fs, host.Field{Kind: host.Fact, Name: name, Value: value})
}
