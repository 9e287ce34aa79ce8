package main

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/fuzz/internal/world"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// protocol runs a command line.
func protocol(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func start(t *testing.T, o server.Options) *url.URL {
	ln, u := world.TCP(t)
	world.Serve(t, ln, o)
	u.RawQuery = "namespace=mine"
	return u
}

func TestASoundServer(t *testing.T) {
	code, out, errs := protocol(t, "-seed", "7", "-rounds", "10", "-v", "-header", "X-Token: a", start(t, server.Options{}).String())
	require.Equal(t, exitNothing, code, out+errs)
	require.Regexp(t, `^seed 7: at most 10 rounds in 1m0s\n10 rounds, \d+ steps and \d+ locks of storms in .*: 0 findings\n$`, out)
	require.Equal(t, 10, strings.Count(errs, ": nothing found\n"))
}

func TestASoundServerOfVersion2(t *testing.T) {
	u := start(t, server.Options{})
	u.Path = "/v2"
	code, out, errs := protocol(t, "-seed", "7", "-rounds", "10", "-v", u.String())
	require.Equal(t, exitNothing, code, out+errs)
	require.Equal(t, 10, strings.Count(errs, ": nothing found\n"))
}

// misspell passes on what clients and the server say, and gets one word of the server's wrong.
func misspell(t *testing.T, to *url.URL) *url.URL {
	ln, u := world.TCP(t)
	t.Cleanup(func() { ln.Close() })
	u.RawQuery = to.RawQuery
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to.Host)
			if err != nil {
				c.Close()
				continue
			}
			go func() {
				io.Copy(s, c)
				s.Close()
			}()
			go func() {
				io.Copy(wrong{c}, s)
				c.Close()
			}()
		}
	}()
	return u
}

type wrong struct{ io.Writer }

func (w wrong) Write(b []byte) (int, error) {
	b = bytes.ReplaceAll(b, []byte("communication error"), []byte("communication horror"))
	return w.Writer.Write(bytes.ReplaceAll(b, []byte(`"malformed"`), []byte(`"malfermed"`)))
}

// TestAFindingCanBeMetAgain by the command that it comes with.
func TestAFindingCanBeMetAgain(t *testing.T) {
	for path, want := range map[string]struct{ found, said string }{
		"/v1": {`client \d broke the protocol; the answer is `, "communication horror: "},
		"/v2": {`client \d: "error" is malfermed, not malformed`, "malfermed"},
	} {
		t.Run(path, func(t *testing.T) {
			broken := misspell(t, start(t, server.Options{}))
			broken.Path = path
			code, out, errs := protocol(t, "-seed", "7", "-header", "Authorization: Bearer secret-of-mine", broken.String())
			require.Equal(t, exitFound, code, out+errs)
			found := regexp.MustCompile(`(?m)^FOUND in round \d+: ` + want.found)
			require.Regexp(t, found, out)
			require.Contains(t, out, "It takes these steps:")
			require.Contains(t, out, want.said)
			require.NotContains(t, out, "secret-of-mine")
			again := regexp.MustCompile(`go run ./fuzz/cmd/protocol (.*) -header 'Authorization: …' '(.*)'`).FindStringSubmatch(out)
			require.NotNil(t, again, out)
			require.Equal(t, broken.String(), again[2])
			code, out2, errs := protocol(t, append(strings.Fields(again[1]), broken.String())...)
			require.Equal(t, exitFound, code, out2+errs)
			require.Equal(t, found.FindString(out), found.FindString(out2))
		})
	}
}

// denies is a server's plugins, which want nothing.
type denies struct{}

func (denies) Active() bool { return true }
func (denies) Authenticate(*host.Connect) (host.Identity, host.Verdict) {
	return host.Identity{Authenticated: true}, host.Verdict{Outcome: host.Allowed}
}
func (denies) Judge(*host.Request) host.Verdict {
	return host.Verdict{Outcome: host.Denied, Plugin: "acl", Reason: []byte("not yours")}
}

func TestAServerThatDoesNotWantTo(t *testing.T) {
	code, _, errs := protocol(t, start(t, server.Options{NewJudge: func() server.Judge { return denies{} }}).String())
	require.Equal(t, exitFailed, code)
	require.Equal(t, "protocol: the server refuses what the probe asks: denied by plugin \"acl\": not yours\n", errs)
}

func TestAServerInItsGracePeriod(t *testing.T) {
	u := start(t, server.Options{Grace: fence.Debt{Others: time.Hour}})
	code, _, errs := protocol(t, u.String())
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "protocol: the server refuses what the probe asks: if it was killed, it grants nothing until its grace period is over")
	u.Path = "/v2"
	code, _, errs = protocol(t, u.String())
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "protocol: the server refuses what the probe asks: it grants nothing yet, as it was killed")
}

func TestNoServer(t *testing.T) {
	ln, u := world.TCP(t)
	require.NoError(t, ln.Close())
	code, _, errs := protocol(t, u.String())
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "cannot connect")
}

func TestServersOfOthersAreLeftAlone(t *testing.T) {
	for _, u := range []string{"ws://192.0.2.1/v1", "wss://[2001:db8::1]:9009/v1?namespace=a", "ws://0.0.0.0:1/v1"} {
		code, out, errs := protocol(t, u)
		require.Equal(t, exitFailed, code, u)
		require.Empty(t, out)
		require.Regexp(t, `^protocol: .* is not on this machine, but at .*\. If the server is yours, .* -own\n$`, errs)
	}
}

func TestUsage(t *testing.T) {
	const local = "ws://127.0.0.1:9/v1"
	for _, args := range [][]string{
		{}, {local, local}, {"http://127.0.0.1/v1"}, {"127.0.0.1:9009"}, {"ws:///v1"}, {"ws://me@127.0.0.1/v1"}, {"ws://127.0.0.1:x/"},
		{"-rounds", "0", local}, {"-time", "-1s", local}, {"-first", "-1", local}, {"-patience", "0", local}, {"-findings", "0", local},
		{"-seed", "x", local}, {"-header", "x", local}, {"-header", ": x", local}, {"-header", "a: b\nc: d", local}, {"-nothing", local},
	} {
		code, out, errs := protocol(t, args...)
		require.Equal(t, exitUsage, code, "%q", args)
		require.Empty(t, out)
		require.Contains(t, errs, "protocol: ", "%q", args)
	}
	code, _, help := protocol(t, "-h")
	require.Equal(t, exitNothing, code)
	require.Contains(t, help, "ws://127.0.0.1:9009/v2?namespace=fuzz")
}
