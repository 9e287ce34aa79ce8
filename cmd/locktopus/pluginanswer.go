package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

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

// ask puts the question to a plugin.
func (q *question) ask(probe *host.Probe) *answer {
	probe.SetTime(q.now)
	a := &answer{hook: q.hook}
	var v host.Verdict
	switch q.hook {
	case host.Authenticate:
		a.identity, v = probe.Authenticate(&q.connect)
	case host.Authorize:
		v = probe.Authorize(&q.request)
	case host.Normalize:
		var rs []host.Resource
		if rs, v = probe.Normalize(&q.request); v.Outcome == host.Allowed {
			a.paths = pathTexts(rs)
		}
	}
	a.outcome, a.code, a.reason = v.Outcome, v.Code, string(v.Reason)
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
	switch a.outcome {
	case host.Denied:
		return fmt.Sprintf("denied, code %d: %q", a.code, a.reason)
	case host.Failed:
		return "failed: " + printable(a.reason)
	case host.TooLong:
		return "failed: " + printable(a.reason)
	}
	switch a.hook {
	case host.Authenticate:
		return "allowed " + identityText(&a.identity)
	case host.Normalize:
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
		text += ", for " + ttlText(id.TTL)
	}
	return text
}

// ttlText leaves out the zeros at the end of 1h0m0s.
func ttlText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
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
