// Package report holds what a run of bench found out: as JSON for programs, as tables for people, as
// plots, and compared with another run.
//
// # Terms
//
// A row is what one candidate did in one case of a load. Its slices are the repeats: those of the
// same number in the rows of one case were measured right after each other, so that ratios are taken
// between them. A value is what was measured in one slice, by the name of its metric.
//
// A slice is disturbed if somebody else used much of a core that it ran on. Disturbed slices are
// dropped and counted; if too few would remain, all are kept and marked.
//
// It measures nothing, and knows nothing of servers.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// schema is the version of the JSON.
const schema = 1

// Report is everything a run found out.
type Report struct {
	Schema  int       `json:"schema"`
	Machine Machine   `json:"machine"`
	Command string    `json:"command"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	// Versions of peers' servers.
	Versions map[string]string `json:"versions,omitempty"`
	// Remarks say what was left out, and why.
	Remarks []string `json:"remarks,omitempty"`
	Rows    []*Row   `json:"rows"`
}

// Machine says where and what was measured. It names neither the machine nor anything on its disks.
type Machine struct {
	CPU           string `json:"cpu"`
	Cores         int    `json:"cores"`
	Memory        int64  `json:"memory_bytes"`
	Kernel        string `json:"kernel"`
	Go            string `json:"go"`       // that built the server
	Revision      string `json:"revision"` // of the server
	ServerCore    int    `json:"server_core"`
	GeneratorCore int    `json:"generator_core"`
}

// Row is what one candidate did in one case of a load.
type Row struct {
	Load      string `json:"load"`
	Case      string `json:"case"`
	Candidate string `json:"candidate"`
	// Client is what drove it: bench's own generator, or a Go library with a goroutine a connection.
	Client string `json:"client,omitempty"`
	// X is the number that the cases of a load differ in: connections, held locks, segments …
	X      float64 `json:"x"`
	Slices []Slice `json:"slices"`
}

// The clients of rows.
const (
	Raw = "epoll"
	Lib = "Go library"
)

// Slice is what was measured in one repeat.
type Slice struct {
	Values map[Metric]float64 `json:"values"`
	// Histograms of nanoseconds, as hdrhistogram's V2 encoding writes them, by what they are of.
	Histograms map[string]string `json:"histograms,omitempty"`
	// Curves are values over time, by name: pairs of seconds and values.
	Curves map[string][][2]float64 `json:"curves,omitempty"`
	// Others is the share of a core, the server's or the generator's, that somebody else used.
	Others float64 `json:"others_cpu"`
}

// Set sets a value.
func (s *Slice) Set(m Metric, value float64) {
	if s.Values == nil {
		s.Values = map[Metric]float64{}
	}
	s.Values[m] = value
}

// SetDurations keeps a histogram of nanoseconds, and its usual quantiles as values: see OfDurations.
func (s *Slice) SetDurations(name string, h *hdrhistogram.Histogram) error {
	if h.TotalCount() == 0 {
		return nil
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return fmt.Errorf("encoding a histogram: %w", err)
	}
	return s.SetEncoded(name, string(text))
}

// SetEncoded is SetDurations for a histogram that is encoded already; "" is an empty one.
func (s *Slice) SetEncoded(name, text string) error {
	if text == "" {
		return nil
	}
	h, err := decode(text)
	if err != nil {
		return err
	}
	if s.Histograms == nil {
		s.Histograms = map[string]string{}
	}
	s.Histograms[name] = text
	for i, m := range OfDurations(name) {
		s.Set(m, float64(h.ValueAtQuantile(quantiles[i]))/1e3)
	}
	return nil
}

func decode(text string) (*hdrhistogram.Histogram, error) {
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("decoding a histogram: %w", err)
	}
	return h, nil
}

// disturbed is the share of a core in the hands of others from which on a slice counts as disturbed.
const disturbed = 0.10

// quiet are the numbers of those slices of rows of one case that nobody disturbed, or all if those
// are too few to say anything.
func quiet(rows ...*Row) (kept []int, dropped int) {
	const enough = 3
	var all []int
	for i := range rows[0].Slices {
		there := func(r *Row) bool { return i < len(r.Slices) }
		still := func(r *Row) bool { return r.Slices[i].Others <= disturbed }
		if every(rows, there) {
			all = append(all, i)
			if every(rows, still) {
				kept = append(kept, i)
			}
		}
	}
	if len(kept) < min(enough, len(all)) {
		return all, 0
	}
	return kept, len(all) - len(kept)
}

func every(rows []*Row, ok func(*Row) bool) bool {
	return !slices.ContainsFunc(rows, func(r *Row) bool { return !ok(r) })
}

// Spread is a median with the lowest and the highest.
type Spread struct{ Low, Median, High float64 }

// spreadOf is of values, of which there is one at least.
func spreadOf(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	return Spread{v[0], (v[mid] + v[len(v)-1-mid]) / 2, v[len(v)-1]}
}

// values are a metric's in those slices that are kept.
func (r *Row) values(m Metric) (vs []float64) {
	kept, _ := quiet(r)
	for _, i := range kept {
		if v, ok := r.Slices[i].Values[m]; ok {
			vs = append(vs, v)
		}
	}
	return vs
}

// Spread is a metric's; ok is false if no slice has it.
func (r *Row) Spread(m Metric) (s Spread, ok bool) {
	vs := r.values(m)
	if len(vs) == 0 {
		return s, false
	}
	return spreadOf(vs), true
}

// ratio is of a metric of two rows of one case, slice by slice.
func ratio(a, b *Row, m Metric) (s Spread, ok bool) {
	var vs []float64
	kept, _ := quiet(a, b)
	for _, i := range kept {
		x, y := a.Slices[i].Values[m], b.Slices[i].Values[m]
		if y > 0 {
			vs = append(vs, x/y)
		}
	}
	if len(vs) == 0 {
		return s, false
	}
	return spreadOf(vs), true
}

// Find returns the row of a load's case and candidate, or nil.
func (r *Report) Find(load, in, candidate, client string) *Row {
	for _, row := range r.Rows {
		if row.Load == load && row.Case == in && row.Candidate == candidate && row.Client == client {
			return row
		}
	}
	return nil
}

// Save writes the report as JSON.
func (r *Report) Save(file string) error {
	r.Schema = schema
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Load reads what Save wrote.
func Load(file string) (*Report, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r Report
	if err := json.NewDecoder(f).Decode(&r); err != nil {
		return nil, fmt.Errorf("%s is no report of bench: %w", file, err)
	}
	if r.Schema != schema {
		return nil, fmt.Errorf("%s is a report of another version of bench: its schema is %d, this program's is %d", file, r.Schema, schema)
	}
	return &r, r.check(file)
}

var errNoSlices = errors.New("a row has no slices")

// check makes sure that what others may have edited doesn't make us panic.
func (r *Report) check(file string) error {
	for _, row := range r.Rows {
		if row == nil || len(row.Slices) == 0 {
			return fmt.Errorf("%s: %w", file, errNoSlices)
		}
	}
	return nil
}

// WriteTo says where and what was measured.
func (m Machine) WriteTo(w io.Writer) (int64, error) {
	n, err := fmt.Fprintf(w, "machine: %s, %d cores, %.0f GiB, Linux %s; server built by %s from %s\n%s\n",
		m.CPU, m.Cores, float64(m.Memory)/(1<<30), m.Kernel, m.Go, m.Revision, m.placement())
	return int64(n), err
}

func (m Machine) placement() string {
	if m.ServerCore == m.GeneratorCore {
		return fmt.Sprintf("server and generator SHARE core %d, the only one: these figures mean little", m.ServerCore)
	}
	return fmt.Sprintf("server on core %d, generator on core %d", m.ServerCore, m.GeneratorCore)
}
