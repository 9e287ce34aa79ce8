package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Sheet says how the rows of one load are shown.
type Sheet struct {
	Load  string
	About string // what the load is, in sentences
	// Of is the candidate that the others are compared with, "" if there is none. A ratio is the
	// candidate's value to that one's, or the other way round if Against.
	Of      string
	Against bool
	By      Metric // what is compared
	Columns []Metric
}

// closed are the columns of loads in a closed loop.
var closed = []Metric{Pairs, PairCPU, ServerBusy, GeneratorBusy}

func join(lists ...[]Metric) []Metric { return slices.Concat(lists...) }

// Sheets are those of all loads, in the order in which they are run.
var Sheets = []Sheet{
	{
		Load: "u", Of: "ceiling", By: Pairs, Columns: closed,
		About: "each connection locks and releases a path of its own, as fast as it is answered. The ceiling is a\n" +
			"server on the same event loop that answers the same without reading or locking anything.",
	},
	{
		Load: "c", Columns: join(closed, OfDurations("hand-off")),
		About: "the connections lock and release the same path, or one of a few. Hand-off: from a release being sent\n" +
			"until the next holder has read that it is one.",
	},
	{
		Load: "r", Columns: join(closed, OfDurations("read"), OfDurations("write")),
		About: "95 % of the locks are reads of a path of the connection's own in one subtree, 5 % are writes of that\n" +
			"subtree's root. Read and write: from the request being sent until the grant was read.",
	},
	{
		Load: "m", Columns: closed,
		About: "each lock is of four resources at once, all of the connection's own.",
	},
	{
		Load: "rate", Columns: join([]Metric{Arrivals, Pairs, ServerBusy, GeneratorBusy}, OfDurations("lock")),
		About: "locks arrive at random at a fixed rate, whatever the server does (an open loop). Lock: from the moment\n" +
			"at which a lock was to be asked for until the grant was read, so that waiting for a late generator or for\n" +
			"a free connection counts. The ceiling's longest times are this machine's, and the generator's.",
	},
	{
		Load: "flat", Of: "nothing else held", By: Pairs, Columns: join(closed, []Metric{Each}),
		About: "as u, while so many other locks are held, each by a client that has left it behind.\nMemory is the server's for each of those.",
	},
	{
		Load: "churn", Columns: join([]Metric{Pairs, Slowdown, Base, Peak, After, AfterToBase}),
		About: "short locks of ever new paths, while one lock is held. Base: the server's resident memory when it is\nwarm; after: when all is over.",
	},
	{
		Load: "cancel", Columns: join([]Metric{Cleared}, OfDurations("bystander")),
		About: "all who wait for one path leave at once. Cleared: from the first that leaves until the one that waited\n" +
			"behind them all has the lock. Bystander: as in rate, of others' locks meanwhile.",
	},
	{
		Load: "storm", Columns: join([]Metric{Back}, OfDurations("bystander")),
		About: "all connections that hold a lock of their own drop at once, connect again, and lock again. Back: from\n" +
			"the first that drops until all have their lock. Bystander: as in rate, of others' locks meanwhile.",
	},
	{
		Load: "idle", Columns: []Metric{Held, Each, PingBusy, Served},
		About: "connections that do nothing. Memory is the server's for each. All are pinged; then all lock and release\nonce, which is served.",
	},
	{
		Load: "depth", Columns: join(closed, []Metric{PerItem}),
		About: "as u, with longer paths, and with more resources in each lock. An item is a segment of a path,\nor a resource.",
	},
	{
		Load: "plugins", Of: "none", By: Pairs, Columns: closed,
		About: "as u, on servers with a plugin that judges each lock, beside one without.",
	},
	{
		Load: "engine", Columns: []Metric{EngineTime, Allocs},
		About: "the engine called directly, without server and network, in this process.",
	},
	{
		Load: "peers", Of: "locktopus", Against: true, By: Pairs, Columns: join(closed, OfDurations("hand-off")),
		About: "the same work on other projects' servers, in turns. The ratio says how many times as many pairs\n" +
			"locktopus did, through the same kind of client.",
	},
	{
		Load: Apart, Of: "locktopus", Against: true, By: Pairs, Columns: join(closed, OfDurations("hand-off")),
		About: "as peers, with a server that has a process for each connection, beside nobody but ours.",
	},
}

// Apart is the load of peers that take turns with nobody but us.
const Apart = "peers-apart"

