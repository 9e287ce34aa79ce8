package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything a run found out; its JSON is what -json writes.
type report struct {
	Machine machine   `json:"machine"`
	Args    []string  `json:"args"`
	Began   time.Time `json:"began"`
	Loads   []load    `json:"loads"`
	Idle    *idle     `json:"idle,omitempty"`
}

// machine says where and what was measured.
type machine struct {
	CPU           string `json:"cpu"`
	Cores         int    `json:"cores"`
	Kernel        string `json:"kernel"`
	Go            string `json:"go"`       // that built the server
	Revision      string `json:"revision"` // of the server
	ServerCore    int    `json:"server_core"`
	GeneratorCore int    `json:"generator_core"`
}

// load is one load with one number of connections.
type load struct {
	Name        string   `json:"name"`
	Connections int      `json:"connections"`
	InFlight    int      `json:"in_flight"`
	Repeats     []repeat `json:"repeats"`
}

// repeat is one slice of each candidate.
type repeat struct {
	Server  slice  `json:"server"`
	Ceiling *slice `json:"ceiling,omitempty"`
}

// slice is what one candidate did for a while.
type slice struct {
	Seconds   float64 `json:"seconds"`
	Messages  int     `json:"messages"` // answered; two make a pair
	PairRate  float64 `json:"pairs_per_second"`
	ServerCPU float64 `json:"server_cpu"` // share of one core
	PairCPU   float64 `json:"server_cpu_us_per_pair"`
	// GeneratorBusy is the share of the time in which the generator had something to do. It includes
	// what other processes took from its core.
	GeneratorBusy float64 `json:"generator_busy"`
	// Others is the share of a core, the server's or the generator's, that somebody else used. It
	// tells a disturbed slice from a quiet one.
	Others  float64  `json:"others_cpu"`
	HandOff *handOff `json:"hand_off_ns,omitempty"`
}

// handOff is the time from the release of a lock being sent to the next grant being read.
type handOff struct {
	P50  time.Duration `json:"p50"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p99.9"`
	Max  time.Duration `json:"max"`
}

// idle is what idle connections cost.
type idle struct {
	Asked        int     `json:"asked"`
	Held         int     `json:"held"`
	Descriptors  int     `json:"descriptors"` // a process may have
	Addresses    int     `json:"addresses"`   // of loopback, that the connections came from
	Base         memory  `json:"base"`        // with BaseHeld of them
	BaseHeld     int     `json:"base_held"`
	Full         memory  `json:"full"` // with all of them
	PerConn      float64 `json:"bytes_per_connection"`
	PingSeconds  float64 `json:"ping_interval_seconds"`
	Pings        int     `json:"pings"`
	PingedTwice  int     `json:"connections_pinged_twice"`
	Served       int     `json:"connections_served"`
	ServeSeconds float64 `json:"serve_seconds"`
	ServerCPU    float64 `json:"server_cpu"` // while all were pinged
}

// memory is what a process has in RAM, in bytes.
type memory struct {
	RSS       int64 `json:"rss"`
	Anonymous int64 `json:"anonymous"` // of that, not backed by files
}

// saturated is the share of a core from which on a side counts as bounded by it.
const saturated = 0.97

// disturbed is the share of a core in the hands of others from which on a slice counts as disturbed.
const disturbed = 0.10

// spread is a median with the lowest and the highest.
type spread struct{ low, median, high float64 }

func spreadOf(reps []repeat, value func(repeat) float64) spread {
	vs := make([]float64, len(reps))
	for i, r := range reps {
		vs[i] = value(r)
	}
	slices.Sort(vs)
	mid := len(vs) / 2
	return spread{vs[0], (vs[mid] + vs[len(vs)-1-mid]) / 2, vs[len(vs)-1]}
}

// quiet returns the repeats that nobody disturbed, or all if those are too few to say anything.
func quiet(reps []repeat) (kept []repeat, dropped int) {
	const enough = 3
	kept = slices.DeleteFunc(slices.Clone(reps), func(r repeat) bool {
		return r.Server.Others > disturbed || r.Ceiling != nil && r.Ceiling.Others > disturbed
	})
	if len(kept) < min(enough, len(reps)) {
		return reps, 0
	}
	return kept, len(reps) - len(kept)
}

func (m machine) write(w io.Writer) {
	fmt.Fprintf(w, "machine: %s, %d cores, Linux %s; server built by %s from %s\n", m.CPU, m.Cores, m.Kernel, m.Go, m.Revision)
	if m.ServerCore == m.GeneratorCore {
		fmt.Fprintf(w, "server and generator SHARE core %d, the only one: these figures mean little\n", m.ServerCore)
		return
	}
	fmt.Fprintf(w, "server on core %d, generator on core %d\n", m.ServerCore, m.GeneratorCore)
}

// ofServer and ofCeiling take a candidate's slice out of a repeat.
func ofServer(r repeat) slice  { return r.Server }
func ofCeiling(r repeat) slice { return *r.Ceiling }

// writeOwn prints the loads in which no connection waits for another.
func writeOwn(w io.Writer, ls []load) {
	fmt.Fprint(w, "\nu: every connection locks and releases a path of its own, as fast as it is answered.\n"+
		"Pairs of lock and release a second: median (lowest-highest). Server/ceiling: repeat by repeat.\n\n")
	writeSides(w, ls, "server", "ceiling")
}

