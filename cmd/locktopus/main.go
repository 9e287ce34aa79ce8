// Command locktopus is the lock server: `locktopus serve` runs it, the other commands are for whoever
// runs it, and `locktopus plugin` is for those who write plugins. `locktopus help` lists them all;
// docs/OPERATING.md is the operator's page, docs/PLUGINS.md the authors'.
//
// The package is flags, files, signals and exit codes. What it reads becomes a config.Config
// (internal/config), what it opens is handed to internal/server, which does the work. Plugins are
// loaded and asked by plugins/host; what the commands add is how questions and answers are written down.
//
// Exit codes: 0 fine; 1 failed, at the start or while running; 64 the command line is wrong; 78 the
// configuration is. Commands that need a server have some more (dial.go), and `locktopus run` those of shells
// (run.go). What a command was asked for goes to standard output, everything else to standard error.
//
// # Where things are
//
//   - serve: serve.go, and what it opens: listen.go, tls.go, serveadmin.go, serveplugins.go, logqueue.go; settings.go maps
//     the configuration to what packages take.
//   - config, health, version: a file each.
//   - run: run.go gets the locks, supervise.go watches them and the command, child_*.go are what systems know of
//     processes.
//   - ls, inspect, watch: look.go, lookseen.go, watch.go. sessions, release: askadmin.go, and a file each.
//   - plugin …: plugin*.go.
//   - For all: flags.go, usage.go, dial.go (how to reach a server), path.go (paths as people write them).
package main

import (
	"fmt"
	"io"
	"os"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64 // EX_USAGE of sysexits.h
	exitConfig = 78 // EX_CONFIG
)

// process is what a command gets of the outside.
type process struct {
	stdout, stderr io.Writer
	environ        []string
}

func main() {
	p := process{os.Stdout, os.Stderr, os.Environ()}
	exit(p.run(os.Args[1:]))
}

// exit ends the program. Where it can't die of a signal, as the first process of a container, the code says the same.
func exit(code int) {
	if code&byInterrupt != 0 {
		dieInterrupted(code&allInterrupts != 0)
	}
	os.Exit(code &^ (byInterrupt | allInterrupts))
}

// exitBySignal is the exit code of a command that was stopped by a signal.
func exitBySignal(s os.Signal) int {
	code := exitSignal + signalNumber(s)
	if s == os.Interrupt {
		code |= byInterrupt
	}
	return code
}

// command is one word of the command line, or two ("config check", "plugin run").
type command struct {
	name string
	run  func(process, []string) int
}

var commands = []command{
	{"serve", process.serve},
	{"config check", process.configCheck},
	{"config print", process.configPrint},
	{"health", process.health},
	{"run", process.runCommand},
	{"ls", process.ls},
	{"inspect", process.inspect},
	{"watch", process.watch},
	{"sessions", process.sessions},
	{"release", process.release},
	{"plugin new", process.pluginNew},
	{"plugin check", process.pluginCheck},
	{"plugin run", process.pluginRun},
	{"plugin test", process.pluginTest},
	{"plugin bench", process.pluginBench},
	{"version", process.version},
}

// run carries out a command line, without the program's name.
func (p process) run(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(p.stdout, helpTexts[""])
		return exitOK
	}
	switch args[0] {
	case "help":
		return p.help(args[1:])
	case "-h", "--help", "-help":
		return p.help(nil)
	case "--version", "-version":
		return p.version(nil)
	}
	name, rest := commandName(args)
	for _, c := range commands {
		if c.name == name {
			if wantsHelp(rest) {
				return p.help([]string{name})
			}
			return c.run(p, rest)
		}
	}
	if _, ok := helpTexts[name]; ok && (len(rest) == 0 || wantsHelp(rest)) { // "config", "plugin"
		return p.help([]string{name})
	}
	return p.unknownCommand(args)
}

// commandName joins the words of a two-word command.
func commandName(args []string) (string, []string) {
	if len(args) > 1 {
		if name := args[0] + " " + args[1]; helpTexts[name] != "" {
			return name, args[2:]
		}
	}
	return args[0], args[1:]
}

func wantsHelp(args []string) bool {
	for _, a := range args {
		switch a {
		case "-h", "--help", "-help":
			return true
		case "--":
			return false
		}
	}
	return false
}
