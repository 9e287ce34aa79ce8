package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/admin"
	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// Environment of administrators.
const (
	envAdminURL       = "LOCKTOPUS_ADMIN_URL"
	envAdminTokenFile = "LOCKTOPUS_ADMIN_TOKEN_FILE" // the server's setting of that name
)

const defaultAdmin = "http://127.0.0.1:9010"

// adminFlags are those of commands for administrators: where the server listens for them, and about which namespace.
type adminFlags struct {
	admin, tokenFile, serverName string
	files                        dialFlags // those of TLS
	namespace                    string
	json                         bool
	token                        string
}

func (f *adminFlags) adminFlagList() []*flagValue {
	return []*flagValue{
		{long: "--namespace", value: &f.namespace},
		{long: "--json", alone: &f.json},
		{long: "--admin", value: &f.admin},
		{long: "--token-file", value: &f.tokenFile},
		{long: "--ca", value: &f.files.ca},
		{long: "--cert", value: &f.files.cert},
		{long: "--key", value: &f.files.key},
		{long: "--server-name", value: &f.serverName},
	}
}

// complete takes from the environment what no flag says.
func (f *adminFlags) complete(p process) (err error) {
	if f.namespace == "" {
		f.namespace = namespaceOf(p.getenv(envURL))
	}
	if f.namespace == "" {
		return fmt.Errorf("name the namespace: --namespace NAME, or %s in the environment", envURL)
	}
	for _, address := range []string{p.getenv(envAdminURL), defaultAdmin} {
		if f.admin == "" {
			f.admin = address
		}
	}
	f.token, err = p.findToken(f.tokenFile)
	return err
}

// namespaceOf is the namespace in a URL of the protocol; "" if there is none.
func namespaceOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Query().Get("namespace")
}

// findToken finds the administrators' token: in the file that is named, in the environment, or in the file that
// the environment names.
func (p process) findToken(file string) (string, error) {
	token := p.getenv(config.TokenVariable)
	switch named := p.getenv(envAdminTokenFile); {
	case file != "":
		return readToken(file)
	case token != "":
		return token, admin.CheckToken(token)
	case named != "":
		return readToken(named)
	}
	return "", fmt.Errorf("say where the administrators' token is: --token-file FILE, or %s or %s in the environment", config.TokenVariable, envAdminTokenFile)
}

// adminAnswerBytes bounds what is read of an answer. A page of sessions has at most a thousand of less than 2 KiB.
const adminAnswerBytes = 4 << 20

// ask has the server answer a request: body is the JSON of an action, nil for a list. An answer that is no refusal has
// the member wanted. With an error comes the exit code.
func (f *adminFlags) ask(path string, body []byte, wanted string) (answer []byte, code int, err error) {
	send, base, err := f.transport()
	if err != nil {
		return nil, exitUsage, err
	}
	ctx, cancel := answering(context.Background())
	defer cancel()
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(string(body)))
	if err != nil {
		return nil, exitUsage, fmt.Errorf("--admin: %q is no URL such as %s", f.admin, defaultAdmin)
	}
	r.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := send.RoundTrip(r) // follows no redirection: the token is for this server
	if err != nil {
		return nil, exitUnreachable, fmt.Errorf("cannot reach %s: %w", f.admin, unreached(err))
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, adminAnswerBytes))
	if err != nil {
		return nil, exitUnreachable, fmt.Errorf("%s has not answered to the end; it may be done all the same: %w", f.admin, unreached(err))
	}
	return f.judge(resp.StatusCode, answer, wanted)
}

var errSpeaksTLS = errors.New("it speaks TLS there: is it https:// instead of http://?")

// unreached says why a listener can't be reached, in words that people know.
func unreached(err error) error {
	text := err.Error()
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("it doesn't answer")
	case noTLS, errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("it doesn't speak TLS there: is it http:// instead of https://?")
	case strings.Contains(text, `malformed HTTP response "\x15\x03`):
		return errSpeaksTLS
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, "readLoopPeekFailLocked"):
		return errors.New("what answers there doesn't speak HTTP: is it the right address (admin.listen)?")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return errors.New("it has hung up: is it https:// instead of http://, or another server?")
	}
	return err
}

// judge makes errors of answers that are refusals.
func (f *adminFlags) judge(status int, answer []byte, wanted string) ([]byte, int, error) {
	var said struct{ Error, Message string }
	var members map[string]json.RawMessage
	_ = json.Unmarshal(answer, &said)
	if status == http.StatusBadRequest && strings.Contains(string(answer), "HTTP request to an HTTPS server") { // net/http's words
		return nil, exitUnreachable, fmt.Errorf("cannot reach %s: %w", f.admin, errSpeaksTLS)
	}
	if err := json.Unmarshal(answer, &members); err != nil || said.Error == "" && members[wanted] == nil {
		return nil, exitUnreachable, fmt.Errorf("what answers at %s is no listener for administrators (admin.listen): status %d", f.admin, status)
	}
	codes := map[int]int{
		http.StatusOK: exitOK, http.StatusUnauthorized: exitDenied, http.StatusForbidden: exitDenied,
		http.StatusBadRequest: exitUsage, http.StatusRequestEntityTooLarge: exitUsage,
		http.StatusNotFound: exitFailed, http.StatusConflict: exitFailed,
	}
	code, known := codes[status]
	switch {
	case status == http.StatusOK:
		return answer, exitOK, nil
	case !known:
		code = exitUnreachable
	}
	if code == exitFailed { // it isn't there, and perhaps somewhere else
		return nil, code, fmt.Errorf("%s (namespace %s)", said.Message, word(f.namespace))
	}
	return nil, code, errors.New(said.Message)
}

// transport is how to reach the listener, and the beginning of its URLs.
func (f *adminFlags) transport() (*http.Transport, string, error) {
	var o client.Options
	if err := f.files.options(process{}, &o); err != nil {
		return nil, "", err
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.TLS.ServerName = f.serverName
	t := &http.Transport{TLSClientConfig: o.TLS, DisableKeepAlives: true}
	if base, ok := overUnix(f.admin, t); ok {
		return t, base, nil
	}
	u, err := url.Parse(f.admin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, "", fmt.Errorf("--admin: %q is no URL such as %s or unix:/path/to/socket", f.admin, defaultAdmin)
	}
	return t, u.Scheme + "://" + u.Host, nil
}