// writeJudged prints the same loads for a server with plugins beside one without.
func writeJudged(w io.Writer, ls []load) {
	fmt.Fprint(w, "\np: as u, on a server with plugins and on one without.\n"+
		"Pairs of lock and release a second: median (lowest-highest). Plugins/none: repeat by repeat.\n\n")
	writeSides(w, ls, "plugins", "none")
}

// writeSides prints two candidates that took turns. The JSON calls the second one the ceiling.
func writeSides(w io.Writer, ls []load, one, other string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "conns\tin flight\t%s\t%s\t%[1]s/%[2]s\tCPU µs a pair\tcore busy\tgenerator busy\tnote\n", one, other)
	for _, l := range ls {
		reps, dropped := quiet(l.Repeats)
		ratio := spreadOf(reps, func(r repeat) float64 { return r.Server.PairRate / r.Ceiling.PairRate })
		fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%.2f (%.2f-%.2f)\t%.2f / %.2f\t%.0f / %.0f %%\t%.0f / %.0f %%\t%s\n", l.Connections, l.InFlight,
			rates(reps, ofServer), rates(reps, ofCeiling), ratio.median, ratio.low, ratio.high,
			median(reps, ofServer, cost), median(reps, ofCeiling, cost), median(reps, ofServer, core), median(reps, ofCeiling, core),
			median(reps, ofServer, generator), median(reps, ofCeiling, generator), notes(reps, dropped))
	}
	t.Flush()
}

// writeContended prints the loads in which all connections want the same.
func writeContended(w io.Writer, ls []load) {
	fmt.Fprint(w, "\nc: all connections lock and release one path. Hand-offs a second, and the time from a release\n"+
		"being sent to the next grant being read: median (lowest-highest) over the repeats\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "conns\thand-offs\tp50 µs\tp99 µs\tp99.9 µs\tmax µs\tcore busy\tgenerator busy\tnote")
	for _, l := range ls {
		reps, dropped := quiet(l.Repeats)
		micros := func(value func(h *handOff) time.Duration) string {
			s := spreadOf(reps, func(r repeat) float64 { return float64(value(r.Server.HandOff)) / 1e3 })
			return fmt.Sprintf("%.0f (%.0f-%.0f)", s.median, s.low, s.high)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%.0f %%\t%.0f %%\t%s\n", l.Connections, rates(reps, ofServer),
			micros(func(h *handOff) time.Duration { return h.P50 }), micros(func(h *handOff) time.Duration { return h.P99 }),
			micros(func(h *handOff) time.Duration { return h.P999 }), micros(func(h *handOff) time.Duration { return h.Max }),
			median(reps, ofServer, core), median(reps, ofServer, generator), notes(reps, dropped))
	}
	t.Flush()
}

func rates(reps []repeat, of func(repeat) slice) string {
	s := spreadOf(reps, func(r repeat) float64 { return of(r).PairRate / 1e3 })
	return fmt.Sprintf("%.1f k (%.1f-%.1f)", s.median, s.low, s.high)
}

func cost(s slice) float64      { return s.PairCPU }
func core(s slice) float64      { return 100 * s.ServerCPU }
func generator(s slice) float64 { return 100 * s.GeneratorBusy }

func median(reps []repeat, of func(repeat) slice, value func(slice) float64) float64 {
	return spreadOf(reps, func(r repeat) float64 { return value(of(r)) }).median
}

// notes says what a reader has to know before believing a line.
func notes(reps []repeat, dropped int) string {
	var n []string
	bound := func(s slice) bool { return s.GeneratorBusy >= saturated && s.GeneratorBusy > s.ServerCPU }
	if slices.ContainsFunc(reps, func(r repeat) bool { return bound(r.Server) }) {
		n = append(n, "the generator bounds the server's rate")
	}
	if slices.ContainsFunc(reps, func(r repeat) bool { return r.Ceiling != nil && bound(*r.Ceiling) }) {
		n = append(n, "the generator bounds the ceiling's rate")
	}
	if dropped > 0 {
		n = append(n, fmt.Sprintf("%d disturbed repeats dropped", dropped))
	} else if _, d := quiet(reps); d == 0 && slices.ContainsFunc(reps, func(r repeat) bool { return worst(r) > disturbed }) {
		n = append(n, "DISTURBED by other processes")
	}
	return strings.Join(n, "; ")
}

// worst is the higher share that others had in a repeat's slices.
func worst(r repeat) float64 {
	if r.Ceiling == nil {
		return r.Server.Others
	}
	return max(r.Server.Others, r.Ceiling.Others)
}

func (i *idle) write(w io.Writer) {
	fmt.Fprintf(w, "\nidle: %d connections from %d loopback addresses", i.Held, i.Addresses)
	if i.Held < i.Asked {
		fmt.Fprintf(w, "; %d were asked for, but a process may have %d descriptors here", i.Asked, i.Descriptors)
	}
	fmt.Fprintf(w, "\nthe server's own memory: %.0f bytes for each (from %s with %d to %s with all; anonymous %s to %s)\n",
		i.PerConn, megabytes(i.Base.RSS), i.BaseHeld, megabytes(i.Full.RSS), megabytes(i.Base.Anonymous), megabytes(i.Full.Anonymous))
	fmt.Fprintf(w, "%d of %d pinged twice at least (every %.0f s, at %.1f %% of the server's core), %d then locked and released, all in %.0f ms\n",
		i.PingedTwice, i.Held, i.PingSeconds, 100*i.ServerCPU, i.Served, 1e3*i.ServeSeconds)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
