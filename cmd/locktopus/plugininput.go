package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// question is what a hook is asked, put together from words.
type question struct {
	hook     host.Hooks
	words    []string // it was put together from, as flags
	now      time.Time
	connect  host.Connect
	identity host.Identity
	request  host.Request
}

// given is one word of a question: an input's name, and its value as text.
type given struct{ name, value string }

// An input is one thing that a question can say. In files of cases it is a key, on the command line a flag.
type input struct {
	name  string
	hooks host.Hooks // that are told of it
	many  bool       // it can be given several times
	set   func(*question, string) error
}

const (
	ofRequests = host.Authorize | host.Normalize
	ofClients  = host.Authenticate | host.Authorize
	ofAll      = ofClients | host.Normalize
)

// inputs are all inputs. A question takes those of a case in this order.
var inputs = []input{
	{"namespace", ofAll, false, setNamespace},
	{"now", ofClients, false, setNow},
	{"remote", ofClients, false, setRemote},
	{"url_path", host.Authenticate, false, func(q *question, v string) error { q.connect.URLPath = v; return nil }},
	{"header", host.Authenticate, true, addHeader},
	{"query", host.Authenticate, true, addField(host.Query)},
	{"fact", host.Authenticate, true, addField(host.Fact)},
	{"credential", host.Authenticate, true, addField(host.Credential)},
	{"principal", host.Authorize, false, setPrincipal},
	{"context", host.Authorize, false, setContext},
	{"operation", host.Authorize, false, setOperation},
	{"write", ofRequests, true, addResource(host.Write)},
	{"read", ofRequests, true, addResource(host.Read)},
	{"permit", ofRequests, true, addResource(host.Permit)},
}

func (in *input) flag() string { return flagOf(in.name) }

// inputFlags are those of all inputs; what they are given goes to the list in its order.
func inputFlags(to *[]given) (flags []*flagValue) {
	for _, in := range inputs {
		flags = append(flags, &flagValue{long: in.flag(), each: func(_, v string) { *to = append(*to, given{in.name, v}) }})
	}
	return flags
}

func findInput(name string) *input {
	for k := range inputs {
		if inputs[k].name == name {
			return &inputs[k]
		}
	}
	return nil
}

// Defaults of questions.
const (
	usualNamespace = "default"
	usualRemote    = "127.0.0.1:50000"
	usualURLPath   = "/v1"
)

