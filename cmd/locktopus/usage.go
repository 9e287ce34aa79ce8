package main

import (
	"fmt"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// questionHelp and loadHelp are parts of several help texts.
const (
	questionHelp = `The question:

  --namespace NAME       default: default
  --write PATH           a path to lock, of authorize and normalize: segments with "/" between
  --read PATH            them; "\/" and "\\" are "/" and "\" within one; "" is all the namespace.
  --permit PATH          These three can be given several times, in any order
  --operation WHAT       lock (the default), inspect, watch or force-release; of authorize
  --principal NAME       who the client is; of authorize. Without it: nobody named it
  --context TEXT         what is kept with its name; of authorize
  --remote ADDRESS       where it is, such as 192.0.2.1:50000, or "" for a unix socket; not of
                         normalize (default 127.0.0.1:50000)
  --now TIME             when it is, such as 2030-01-02T15:04:05Z; not of normalize. Only the
                         question tells it: the clock of WASI goes right
  --url-path PATH        of the URL; of authenticate, as all that follow (default /v1)
  --header 'NAME: VALUE' a header; this and the next ones can be given several times
  --query NAME=VALUE     a parameter of the URL's query, decoded
  --fact NAME=VALUE      something known of the TLS connection, which there is then. Others than
                         version, server-name and alpn mean a verified client certificate
  --credential NAME=VALUE  from the hello of protocol version 2

`
	loadHelp = `How it is loaded, as the settings of [[plugins]] of the same names say:

  --config JSON          its configuration: a JSON object, or @FILE for what is in FILE
  --module-bytes N       of the file (default 8_388_608)
  --memory-bytes N       of an instance's memory (default 16_777_216)
  --call-timeout TIME    for one question (default 5ms)
  --init-timeout TIME    for getting ready (default 1s)
`
)

// lookHelp is part of the help texts of commands that show locks.
const lookHelp = `PATH is segments with "/" between them; "\/" and "\\" are "/" and "\" within one; "" is the whole
namespace. What others have written is shown in quotes where it isn't one plain word.

  --json                 a line of JSON for each lock, in the terms of the protocol
  --url URL              ws://HOST:PORT/v2?namespace=NAME, or wss://; without it LOCKTOPUS_URL of
                         the environment
  --header 'NAME: VALUE' a header to connect with, several times; the environment's
                         LOCKTOPUS_AUTHORIZATION is the header Authorization
  --ca FILE              authorities of the server's certificate, PEM (default: the system's)
  --cert FILE            certificate to show to a server that wants one (server.tls.client_ca)
  --key FILE             its key
`

// adminHelp is part of the help texts of commands for administrators.
const adminHelp = `  --namespace NAME       default: that of LOCKTOPUS_URL in the environment
  --admin URL            where the listener is: http://HOST:PORT, https://, unix:/path/to/socket
                         or, with TLS, unix+tls:/path/to/socket. Without it LOCKTOPUS_ADMIN_URL
                         of the environment, or http://127.0.0.1:9010
  --token-file FILE      the administrators' token. Without it LOCKTOPUS_ADMIN_TOKEN of the
                         environment, or the file that LOCKTOPUS_ADMIN_TOKEN_FILE names there
  --json                 a line of JSON for each thing, in the terms of docs/OPERATING.md
  --ca FILE              authorities of the server's certificate, PEM (default: the system's)
  --server-name NAME     the name in its certificate, if it isn't the URL's
  --cert FILE            certificate to show to a server that wants one (server.tls.client_ca)
  --key FILE             its key
`

// helpTexts are by command; "" is the program's own.
var helpTexts = map[string]string{
	"": `Locktopus is a lock server: clients lock sets of paths, for reading or writing, over WebSocket.

Usage: locktopus COMMAND

  serve          run the server (needs no configuration; it listens on 127.0.0.1:9009)
  config check   look for faults in a configuration file
  config print   print the configuration that would be in effect
  health         ask a running server whether it is well
  run            run a command while its locks are held
  ls             list who holds which locks, and who waits
  inspect        say all about the locks at a path, and who waits for whom
  watch          show locks as they change
  sessions       list the clients of a namespace; for administrators
  release        take a lock from who holds it, or end a session; for administrators
  plugin new     make a project for a plugin
  plugin check   look for faults in a plugin
  plugin run     ask a plugin one question
  plugin test    compare a plugin's answers with those that a file wants
  plugin bench   measure how long a plugin takes to answer
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
one stops it at once. SIGHUP reads FILE and what it names again and says in the log what changed.

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
looked at as "locktopus serve -c FILE" would, the TLS files and the plugins are loaded, and the
state directory must be usable. Nothing is started and nothing is left behind. Without FILE the
defaults and the environment are checked.

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
	"run": `Usage: locktopus run [-w PATH]... [-r PATH]... [--permit PATH:N]... [options] -- COMMAND [ARG]...

Waits for locks, runs a command while they are held, and releases them when the command and all
that it has left in its process group are gone. There is no shell in between. If the locks come to
their end while the command runs, it is ended before: SIGTERM, and then SIGKILL.

  --write, -w PATH       lock a path for writing. A path is its segments with "/" between them;
                         "\/" and "\\" are "/" and "\" within one; "" is the whole namespace
  --read, -r PATH        lock a path for reading
  --permit PATH:N        take one of N places at a path
  --wait DURATION        how long to wait for the locks (default: for ever). At a terminal it is
                         told who is in the way
  --try                  don't wait, as --wait 0s
  --ttl DURATION         how long the locks last when the server can't be reached (default 15s).
                         A server that grants less is told of (sessions.ttl_max)
  --grace DURATION       between SIGTERM and SIGKILL; at most a third of that time (default 5s, or
                         that third)
  --note TEXT            shown to people who look at the locks
  --name TEXT            what they see as the one who holds them (default: HOST:PID)
  --url URL              ws://HOST:PORT/v2?namespace=NAME, or wss://; without it LOCKTOPUS_URL of
                         the environment
  --header 'NAME: VALUE' a header to connect with, several times; the environment's
                         LOCKTOPUS_AUTHORIZATION is the header Authorization
  --ca FILE              authorities of the server's certificate, PEM (default: the system's)
  --cert FILE            certificate to show to a server that wants one (server.tls.client_ca)
  --key FILE             its key

The command finds LOCKTOPUS_TOKEN, the fencing token, LOCKTOPUS_LOCK_ID, and LOCKTOPUS_PATHS, its
resources as JSON, in its environment, but not LOCKTOPUS_AUTHORIZATION nor LOCKTOPUS_ADMIN_TOKEN.
A signal sent to run goes to the command's process group; while run waits, it leaves the queue.

Exit codes: the command's own; 128+N when signal N ended it, or run while it was waiting; 64 wrong
command line; 69 the server can't be reached, is full, or shuts down; 75 the locks were not to be
had, also as permits of another N are there at present; 77 denied; 79 the locks were lost while
the command was running; 126 the command can't be executed; 127 there is no such command.
`,
	"ls": `Usage: locktopus ls [PATH] [--json] [options]

Lists the locks at a path, below it, and above it where that covers it; without PATH, all of the
namespace. A line for each says its state and for how long, its fencing token, session and number,
which "locktopus release" takes, the session's name, what it is for, and its note.

` + lookHelp + `
Exit codes: 0 listed; 1 the list can't be written; 64 wrong command line; 69 the server can't be
reached; 77 denied.
`,
	"inspect": `Usage: locktopus inspect PATH [SESSION [LOCK]] [--json] [options]

Says all about the locks at a path, below it, and above it where that covers it: what they are
for, whose they are, and of those that wait for whom. SESSION and LOCK, as "locktopus ls" shows
them, leave out all others.

` + lookHelp + `
Exit codes: 0 said, also if there are no locks; 1 it can't be written; 64 wrong command line; 69
the server can't be reached; 77 denied.
`,
	"watch": `Usage: locktopus watch PATH [--json] [options]

Lists the locks at a path, below it, and above it where that covers it, each with its state in
brackets, and then shows each change as it happens, until it is stopped. While the server is gone
it waits for it, however long that takes, and then begins anew: standard error says so, and with
--json there is an object with the change "anew" and no lock before the new list.

` + lookHelp + `
Exit codes: 128+N when signal N stopped it, 141 when nobody reads it any more; 1 it can't be
written; 64 wrong command line; 69 the server can't be reached at the start; 77 denied.
`,
	"sessions": `Usage: locktopus sessions [--namespace NAME] [--json] [options]

Lists the sessions of a namespace: whether each has a connection, its age, how long it still lives
if it stays silent, and of how much time that is (TTL); how many locks it holds and waits for; its
id, which "locktopus release" takes, its name, where it is or was last, and what plugins call it.
Clients of version 1 have no sessions. For administrators, at the server's listener for them
(admin.listen).

` + adminHelp + `
Exit codes: 0 listed; 1 nobody uses the namespace, or the list can't be written; 64 wrong command
line; 69 the listener can't be reached; 77 denied: the token is another one.
`,
	"release": `Usage: locktopus release SESSION LOCK --reason TEXT [options]
       locktopus release SESSION --end --reason TEXT [options]

Takes a lock from a session, whether it is held or waits, or ends the session with all its locks.
The client is told why. SESSION and LOCK are what "locktopus ls" shows; the beginning of a
session's id will do. For administrators, at the server's listener for them (admin.listen).

  --reason TEXT          what the client is told, in one line
  --end                  end the session
` + adminHelp + `
Exit codes: 0 done; 1 there is no such lock or session; 64 wrong command line; 69 the listener
can't be reached; 77 denied: the token is another one.
`,
	"plugin": `Usage: locktopus plugin new [--lang LANGUAGE] DIR
       locktopus plugin check FILE.wasm
       locktopus plugin run FILE.wasm HOOK
       locktopus plugin test FILE.wasm CASES.toml
       locktopus plugin bench FILE.wasm HOOK

  plugin new     make a project for a plugin
  plugin check   look for faults in a plugin
  plugin run     ask a plugin one question
  plugin test    compare a plugin's answers with those that a file wants
  plugin bench   measure how long a plugin takes to answer

"locktopus help plugin new" and so on say more. docs/PLUGINS.md says what a plugin is.
`,
	"plugin new": `Usage: locktopus plugin new [--lang LANGUAGE] DIR

Makes a project: a small plugin that works, with the hooks that it doesn't serve in comments, the
SDK's files, cases for "locktopus plugin test", and a README. Prints what to do next. DIR may be
there already, but none of the files.

  --lang LANGUAGE        assemblyscript, c, go (the default), rust, wat or zig. Each needs its own
                         compiler: the project's README says which

Exit codes: 0 made; 1 it can't be, or a file is there already; 64 wrong command line.
`,
	"plugin check": `Usage: locktopus plugin check FILE.wasm [--hooks HOOK,...] [--config JSON] [limits]

Takes a module through every step of being loaded by a server, without asking it anything. Prints
what there is to know about it and "FILE.wasm: ok", or every fault that was found.

  --hooks HOOK,...       the hooks that it must serve, as plugins.hooks says: authenticate,
                         authorize, normalize. Without it: all that it exports, at least one
` + loadHelp + `
The sum (sha256) is that of the file and its configuration. Servers on which clients hold one lock
together (client/quorum) must have the same.

Exit codes: 0 no fault; 1 a server could not load it; 64 wrong command line.
`,
	"plugin run": `Usage: locktopus plugin run FILE.wasm HOOK [question] [--config JSON] [limits]

Asks a plugin one question as a server would, and prints the answer. HOOK is authenticate,
authorize or normalize. What the plugin logs goes to standard error.

` + questionHelp + loadHelp + `
Exit codes: 0 allowed; 1 denied, or the plugin failed or can't be loaded; 64 wrong command line.
`,
	"plugin test": `Usage: locktopus plugin test FILE.wasm CASES.toml [--config JSON] [limits]

Asks a plugin the questions in CASES.toml and compares its answers with those that are wanted. All
are put to one instance in their order. Those of normalize are also asked again and again: the
answers must be the same from a new instance, after other questions, in any mode, and for each
path by itself; and an answer must be its own answer. A line for each case that fails has the
question as "locktopus plugin run" takes it, the answer, and what was wanted.

    config = {admins = ["carol"]}        # if there is any, as in [plugins.config]; or a string of
                                         # JSON, or "@FILE" with JSON, beside this file

    [[case]]
    name = "bob writes what is alice's"  # for people; may be left out
    hook = "authorize"
    principal = "bob"                    # the question: flags of "plugin run" without "--"
    write = ["alice/inbox"]              # and with "_" for "-", those that can be given
    read = "bob/inbox"                   # several times also as arrays. Resources are asked
    want = "deny"                        # about in the order write, read, permit
    code = 1                             # these two may be left out
    reason = "that is alice's"

    [[case]]
    hook = "authenticate"
    now = 2030-01-01T00:00:00Z           # the time that the question tells
    header = "authorization: Bearer abc"
    want = "allow"
    identity = {principal = "alice", context = "", ttl = "1h"}  # {}: allowed without a name

    [[case]]
    hook = "normalize"
    write = ["A/B", "c"]
    want = "allow"                       # "fail" is for what is neither allowed nor denied
    paths = ["a/b", "c"]

What a case doesn't say of the answer may be anything, except within identity, where it is
nothing.

` + loadHelp + `
Exit codes: 0 all as wanted; 1 not, or the cases are faulty, or the plugin can't be loaded; 64
wrong command line.
`,
	"plugin bench": `Usage: locktopus plugin bench FILE.wasm HOOK [question] [--for DURATION]
                              [--config JSON] [limits]

Asks a plugin one question again and again, on one core, and prints how long an answer takes. What
the plugin logs is dropped.

  --for DURATION         how long to ask (default 2s)

` + questionHelp + loadHelp + `
Exit codes: 0 measured; 1 the plugin failed, at least once, or can't be loaded; 64 wrong command
line.
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
	names := []string{"help", "config", "plugin"}
	for _, c := range commands {
		names = append(names, c.name)
	}
	word, in := words[0], ""
	if inside := wordsBehind(word); len(inside) > 0 && len(words) > 1 {
		word, in, names = words[1], " "+word, inside
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
	return p.misused(strings.TrimSpace(in), "locktopus%s: unknown %s %q%s", in, what, word, hint)
}

// wordsBehind are the second words of commands that begin with this one.
func wordsBehind(word string) (words []string) {
	for _, c := range commands {
		if second, ok := strings.CutPrefix(c.name, word+" "); ok {
			words = append(words, second)
		}
	}
	return words
}

// misused reports a wrong command line.
func (p process) misused(command, format string, args ...any) int {
	fmt.Fprintf(p.stderr, format+"\n", args...)
	fmt.Fprintf(p.stderr, "Run %q to see what there is.\n", strings.TrimSpace("locktopus help "+command))
	return exitUsage
}
