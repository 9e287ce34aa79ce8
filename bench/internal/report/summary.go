package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Summary writes the figures that most people want to see first, as Markdown: how we compare with peers
// through the same kind of client, and what a user can count on.
func (r *Report) Summary(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores; %s.\n", r.Machine.CPU, r.Machine.Cores, r.Machine.placement())
	r.peerTable(w, "pairs of lock and release a second", func(row *Row) (string, bool) { return medianOf(row, Pairs) })
	r.peerTable(w, "hand-off, p99 in milliseconds", func(row *Row) (string, bool) {
		s, ok := row.Spread("hand-off-p99 us")
		return digits(s.Median / 1e3), ok
	})
	r.peerTable(w, "microseconds of the server's core for a pair", func(row *Row) (string, bool) { return medianOf(row, PairCPU) })
	r.facts(w)
}

func medianOf(r *Row, m Metric) (string, bool) {
	s, ok := r.Spread(m)
	return m.format(s.Median), ok
}

// peerTable has a line for each candidate and a column for each case in which anybody has a value.
func (r *Report) peerTable(w io.Writer, what string, cell func(*Row) (string, bool)) {
	var cases, candidates []string
	cells := map[[2]string]string{}
	for _, row := range r.peerRows() {
		text, ok := cell(row)
		if !ok || row.Client != Lib {
			continue
		}
		cells[[2]string{row.Candidate, row.Case}] = text
		if !slices.Contains(cases, row.Case) {
			cases = append(cases, row.Case)
		}
		if !slices.Contains(candidates, row.Candidate) {
			candidates = append(candidates, row.Candidate)
		}
	}
	if len(cases) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| %s | %s |\n|%s\n", what, strings.Join(cases, " | "), strings.Repeat(" --- |", len(cases)+1))
	for _, c := range candidates {
		line := []string{c}
		for _, in := range cases {
			text := cells[[2]string{c, in}]
			if text == "" {
				text = "-"
			}
			line = append(line, text)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
	}
}

// facts are single figures.
func (r *Report) facts(w io.Writer) {
	head := "\n| | | median (lowest-highest) |\n| --- | --- | --- |\n"
	add := func(what, in, value string) {
		fmt.Fprintf(w, "%s| %s | %s | %s |\n", head, what, in, value)
		head = ""
	}
	compare := func(load, what string) {
		s := SheetOf(load)
		rows := r.of(load)
		for _, row := range rows {
			if text := s.ratioCell(rows, row); text != "-" {
				in := row.Case
				if row.Candidate != "ceiling" && row.Candidate != "locktopus" {
					in += ", " + row.Candidate
				}
				add(what, in, text)
			}
		}
	}
	compare("u", "rate, of the bare echo's")
	for _, row := range r.of("rate") {
		if s, ok := row.Spread("lock-p99.9 us"); ok {
			what := "a lock's p99.9 at a fixed rate, in microseconds"
			if row.Candidate == "ceiling" {
				what = "the same of the bare echo"
			}
			add(what, row.Case, fmt.Sprintf("%s (%s-%s)", digits(s.Median), digits(s.Low), digits(s.High)))
		}
	}
	compare("flat", "rate, of that with nothing else held")
	compare("plugins", "rate, of that without plugins")
	for _, m := range []struct {
		load string
		of   Metric
		what string
	}{
		{"churn", AfterToBase, "memory after churn, of that before"}, {"idle", Each, "bytes of an idle connection"},
		{"cancel", Cleared, "milliseconds until all who leave are gone"}, {"storm", Back, "milliseconds until all are back"},
	} {
		for _, row := range r.of(m.load) {
			if s, ok := row.Spread(m.of); ok {
				add(m.what, row.Case, m.of.formatSpread(s))
			}
		}
	}
}
