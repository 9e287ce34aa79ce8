package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// asking is what commands that put one question to a plugin are told.
type asking struct {
	spec     host.Spec
	question *question
}

// parseAsking reads FILE HOOK and the flags of loading and of questions, besides more.
func parseAsking(args []string, more ...*flagValue) (*asking, error) {
	load, words := newLoadFlags(), []given(nil)
	operands, err := parseFlags(args, 2, slices.Concat(load, inputFlags(&words), more)...)
	if err != nil {
		return nil, err
	}
	if len(operands) < 2 {
		return nil, errors.New("name the module's file and the hook to ask: authenticate, authorize or normalize")
	}
	hook, err := parseHook(operands[1])
	if err != nil {
		return nil, err
	}
	var a asking
	if a.spec, err = load.spec(operands[0]); err != nil {
		return nil, err
	}
	a.spec.Hooks = hook
	if a.question, err = newQuestion(hook, words, (*input).flag); err != nil {
		return nil, each(err)[0] // one is enough for a command line
	}
	return &a, nil
}

func (p process) pluginRun(args []string) int {
	a, err := parseAsking(args)
	if err != nil {
		return p.misused("plugin run", "locktopus plugin run: %v", err)
	}
	probe, err := host.NewProbe(a.spec, host.Options{Log: relay{p.stderr}.log()})
	if err != nil {
		return p.loadFaults(&a.spec, err)
	}
	defer probe.Close()
	got := a.question.ask(probe)
	p.printAnswer(a.question, got)
	if !got.allowed() {
		return exitFailed
	}
	return exitOK
}

var modeWords = map[host.Mode]string{host.Read: "read", host.Write: "write", host.Permit: "permit"}

// printAnswer prints the answer, and of normalize a line for each path.
func (p process) printAnswer(q *question, a *answer) {
	if a.hook != host.Normalize || !a.allowed() {
		fmt.Fprintln(p.stdout, a)
		return
	}
	fmt.Fprintln(p.stdout, "allowed")
	for k, was := range pathTexts(q.request.Resources) {
		change := "becomes " + shellQuoted(a.paths[k])
		if a.paths[k] == was {
			change = "stays"
		}
		fmt.Fprintf(p.stdout, "%s %s %s\n", modeWords[q.request.Resources[k].Mode], shellQuoted(was), change)
	}
}
