package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

func (p process) pluginCheck(args []string) int {
	flags := append(newLoadFlags(), &flagValue{long: "--hooks", value: new(string)})
	operands, err := parseFlags(args, 1, flags...)
	if err == nil && len(operands) == 0 {
		err = errors.New("name the module's file")
	}
	var spec host.Spec
	if err == nil {
		spec, err = flags.spec(operands[0])
	}
	if err != nil {
		return p.misused("plugin check", "locktopus plugin check: %v", err)
	}
	report, err := examine(spec, relay{p.stderr})
	if err != nil {
		return p.loadFaults(&spec, err)
	}
	p.printReport(&spec, report)
	fmt.Fprintf(p.stdout, "%s: ok\n", spec.Path)
	return exitOK
}

// examine takes a module through all steps of the load. It must export a hook at least.
func examine(spec host.Spec, to relay) (*host.Report, error) {
	report, err := host.Examine(spec, host.Options{Log: to.log()})
	if err == nil && report.Hooks == 0 {
		err = errors.New("it exports no hook, so there is nothing to ask it: export locktopus_authenticate, locktopus_authorize or locktopus_normalize")
	}
	return report, err
}

func (p process) printReport(spec *host.Spec, r *host.Report) {
	memory := cmp.Or(spec.Limits.MemoryBytes, host.DefaultLimits().MemoryBytes)
	for _, line := range [...]struct{ what, is string }{
		{"file", config.FormatInteger(int64(r.Bytes)) + " bytes"},
		{"sha256", fmt.Sprintf("%x, of file and configuration", r.Digest)},
		{"hooks", hookNames(r.Hooks)},
		{"configuration", takesConfig(r, spec)},
		{"imports", importList(r.Imports)},
		{"memory", fmt.Sprintf("%s bytes at the start, %s when ready, %s allowed", config.FormatInteger(r.MemoryBytes), config.FormatInteger(r.Started), config.FormatInteger(memory))},
		{"code", fmt.Sprintf("%s functions, %s bytes", config.FormatInteger(int64(r.Functions)), config.FormatInteger(int64(r.CodeBytes)))},
		{"metering", fmt.Sprintf("%s places, %s of them loops; the module grows to %s bytes", config.FormatInteger(int64(r.Charges)), config.FormatInteger(int64(r.Loops)), config.FormatInteger(int64(r.Metered)))},
		{"compilation", rounded(r.Compile)},
		{"start", rounded(r.Start) + " an instance"},
	} {
		fmt.Fprintf(p.stdout, "%-14s %s\n", line.what, line.is)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(p.stdout, "%-14s %s\n", "warning", w)
	}
}

func takesConfig(r *host.Report, spec *host.Spec) string {
	switch {
	case !r.TakesConfig:
		return "takes none"
	case spec.Config == nil:
		return "takes one; none was given"
	}
	return "taken"
}

// importList names each import once.
func importList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for k, n := range names {
		names[k] = printable(n)
	}
	return strings.Join(names, ", ")
}

// rounded shows three digits or so of a duration.
func rounded(d time.Duration) string {
	for unit := time.Second; unit >= time.Microsecond; unit /= 1000 {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
