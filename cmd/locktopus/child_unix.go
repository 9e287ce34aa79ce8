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

// listenForSignals takes everything that a terminal or an operator sends to a command. SIGTTOU would stop
// us when we take the terminal back.
func listenForSignals() *incomingSignals {
	signal.Ignore(syscall.SIGTTOU)
	s := &incomingSignals{make(chan os.Signal, 16)}
	signal.Notify(s.c, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	return s
}

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
	stopped  chan struct{}   // receives when it was stopped at its terminal
	terminal int             // the descriptor of the terminal that the group was given; -1: none
}

// startChild starts the command. The thread that does so must live as long as the command: on Linux the
// kernel kills the command when that thread is gone, and with it when run is.
func startChild(program string, args, env []string) (*child, error) {
	ch := &child{ended: make(chan struct{}), stopped: make(chan struct{}, 1), terminal: foregroundTerminal()}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is this goroutine's and ends with it
		defer close(ch.ended)
		adoptOrphans()
		cmd := &exec.Cmd{Path: program, Args: args, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: ch.terminal >= 0, Ctty: max(ch.terminal, 0)}
		dieWithParent(cmd.SysProcAttr)
		err := cmd.Start()
		if err == nil {
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

// wait returns when the leader has ended.
func (ch *child) wait() {
	for {
		_, err := unix.Wait4(ch.pid, &ch.status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil, !ch.status.Stopped():
			return
		case ch.terminal >= 0 && ch.status.StopSignal() != unix.SIGSTOP:
			select {
			case ch.stopped <- struct{}{}:
			default:
			}
		}
	}
}

// suspend stops us until the shell lets us go on.
func (ch *child) suspend() {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	ch.takeTerminalBack()
	_ = unix.Kill(0, unix.SIGSTOP) // which takes effect a moment later
	<-goesOn
}

// resume lets a command go on that was stopped.
func (ch *child) resume() {
	_ = unix.IoctlSetPointerInt(ch.terminal, unix.TIOCSPGRP, ch.pid)
	_ = unix.Kill(-ch.pid, unix.SIGCONT)
}

// takeTerminalBack puts us in the foreground of the terminal where the group is.
func (ch *child) takeTerminalBack() {
	if ch.terminal >= 0 {
		_ = unix.IoctlSetPointerInt(ch.terminal, unix.TIOCSPGRP, unix.Getpgrp())
	}
}

// foregroundTerminal is the terminal on which we are in the foreground; -1: there is none.
func foregroundTerminal() int {
	fd := int(os.Stdin.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return -1
	}
	return fd
}

// pass hands a signal to the command's group.
func (ch *child) pass(s os.Signal) {
	if n, ok := s.(syscall.Signal); ok {
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

// code is the exit code for how the command has ended.
func (ch *child) code() int {
	if ch.status.Signaled() {
		return exitSignal + int(ch.status.Signal())
	}
	return ch.status.ExitStatus()
}
