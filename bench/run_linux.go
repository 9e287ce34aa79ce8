package main

import (
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
)

// serverPackage is what is measured.
const serverPackage = "github.com/locktopus-project/locktopus/v2/cmd/locktopus"

// bench is one run.
type bench struct {
	ctx         context.Context
	opt         options
	out         io.Writer
	dir         string // of the built server and its state; ours alone, removed at the end
	program     string
	cores       cores
	descriptors int // a process may have
	states      int // state directories given out
}

// run runs the loads and prints what they find.
func run(ctx context.Context, opt options, out io.Writer) (err error) {
	b, err := setUp(ctx, opt, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	runtime.LockOSThread() // the generator is this one thread
	defer runtime.UnlockOSThread()
	r := report{Machine: b.machine(), Args: os.Args[1:], Began: time.Now()}
	r.Machine.write(out)
	for _, name := range opt.loads {
		if err := b.load(name, &r); err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	fmt.Fprintf(out, "\ntook %.0f s\n", time.Since(r.Began).Seconds())
	return r.save(opt.json)
}

func (b *bench) load(name string, r *report) error {
	if name == "idle" {
		i, err := b.idle(b.opt.idle)
		if err == nil {
			r.Idle = i
			i.write(b.out)
		}
		return err
	}
	measure, write := b.ownPaths, writeOwn
	switch name {
	case "c":
		measure, write = b.contended, writeContended
	case "p":
		measure, write = b.judged, writeJudged
	}
	ls, err := measure()
	if err == nil {
		r.Loads = append(r.Loads, ls...)
		write(b.out, ls)
	}
	return err
}

// setUp builds the server, then moves this process to its core.
func setUp(ctx context.Context, opt options, out io.Writer) (*bench, error) {
	b := &bench{ctx: ctx, opt: opt, out: out}
	var err error
	if b.cores, err = pick(); err != nil {
		return nil, err
	}
	if b.descriptors, err = raiseDescriptors(max(slices.Max(opt.conns), opt.idle) + spareDescriptors); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "locktopus-bench-"); err != nil {
		return nil, err
	}
	b.program = filepath.Join(b.dir, "locktopus")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=auto", "-o", b.program, serverPackage)
	if text, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("building the server: %w\n%s", err, text), os.RemoveAll(b.dir))
	}
	if err := pinSelf(b.cores.generator); err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	return b, nil
}

// startServer starts the real server as a user would, with a state directory on disk.
func (b *bench) startServer(env ...string) (*process, error) { return b.startConfigured("", env...) }

// startConfigured starts it with a configuration file; "" is none.
func (b *bench) startConfigured(config string, env ...string) (*process, error) {
	b.states++
	state := filepath.Join(b.dir, fmt.Sprintf("state-%d", b.states))
	args := []string{"serve", "--listen", "127.0.0.1:0", "--state-dir", state}
	if config != "" {
		args = append(args, "--config", config)
	}
	return start(b.ctx, b.cores.server, env, b.program, args...)
}

func (b *bench) startCeiling() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(b.ctx, b.cores.server, nil, self, ceilingArg)
}

func (b *bench) machine() machine {
	m := machine{CPU: "unknown", Cores: runtime.NumCPU(), Kernel: "unknown", Go: "unknown", Revision: "unknown", ServerCore: b.cores.server, GeneratorCore: b.cores.generator}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if info, err := buildinfo.ReadFile(b.program); err == nil {
		m.Go, m.Revision = info.GoVersion, revision(info)
	}
	return m
}

// revision is what the go command noted in the server it built.
func revision(info *buildinfo.BuildInfo) string {
	rev := "an unknown revision"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			rev += " with changes"
		}
	}
	return rev
}

func (r *report) save(file string) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
