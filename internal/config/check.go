package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// checks are the rules that a tag can name. They get a string or a []string and say what it must be.
var checks = map[string]func(any) error{
	"listen": func(v any) error { _, _, err := SplitListen(v.(string)); return err },
	"listen or nothing": func(v any) error {
		if v.(string) == "" {
			return nil
		}
		_, _, err := SplitListen(v.(string))
		return err
	},
	"origins":     func(v any) error { return checkOrigins(v.([]string)) },
	"plugin name": func(v any) error { return checkPluginName(v.(string)) },
	"file":        func(v any) error { return checkFile(v.(string)) },
	"namespaces":  func(v any) error { return checkNamespaces(v.([]string)) },
}

// UnixPathBytes is the longest path of a unix socket that every system takes (macOS: 104 with its NUL).
const UnixPathBytes = 103

// SplitListen turns server.listen into what net.Listen takes: "tcp" and HOST:PORT, or "unix" and a
// path. The error says what the setting must be.
func SplitListen(listen string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(listen, "unix:"); ok {
		switch {
		case path == "":
			return "", "", errors.New(`must name a socket behind "unix:", such as "unix:/run/locktopus.sock"`)
		case len(path) > UnixPathBytes:
			return "", "", fmt.Errorf("must be a socket path of at most %d bytes, but has %d", UnixPathBytes, len(path))
		}
		return "unix", path, nil
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", "", fmt.Errorf(`must be HOST:PORT, such as "127.0.0.1:9009" or "[::1]:9009", or "unix:/path", but is %q`, listen)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("must have a port from 0 to 65_535, but has %q", port)
	} else if port != strconv.FormatUint(n, 10) {
		return "", "", fmt.Errorf("must have a port in plain digits, but has %q", port)
	}
	return "tcp", listen, nil
}

func checkOrigins(origins []string) error {
	for _, o := range origins {
		if err := checkOrigin(o); err != nil {
			return err
		}
	}
	return nil
}

// checkOrigin wants what a browser sends as Origin (RFC 6454, section 7): scheme, host and a port
// that isn't the scheme's own, in lower case, nothing behind it.
func checkOrigin(o string) error {
	if o == "*" || o == "null" {
		return nil
	}
	u, err := url.Parse(o)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf(`must hold origins such as "https://example.com", or "*", but has %q`, o)
	}
	plain := u.Scheme + "://" + u.Host
	switch {
	case strings.Contains(u.Host, "*"):
		return fmt.Errorf(`must hold whole origins: %q has a wildcard, only "*" alone stands for all`, o)
	case o != plain || o != strings.ToLower(o):
		return fmt.Errorf("must hold origins as browsers send them: %q instead of %q", strings.ToLower(plain), o)
	case u.Scheme == "http" && u.Port() == "80", u.Scheme == "https" && u.Port() == "443":
		return fmt.Errorf("must hold origins as browsers send them: without the port in %q", o)
	}
	return nil
}

// pluginNameBytes is the longest name of a plugin.
const pluginNameBytes = 64

var pluginName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func checkPluginName(name string) error {
	if len(name) > pluginNameBytes {
		return fmt.Errorf("must have at most %d bytes, but has %s", pluginNameBytes, FormatInteger(int64(len(name))))
	}
	if !pluginName.MatchString(name) {
		return fmt.Errorf(`must be letters, digits, "-", "_" and ".", but is %q`, name)
	}
	return nil
}

func checkFile(path string) error {
	if path == "" {
		return errors.New(`must name a file, but is ""`)
	}
	return nil
}

// NamespaceBytes is the longest name that limits.namespace_name_bytes can allow.
const NamespaceBytes = 4096

// checkNamespaces refuses what no namespace's name could match: a plugin that was meant to be asked
// would not be.
func checkNamespaces(patterns []string) error {
	if len(patterns) == 0 {
		return errors.New(`must hold at least one name, or "*" for all namespaces`)
	}
	for _, p := range patterns {
		name := strings.TrimSuffix(p, "*")
		switch {
		case p == "":
			return errors.New(`must hold names of namespaces, or beginnings that end in "*", but has ""`)
		case strings.Contains(name, "*"):
			return fmt.Errorf(`must hold names with "*" at the end only, but has %q`, p)
		case len(name) > NamespaceBytes:
			return fmt.Errorf("must hold names of at most %s bytes, but has one of %s", FormatInteger(NamespaceBytes), FormatInteger(int64(len(name))))
		case strings.ContainsFunc(name, unicode.IsControl):
			return fmt.Errorf("must hold names without control characters, but has %q", p)
		}
	}
	return nil
}

// crossChecks are the rules between settings. The first key named is the one that is wrong, if it
// was given and not left at its default; keys are in the order in which they are blamed.
var crossChecks = []struct {
	keys []string
	rule func(*Config) error
}{
	{[]string{"server.tls.cert", "server.tls.key"}, func(c *Config) error {
		switch t := c.Server.TLS; {
		case t.Cert != "" && t.Key == "":
			return errors.New("server.tls.cert needs server.tls.key beside it")
		case t.Cert == "" && t.Key != "":
			return errors.New("server.tls.key needs server.tls.cert beside it")
		}
		return nil
	}},
	{[]string{"server.tls.client_ca"}, func(c *Config) error {
		if t := c.Server.TLS; t.ClientCA != "" && t.Cert == "" && t.Key == "" {
			return errors.New("server.tls.client_ca needs server.tls.cert and server.tls.key: without them TLS is off")
		}
		return nil
	}},
	{[]string{"limits.pause_reading_bytes", "limits.output_bytes"}, func(c *Config) error {
		if l := c.Limits; l.PauseReadingBytes > l.OutputBytes {
			return fmt.Errorf("limits.pause_reading_bytes must be at most limits.output_bytes, but %s is more than %s",
				FormatInteger(int64(l.PauseReadingBytes)), FormatInteger(int64(l.OutputBytes)))
		}
		return nil
	}},
	{[]string{"sessions.ttl_min", "sessions.ttl_default", "sessions.ttl_max"}, func(c *Config) error {
		if t := c.Sessions; t.TTLMin > t.TTLDefault || t.TTLDefault > t.TTLMax {
			return fmt.Errorf("sessions.ttl_default must lie between sessions.ttl_min and sessions.ttl_max, but %s is not between %s and %s",
				FormatDuration(t.TTLDefault), FormatDuration(t.TTLMin), FormatDuration(t.TTLMax))
		}
		return nil
	}},
	{[]string{"locks.default_abandon_timeout", "locks.abandon_timeout_max"}, func(c *Config) error {
		if l := c.Locks; l.DefaultAbandonTimeout > l.AbandonTimeoutMax {
			return fmt.Errorf("locks.default_abandon_timeout must be at most locks.abandon_timeout_max, but %s is more than %s",
				FormatDuration(l.DefaultAbandonTimeout), FormatDuration(l.AbandonTimeoutMax))
		}
		return nil
	}},
}
