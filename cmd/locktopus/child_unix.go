//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// incomingSignals are those that run was sent.
type incomingSignals struct{ c chan os.Signal }

// listenForSignals takes everything that a terminal or an operator sends to a command, but what we were told to ignore,
// as nohup does: the command is to ignore that, too. A write to a pipe that nobody reads any more must not end us: we
// may be saying why we end the command.
func listenForSignals() *incomingSignals {
	s := &incomingSignals{make(chan os.Signal, 16)}
	for _, sig := range []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
	} {
		if !signal.Ignored(sig) {
			signal.Notify(s.c, sig)
		}
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return s
}

// stopsToo takes stops from now on: there is a command that they are for.
func (s *incomingSignals) stopsToo() { signal.Notify(s.c, syscall.SIGTSTP) }

func (s *incomingSignals) stop() { signal.Stop(s.c) }

// ends says whether a signal means that run should end while it waits for its lock.
func ends(s os.Signal) bool {
	switch s {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM:
		return true
	}
	return false
}

func signalNumber(s os.Signal) int {
	n, _ := s.(syscall.Signal)
	return int(n)
}

// child is the command, the leader of a process group of its own.
type child struct {
	pid      int
	status   unix.WaitStatus // once ended is closed
	ended    chan struct{}   // closed when the leader has ended
	stopped  chan os.Signal  // receives by what it was stopped, unless somebody did that to it alone
	terminal int             // the descriptor of our terminal; -1: there is none
	owns     bool            // the group was given the terminal
	keys     bool            // it had it until now
	told     bool            // it was sent an interrupt by us
	wants    bool            // it has had it, or has asked for it
}

// startChild starts the command. The thread that does so must live as long as the command: on Linux the
// kernel kills the command when that thread is gone, and with it when run is.
func startChild(program string, args, env []string) (*child, error) {
	ch := &child{ended: make(chan struct{}), stopped: make(chan os.Signal, 1), terminal: ownTerminal()}
	// Where our output goes down a pipe, whoever reads it may be in our own group, and read the keys.
	ch.owns = inForeground(ch.terminal) && !isPipe(os.Stdout)
	ch.wants = ch.owns
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is this goroutine's and ends with it
		defer close(ch.ended)
		adoptOrphans()
		cmd := &exec.Cmd{Path: program, Args: args, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: ch.owns, Ctty: max(ch.terminal, 0)}
		dieWithParent(cmd.SysProcAttr)
		err := cmd.Start()
		if err == nil {
			// From now on we are in the background, perhaps, and write there, and take the terminal back. Nothing of that
			// may stop us; the command has not inherited it.
			signal.Ignore(syscall.SIGTTOU)
			ch.pid = cmd.Process.Pid
			_ = cmd.Process.Release() // waited for below, where a stop is seen, too
		}
		started <- err
		if err == nil {
			ch.wait()
		}
	}()
	return ch, <-started
}

// wait returns when the leader has ended. It buries whoever was left to us meanwhile, too.
func (ch *child) wait() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return
		case pid != ch.pid:
		case !status.Stopped():
			ch.status = status
			return
		case status.StopSignal() != unix.SIGSTOP:
			select {
			case ch.stopped <- status.StopSignal():
			default:
			}
		}
	}
}

// takesTerminal gives a command the terminal that was stopped because it hasn't got it. False: it wasn't, or we
// haven't got it ourselves.
func (ch *child) takesTerminal(stopped os.Signal) bool {
	if stopped != syscall.SIGTTIN && stopped != syscall.SIGTTOU {
		return false
	}
	ch.wants = true
	if !ch.giveTerminal() {
		return false
	}
	_ = unix.Kill(-ch.pid, unix.SIGCONT)
	return true
}

// suspend stops us until the shell lets us go on, and where the command was stopped at the terminal in our place, all
// of our group.
func (ch *child) suspend() {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	ch.takeTerminalBack()
	whom := unix.Getpid()
	if ch.wants {
		whom = 0
	}
	_ = unix.Kill(whom, unix.SIGSTOP) // which takes effect a moment later
	<-goesOn
}

// resume lets a command go on that was stopped: at the terminal, if that is where we go on.
func (ch *child) resume() {
	if ch.wants {
		ch.giveTerminal()
	}
	_ = unix.Kill(-ch.pid, unix.SIGCONT)
}

// giveTerminal puts the group in the foreground, if we are there ourselves.
func (ch *child) giveTerminal() bool {
	ch.owns = ch.owns || inForeground(ch.terminal) && unix.IoctlSetPointerInt(ch.terminal, unix.TIOCSPGRP, ch.pid) == nil
	return ch.owns
}

// takeTerminalBack puts us in the foreground of the terminal, where the group is.
func (ch *child) takeTerminalBack() {
	if ch.owns {
		_ = unix.IoctlSetPointerInt(ch.terminal, unix.TIOCSPGRP, unix.Getpgrp())
	}
	ch.keys, ch.owns = ch.owns, false
}

// ownTerminal is the terminal that our session has; -1: none.
func ownTerminal() int {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if _, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP); err == nil {
			return int(f.Fd())
		}
	}
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return -1
	}
	return fd
}

// inForeground says whether keys that are pressed at a terminal are for us.
func inForeground(terminal int) bool {
	group, err := unix.IoctlGetInt(terminal, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

// pass hands a signal to the command's group.
func (ch *child) pass(s os.Signal) {
	if n, ok := s.(syscall.Signal); ok {
		ch.told = ch.told || n == syscall.SIGINT
		_ = unix.Kill(-ch.pid, n)
	}
}

// terminate asks the group to end; what is stopped has to go on to hear it.
func (ch *child) terminate() {
	_ = unix.Kill(-ch.pid, unix.SIGTERM)
	_ = unix.Kill(-ch.pid, unix.SIGCONT)
}

func (ch *child) kill() { _ = unix.Kill(-ch.pid, unix.SIGKILL) }

// gone says whether nobody is left in the group. Those that have ended and were left to us are buried first.
func (ch *child) gone() bool {
	for {
		var status unix.WaitStatus
		if pid, err := unix.Wait4(-ch.pid, &status, unix.WNOHANG, nil); err != nil || pid <= 0 {
			break
		}
	}
	return errors.Is(unix.Kill(-ch.pid, 0), unix.ESRCH)
}

// code is the exit code for how the command has ended. Where the keys were its own our group has not heard of Ctrl-C.
func (ch *child) code() int {
	if !ch.status.Signaled() {
		return ch.status.ExitStatus()
	}
	code := exitBySignal(ch.status.Signal())
	if code&byInterrupt != 0 && ch.keys && !ch.told {
		code |= allInterrupts
	}
	return code
}
