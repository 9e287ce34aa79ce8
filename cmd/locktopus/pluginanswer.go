package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// answer is what a plugin says to a question.
type answer struct {
	hook     host.Hooks
	outcome  host.Outcome
	code     uint8
	reason   string
	identity host.Identity // of authenticate
	paths    []string      // of normalize, as pathText writes them
}

func (a *answer) allowed() bool { return a.outcome == host.Allowed }

// failed says that it is no answer.
func (a *answer) failed() bool { return a.outcome == host.Failed || a.outcome == host.TooLong }

// put asks a plugin. What is in the result is valid until the next question.
func (q *question) put(probe *host.Probe) (id host.Identity, rs []host.Resource, v host.Verdict) {
	switch q.hook {
	case host.Authenticate:
		id, v = probe.Authenticate(&q.connect)
	case host.Authorize:
		v = probe.Authorize(&q.request)
	case host.Normalize:
		rs, v = probe.Normalize(&q.request)
	}
	return id, rs, v
}

// ask is put, with an answer to keep.
func (q *question) ask(probe *host.Probe) *answer {
	probe.SetTime(q.now)
	id, rs, v := q.put(probe)
	a := &answer{hook: q.hook, outcome: v.Outcome, code: v.Code, reason: string(v.Reason), identity: id}
	if a.allowed() {
		a.paths = pathTexts(rs)
	}
	return a
}

func pathTexts(rs []host.Resource) []string {
	texts := make([]string, len(rs))
	for k := range rs {
		texts[k] = pathText(rs[k].Path)
	}
	return texts
}

func (a *answer) same(b *answer) bool {
	return a.outcome == b.outcome && a.code == b.code && a.reason == b.reason && a.identity == b.identity && slices.Equal(a.paths, b.paths)
}

// String says it in one line.
func (a *answer) String() string {
	switch {
	case a.failed():
		return "failed: " + printable(a.reason)
	case !a.allowed():
		return fmt.Sprintf("denied, code %d: %q", a.code, a.reason)
	case a.hook == host.Authenticate:
		return "allowed " + identityText(&a.identity)
	case a.hook == host.Normalize:
		return "allowed: " + pathList(a.paths)
	}
	return "allowed"
}

func identityText(id *host.Identity) string {
	if id.Principal == "" {
		return "without a name"
	}
	text := fmt.Sprintf("as %q", id.Principal)
	if id.Context != "" {
		text += fmt.Sprintf(", context %q", id.Context)
	}
	if id.TTL != 0 {
		text += ", for " + config.FormatDuration(id.TTL)
	}
	return text
}

// pathList is paths with a blank between them, each as a shell reads it.
func pathList(paths []string) string {
	words := make([]string, len(paths))
	for k, p := range paths {
		words[k] = shellQuoted(p)
	}
	if len(words) == 0 {
		return "no paths"
	}
	return strings.Join(words, " ")
}
