package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

// Exit codes of commands that need a server, from sysexits.h as far as it has them.
const (
	exitUnreachable = 69 // EX_UNAVAILABLE
	exitNotObtained = 75 // EX_TEMPFAIL
	exitDenied      = 77 // EX_NOPERM
	exitLost        = 79
)

// Environment of those commands.
const (
	envURL           = "LOCKTOPUS_URL"
	envAuthorization = "LOCKTOPUS_AUTHORIZATION"
)

// dialTimeout is how long a server may take to answer. Only tests change it.
var dialTimeout = 10 * time.Second

// dialFlags say how to reach a server.
type dialFlags struct {
	url, ca, cert, key string
	header             http.Header
	fault              error
	server             string // of the address, for people
}

func (d *dialFlags) dialFlagList() []*flagValue {
	d.header = http.Header{}
	return []*flagValue{
		{long: "--url", value: &d.url},
		{long: "--header", each: d.addHeader},
		{long: "--ca", value: &d.ca},
		{long: "--cert", value: &d.cert},
		{long: "--key", value: &d.key},
	}
}

func (d *dialFlags) addHeader(_, text string) {
	name, value, ok := strings.Cut(text, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || !isToken(name) || !isHeaderValue(value) {
		d.fault = fmt.Errorf("--header must be a header such as %q, but is %q", "authorization: Bearer abc", text)
		return
	}
	d.header.Add(name, value)
}

// isToken says whether a text can be the name of a header.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func isHeaderValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// address is the server's, from the flag or the environment.
func (d *dialFlags) address(p process) (string, error) {
	if d.fault != nil {
		return "", d.fault
	}
	for _, url := range []string{d.url, p.getenv(envURL)} {
		if url != "" {
			d.server, _, _ = strings.Cut(url, "?")
			return url, client.CheckAddress(url)
		}
	}
	return "", fmt.Errorf("name the server and the namespace: --url 'ws://127.0.0.1:9009/v2?namespace=NAME', or %s in the environment", envURL)
}

func (d *dialFlags) options(p process, o *client.Options) error {
	if (d.cert == "") != (d.key == "") {
		return errors.New("--cert and --key go together")
	}
	o.Header = d.header
	if value := strings.TrimSpace(p.getenv(envAuthorization)); value != "" && o.Header.Get("Authorization") == "" {
		if !isHeaderValue(value) { // and isn't shown
			return fmt.Errorf("%s of the environment must be the value of a header, in one line", envAuthorization)
		}
		o.Header.Set("Authorization", value)
	}
	if d.cert == "" && d.ca == "" {
		return nil
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if d.cert != "" {
		pair, err := tls.LoadX509KeyPair(d.cert, d.key)
		if err != nil {
			return fmt.Errorf("--cert: %w", err)
		}
		o.TLS.Certificates = []tls.Certificate{pair}
	}
	if d.ca != "" {
		text, err := os.ReadFile(d.ca)
		if err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
		if o.TLS.RootCAs = x509.NewCertPool(); !o.TLS.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("--ca: there is no certificate in %s", d.ca)
		}
	}
	return nil
}

// ownName tells people where to look for this command: on which machine, and as which process.
func ownName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", strings.ToValidUTF8(host, "?"), os.Getpid())
}

// dialNamed connects to a server. Where the name is ours and too long for it, there is none.
func dialNamed(ctx context.Context, address string, o *client.Options, ours bool) (*client.Client, error) {
	c, err := client.Dial(ctx, address, o)
	if refused, ok := errors.AsType[*client.RefusedError](err); ok && refused.Code == "limit" && ours && o.Name != "" {
		o.Name = ""
		return client.Dial(ctx, address, o)
	}
	return c, err
}

// getenv is a variable of the environment; "" if there is none.
func (p process) getenv(name string) string {
	for _, e := range p.environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// exitFor is the exit code for an error of the client's.
func exitFor(err error) int {
	refused, isRefused := errors.AsType[*client.RefusedError](err)
	_, unavailable := errors.AsType[*client.UnavailableError](err)
	_, deadlock := errors.AsType[*client.DeadlockError](err)
	_, offline := errors.AsType[*client.OfflineError](err)
	lost, isLost := errors.AsType[*client.LostError](err)
	switch {
	case client.Denied(err):
		return exitDenied
	case errors.Is(err, errGrace), errors.Is(err, client.ErrArgument):
		return exitUsage
	case offline:
		return exitUnreachable
	case isLost && lost.State == "revoked": // an administrator took the request from the queue
		return exitNotObtained
	case unavailable, deadlock:
		return exitNotObtained
	case isRefused && refused.Code == "other_limit": // only for as long as others have permits of another limit
		return exitNotObtained
	case isRefused && (refused.Code == "limit" || refused.Code == "http 400"): // of the address, as of a namespace that is too long
		return exitUsage
	}
	return exitUnreachable // also one that is full or shutting down: 75 would say that somebody else has the locks
}

// said is an error for people, who may have several servers: one that is connected and says nothing is named.
func (d *dialFlags) said(err error) string {
	if err == context.DeadlineExceeded { // the time was ours
		return d.server + " doesn't answer"
	}
	return said(err)
}

// said is an error without the client's prefix: the command says its own name. Where a flag would help it is named.
func said(err error) string {
	text := strings.TrimPrefix(err.Error(), "locktopus: ")
	if offline, ok := errors.AsType[*client.OfflineError](err); ok {
		trouble := strings.TrimPrefix(said(offline.Trouble), "cannot connect to "+offline.Server+": ")
		text = fmt.Sprintf("there is no connection to %s (%s)", offline.Server, trouble)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		text += "; --ca names the authority that it is from"
	}
	return text
}
