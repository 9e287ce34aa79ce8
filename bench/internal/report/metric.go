package report

import (
	"fmt"
	"strings"
)

// Metric names what is measured, with its unit behind a space.
type Metric string

const (
	Pairs         Metric = "rate pairs/s"
	PairCPU       Metric = "server-cpu us/pair"
	ServerBusy    Metric = "server-busy %"    // of its core
	GeneratorBusy Metric = "generator-busy %" // of its core
	Arrivals      Metric = "arrivals pairs/s" // that a fixed rate asked for
	PerItem       Metric = "server-cpu us/item"
	Allocs        Metric = "allocations /pair"
	EngineTime    Metric = "engine ns/pair"

	Base        Metric = "memory-base bytes"
	Peak        Metric = "memory-peak bytes"
	After       Metric = "memory-after bytes"
	AfterToBase Metric = "memory-after ratio" // to the base
	Each        Metric = "memory bytes/item"  // a connection, a lock
	Slowdown    Metric = "last-tenth ratio"   // of the rate in the first tenth

	Cleared  Metric = "cleared ms" // from the first that leaves until the one behind them all has the lock
	Back     Metric = "back ms"    // from the first that drops until all have their lock again
	Served   Metric = "served ms"  // for all idle connections to lock and release once
	Held     Metric = "held connections"
	PingBusy Metric = "server-busy-pings %"
)

// quantiles are those that are values of their own.
var quantiles = []float64{50, 99, 99.9, 100}

var quantileNames = []string{"p50", "p99", "p99.9", "max"}

// OfDurations are the metrics that a histogram of this name gives.
func OfDurations(name string) []Metric {
	ms := make([]Metric, len(quantiles))
	for i := range quantiles {
		ms[i] = Metric(name + "-" + quantileNames[i] + " us")
	}
	return ms
}

// unit is what stands behind the metric's space.
func (m Metric) unit() string {
	_, unit, _ := strings.Cut(string(m), " ")
	return unit
}

// head is a column's.
func (m Metric) head() string { return string(m) }

// better says which way a metric gets better: up 1, down -1, neither 0.
func (m Metric) better() int {
	switch m.unit() {
	case "pairs/s", "connections":
		if m == Arrivals {
			return 0
		}
		return 1
	case "us", "ms", "us/pair", "us/item", "ns/pair", "/pair", "bytes", "bytes/item":
		return -1
	}
	return 0
}

// spreads says whether tables show the metric's lowest and highest too.
func (m Metric) spreads() bool {
	switch m.unit() {
	case "pairs/s", "us", "ms", "ratio":
		return m != Arrivals
	}
	return false
}

// format writes a value, without its unit where the column's head has it.
func (m Metric) format(v float64) string {
	switch m.unit() {
	case "bytes":
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case "pairs/s":
		return thousands(v)
	case "%", "bytes/item", "connections":
		return fmt.Sprintf("%.0f", v)
	}
	return digits(v)
}

func thousands(v float64) string {
	if v < 1000 {
		return digits(v)
	}
	return fmt.Sprintf("%.1f k", v/1e3)
}

// digits writes a number with three digits or so.
func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 1:
		return fmt.Sprintf("%.3f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func (m Metric) formatSpread(s Spread) string {
	if !m.spreads() {
		return m.format(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", m.format(s.Median), m.format(s.Low), m.format(s.High))
}
