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
)

// options are what the command line says.
type options struct {
	loads   []string
	conns   []int // of u and c
	idle    int   // of idle
	slice   time.Duration
	repeats int
	json    string // file for the raw figures; "": none
	plugins string // configuration of the server with plugins; "": none
	stall   time.Duration
	settle  time.Duration // for which the server's memory must have stayed the same
}

// loads are the loads we know, in the order in which they run.
var loads = []string{"u", "c", "idle", "p"}

// usualLoads run unless others are named: p needs a configuration.
var usualLoads = loads[:3]

func main() {
	if len(os.Args) == 2 && os.Args[1] == ceilingArg {
		exitOn(serveCeiling(os.Stderr))
	}
	opt, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	exitOn(err)
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

func parseOptions(args []string, help io.Writer) (options, error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(help)
	names := f.String("loads", strings.Join(usualLoads, ","), "what to run: u (each connection its own path), c (all connections one path), idle, p (as u, with plugins and without)")
	conns := f.String("conns", "64,1000", "connections of u and c, one run for each number")
	idle := f.Int("idle", 10_000, "idle connections")
	seconds := f.Float64("seconds", 1, "length of a slice; at most 10, or those who wait for their turn would be pinged")
	repeats := f.Int("repeats", 5, "repeats of u and c")
	file := f.String("json", "", "`file` for the figures of every repeat")
	plugins := f.String("plugins", "", "for p: `file` that configures the server with plugins")
	stall := f.Duration("stall", 10*time.Second, "give up when nothing is answered for so long")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	opt := options{
		loads: strings.Split(*names, ","), idle: *idle, slice: time.Duration(*seconds * float64(time.Second)),
		repeats: *repeats, json: *file, plugins: *plugins, stall: *stall, settle: time.Second,
	}
	for _, c := range strings.Split(*conns, ",") {
		n, err := strconv.Atoi(c)
		if err != nil {
			return options{}, fmt.Errorf("-conns: %q is no number", c)
		}
		opt.conns = append(opt.conns, n)
	}
	if f.NArg() > 0 {
		return options{}, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	return opt, opt.check()
}

func (o options) check() error {
	for _, l := range o.loads {
		if !slices.Contains(loads, l) {
			return fmt.Errorf("-loads: there is no load %q, only %s", l, strings.Join(loads, ", "))
		}
	}
	for _, n := range o.conns {
		if n < 1 || n > fleetMax {
			return fmt.Errorf("-conns: %d is not in 1 to %d", n, fleetMax)
		}
	}
	switch {
	case slices.Contains(o.loads, "p") && o.plugins == "":
		return errors.New("-loads p needs -plugins FILE")
	case o.idle < 10 || o.idle > 1_000_000:
		return errors.New("-idle is not in 10 to 1000000")
	case o.slice < time.Millisecond || o.slice > 10*time.Second:
		return errors.New("-seconds is not in 0.001 to 10")
	case o.repeats < 1 || o.repeats > 1000:
		return errors.New("-repeats is not in 1 to 1000")
	case o.stall < 100*time.Millisecond:
		return errors.New("-stall is less than 100ms")
	}
	return nil
}
