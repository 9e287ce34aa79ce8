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
	"strconv"
	"strings"

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

// releaseFlags are those of release.
type releaseFlags struct {
	admin, tokenFile, serverName string
	files                        dialFlags // those of TLS
	namespace, reason            string
	end, json                    bool
	session                      string
	lock                         uint64
	token                        string
}

func (p process) release(args []string) int {
	f, err := p.parseRelease(args)
	if err != nil {
		return p.misused("release", "locktopus release: %v", err)
	}
	answer, code, err := f.ask()
	if err != nil {
		fmt.Fprintf(p.stderr, "locktopus release: %s\n", printable(err.Error()))
		return code
	}
	text := f.answerText(answer)
	if f.json {
		text = visibleJSON(json.RawMessage(answer))
	}
	if _, err := io.WriteString(p.stdout, text); err != nil {
		fmt.Fprintf(p.stderr, "locktopus release: it is done, but %v: %v\n", errOutput, bareError(err))
		return exitFailed
	}
	return exitOK
}

func (p process) parseRelease(args []string) (*releaseFlags, error) {
	f := &releaseFlags{}
	operands, err := parseFlags(args, 2,
		&flagValue{long: "--namespace", value: &f.namespace},
		&flagValue{long: "--reason", value: &f.reason},
		&flagValue{long: "--end", alone: &f.end},
		&flagValue{long: "--json", alone: &f.json},
		&flagValue{long: "--admin", value: &f.admin},
		&flagValue{long: "--token-file", value: &f.tokenFile},
		&flagValue{long: "--ca", value: &f.files.ca},
		&flagValue{long: "--cert", value: &f.files.cert},
		&flagValue{long: "--key", value: &f.files.key},
		&flagValue{long: "--server-name", value: &f.serverName},
	)
	if err != nil {
		return nil, err
	}
	if err := f.target(operands); err != nil {
		return nil, err
	}
	if f.namespace == "" {
		f.namespace = namespaceOf(p.getenv(envURL))
	}
	switch {
	case f.namespace == "":
		return nil, fmt.Errorf("name the namespace: --namespace NAME, or %s in the environment", envURL)
	case f.reason == "":
		return nil, errors.New("say why: --reason TEXT, which the client is told")
	}
	for _, address := range []string{p.getenv(envAdminURL), defaultAdmin} {
		if f.admin == "" {
			f.admin = address
		}
	}
	f.token, err = p.findToken(f.tokenFile)
	return f, err
}

// target reads what is to be released.
func (f *releaseFlags) target(operands []string) (err error) {
	switch {
	case len(operands) == 0:
		return errors.New(`name a lock by its session and its number, as "locktopus ls" shows them`)
	case f.end && len(operands) > 1:
		return fmt.Errorf("--end ends a session with all its locks, so %q has no meaning beside it", operands[1])
	case !f.end && len(operands) == 1:
		return errors.New("name the lock's number behind its session, or end the whole session with --end")
	}
	f.session = operands[0]
	if f.end {
		return nil
	}
	if f.lock, err = strconv.ParseUint(operands[1], 10, 64); err != nil || f.lock == 0 {
		return fmt.Errorf("a lock is named by a number, not by %q", operands[1])
	}
	return nil
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

// releaseAnswerBytes bounds what is read of an answer.
const releaseAnswerBytes = 1 << 20

// ask has the server do it. With an error comes the exit code.
func (f *releaseFlags) ask() (answer []byte, code int, err error) {
	body := map[string]any{"namespace": f.namespace, "session": f.session, "reason": f.reason}
	path := "/admin/v1/end"
	if !f.end {
		path, body["lock"] = "/admin/v1/release", f.lock
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic("locktopus: strings and numbers are no JSON: " + err.Error())
	}
	send, base, err := f.transport()
	if err != nil {
		return nil, exitUsage, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), dialTimeout, errors.New("the server doesn't answer"))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader(string(text)))
	if err != nil {
		return nil, exitUsage, fmt.Errorf("--admin: %q is no URL such as %s", f.admin, defaultAdmin)
	}
	r.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := send.RoundTrip(r) // follows no redirection: the token is for this server
	if err != nil {
		return nil, exitUnreachable, fmt.Errorf("cannot reach %s: %w", f.admin, err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, releaseAnswerBytes))
	if err != nil {
		return nil, exitUnreachable, fmt.Errorf("%s has not answered to the end; it may be done all the same: %w", f.admin, err)
	}
	return f.judge(resp.StatusCode, answer)
}

// judge makes errors of answers that are refusals.
func (f *releaseFlags) judge(status int, answer []byte) ([]byte, int, error) {
	var said struct{ Error, Message, State, Session string }
	if err := json.Unmarshal(answer, &said); err != nil || said.Error == "" && said.Session == "" {
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
	return nil, code, errors.New(said.Message)
}

// transport is how to reach the listener, and the beginning of its URLs.
func (f *releaseFlags) transport() (*http.Transport, string, error) {
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

// answerText says what has been released.
func (f *releaseFlags) answerText(answer []byte) string {
	var l struct {
		client.LockInfo
		Held, Waiting int
	}
	if err := json.Unmarshal(answer, &l); err != nil {
		return "done\n"
	}
	if f.end {
		return fmt.Sprintf("ended: session %s, name %s; it held %d and waited for %d\n", word(l.Session), word(l.Name), l.Held, l.Waiting)
	}
	x := (*seen)(&l.LockInfo)
	return fmt.Sprintf("released: %s, %s by %s\n", x.resourcesText(), stateText(x.State, x.Session, x.SinceMS), x.who())
}
