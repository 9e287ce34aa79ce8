package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// healthBytes bounds what is printed of an answer: /healthz says a line.
const healthBytes = 4096

func (p process) health(args []string) int {
	var target, timeout, cert, key string
	_, err := parseFlags(args, 0, &flagValue{long: "--url", value: &target}, &flagValue{long: "--timeout", value: &timeout},
		&flagValue{long: "--cert", value: &cert}, &flagValue{long: "--key", value: &key})
	if err != nil {
		return p.misused("health", "locktopus health: %v", err)
	}
	patience, err := healthTimeout(timeout)
	if err != nil {
		return p.misused("health", "locktopus health: %v", err)
	}
	if (cert == "") != (key == "") {
		return p.misused("health", "locktopus health: --cert and --key go together")
	}
	if target == "" {
		c, err := config.Load(config.Input{Environ: p.environ})
		if err != nil {
			return p.configFaults(err)
		}
		target = healthURL(&c.Server)
	}
	answer, err := askHealth(target, patience, cert, key)
	if err != nil {
		fmt.Fprintf(p.stderr, "locktopus health: %v\n", err)
		return exitFailed
	}
	fmt.Fprintln(p.stdout, answer)
	return exitOK
}

func healthTimeout(text string) (time.Duration, error) {
	if text == "" {
		return 5 * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("--timeout must be a duration such as 5s, but is %q", text)
	}
	return d, nil
}

// healthURL is where a server with these settings is reached from its own machine.
func healthURL(c *config.Server) string {
	if strings.HasPrefix(c.Listen, "unix:") {
		if c.TLS.Cert != "" {
			return "unix+tls:" + strings.TrimPrefix(c.Listen, "unix:")
		}
		return c.Listen
	}
	host, port, _ := net.SplitHostPort(c.Listen)
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
		if a.Is6() {
			host = "::1"
		}
	}
	scheme := "http"
	if c.TLS.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/healthz"
}

// askHealth is the server's answer if it is well, and an error that says what is wrong if not.
func askHealth(target string, patience time.Duration, cert, key string) (string, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return "", err
		}
		tc.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: tc, DisableKeepAlives: true}
	asked := target
	if base, ok := overUnix(target, transport); ok {
		asked = base + "/healthz"
	}
	u, err := url.Parse(asked)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is no URL such as http://127.0.0.1:9009/healthz", target)
	}
	tc.InsecureSkipVerify = isLoopback(u.Hostname())
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get(asked)
	switch request, ok := errors.AsType[*url.Error](err); {
	case errors.Is(err, context.DeadlineExceeded):
		return "", fmt.Errorf("cannot reach %s: it doesn't answer", target)
	case ok:
		return "", fmt.Errorf("cannot reach %s: %w", target, request.Err)
	case err != nil:
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, healthBytes))
	if err != nil {
		return "", err
	}
	answer := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", target, resp.Status, answer)
	}
	return answer, nil
}

// overUnix has a transport connect to the socket that a target such as unix:/path names, and returns the beginning
// of the URLs to ask for there. False: it names none.
func overUnix(target string, transport *http.Transport) (base string, ok bool) {
	scheme, path, _ := strings.Cut(target, ":")
	base, ok = map[string]string{"unix": "http://localhost", "unix+tls": "https://localhost"}[scheme]
	if ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	return base, ok
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