// newQuestion puts a question together. The errors, one for each word that is wrong, name it as called does.
func newQuestion(hook host.Hooks, words []given, called func(*input) string) (*question, error) {
	q := &question{hook: hook}
	q.connect = host.Connect{Namespace: usualNamespace, Remote: usualRemote, URLPath: usualURLPath}
	q.identity = host.Identity{Authenticated: true}
	q.request = host.Request{Namespace: usualNamespace, Identity: &q.identity, Remote: usualRemote, Operation: host.Lock}
	var faults []error
	seen := map[string]bool{}
	for _, w := range words {
		in := findInput(w.name)
		switch err := error(nil); {
		case in.hooks&hook == 0:
			faults = append(faults, fmt.Errorf("%s is nothing that %s is told", called(in), hookNames(hook)))
		case seen[in.name] && !in.many:
			faults = append(faults, fmt.Errorf("%s is given twice", called(in)))
		default:
			if err = in.set(q, w.value); err != nil {
				faults = append(faults, fmt.Errorf("%s %w", called(in), err))
			}
		}
		seen[in.name] = true
		q.words = append(q.words, in.flag(), w.value)
	}
	if q.identity.Context != "" && !seen["principal"] {
		faults = append(faults, fmt.Errorf("%s is kept with a name: give %s, too", called(findInput("context")), called(findInput("principal"))))
	}
	slices.SortStableFunc(q.connect.Fields, func(a, b host.Field) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return q, errors.Join(faults...)
}

// String is the question as "plugin run" takes it.
func (q *question) String() string {
	words := []string{hookNames(q.hook)}
	for _, w := range q.words {
		words = append(words, shellQuoted(w))
	}
	return strings.Join(words, " ")
}

// shellQuoted is a word as a shell reads it (POSIX.1-2024, section 2.2), in characters that can be shown.
func shellQuoted(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:@%+,"
	switch {
	case word != "" && strings.Trim(word, plain) == "":
		return word
	case utf8.ValidString(word) && !strings.ContainsFunc(word, isHidden):
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	for rest := word; rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + rest[:n])
		case r == utf8.RuneError && n == 1 || isHidden(r):
			for _, c := range []byte(rest[:n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		default:
			b.WriteString(rest[:n])
		}
		rest = rest[n:]
	}
	return "$'" + b.String() + "'"
}

func isHidden(r rune) bool { return !unicode.IsPrint(r) }

var hookWords = []struct {
	hook host.Hooks
	word string
}{{host.Authenticate, "authenticate"}, {host.Authorize, "authorize"}, {host.Normalize, "normalize"}}

// hookNames are the words for hooks.
func hookNames(hooks host.Hooks) string {
	var words []string
	for _, h := range hookWords {
		if hooks&h.hook != 0 {
			words = append(words, h.word)
		}
	}
	return strings.Join(words, ", ")
}

// parseHook reads the name of one hook.
func parseHook(word string) (host.Hooks, error) {
	var words []string
	for _, h := range hookWords {
		if h.word == word {
			return h.hook, nil
		}
		words = append(words, h.word)
	}
	return 0, fmt.Errorf("unknown hook %q%s", word, orHint(word, words, "; there are authenticate, authorize and normalize"))
}

// orHint asks whether something else was meant, or says otherwise.
func orHint(word string, words []string, otherwise string) string {
	if best := config.Nearest(word, words); best != "" {
		return fmt.Sprintf(", did you mean %q?", best)
	}
	return otherwise
}

func setNamespace(q *question, v string) error {
	if len(v) < 1 || len(v) > config.NamespaceBytes || !isName(v) {
		return fmt.Errorf("must be a name of 1 to %d bytes, UTF-8 without control characters, but is %q", config.NamespaceBytes, v)
	}
	q.connect.Namespace, q.request.Namespace = v, v
	return nil
}

func setPrincipal(q *question, v string) error {
	if len(v) > host.PrincipalBytes || !isName(v) {
		return fmt.Errorf("must be a name of at most %d bytes, UTF-8 without control characters, but is %q", host.PrincipalBytes, v)
	}
	q.identity.Principal = v
	return nil
}

func isName(v string) bool { return utf8.ValidString(v) && !strings.ContainsFunc(v, unicode.IsControl) }

func setContext(q *question, v string) error {
	if len(v) > host.ContextBytes {
		return fmt.Errorf("must have at most %d bytes, but has %d", host.ContextBytes, len(v))
	}
	q.identity.Context = v
	return nil
}

func setNow(q *question, v string) error {
	t, err := time.Parse(time.RFC3339, v)
	if err != nil || t.UnixMilli() <= 0 {
		return fmt.Errorf("must be a time after 1970, such as 2030-01-02T15:04:05Z, but is %q", v)
	}
	q.now = t
	return nil
}

// setRemote gives addresses the form that the server gives them.
func setRemote(q *question, v string) error {
	if v != "" {
		a, err := netip.ParseAddrPort(v)
		if err != nil {
			return fmt.Errorf(`must be an address with a port, such as 192.0.2.1:50000 or [2001:db8::1]:50000, or "" for a unix socket, but is %q`, v)
		}
		v = a.String()
	}
	q.connect.Remote, q.request.Remote = v, v
	return nil
}

var operations = map[string]host.Operation{"lock": host.Lock, "inspect": host.Inspect, "watch": host.Watch, "force-release": host.ForceRelease}

func setOperation(q *question, v string) error {
	op, ok := operations[v]
	if !ok {
		return fmt.Errorf("must be lock, inspect, watch or force-release, but is %q", v)
	}
	q.request.Operation = op
	return nil
}

// addHeader wants what HTTP allows (RFC 9110, section 5).
func addHeader(q *question, v string) error {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
	name, value, found := strings.Cut(v, ":")
	value = strings.Trim(value, " \t")
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	if !found || name == "" || strings.Trim(name, plain) != "" || strings.ContainsFunc(value, control) {
		return fmt.Errorf(`must be a header such as "authorization: Bearer abc", but is %q`, v)
	}
	q.connect.Fields = append(q.connect.Fields, host.Field{Kind: host.Header, Name: strings.ToLower(name), Value: value})
	return nil
}

// plainFacts are known of every TLS connection; all others are of a verified certificate.
var plainFacts = []string{"version", "server-name", "alpn"}

// addField adds NAME=VALUE, and what follows from it.
func addField(kind host.FieldKind) func(*question, string) error {
	return func(q *question, v string) error {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return fmt.Errorf("must be NAME=VALUE, but is %q", v)
		}
		c := &q.connect
		c.Fields = append(c.Fields, host.Field{Kind: kind, Name: name, Value: value})
		switch {
		case kind == host.Query && c.RawQuery != "":
			c.RawQuery += "&" + url.QueryEscape(name) + "=" + url.QueryEscape(value)
		case kind == host.Query:
			c.RawQuery = url.QueryEscape(name) + "=" + url.QueryEscape(value)
		case kind == host.Fact:
			c.TLS, c.Verified = true, c.Verified || !slices.Contains(plainFacts, name)
		}
		return nil
	}
}

func addResource(mode host.Mode) func(*question, string) error {
	return func(q *question, v string) error {
		path, err := parsePath(v)
		if err != nil {
			return err
		}
		q.request.Resources = append(q.request.Resources, host.Resource{Mode: mode, Path: path})
		return nil
	}
}
