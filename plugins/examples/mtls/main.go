// Mtls names clients by what their TLS certificates say, and gives them roles. See README.md.
//
// The server has verified the certificates; this decides whom they name. A certificate that could name two
// clients names none.
package main

import (
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
	switch {
	case !q.TLS():
		return locktopus.Deny(codeNoCertificate, "connect with TLS and show a certificate")
	case !q.Verified():
		return locktopus.Deny(codeNoCertificate, "show a certificate that this server trusts")
	}
	who, p := current.judge(factsOf(q), q.Now())
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
	codeNoCertificate = 1
	codeNoName        = 2
	codeForbidden     = locktopus.Forbidden // its name doesn't matter
	codeExpired       = 4
)

// facts are what is known of a certificate, by the facts' names.
type facts map[string][]string

func factsOf(q locktopus.Connect) facts {
	all := facts{}
	for e := range q.Entries() {
		if e.Kind() == locktopus.Fact {
			name := string(e.Name())
			all[name] = append(all[name], string(e.Value()))
		}
	}
	return all
}

func main() {}
