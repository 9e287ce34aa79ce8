package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// configFaults prints what Load found.
func (p process) configFaults(err error) int {
	fmt.Fprintln(p.stderr, err)
	return exitConfig
}

func (p process) configCheck(args []string) int {
	operands, err := parseFlags(args, 1)
	if err != nil {
		return p.misused("config check", "locktopus config check: %v", err)
	}
	in, name := config.Input{Environ: p.environ}, "defaults"
	if len(operands) == 1 {
		in.Path, name = operands[0], operands[0]
		if name == "" {
			return p.misused("config check", "locktopus config check: the name of the file is empty")
		}
	}
	c, err := config.Load(in)
	if err != nil {
		return p.configFaults(err)
	}
	faults := p.fileFaults(c)
	for _, f := range faults {
		fmt.Fprintln(p.stderr, printable(faultLine(c, f))) // what plugins say is in there
	}
	if len(faults) > 0 {
		return exitConfig
	}
	fmt.Fprintf(p.stdout, "%s: ok\n", name)
	return exitOK
}

// fileFaults looks at what is behind the settings, without keeping anything of it.
func (p process) fileFaults(c *config.Loaded) []fileFault {
	var faults []fileFault
	if c.Server.TLS.Cert != "" {
		_, faults = loadTLS(c.Server.TLS)
	}
	if _, fault := p.adminToken(&c.Config); fault != nil {
		faults = append(faults, *fault)
	}
	dir, err := p.stateDir(c.State.Dir)
	if err == nil && dir != "" {
		err = usable(dir)
	}
	if err != nil {
		faults = append(faults, fileFault{"state.dir", err})
	}
	return append(faults, p.pluginFaults(c)...)
}

// pluginFaults takes each plugin through all steps of loading.
func (p process) pluginFaults(c *config.Loaded) []fileFault {
	var faults []fileFault
	for _, pl := range c.Plugins {
		if _, err := host.Examine(pluginSpec(pl), host.Options{}); err != nil {
			faults = append(faults, pluginFaults(&host.LoadError{Plugin: pl.Name, Path: pl.Path, Err: err})...)
		}
	}
	return faults
}

// faultLine is in the form of config.Fault, at the place where the setting was given.
func faultLine(c *config.Loaded, f fileFault) string {
	return fmt.Sprintf("%s: %s: %v", c.Where(f.key), f.key, f.err)
}

// stateDir is the directory that state.dir means; "" is none.
func (p process) stateDir(setting string) (string, error) {
	if setting != config.DirAuto {
		return setting, nil
	}
	return fence.DefaultDir(os.Getenv)
}

// usable says whether the server could keep its state in dir, which it would make if it isn't there.
// It does so by making something in dir, or in the nearest directory above that there is, and taking
// it away again: permissions, read-only file systems and full disks all show only then.
func usable(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	at := dir
	info, err := os.Stat(at)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(at) != at {
		at = filepath.Dir(at)
		info, err = os.Stat(at)
	}
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", dir, bareError(err))
	}
	if !info.IsDir() {
		return fmt.Errorf("cannot use %s: %s is no directory", dir, at)
	}
	probe, err := os.MkdirTemp(at, ".locktopus-check-")
	if err != nil {
		return fmt.Errorf("cannot use %s: nothing can be written in %s: %w", dir, at, bareError(err))
	}
	return os.Remove(probe)
}

// bareError takes off the operation and the path, which the caller's sentence has.
func bareError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func (p process) configPrint(args []string) int {
	in := config.Input{Environ: p.environ}
	if _, err := parseFlags(args, 0, &flagValue{long: "--config", short: "-c", value: &in.Path}); err != nil {
		return p.misused("config print", "locktopus config print: %v", err)
	}
	c, err := config.Load(in)
	if err != nil {
		return p.configFaults(err)
	}
	if err := c.Print(p.stdout); err != nil {
		fmt.Fprintf(p.stderr, "locktopus config print: %v\n", err)
		return exitFailed
	}
	return exitOK
}
