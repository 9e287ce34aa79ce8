package report

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"
)

// confidence is that of the intervals which stand behind ±.
const confidence = 0.95

// Compare prints how two runs differ, as benchstat does: medians with their confidence intervals, the
// change between them where the Mann-Whitney U test believes in one, and the test's p.
func Compare(w io.Writer, old, new *Report) {
	fmt.Fprint(w, "old: ")
	old.Machine.WriteTo(w)
	fmt.Fprint(w, "new: ")
	new.Machine.WriteTo(w)
	c := comparison{out: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), warnings: map[string]bool{}}
	for _, s := range Sheets {
		c.sheet(s, old, new)
	}
	c.out.Flush()
	for _, text := range c.order {
		fmt.Fprintln(w, text)
	}
}

type comparison struct {
	out      *tabwriter.Writer
	warnings map[string]bool
	order    []string // of the warnings
}

func (c *comparison) sheet(s Sheet, old, new *Report) {
	for _, m := range s.Columns {
		if m.better() == 0 {
			continue
		}
		head := false
		for _, n := range new.Rows {
			o := old.Find(n.Load, n.Case, n.Candidate, n.Client)
			if n.Load != s.Load || o == nil || len(o.values(m)) == 0 || len(n.values(m)) == 0 {
				continue
			}
			if !head {
				fmt.Fprintf(c.out, "\n%s: %s\told\tnew\tnew vs old\t\n", s.Load, m.head())
				head = true
			}
			c.line(m, o, n)
		}
	}
}

func (c *comparison) line(m Metric, old, new *Row) {
	sample := func(r *Row) *benchmath.Sample {
		return benchmath.NewSample(r.values(m), &benchmath.DefaultThresholds)
	}
	a, b := sample(old), sample(new)
	sa, sb := benchmath.AssumeNothing.Summary(a, confidence), benchmath.AssumeNothing.Summary(b, confidence)
	test := benchmath.AssumeNothing.Compare(a, b)
	name := new.Case + ", " + new.Candidate
	if new.Client == Lib {
		name += " (" + new.Client + ")"
	}
	fmt.Fprintf(c.out, "%s\t%s ± %s\t%s ± %s\t%s\t(%s)\n", name, m.format(sa.Center), sa.PctRangeString(),
		m.format(sb.Center), sb.PctRangeString(), test.FormatDelta(sa.Center, sb.Center), test)
	for _, err := range slices.Concat(a.Warnings, b.Warnings, sa.Warnings, sb.Warnings, test.Warnings) {
		if text := err.Error(); !c.warnings[text] {
			c.warnings[text] = true
			c.order = append(c.order, text)
		}
	}
}
