package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// benchRounds is how many rounds the time is divided into. The median of an odd number is one of them.
const benchRounds = 9

func (p process) pluginBench(args []string) int {
	var long string
	forFlag := &flagValue{long: "--for", value: &long}
	a, err := parseAsking(args, forFlag)
	total := 2 * time.Second
	if err == nil && forFlag.given {
		if total, err = lasting(long, 10*time.Millisecond, 10*time.Minute); err != nil {
			err = fmt.Errorf("--for %w", err)
		}
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
	if first.outcome != host.Allowed && first.outcome != host.Denied {
		return exitFailed
	}
	b := bench{probe: probe, question: a.question}
	for range benchRounds {
		b.round(total / benchRounds)
	}
	p.printBench(&b, &a.spec)
	if b.failed > 0 {
		return exitFailed
	}
	return exitOK
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

// benchBatch is how often a question is put between two looks at the clock.
const benchBatch = 16

func (b *bench) round(long time.Duration) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun, calls := time.Now(), int64(0)
	var took time.Duration
	for took < long {
		for range benchBatch {
			b.call()
		}
		calls += benchBatch
		took = time.Since(begun)
	}
	runtime.ReadMemStats(&after)
	b.calls += calls
	b.mallocs += after.Mallocs - before.Mallocs
	b.rounds = append(b.rounds, took/time.Duration(calls))
}

func (b *bench) call() {
	var v host.Verdict
	switch q := b.question; q.hook {
	case host.Authenticate:
		_, v = b.probe.Authenticate(&q.connect)
	case host.Authorize:
		v = b.probe.Authorize(&q.request)
	case host.Normalize:
		_, v = b.probe.Normalize(&q.request)
	}
	if v.Outcome == host.Failed {
		b.failed, b.failure = b.failed+1, string(v.Reason)
	}
}

func (p process) printBench(b *bench, spec *host.Spec) {
	slices.Sort(b.rounds)
	median := max(b.rounds[len(b.rounds)/2], 1)
	limit := spec.Limits.Call
	if limit == 0 {
		limit = host.DefaultLimits().Call
	}
	line := func(what, format string, args ...any) {
		fmt.Fprintf(p.stdout, "%-14s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("a call", "%v; median of %d rounds, from %v to %v", rounded(median), len(b.rounds), rounded(b.rounds[0]), rounded(b.rounds[len(b.rounds)-1]))
	line("calls", "%s a second; %s were made", grouped(int64(time.Second/median)), grouped(b.calls))
	line("allocations", "%.1f a call, in the server", float64(b.mallocs)/float64(b.calls))
	if b.failed > 0 {
		line("failures", "%s, the last: %s", grouped(b.failed), printable(b.failure))
	}
	line("limit", "a call takes %.3g%% of call_timeout, %v", 100*float64(median)/float64(limit), limit)
	units, slice, more := b.probe.Fuel()
	if more {
		line("metering", "more than %d units: the clock is looked at during a call", slice)
		return
	}
	line("metering", "%d units; the clock is looked at after %d", units, slice)
}
