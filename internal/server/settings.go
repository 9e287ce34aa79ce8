package server

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// Parameters of the URL; the second one is v1's.
const (
	paramNamespace = "namespace"
	paramAbandon   = "abandon-timeout-ms"
)

// params is what a client asks for when it connects.
type params struct {
	namespace string
	abandon   time.Duration // v1
	query     url.Values    // all parameters
}

// parseV1 reads the query of a v1 connection. Its errors are sentences for the client.
func (s *Settings) parseV1(query string) (params, error) {
	p, err := s.parseV2(query)
	if err != nil {
		return p, err
	}
	p.abandon = s.DefaultAbandon
	if p.query.Has(paramAbandon) {
		p.abandon, err = s.parseAbandon(p.query.Get(paramAbandon))
	}
	return p, err
}

// parseV2 reads the query of a v2 connection, which has no parameter but the namespace of its own.
func (s *Settings) parseV2(query string) (params, error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return params{}, fmt.Errorf("the URL's query cannot be read: %w", err)
	}
	p := params{namespace: q.Get(paramNamespace), query: q}
	return p, s.checkNamespace(p.namespace)
}

func (s *Settings) checkNamespace(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("URL parameter %q is required", paramNamespace)
	case len(name) > s.NamespaceName:
		return fmt.Errorf("URL parameter %q has %d bytes, at most %d are allowed (limits.namespace_name_bytes)", paramNamespace, len(name), s.NamespaceName)
	case !utf8.ValidString(name):
		return fmt.Errorf("URL parameter %q is not valid UTF-8", paramNamespace)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("URL parameter %q holds a control character", paramNamespace)
	}
	return nil
}

func (s *Settings) parseAbandon(text string) (time.Duration, error) {
	ms, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("URL parameter %q must be a whole number of milliseconds, 0 or more, not %q", paramAbandon, text)
	}
	if most := uint64(s.AbandonMax.Milliseconds()); ms > most {
		return 0, fmt.Errorf("URL parameter %q is %d, at most %d is allowed (locks.abandon_timeout_max)", paramAbandon, ms, most)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// allows says whether a page of this origin may connect. Programs send no origin.
func (s *Settings) allows(origin string) bool {
	return origin == "" || slices.ContainsFunc(s.Origins, func(o string) bool {
		return o == "*" || strings.EqualFold(o, origin)
	})
}

// resourcesText is a request's resources for the log, like `write ["a","b"], read []`.
func resourcesText(rs []engine.Resource) string {
	var b strings.Builder
	for i, r := range rs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.Mode.String())
		b.WriteString(" [")
		for k, seg := range r.Path {
			if k > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Quote(string(seg)))
		}
		b.WriteByte(']')
	}
	return b.String()
}
