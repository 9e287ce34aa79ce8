package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

type incomingSignals struct{ c chan os.Signal }

func listenForSignals() *incomingSignals {
	s := &incomingSignals{make(chan os.Signal, 16)}
	signal.Notify(s.c, os.Interrupt, syscall.SIGTERM)
	return s
}

func (s *incomingSignals) stopsToo() {}

func (s *incomingSignals) stop() { signal.Stop(s.c) }

func ends(os.Signal) bool { return true }

func signalNumber(s os.Signal) int {
	if s == os.Interrupt {
		return 2
	}
	return 15
}

// child is the command. Windows has no process groups that could be ended: only the command itself is.
type child struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	stopped chan os.Signal // receives nothing
}

func startChild(program string, args, env []string) (*child, error) {
	ch := &child{ended: make(chan struct{})}
	ch.cmd = &exec.Cmd{Path: program, Args: args, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := ch.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(ch.ended)
		_ = ch.cmd.Wait() // how it ended is in its state
	}()
	return ch, nil
}

// pass does nothing: the console tells everybody who is attached to it.
func (ch *child) pass(os.Signal) {}
func (ch *child) terminate()     { ch.kill() }
func (ch *child) kill()          { _ = ch.cmd.Process.Kill() }
func (ch *child) gone() bool     { return true }
func (ch *child) suspend()       {}

func (ch *child) takesTerminal(os.Signal) bool { return false }
func (ch *child) resume()                      {}
func (ch *child) takeTerminalBack()            {}
func (ch *child) code() int                    { return ch.cmd.ProcessState.ExitCode() }
