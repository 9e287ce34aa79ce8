package main

import (
	"fmt"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// helpTexts are by command; "" is the program's own.
var helpTexts = map[string]string{
	"": `Locktopus is a lock server: clients lock sets of paths, for reading or writing, over WebSocket.

Usage: locktopus COMMAND

  serve          run the server (needs no configuration: ws://127.0.0.1:9009/v1)
  config check   look for faults in a configuration file
  config print   print the configuration that would be in effect
  health         ask a running server whether it is well
  version        print the version
  help COMMAND   say more about a command

Start with "locktopus serve".
`,
	"serve": `Usage: locktopus serve [-c FILE] [--listen HOST:PORT] [--state-dir DIR]

Runs the server until it is told to stop.

  -c, --config FILE      read settings from FILE (TOML). Without it the defaults hold:
                         "locktopus config print" prints them with their meaning
  --listen HOST:PORT     where to listen, or unix:/path/to/socket; instead of server.listen
  --state-dir DIR        where to keep what survives a restart; instead of state.dir.
                         "" keeps nothing: ids start at 1 again when the server does

Any setting can also be given by environment, such as LOCKTOPUS_SERVER_LISTEN. Flags win over
the environment, the environment over the file, the file over the defaults.

Signals: SIGTERM and SIGINT stop it once clients have finished or server.drain is over, a second
one stops it at once. SIGHUP reads FILE and the TLS files again and says in the log what changed.

Exit codes: 0 stopped as told; 1 it failed, or was stopped at once; 64 wrong command line;
78 faulty configuration.
`,
	"config": `Usage: locktopus config check [FILE]
       locktopus config print [-c FILE]

  config check   look for faults in a configuration file
  config print   print the configuration that would be in effect

"locktopus help config check" and "locktopus help config print" say more.
`,
	"config check": `Usage: locktopus config check [FILE]

Says "FILE: ok", or prints every fault of FILE with its line and column. The environment is
looked at as "locktopus serve -c FILE" would, the TLS files are loaded, and the state directory
must be usable. Nothing is started and nothing is left behind. Without FILE the defaults and the
environment are checked.

Exit codes: 0 no fault; 64 wrong command line; 78 faults.
`,
	"config print": `Usage: locktopus config print [-c FILE]

Prints every setting with its meaning and the value that "locktopus serve -c FILE" would use here
and now, and behind each value that isn't the default where it comes from. The output is a
configuration file itself.

  -c, --config FILE      the file to read over the defaults

Exit codes: 0 printed; 64 wrong command line; 78 faulty configuration.
`,
	"health": `Usage: locktopus health [--url URL] [--timeout DURATION] [--cert FILE --key FILE]

Asks a running server's /healthz and prints the answer. For health checks of containers, where
there is no other program to ask with.

  --url URL              what to ask, such as http://127.0.0.1:9009/healthz, unix:/path/to/socket
                         or, with TLS, unix+tls:/path/to/socket. Without it: where a server
                         with this environment and no file would listen, on this machine
  --timeout DURATION     how long to wait for the answer (default 5s)
  --cert FILE            certificate to show to a server that wants one (server.tls.client_ca)
  --key FILE             its key

The server's certificate is verified, except on a loopback address, which no certificate names.

Exit codes: 0 locks can be granted, though the answer may warn; 1 they can't, or the server can't
be reached, for example because it stops; 64 wrong command line; 78 faulty environment.
`,
	"version": `Usage: locktopus version

Prints the program's version, the Go version it was built with, and the system it was built for.
`,
}

// help prints the help text of a command, given as its words or as one.
func (p process) help(words []string) int {
	name := strings.Join(words, " ")
	if name == "help" {
		name = ""
	}
	text, ok := helpTexts[name]
	if !ok {
		return p.unknownCommand(words)
	}
	fmt.Fprint(p.stdout, text)
	return exitOK
}

func (p process) unknownCommand(words []string) int {
	names := []string{"help", "config"}
	for _, c := range commands {
		names = append(names, c.name)
	}
	word, in := words[0], ""
	if word == "config" && len(words) > 1 {
		word, in, names = words[1], " config", []string{"check", "print"}
	}
	what := "command"
	if strings.HasPrefix(word, "-") {
		what = "flag"
	}
	hint := ""
	if best := config.Nearest(word, names); best != "" && what == "command" {
		hint = fmt.Sprintf(", did you mean %q?", strings.TrimSpace(in+" "+best))
	} else if what == "flag" {
		hint = ": flags come behind a command"
	}
	return p.misused("", "locktopus%s: unknown %s %q%s", in, what, word, hint)
}

// misused reports a wrong command line.
func (p process) misused(command, format string, args ...any) int {
	fmt.Fprintf(p.stderr, format+"\n", args...)
	fmt.Fprintf(p.stderr, "Run %q to see what there is.\n", strings.TrimSpace("locktopus help "+command))
	return exitUsage
}
