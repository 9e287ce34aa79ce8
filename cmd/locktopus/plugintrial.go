package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

func (p process) pluginTest(args []string) int {
	load := newLoadFlags()
	operands, err := parseFlags(args, 2, load...)
	if err == nil && len(operands) < 2 {
		err = errors.New("name the module's file and the file of cases")
	}
	var spec host.Spec
	if err == nil {
		spec, err = load.spec(operands[0])
	}
	if err != nil {
		return p.misused("plugin test", "locktopus plugin test: %v", err)
	}
	s := readSuite(operands[1])
	if s.config != nil && spec.Config != nil {
		s.fault("%s: config is given by --config, too", s.file)
	}
	if len(s.faults) > 0 {
		fmt.Fprintln(p.stderr, errors.Join(s.faults...))
		return exitFailed
	}
	for _, c := range s.cases {
		spec.Hooks |= c.question.hook
	}
	if s.config != nil {
		spec.Config = s.config
	}
	return p.try(s, &spec)
}

// trial is a plugin on trial.
type trial struct {
	probe *host.Probe
	log   bytes.Buffer // what was logged since the last judgement
}

func (p process) try(s *suite, spec *host.Spec) int {
	var t trial
	var err error
	t.probe, err = host.NewProbe(*spec, host.Options{Log: relay{&t.log}.log()})
	if err != nil {
		fmt.Fprint(p.stderr, t.log.String())
		return p.loadFaults(spec, err)
	}
	defer t.probe.Close()
	failed := map[*testCase]bool{}
	fail := func(c *testCase, what string) {
		failed[c] = true
		fmt.Fprintf(p.stdout, "%s: %s: %s\n%s", c.place, c.question, what, t.logged())
	}
	for _, c := range s.cases {
		t.log.Reset()
		if got := c.question.ask(t.probe); !c.want.met(got) {
			fail(c, fmt.Sprintf("got %s, want %s", got, &c.want))
		}
	}
	t.purity(s.cases, fail)
	if len(failed) > 0 {
		fmt.Fprintf(p.stdout, "%s: %d of %s failed\n", s.file, len(failed), s.counted())
		return exitFailed
	}
	fmt.Fprintf(p.stdout, "%s: ok, %s\n", s.file, s.counted())
	return exitOK
}

// logged is what was logged, set off from the lines about cases.
func (t *trial) logged() string {
	defer t.log.Reset()
	var b strings.Builder
	for line := range strings.Lines(t.log.String()) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// witness is a case of normalize with the answer that a new instance gave.
type witness struct {
	*testCase
	first  *answer
	guilty bool
}

// purity asks each case of normalize again and again: the answer must be the same however often, in
// whatever company, for whatever mode and from whatever instance, and must be its own answer.
func (t *trial) purity(cases []*testCase, fail func(*testCase, string)) {
	witnesses := map[*testCase]*witness{}
	blame := func(w *witness, what string) {
		if what != "" && !w.guilty {
			w.guilty = true
			fail(w.testCase, what)
		}
	}
	for _, c := range cases {
		if c.question.hook != host.Normalize {
			continue
		}
		t.probe.Renew()
		w := &witness{testCase: c, first: c.question.ask(t.probe)}
		if w.first.failed() {
			continue // it gives no answer that could be another one
		}
		witnesses[c] = w
		t.log.Reset()
		t.probe.Renew()
		blame(w, t.again(w, "from another instance"))
		blame(w, t.again(w, "when asked again"))
		blame(w, t.alone(w))
		blame(w, t.settled(w))
	}
	if len(witnesses) > 0 {
		t.company(cases, witnesses, blame)
	}
}

// company asks all cases, also those of other hooks, in several orders.
func (t *trial) company(cases []*testCase, witnesses map[*testCase]*witness, blame func(*witness, string)) {
	for _, order := range orders(len(cases)) {
		t.probe.Renew()
		for k, n := range order {
			w, when := witnesses[cases[n]], "when asked first"
			if w == nil {
				cases[n].question.ask(t.probe)
				continue
			}
			if k > 0 {
				when = "when asked after others, the last of them " + cases[order[k-1]].question.String()
			}
			t.log.Reset()
			blame(w, t.again(w, when))
		}
	}
}

// orders are forwards and backwards, so that each comes after each other one, and some at random, the same
// ones each time.
func orders(n int) [][]int {
	forwards := make([]int, n)
	for k := range forwards {
		forwards[k] = k
	}
	backwards := slices.Clone(forwards)
	slices.Reverse(backwards)
	all := [][]int{forwards, backwards}
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		all = append(all, random.Perm(n))
	}
	return all
}

// again asks the same once more.
func (t *trial) again(w *witness, when string) string {
	if got := w.question.ask(t.probe); !got.same(w.first) {
		return fmt.Sprintf("not pure: got %s, but %s %s", w.first, got, when)
	}
	return ""
}

// alone asks for each path by itself, in each mode: neither is part of what a path means.
func (t *trial) alone(w *witness) string {
	if !w.first.allowed() {
		return ""
	}
	for k, r := range w.question.request.Resources {
		for _, mode := range []host.Mode{host.Write, host.Read, host.Permit} {
			q := *w.question
			q.request.Resources = []host.Resource{{Mode: mode, Path: r.Path}}
			want := answer{hook: host.Normalize, outcome: host.Allowed, paths: w.first.paths[k : k+1]}
			if got := q.ask(t.probe); !got.same(&want) {
				return fmt.Sprintf("not pure: got %s, but %s for --%s %s by itself", w.first, got, modeWords[mode], shellQuoted(pathText(r.Path)))
			}
		}
	}
	return ""
}

// settled asks what the answer means: itself.
func (t *trial) settled(w *witness) string {
	if !w.first.allowed() {
		return ""
	}
	q := *w.question
	q.request.Resources = nil
	for k, r := range w.question.request.Resources {
		path, err := parsePath(w.first.paths[k])
		if err != nil {
			panic("locktopus: a path that pathText wrote is none: " + err.Error())
		}
		q.request.Resources = append(q.request.Resources, host.Resource{Mode: r.Mode, Path: path})
	}
	if got := q.ask(t.probe); !got.same(w.first) {
		return fmt.Sprintf("not idempotent: got %s, and for that %s", w.first, got)
	}
	return ""
}
