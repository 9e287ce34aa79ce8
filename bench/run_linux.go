package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// serverPackage is what is measured.
const (
	modulePath    = "github.com/locktopus-project/locktopus/v2"
	serverPackage = modulePath + "/cmd/locktopus"
)

// bench is one run.
type bench struct {
	ctx          context.Context
	opt          options
	out          io.Writer
	report       *report.Report
	dir          string // of what was built and what servers keep; ours alone, removed at the end
	module       string // directory of the repository
	program      string // the server
	peersProgram string
	drawProgram  string // "" if it couldn't be built
	cores        cores
	descriptors  int // a process may have
	states       int // state directories given out
	drivers      int // started
}

// loads are what runs a load.
var loads = map[string]func(*scene) error{
	"u": uncontended, "c": contended, "r": readMostlyLoad, "m": fourResources, "rate": fixedRate, "flat": flat,
	"churn": churn, "cancel": cancel, "storm": storm, "idle": idle, "depth": depth, "plugins": judged,
	"engine": direct, peersLoad: peers,
}

// run runs the loads, prints what they find, and keeps it. One that fails doesn't take along what others found.
func run(ctx context.Context, opt options, out io.Writer) (err error) {
	b, err := setUp(ctx, opt, out)
	if b != nil && b.dir != "" {
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	}
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the generator is this one thread
	defer runtime.UnlockOSThread()
	b.report.Machine.WriteTo(out)
	for _, name := range allLoads() {
		if !slices.Contains(opt.loads, name) {
			continue
		}
		if failed := b.load(name); failed != nil {
			err = errors.Join(err, fmt.Errorf("load %s: %w", name, failed))
			b.remark("%s: it failed: %s", name, firstLine(failed))
		}
		if ctx.Err() != nil {
			return err
		}
	}
	b.report.Seconds = time.Since(b.report.Began).Seconds()
	b.report.WriteEnd(out)
	return errors.Join(err, b.keep())
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// load runs one load in a scene of its own, and keeps the cases that were measured.
func (b *bench) load(name string) error {
	s := &scene{bench: b, load: name}
	err := loads[name](s)
	s.end()
	s.rows = slices.DeleteFunc(s.rows, func(r *report.Row) bool { return len(r.Slices) == 0 })
	b.report.Rows = append(b.report.Rows, s.rows...)
	report.SheetOf(name).Write(b.out, s.rows)
	if name == peersLoad {
		report.SheetOf(apartLoad).Write(b.out, s.rows)
	}
	return err
}

// remark says what was left out.
func (b *bench) remark(format string, args ...any) {
	b.report.Remarks = append(b.report.Remarks, fmt.Sprintf(format, args...))
}

// version notes what a peer calls itself.
func (b *bench) version(name, version string) {
	if b.report.Versions == nil {
		b.report.Versions = map[string]string{}
	}
	b.report.Versions[name] = version
}

// setUp builds what is needed, then moves this process to its core. The directory is for the caller
// to remove, also after an error.
func setUp(ctx context.Context, opt options, out io.Writer) (b *bench, err error) {
	b = &bench{ctx: ctx, opt: opt, out: out, report: &report.Report{Began: time.Now().UTC().Truncate(time.Second), Command: opt.command}}
	if b.cores, err = pick(); err != nil {
		return b, err
	}
	if b.descriptors, err = raiseDescriptors(max(slices.Max(opt.conns), opt.crowd, opt.idle) + spareDescriptors); err != nil {
		return b, err
	}
	if opt.out != "" {
		if err := os.MkdirAll(opt.out, 0o755); err != nil {
			return b, err
		}
	}
	if b.dir, err = os.MkdirTemp("", "locktopus-bench-"); err != nil {
		return b, err
	}
	if err := b.build(); err != nil {
		return b, err
	}
	b.report.Machine = b.machine()
	return b, pinSelf(b.cores.generator)
}

// build makes the server and what else the run needs, while all cores are ours.
func (b *bench) build() (err error) {
	if b.module, err = moduleDir(b.ctx); err != nil {
		return err
	}
	b.program = filepath.Join(b.dir, "locktopus")
	if err := b.built(exec.CommandContext(b.ctx, "go", "build", "-o", b.program, serverPackage)); err != nil {
		return err
	}
	tools := filepath.Join(b.module, "bench", "tools")
	if slices.Contains(b.opt.loads, peersLoad) {
		b.peersProgram = filepath.Join(b.dir, "peers")
		if err := b.built(exec.CommandContext(b.ctx, "go", "build", "-C", tools, "-o", b.peersProgram, "./peers")); err != nil {
			return err
		}
	}
	if b.opt.out == "" {
		return nil
	}
	b.drawProgram = filepath.Join(b.dir, "draw")
	err = b.built(exec.CommandContext(b.ctx, "go", "build", "-C", tools, "-o", b.drawProgram, "./draw"))
	if err != nil && b.ctx.Err() == nil {
		b.remark("plots: what draws them can't be built: %v", err)
		b.drawProgram, err = "", nil
	}
	return err
}

// moduleDir is where the repository is.
func moduleDir(ctx context.Context) (string, error) {
	text, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath).Output()
	if err != nil {
		return "", fmt.Errorf("run it in the repository: go list -m: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// keep writes the report, its tables and its plots.
func (b *bench) keep() error {
	if b.opt.out == "" {
		return nil
	}
	if err := b.report.Save(filepath.Join(b.opt.out, "results.json")); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer){"results.txt": b.report.Write, "summary.md": b.report.Summary} {
		var text bytes.Buffer
		write(&text)
		if err := os.WriteFile(filepath.Join(b.opt.out, name), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.out, "results are in %s\n", b.opt.out)
	if b.drawProgram == "" {
		return nil
	}
	figures, err := json.Marshal(b.report.Figures())
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(b.ctx, b.drawProgram, b.opt.out)
	cmd.Stdin = bytes.NewReader(figures)
	return b.built(cmd)
}

// pingLate is so late that no client is pinged: those who wait for their turn don't answer.
const pingLate = 24 * time.Hour

// startServer starts the real server as a user would, with a state directory on disk. Config is a
// configuration file, "" for none.
func (b *bench) startServer(config string, env ...string) (*process, error) {
	b.states++
	state := filepath.Join(b.dir, fmt.Sprintf("state-%d", b.states))
	args := []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", state}
	if config != "" {
		args = append(args, "--config", config)
	}
	env = append([]string{"LOCKTOPUS_LIMITS_PING_INTERVAL=" + pingLate.String()}, env...)
	return start(b.ctx, spec{core: b.cores.server, env: env, program: b.program, args: args})
}

func (b *bench) startCeiling() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(b.ctx, spec{core: b.cores.server, program: self, args: []string{ceilingArg}})
}

func (b *bench) machine() report.Machine {
	m := report.Machine{CPU: "unknown", Cores: runtime.NumCPU(), Kernel: "unknown", Go: "unknown", Revision: "unknown", ServerCore: b.cores.server, GeneratorCore: b.cores.generator}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if built, err := buildinfo.ReadFile(b.program); err == nil {
		m.Go = built.GoVersion
	}
	git := exec.CommandContext(b.ctx, "git", "-C", b.module, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty= with changes")
	if text, err := git.Output(); err == nil {
		m.Revision = strings.TrimSpace(string(text))
	}
	return m
}