// peerRows are those of all peers. Our own row beside a peer that is apart is left out: it is there once.
func (r *Report) peerRows() []*Row {
	apart := slices.DeleteFunc(r.of(Apart), func(row *Row) bool { return row.Candidate == "locktopus" })
	return append(r.of("peers"), apart...)
}

// SheetOf returns the sheet of a load.
func SheetOf(load string) Sheet {
	i := slices.IndexFunc(Sheets, func(s Sheet) bool { return s.Load == load })
	if i < 0 {
		return Sheet{Load: load, Columns: closed}
	}
	return Sheets[i]
}

// Write prints the rows of one load as a table.
func (s Sheet) Write(w io.Writer, rows []*Row) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r *Row) bool { return r.Load != s.Load })
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s: %s\n\n", s.Load, s.About)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range s.lines(rows) {
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	t.Flush()
}

// lines are the cells of the table, its head first.
func (s Sheet) lines(rows []*Row) [][]string {
	columns := slices.DeleteFunc(slices.Clone(s.Columns), func(m Metric) bool {
		return every(rows, func(r *Row) bool { return len(r.values(m)) == 0 })
	})
	clients := slices.ContainsFunc(rows, func(r *Row) bool { return r.Client == Lib })
	lines := [][]string{s.head(columns, clients)}
	for _, r := range rows {
		line := []string{r.Case, r.Candidate}
		if clients {
			line = append(line, r.Client)
		}
		for _, m := range columns {
			cell := "-"
			if v, ok := r.Spread(m); ok {
				cell = m.formatSpread(v)
			}
			line = append(line, cell)
			if m == s.By {
				line = append(line, s.ratioCell(rows, r))
			}
		}
		lines = append(lines, append(line, notes(r)))
	}
	return lines
}

func (s Sheet) head(columns []Metric, clients bool) []string {
	head := []string{"case", "candidate"}
	if clients {
		head = append(head, "client")
	}
	for _, m := range columns {
		head = append(head, m.head())
		if m == s.By {
			head = append(head, s.ratioHead())
		}
	}
	return append(head, "note")
}

func (s Sheet) ratioHead() string {
	if s.Against {
		return s.Of + " is ×"
	}
	return "of " + s.Of
}

// ratioCell compares a row with the one of the candidate that all are compared with: the one in the
// same case, or else the load's only one.
func (s Sheet) ratioCell(rows []*Row, r *Row) string {
	of := s.reference(rows, r)
	if of == nil || of == r {
		return "-"
	}
	a, b := r, of
	if s.Against {
		a, b = of, r
	}
	v, ok := ratio(a, b, s.By)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%s (%s-%s)", digits(v.Median), digits(v.Low), digits(v.High))
}

func (s Sheet) reference(rows []*Row, r *Row) *Row {
	same := func(o *Row) bool {
		return o.Candidate == s.Of && o.Client == r.Client && (o.Case == r.Case || s.Load == "flat")
	}
	if i := slices.IndexFunc(rows, same); i >= 0 {
		return rows[i]
	}
	return nil
}

// saturated is the share of a core, in percent, from which on a side counts as bounded by it.
const saturated = 97

// notes says what a reader has to know before believing a line.
func notes(r *Row) string {
	var n []string
	kept, dropped := quiet(r)
	bound := func(i int) bool {
		v := r.Slices[i].Values
		return v[GeneratorBusy] >= saturated && v[GeneratorBusy] > v[ServerBusy]
	}
	if slices.ContainsFunc(kept, bound) {
		n = append(n, "bounded by the generator")
	}
	if dropped > 0 {
		n = append(n, fmt.Sprintf("%d disturbed repeats dropped", dropped))
	} else if slices.ContainsFunc(kept, func(i int) bool { return r.Slices[i].Others > disturbed }) {
		n = append(n, "DISTURBED by other processes")
	}
	return strings.Join(n, "; ")
}

// Write prints everything.
func (r *Report) Write(w io.Writer) {
	r.Machine.WriteTo(w)
	for _, s := range Sheets {
		s.Write(w, r.Rows)
	}
	r.WriteEnd(w)
}

// WriteEnd prints the remarks and how long it took.
func (r *Report) WriteEnd(w io.Writer) {
	if len(r.Remarks) > 0 {
		fmt.Fprintln(w)
	}
	for _, remark := range r.Remarks {
		fmt.Fprintf(w, "left out: %s\n", remark)
	}
	fmt.Fprintf(w, "\ntook %.0f s\n", r.Seconds)
}
