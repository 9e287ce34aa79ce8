package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startTime = time.Minute     // for a process to listen: a large plugin is compiled first
	stopTime  = 5 * time.Second // for a process to end by itself
	tailLines = 80              // of a process's log are shown when it fails
)

// cores says where the two sides run.
type cores struct{ server, generator int }

// pick takes the first and the last core we may use: where neighbours in number share a core's
// execution units, or the two halves do, these two don't.
func pick() (cores, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return cores{}, fmt.Errorf("asking for the cores we may use: %w", err)
	}
	var ours []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			ours = append(ours, i)
		}
	}
	return cores{ours[0], ours[len(ours)-1]}, nil
}

// pinSelf pins every thread of this process; threads to come inherit it from those that start them.
func pinSelf(core int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := pinThread(tid, core); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

func pinThread(tid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("pinning to core %d: %w", core, err)
	}
	return nil
}

// spec says how a process is started.
type spec struct {
	core    int
	dir     string // working directory; "": ours
	env     []string
	user    *syscall.Credential // nil: ours
	program string
	args    []string
	// addr is where it will listen; "" if it says so itself in its log, as our server does.
	addr string
	// forks says that its children do its work.
	forks bool
	// stdin and stdout, if they aren't nil, are its own; otherwise both outputs are its log.
	stdin  io.Reader
	stdout io.Writer
}

// process is a candidate, or what drives one.
type process struct {
	spec
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
	tail []string      // of its log; read it after gone
}

var listening = regexp.MustCompile(`msg=listening .*address=(\S+)`)

// start runs a process on the given core, and returns when it listens. The process gets our
// environment without settings of ours that may linger there, and env.
func start(ctx context.Context, s spec) (*process, error) {
	p, address, err := launch(s)
	if err != nil {
		return nil, err
	}
	if s.addr != "" {
		go p.knock(s.addr, address)
	}
	select {
	case p.addr = <-address:
		return p, nil
	case <-p.gone:
		return nil, fmt.Errorf("%s ended before it listened:\n%s", p.program, strings.Join(p.tail, "\n"))
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(startTime):
		err = errors.New("it doesn't listen")
	}
	return nil, p.explain(fmt.Errorf("starting %s: %w", p.program, err))
}

// launch runs a process; where it listens comes through the channel, if its log tells.
func launch(s spec) (*process, chan string, error) {
	p := &process{spec: s, cmd: exec.Command(s.program, s.args...), gone: make(chan struct{})}
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LOCKTOPUS_") }), s.env...)
	p.cmd.Dir, p.cmd.Stdin, p.cmd.Stdout = s.dir, s.stdin, s.stdout
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL, Credential: s.user}
	log, end, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	p.cmd.Stderr = end
	if s.stdout == nil {
		p.cmd.Stdout = end
	}
	err = startOn(s.core, p.cmd)
	end.Close()
	if err != nil {
		log.Close()
		return nil, nil, fmt.Errorf("starting %s: %w", s.program, err)
	}
	address := make(chan string, 1)
	go p.follow(log, address, s.addr == "")
	return p, address, nil
}

// knock tells when somebody listens at the process's address.
func (p *process) knock(at string, address chan<- string) {
	for every := 20 * time.Millisecond; ; time.Sleep(every) {
		if conn, err := net.Dial("tcp", at); err == nil {
			conn.Close()
			address <- at
			return
		}
		select {
		case <-p.gone:
			return
		default:
		}
	}
}

// startOn starts a command whose threads will all run on one core: a child inherits the affinity of
// the thread that forks, and the Go runtime counts the cores it may use when it starts.
func startOn(core int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := pinThread(0, core); err != nil {
		return err
	}
	err := cmd.Start()
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

// follow reads the log to its end, and waits for the process.
func (p *process) follow(log io.ReadCloser, address chan<- string, tells bool) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil && tells && len(address) == 0 {
			address <- m[1]
		}
		p.tail = append(p.tail[max(0, len(p.tail)-tailLines+1):], lines.Text())
	}
	io.Copy(io.Discard, log) // a line too long must not stop the process
	log.Close()
	p.cmd.Wait() // why it ended stands in its log
	close(p.gone)
}

// stop asks the process to end, and makes it after a while. It may be called again.
func (p *process) stop() {
	p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(stopTime):
		p.cmd.Process.Kill()
		<-p.gone
	}
}

// explain stops the process, and adds to an error what it said last.
func (p *process) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	p.stop()
	return fmt.Errorf("%w\nlast words of %s:\n%s", err, p.cmd, strings.Join(p.tail, "\n"))
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// cpu is the CPU time that the process has used; of one that forks, with its children that are there.
func (p *process) cpu() (time.Duration, error) { return p.cpuOf(p.pid()) }

func (p *process) cpuOf(pid int) (time.Duration, error) {
	sum, err := cpuTime(pid)
	if err != nil || !p.forks {
		return sum, err
	}
	children, err := childrenOf(pid)
	for _, pid := range children {
		if t, err := cpuTime(pid); err == nil { // else it has ended meanwhile
			sum += t
		}
	}
	return sum, err
}

// childrenOf asks the kernel for all processes: it is not on all machines that it keeps lists of children.
func childrenOf(parent int) (pids []int, err error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		behindName := bytes.LastIndexByte(text, ')') + 1 // a name may hold anything
		if f := strings.Fields(string(text[behindName:])); len(f) > 1 && f[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// cpuTime is what all threads of a process have used: the clock that clock_getcpuclockid(3) names,
// to the nanosecond, where /proc/PID/stat counts hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	const processClock = 2 // CPUCLOCK_SCHED, of the whole process
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|processClock, &ts); err != nil {
		return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// coreTime is how long a core was in use, by whomever: programs, the kernel, the hypervisor for its
// other guests. The kernel counts it in hundredths of a second.
func coreTime(core int) (time.Duration, error) {
	const perSecond = 100 // USER_HZ, on every architecture that Go knows
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf("cpu%d", core)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != name {
			continue
		}
		var ticks int64
		for _, i := range []int{1, 2, 3, 6, 7, 8} { // user, nice, system, irq, softirq, steal: not idle and iowait
			n, err := strconv.ParseInt(f[i], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %w", err)
			}
			ticks += n
		}
		return time.Duration(ticks) * time.Second / perSecond, nil
	}
	return 0, fmt.Errorf("/proc/stat doesn't know %s", name)
}

// memoryOf is what a process has in RAM, in bytes.
func memoryOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)) // statm is a little behind
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Rss:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return float64(n << 10), err
		}
	}
	return 0, fmt.Errorf("the kernel doesn't say what memory process %d has", pid)
}

// roughMemoryOf is memoryOf to some pages, and disturbs the process less.
func roughMemoryOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text))
	if len(f) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm: %q", pid, text)
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	return float64(pages) * float64(os.Getpagesize()), err
}
