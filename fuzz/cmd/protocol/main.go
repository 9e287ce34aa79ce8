// Command protocol tests a running lock server from outside: it plays clients of either version of the protocol
// that do what clients may do, and what they may not, and checks what the server answers. See package probe
// for what it checks, and fuzz/README.md for how to use it.
//
// Exit codes: 0 nothing was found; 1 something was; 2 the server can't be reached, or doesn't let itself be
// tested; 64 the command line is wrong. Through `go run` all of them but 0 become 1.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/locktopus-project/locktopus/v2/fuzz/probe"
)

const (
	exitNothing = 0
	exitFound   = 1
	exitFailed  = 2
	exitUsage   = 64 // EX_USAGE of sysexits.h
)

const usage = `Tests a running lock server from outside.

    go run ./fuzz/cmd/protocol [flags] URL

URL is where clients connect: ws://127.0.0.1:9009/v2?namespace=fuzz. Its path ends with the version of the
protocol, v1 or v2. The namespaces that are used have names that begin with the one in it ("fuzz" if there is
none). The server must be there for this: it is stormed with good requests and bad ones, and locks may stay
behind for some milliseconds; if something is found, sessions may for ten minutes.

`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}

// settings are what the command line says.
type settings struct {
	probe.Options
	own      bool // the server is the user's, wherever it is
	insecure bool
	verbose  bool
}

// run carries out a command line, without the program's name.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	set, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitNothing
	case err != nil:
		fmt.Fprintf(stderr, "protocol: %v\n", err)
		return exitUsage
	}
	if err := mayProbe(ctx, set); err != nil {
		fmt.Fprintf(stderr, "protocol: %v\n", err)
		return exitFailed
	}
	if set.verbose {
		set.Progress = stderr
	}
	fmt.Fprintf(stdout, "seed %d: at most %d rounds in %v\n", set.Seed, set.Rounds, set.Time)
	start := time.Now()
	rep, err := probe.Run(ctx, set.Options)
	for _, f := range rep.Findings {
		show(stdout, set, f)
	}
	fmt.Fprintf(stdout, "%d rounds, %d steps and %d locks of storms in %v: %d findings\n",
		rep.Rounds, rep.Steps, rep.StormLocks, time.Since(start).Round(time.Millisecond), len(rep.Findings))
	switch {
	case len(rep.Findings) > 0:
		return exitFound
	case err != nil:
		fmt.Fprintf(stderr, "protocol: %v\n", err)
		return exitFailed
	}
	return exitNothing
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (set settings, err error) {
	f := flag.NewFlagSet("protocol", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	set.Target.Header = http.Header{}
	f.Uint64Var(&set.Seed, "seed", rand.Uint64(), "`number` that everything is drawn from (default random)")
	f.Lookup("seed").DefValue = "0"
	f.IntVar(&set.First, "first", 0, "number of the first `round`: to play one again")
	f.IntVar(&set.Rounds, "rounds", probe.DefaultRounds, "how many `rounds` at most")
	f.DurationVar(&set.Time, "time", probe.DefaultTime, "how long: no round begins after it")
	f.DurationVar(&set.Patience, "patience", probe.DefaultPatience, "how long the server may take for anything")
	f.IntVar(&set.Findings, "findings", 1, "end after so many `findings`")
	f.BoolVar(&set.own, "own", false, "the server is yours to break, although it isn't on this machine")
	f.BoolVar(&set.insecure, "insecure", false, "take any certificate (wss)")
	f.BoolVar(&set.verbose, "v", false, "tell of each round")
	f.Func("header", "`\"Name: value\"` to send when connecting; may be repeated", func(line string) error {
		name, value, err := probe.ParseHeader(line)
		set.Target.Header.Add(name, value)
		return err
	})
	if err := f.Parse(args); err != nil {
		return set, err
	}
	if f.NArg() != 1 {
		return set, errors.New("give one URL, such as ws://127.0.0.1:9009/v2?namespace=fuzz; -h helps")
	}
	if set.Rounds < 1 || set.Findings < 1 || set.First < 0 || set.Time <= 0 || set.Patience <= 0 {
		return set, errors.New("-rounds, -findings, -time and -patience are above zero, -first is not below it")
	}
	u, err := url.Parse(f.Arg(0))
	switch {
	case err != nil:
		return set, err
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || u.User != nil:
		return set, fmt.Errorf("%q is no address of a lock server: want one such as ws://127.0.0.1:9009/v2?namespace=fuzz", f.Arg(0))
	}
	set.Target.URL, set.Target.Local, set.Space = u, !set.own, u.Query().Get("namespace")
	if set.insecure {
		set.Target.TLS = &tls.Config{InsecureSkipVerify: true}
	}
	return set, nil
}

// mayProbe refuses servers of others: only what is on this machine is taken for the user's own.
func mayProbe(ctx context.Context, set settings) error {
	if set.own {
		return nil
	}
	host := set.Target.URL.Hostname()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if a = a.Unmap(); !a.IsLoopback() {
			return fmt.Errorf("%s is not on this machine, but at %v. If the server is yours, and nobody depends on it, say so with -own", host, a)
		}
	}
	return nil
}

// show tells of a finding, and how to meet it again.
func show(out io.Writer, set settings, f probe.Finding) {
	fmt.Fprintf(out, "\nFOUND in round %d: %v\n", f.Round, f.Err)
	switch {
	case f.Storm:
		fmt.Fprintln(out, "\nAll clients acted at once; these are their requests:")
	case f.Repeats:
		fmt.Fprintf(out, "\nIt takes these steps:\n\n    %s\n\nWhat was said:\n", strings.Join(f.Script, "\n    "))
	default:
		fmt.Fprintln(out, "\nIt wasn't met again when the same steps were played once more. What was said:")
	}
	fmt.Fprintf(out, "\n%s\n", indent(f.Text))
	again := "\nTo play the round again:"
	if f.Storm {
		again = "\nTo play the round again (the order in which things reach the server will differ):"
	}
	fmt.Fprintf(out, "%s\n\n    %s\n\n", again, command(set, f))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ")
}

// command plays the round of a finding again.
func command(set settings, f probe.Finding) string {
	c := fmt.Sprintf("go run ./fuzz/cmd/protocol -seed %d -first %d -rounds 1 -patience %v", set.Seed, f.Round, set.Patience)
	if set.own {
		c += " -own"
	}
	if set.insecure {
		c += " -insecure"
	}
	for name := range set.Target.Header {
		c += fmt.Sprintf(" -header '%s: …'", name) // it may be a secret
	}
	return c + " '" + set.Target.URL.String() + "'"
}
