// Draw makes SVG plots. Bench starts it: what to draw is a JSON array of figures on its standard input,
// where to write is its argument. It is part of a module of its own so that the library that draws
// never becomes a dependency of the lock server.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is what bench wants to be drawn: see package report in bench/internal/report.
type figure struct {
	File   string   `json:"file"`
	Title  string   `json:"title"`
	X      axis     `json:"x"`
	Y      axis     `json:"y"`
	Groups []string `json:"groups"`
	Series []series `json:"series"`
}

type axis struct {
	Label string `json:"label"`
	Log   bool   `json:"log"`
	Ticks []struct {
		At   float64 `json:"at"`
		Name string  `json:"name"`
	} `json:"ticks"`
}

type series struct {
	Name   string  `json:"name"`
	Points []point `json:"points"`
}

type point struct {
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: draw DIRECTORY <FIGURES.json")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "draw:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, dir string) error {
	var figures []figure
	if err := json.NewDecoder(in).Decode(&figures); err != nil {
		return fmt.Errorf("reading figures: %w", err)
	}
	for _, f := range figures {
		svg, err := f.svg()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(f.File)), svg, 0o644)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.File, err)
		}
	}
	return nil
}

const (
	width  = 9 * vg.Inch
	height = 4.5 * vg.Inch
	margin = vg.Length(12)
)

// palette are colours that people of any eyesight tell apart (Okabe and Ito), ours first.
var palette = []color.Color{
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0x60, 0x60, 0x60, 0xff}, color.RGBA{0x00, 0x00, 0x00, 0xff},
}

func colour(i int) color.Color { return palette[i%len(palette)] }

func (f *figure) svg() ([]byte, error) {
	if len(f.Series) == 0 || slices.ContainsFunc(f.Series, func(s series) bool { return len(s.Points) == 0 }) {
		return nil, errors.New("there is nothing to draw")
	}
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = f.Title, f.X.Label, f.Y.Label
	p.Title.Padding = vg.Points(8)
	p.BackgroundColor = color.White // for readers of dark pages
	p.Legend.Top, p.Legend.Padding = true, vg.Points(2)
	f.X.apply(&p.X)
	f.Y.apply(&p.Y)
	p.Add(grid(p, len(f.Groups) == 0))
	var err error
	if len(f.Groups) > 0 {
		err = f.bars(p)
	} else {
		err = f.lines(p)
	}
	if err != nil {
		return nil, err
	}
	return render(p)
}

func grid(p *plot.Plot, vertical bool) *plotter.Grid {
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Color = color.Gray{0xe0}, color.Gray{0xe0}
	if !vertical {
		g.Vertical.Color = nil
	}
	return g
}

func (a axis) apply(to *plot.Axis) {
	if a.Log {
		to.Scale, to.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	if len(a.Ticks) > 0 {
		var ticks plot.ConstantTicks
		for _, t := range a.Ticks {
			ticks = append(ticks, plot.Tick{Value: t.At, Label: t.Name})
		}
		to.Tick.Marker = ticks
	}
}

// logTicks names the powers of ten, in the way of the tables.
type logTicks struct{}

func (logTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.LogTicks{Prec: -1}.Ticks(low, high)
	for i := range ticks {
		switch v := ticks[i].Value; {
		case ticks[i].Label == "":
		case v >= 1e6:
			ticks[i].Label = fmt.Sprintf("%g M", v/1e6)
		case v >= 1e3:
			ticks[i].Label = fmt.Sprintf("%g k", v/1e3)
		}
	}
	return ticks
}

func (f *figure) lines(p *plot.Plot) error {
	p.Legend.Left = true
	for i, s := range f.Series {
		xys := make(plotter.XYs, len(s.Points))
		for n, pt := range s.Points {
			xys[n] = plotter.XY{X: pt.X, Y: pt.Y}
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return err
		}
		line.Color, line.Width = colour(i), vg.Points(1.8)
		p.Add(line)
		p.Legend.Add(s.Name, line)
		if err := spread(p, s.Points, i); err != nil {
			return err
		}
	}
	f.margins(p)
	return nil
}

// spread draws the lowest and highest of few points, which curves of many points don't have.
func spread(p *plot.Plot, points []point, i int) error {
	const few = 20
	if len(points) > few {
		return nil
	}
	xys, errs := make(plotter.XYs, len(points)), make(plotter.YErrors, len(points))
	for n, pt := range points {
		xys[n] = plotter.XY{X: pt.X, Y: pt.Y}
		errs[n].Low, errs[n].High = pt.Y-pt.Low, pt.High-pt.Y
	}
	dots, err := plotter.NewScatter(xys)
	if err != nil {
		return err
	}
	dots.Color, dots.Shape, dots.Radius = colour(i), draw.CircleGlyph{}, vg.Points(2.5)
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{xys, errs})
	if err != nil {
		return err
	}
	bars.Color = colour(i)
	p.Add(dots, bars)
	return nil
}

