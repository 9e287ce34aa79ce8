package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Figure is a plot that is yet to be drawn. Its JSON is what the program draw reads.
type Figure struct {
	File  string `json:"file"` // without directory
	Title string `json:"title"`
	X     Axis   `json:"x"`
	Y     Axis   `json:"y"`
	// Bars are groups of bars, one of each series to a group; without groups the series are lines.
	Groups []string `json:"groups,omitempty"`
	Series []Series `json:"series"`
}

// Axis is one of a figure's two.
type Axis struct {
	Label string `json:"label"`
	Log   bool   `json:"log,omitempty"`
	// Ticks are places that are named, if not just numbers are.
	Ticks []Tick `json:"ticks,omitempty"`
}

// Tick is a named place on an axis.
type Tick struct {
	At   float64 `json:"at"`
	Name string  `json:"name"`
}

// Series is what belongs to one candidate.
type Series struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// Point has a median with the lowest and the highest of its repeats; those are equal where there is
// but one value.
type Point struct {
	X    float64 `json:"x"` // the number of the group, if there are groups
	Y    float64 `json:"y"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Figures are those that the rows suffice for.
func (r *Report) Figures() (fs []Figure) {
	for _, make := range []func(*Report) []Figure{
		peerBars, peerHandOffs, lines("rate", "rate.svg", "Latency of a lock at a fixed rate of arrivals", OfDurations("lock")[:3]),
		lines("flat", "flat.svg", "Pairs of lock and release, while others hold locks", []Metric{Pairs}),
		lines("depth", "depth.svg", "What a longer request costs the server", []Metric{PairCPU}),
		churnCurve,
	} {
		for _, f := range make(r) {
			f.Series = slices.DeleteFunc(f.Series, func(s Series) bool { return len(s.Points) == 0 })
			if len(f.Series) > 0 {
				fs = append(fs, f)
			}
		}
	}
	return fs
}

func (r *Report) of(load string) []*Row {
	return slices.DeleteFunc(slices.Clone(r.Rows), func(row *Row) bool { return row.Load != load })
}

func (r *Row) point(x float64, m Metric) (Point, bool) {
	s, ok := r.Spread(m)
	return Point{x, s.Median, s.Low, s.High}, ok
}

// peerBars show the rates of all peers, for all cases.
func peerBars(r *Report) []Figure {
	f := Figure{
		File: "peers.svg", Title: "Pairs of lock and release a second, each server on one core",
		Y: Axis{Label: "pairs a second", Log: true},
	}
	series := map[string]*Series{}
	var order []string
	for _, row := range r.peerRows() {
		if row.Client != Lib {
			continue
		}
		group := slices.Index(f.Groups, strings.Replace(row.Case, ", ", "\n", 1))
		if group < 0 {
			group = len(f.Groups)
			f.Groups = append(f.Groups, strings.Replace(row.Case, ", ", "\n", 1))
		}
		if series[row.Candidate] == nil {
			series[row.Candidate] = &Series{Name: row.Candidate}
			order = append(order, row.Candidate)
		}
		if p, ok := row.point(float64(group), Pairs); ok && p.Low > 0 {
			s := series[row.Candidate]
			s.Points = append(s.Points, p)
		}
	}
	for _, name := range order {
		f.Series = append(f.Series, *series[name])
	}
	return []Figure{f}
}

// peerHandOffs show how the times of hand-offs are distributed, all repeats together.
func peerHandOffs(r *Report) (fs []Figure) {
	var cases []string
	for _, row := range r.peerRows() {
		if row.Client == Lib && row.Slices[0].Histograms["hand-off"] != "" && !slices.Contains(cases, row.Case) {
			cases = append(cases, row.Case)
		}
	}
	for _, in := range cases {
		f := Figure{
			File:  "hand-off, " + in + ".svg",
			Title: "Time from a release to the next holder, " + in,
			X:     Axis{Label: "share of the hand-offs that took no longer", Log: true, Ticks: shares},
			Y:     Axis{Label: "milliseconds", Log: true},
		}
		f.File = strings.NewReplacer(",", "", " ", "-").Replace(f.File)
		for _, row := range r.peerRows() {
			if row.Client == Lib && row.Case == in {
				f.Series = append(f.Series, Series{row.Candidate, row.distribution("hand-off")})
			}
		}
		fs = append(fs, f)
	}
	return fs
}

// shares are the ticks of an axis on which a quantile q stands at 1/(1-q): each nine takes as much room.
var shares = []Tick{{1, "0"}, {2, "50 %"}, {10, "90 %"}, {100, "99 %"}, {1000, "99.9 %"}, {10_000, "99.99 %"}}

// distribution is the curve of a histogram, as far as there are values enough to tell.
func (r *Row) distribution(name string) (ps []Point) {
	kept, _ := quiet(r)
	sum, err := decode(r.Slices[kept[0]].Histograms[name])
	if err != nil {
		return nil
	}
	for _, i := range kept[1:] {
		if h, err := decode(r.Slices[i].Histograms[name]); err == nil {
			sum.Merge(h)
		}
	}
	for x := 1.0; x <= min(float64(sum.TotalCount()), shares[len(shares)-1].At); x *= math.Pow(10, 0.05) {
		y := float64(sum.ValueAtQuantile(100*(1-1/x))) / 1e6
		ps = append(ps, Point{x, y, y, y})
	}
	return ps
}

// lines make a figure of metrics over what the cases of a load differ in.
func lines(load, file, title string, ms []Metric) func(*Report) []Figure {
	return func(r *Report) []Figure {
		f := Figure{File: file, Title: title, X: axes[load], Y: Axis{Label: labels[ms[0].unit()], Log: true}}
		for _, m := range ms {
			for _, row := range r.of(load) {
				if row.Candidate == "ceiling" {
					continue // a dot
				}
				name := lineName(row, m, len(ms) > 1)
				i := slices.IndexFunc(f.Series, func(s Series) bool { return s.Name == name })
				if i < 0 {
					i = len(f.Series)
					f.Series = append(f.Series, Series{Name: name})
				}
				if p, ok := row.point(max(row.X, least(f.X)), m); ok {
					f.Series[i].Points = append(f.Series[i].Points, p)
				}
			}
		}
		f.Series = moreThanDots(f.Series)
		return []Figure{f}
	}
}

// lineName says which line of a figure a row belongs to.
func lineName(r *Row, m Metric, many bool) string {
	in, _, _ := strings.Cut(r.Case, ",")
	switch {
	case many:
		name, _, _ := strings.Cut(string(m), " ")
		return name[strings.LastIndexByte(name, '-')+1:] + ", " + in
	case r.Load == "depth":
		return strings.TrimLeft(in, "0123456789 ")
	}
	return in
}

// moreThanDots are the series of more than one point, if there are any.
func moreThanDots(all []Series) []Series {
	dot := func(s Series) bool { return len(s.Points) < 2 }
	if more := slices.DeleteFunc(slices.Clone(all), dot); len(more) > 0 {
		return more
	}
	return all
}

// least is what stands for 0 on a logarithmic axis.
func least(a Axis) float64 {
	if a.Log {
		return 1
	}
	return 0
}

var axes = map[string]Axis{
	"rate":  {Label: "arrivals, % of the rate that saturates the server"},
	"flat":  {Label: "other locks that are held", Log: true, Ticks: []Tick{{1, "0"}, {1000, "1 k"}, {100_000, "100 k"}, {1_000_000, "1 M"}}},
	"depth": {Label: "segments of the path, or resources of the request", Log: true},
}

var labels = map[string]string{"us": "microseconds", "pairs/s": "pairs a second", "us/pair": "microseconds of the server, each pair"}

func churnCurve(r *Report) []Figure {
	f := Figure{
		File: "churn.svg", Title: "Memory of the server while short locks come and go",
		X: Axis{Label: "seconds"}, Y: Axis{Label: "MiB resident"},
	}
	for _, row := range r.of("churn") {
		for i, s := range row.Slices {
			var ps []Point
			for _, v := range s.Curves["memory"] {
				y := v[1] / (1 << 20)
				ps = append(ps, Point{v[0], y, y, y})
			}
			f.Series = append(f.Series, Series{fmt.Sprintf("repeat %d", i+1), ps})
		}
	}
	return []Figure{f}
}
