package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// benchRounds is how many rounds the time is divided into. The median of an odd number is one of them.
const benchRounds = 9

func (p process) pluginBench(args []string) int {
	long := "2s"
	a, err := parseAsking(args, &flagValue{long: "--for", value: &long})
	var total time.Duration
	if err == nil {
		total, err = benchTime(long)
	}
	if err != nil {
		return p.misused("plugin bench", "locktopus plugin bench: %v", err)
	}
	a.spec.Limits.LogLines = 0 // a server drops nearly all lines of a plugin that is asked this often
	probe, err := host.NewProbe(a.spec, host.Options{Log: relay{p.stderr}.log()})
	if err != nil {
		return p.loadFaults(&a.spec, err)
	}
	defer probe.Close()
	first := a.question.ask(probe)
	fmt.Fprintln(p.stdout, first)
	if first.failed() {
		return exitFailed
	}
	b := bench{probe: probe, question: a.question}
	for range benchRounds {
		b.round(total / benchRounds)
	}
	p.printBench(&b, a.spec.Limits.Call)
	if b.failed > 0 {
		return exitFailed
	}
	return exitOK
}

// benchTime is how long to ask.
func benchTime(text string) (time.Duration, error) {
	const low, high = 10 * time.Millisecond, 10 * time.Minute
	d, err := time.ParseDuration(text)
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("--for must be a duration from %s to %s, but is %q", config.FormatDuration(low), config.FormatDuration(high), text)
	}
	return d, nil
}

// bench puts one question again and again.
type bench struct {
	probe    *host.Probe
	question *question
	calls    int64
	failed   int64  // of these
	failure  string // the last one's reason
	mallocs  uint64
	rounds   []time.Duration // of one call, each
}

// benchBatch is how often a question is put between two looks at the clock. The first batches are smaller, or
// a slow plugin would have to be waited for long.
const benchBatch = 16

func (b *bench) round(long time.Duration) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun, calls := time.Now(), int64(0)
	var took time.Duration
	for batch := int64(1); took < long; batch = min(2*batch, benchBatch) {
		for range batch {
			if _, _, v := b.question.put(b.probe); v.Outcome == host.Failed {
				b.failed, b.failure = b.failed+1, string(v.Reason)
			}
		}
		calls += batch
		took = time.Since(begun)
	}
	runtime.ReadMemStats(&after)
	b.calls += calls
	b.mallocs += after.Mallocs - before.Mallocs
	b.rounds = append(b.rounds, took/time.Duration(calls))
}

func (p process) printBench(b *bench, limit time.Duration) {
	slices.Sort(b.rounds)
	fastest, median, slowest := b.rounds[0], b.rounds[len(b.rounds)/2], b.rounds[len(b.rounds)-1]
	line := func(what, format string, args ...any) {
		fmt.Fprintf(p.stdout, "%-14s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("a call", "%v; median of %d rounds, from %v to %v", rounded(median), len(b.rounds), rounded(fastest), rounded(slowest))
	line("calls", "%s a second; %s were made", config.FormatInteger(int64(time.Second/max(median, 1))), config.FormatInteger(b.calls))
	line("allocations", "%.1f a call, in the server", float64(b.mallocs)/float64(b.calls))
	line("limit", "a call takes %.3g%% of call_timeout, %s", 100*float64(median)/float64(limit), config.FormatDuration(limit))
	if b.failed > 0 {
		line("failures", "%s; the last: %s", config.FormatInteger(b.failed), printable(b.failure))
		return // after which an instance that never paid anything is asked
	}
	units, slice, more := b.probe.Fuel()
	if more {
		line("metering", "more than %d units: the clock is looked at during a call", slice)
		return
	}
	line("metering", "%d units; the clock is looked at after %d", units, slice)
}
