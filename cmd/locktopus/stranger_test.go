package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stranger is what may answer where a server is looked for. It returns its address.
func stranger(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					answer(c)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func saying(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// commandsOf are the commands that need a server, each with an address of it.
func commandsOf(address string) [][]string {
	protocol, admin := []string{"--url", "ws://" + address + "/v2?namespace=n"}, []string{"--namespace", "n", "--admin", "http://" + address}
	return [][]string{
		append([]string{"ls"}, protocol...),
		append([]string{"inspect", "a"}, protocol...),
		append([]string{"watch", "a"}, protocol...),
		append(append([]string{"run", "--try", "-w", "a"}, protocol...), "--", "true"),
		append(append([]string{"run", "--wait", "1ms", "-w", "a"}, protocol...), "--", "true"),
		append([]string{"sessions"}, admin...),
		append([]string{"release", "s", "1", "--reason", "why"}, admin...),
	}
}

// TestWhoeverAnswersIsToldOfInPlainWords, by each command: what it is, where, and what to do. None are a library's.
func TestWhoeverAnswersIsToldOfInPlainWords(t *testing.T) {
	defer func(d time.Duration) { dialTimeout = d }(dialTimeout)
	dialTimeout = 500 * time.Millisecond
	for name, x := range map[string]struct {
		answer      func(net.Conn)
		says, admin string
	}{
		"silence":     {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "it doesn't answer", ""},
		"hangs up":    {saying(""), "it has hung up", ""},
		"no HTTP":     {saying("+PONG\r\n"), "doesn't speak HTTP: is it the right address", ""},
		"a page":      {saying("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello"), "is it the right address?", "is no listener for administrators (admin.listen): status 200"},
		"not found":   {saying("HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno"), `says "no": is it the right address?`, "is no listener for administrators (admin.listen): status 404"},
		"redirection": {saying("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), `sends to "http://127.0.0.1:1/"`, "status 302"},
		"a proxy":     {saying("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"), "a proxy would that can't reach the lock server", "status 502"},
		"half":        {saying("HTTP/1.1 101 Switch"), "it has hung up", ""},
	} {
		t.Run(name, func(t *testing.T) {
			address := stranger(t, x.answer)
			for _, command := range commandsOf(address) {
				says := x.says
				if x.admin != "" && (command[0] == "sessions" || command[0] == "release") {
					says = x.admin
				}
				var stderr strings.Builder
				p := process{stdout: io.Discard, stderr: &stderr, environ: []string{"LOCKTOPUS_ADMIN_TOKEN=" + strings.Repeat("t", 32)}}
				require.Equal(t, exitUnreachable, p.run(command), "%q: %s", command, stderr.String())
				require.Contains(t, stderr.String(), says, "%q", command)
				require.Contains(t, stderr.String(), address, "%q", command)
				for _, foreign := range []string{"failed to", "context", "net/http"} {
					require.NotContains(t, stderr.String(), foreign, "%q", command)
				}
			}
		})
	}
}
