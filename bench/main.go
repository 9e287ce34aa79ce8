package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// options are what the command line says.
type options struct {
	loads   []string
	conns   []int // of most loads
	idle    int   // connections of idle
	crowd   int   // connections of cancel and storm
	held    []int // locks of flat
	churn   int   // pairs
	rate    float64
	peers   []string // that take part; none: all
	slice   time.Duration
	repeats int
	out     string // directory for JSON and plots; "": none
	plugins string // configuration of one more server with plugins; "": none
	stall   time.Duration
	settle  time.Duration // for which the server's memory must have stayed the same
	compare []string      // two reports; then nothing is measured
	command string        // that would do the same, without what names files
}

const (
	fleetMax = 1_000_000
	crowdMax = 100_000
	heldMax  = 10_000_000
)

// allLoads are the loads we know, in the order in which they run.
func allLoads() (names []string) {
	for _, s := range report.Sheets {
		if s.Load != apartLoad {
			names = append(names, s.Load)
		}
	}
	return names
}

// peersLoad runs only if it is asked for.
const peersLoad = "peers"

// apartLoad is the name under which peersLoad keeps the peers that take turns with ours alone.
const apartLoad = report.Apart

func main() {
	if len(os.Args) == 2 && os.Args[1] == ceilingArg {
		exitOn(serveCeiling(os.Stderr))
		return
	}
	opt, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	exitOn(err)
	if len(opt.compare) > 0 {
		exitOn(compare(opt.compare, os.Stdout))
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, opt, os.Stdout)
	cancel()
	exitOn(err)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func compare(files []string, out io.Writer) error {
	old, err := report.Load(files[0])
	if err != nil {
		return err
	}
	new, err := report.Load(files[1])
	if err == nil {
		report.Compare(out, old, new)
	}
	return err
}

func parseOptions(args []string, help io.Writer) (opt options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(help)
	usual := slices.DeleteFunc(allLoads(), func(l string) bool { return l == peersLoad })
	names := f.String("loads", strings.Join(usual, ","), "what to run, of "+strings.Join(allLoads(), ", ")+"; README.md says what they are")
	withPeers := f.Bool("peers", false, "run peers too, the comparison with other projects' servers; those that aren't installed are left out")
	only := f.String("only", "", "the peers to compare with, such as redis,etcd; all if empty")
	conns := f.String("conns", "64,1000", "connections of most loads, a case for each number")
	f.IntVar(&opt.idle, "idle", 10_000, "idle connections")
	f.IntVar(&opt.crowd, "crowd", 10_000, "connections that leave in cancel and come back in storm")
	held := f.String("held", "0,1000,100000,1000000", "locks that others hold in flat, a case for each number")
	f.IntVar(&opt.churn, "churn", 1_000_000, "pairs of lock and release in churn")
	f.Float64Var(&opt.rate, "rate", 0, "locks that arrive in a second in the load rate; 0: shares of what the server can do")
	seconds := f.Float64("seconds", 1, "length of a slice; at most 10")
	f.IntVar(&opt.repeats, "repeats", 5, "repeats of each case")
	f.StringVar(&opt.out, "out", "bench/out", "`directory` for results.json, results.txt and the plots; it is made if need be, and none if empty")
	f.StringVar(&opt.plugins, "plugins", "", "for plugins: `file` that configures one more server, with plugins of yours")
	f.DurationVar(&opt.stall, "stall", 10*time.Second, "give up when nothing is answered for so long")
	comparing := f.Bool("compare", false, "measure nothing, but compare two results: bench -compare OLD.json NEW.json")
	if err := f.Parse(args); err != nil {
		return opt, err
	}
	opt.loads, opt.slice, opt.settle = strings.Split(*names, ","), time.Duration(*seconds*float64(time.Second)), time.Second
	if *withPeers && !slices.Contains(opt.loads, peersLoad) {
		opt.loads = append(opt.loads, peersLoad)
	}
	if *only != "" {
		opt.peers = strings.Split(*only, ",")
	}
	opt.command = commandLine(f)
	if *comparing {
		opt.compare = f.Args()
		if len(opt.compare) != 2 {
			return opt, errors.New("-compare needs two files: the old results and the new ones")
		}
		return opt, nil
	} else if f.NArg() > 0 {
		return opt, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	if opt.conns, err = numbers("-conns", *conns, 1, fleetMax); err != nil {
		return opt, err
	}
	if opt.held, err = numbers("-held", *held, 0, heldMax); err != nil {
		return opt, err
	}
	return opt, opt.check()
}

// commandLine is what was asked for. Files are not part of it: results tell nothing of whose they are.
func commandLine(f *flag.FlagSet) string {
	words := []string{"go run ./bench"}
	f.Visit(func(fl *flag.Flag) {
		if fl.Name == "out" || fl.Name == "plugins" {
			return
		}
		if b, ok := fl.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			words = append(words, "-"+fl.Name)
		} else {
			words = append(words, "-"+fl.Name, fl.Value.String())
		}
	})
	return strings.Join(words, " ")
}

// numbers reads a list.
func numbers(name, text string, least, most int) (ns []int, err error) {
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no number", name, word)
		}
		if n < least || n > most {
			return nil, fmt.Errorf("%s: %d is not in %d to %d", name, n, least, most)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

func (o options) check() error {
	for _, l := range o.loads {
		if !slices.Contains(allLoads(), l) {
			return fmt.Errorf("-loads: there is no load %q, only %s", l, strings.Join(allLoads(), ", "))
		}
	}
	for _, p := range o.peers {
		if !slices.Contains(peerNames, p) {
			return fmt.Errorf("-only: there is no peer %q, only %s", p, strings.Join(peerNames, ", "))
		}
	}
	for _, n := range o.conns {
		if n > peerConnsMax && slices.Contains(o.loads, peersLoad) {
			return fmt.Errorf("-conns: peers are measured with at most %d connections", peerConnsMax)
		}
	}
	switch {
	case o.idle < 10 || o.idle > fleetMax:
		return fmt.Errorf("-idle is not in 10 to %d", fleetMax)
	case o.crowd < 1 || o.crowd > crowdMax:
		return fmt.Errorf("-crowd is not in 1 to %d", crowdMax)
	case o.churn < 100 || o.churn > 1_000_000_000:
		return errors.New("-churn is not in 100 to 1000000000")
	case o.rate != 0 && !(o.rate >= 1 && o.rate <= 1e7):
		return errors.New("-rate is neither 0 nor in 1 to 10000000")
	case o.slice < time.Millisecond || o.slice > 10*time.Second:
		return errors.New("-seconds is not in 0.001 to 10")
	case o.repeats < 1 || o.repeats > 1000:
		return errors.New("-repeats is not in 1 to 1000")
	case o.stall < 100*time.Millisecond:
		return errors.New("-stall is less than 100ms")
	}
	return nil
}

// peerNames are the peers we know, and peerConnsMax is how many connections their servers are set up for.
var peerNames = []string{"redis", "redis-list", "etcd", "zookeeper", "postgresql"}

const peerConnsMax = 1000