// margins leaves room above the lines for the legend.
func (f *figure) margins(p *plot.Plot) {
	if f.Y.Log {
		p.Y.Max *= 4
		p.Y.Min /= 1.5
		return
	}
	p.Y.Min = 0
	p.Y.Max *= 1.3
}

// bars draws a group of bars for each case. Each is a polygon of its own, since the bars of the
// library begin at 0, which a logarithmic axis doesn't have.
func (f *figure) bars(p *plot.Plot) error {
	p.X.Tick.Marker = f.names()
	p.X.Tick.Length = 0
	p.X.Min, p.X.Max = -0.5, float64(len(f.Groups))-0.5
	floor := f.floor()
	wide := 0.8 / float64(len(f.Series))
	for i, s := range f.Series {
		for _, pt := range s.Points {
			left := pt.X - 0.4 + float64(i)*wide
			bar, err := plotter.NewPolygon(plotter.XYs{{X: left, Y: floor}, {X: left, Y: pt.Y}, {X: left + 0.9*wide, Y: pt.Y}, {X: left + 0.9*wide, Y: floor}})
			if err != nil {
				return err
			}
			bar.Color, bar.LineStyle.Width = colour(i), 0
			p.Add(bar)
			if err := f.whisker(p, left+0.45*wide, pt); err != nil {
				return err
			}
		}
		p.Legend.Add(s.Name, swatch{colour(i)})
	}
	p.Y.Min = floor
	if f.Y.Log {
		p.Y.Max *= 8 // room for the legend
	} else {
		p.Y.Max *= 1.4
	}
	return nil
}

func (f *figure) whisker(p *plot.Plot, x float64, pt point) error {
	line, err := plotter.NewLine(plotter.XYs{{X: x, Y: pt.Low}, {X: x, Y: pt.High}})
	if err != nil {
		return err
	}
	line.Color, line.Width = color.Gray{0x40}, vg.Points(1)
	p.Add(line)
	return nil
}

func (f *figure) names() plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for i, g := range f.Groups {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: g})
	}
	return ticks
}

// floor is where bars begin: 0, or a power of ten below all of them.
func (f *figure) floor() float64 {
	if !f.Y.Log {
		return 0
	}
	floor := 1e9
	for _, s := range f.Series {
		for _, pt := range s.Points {
			for floor > pt.Low {
				floor /= 10
			}
		}
	}
	return floor
}

// swatch is the legend's sign of a bar.
type swatch struct{ color.Color }

func (s swatch) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(s.Color, []vg.Point{{X: c.Min.X, Y: c.Min.Y}, {X: c.Min.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Min.Y}})
}

// render writes the plot. Readers without the library's fonts get another one of the same kind.
func render(p *plot.Plot) ([]byte, error) {
	canvas := vgsvg.New(width, height)
	p.Draw(draw.Crop(draw.New(canvas), margin, -margin, margin, -margin))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif")), nil
}
