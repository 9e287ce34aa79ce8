// Plugin-go is a policy as somebody would write it in Go: rules that say who may lock which paths in
// which modes. It is there to be measured beside the example acl, which is in C; both have the same
// rules, this one in its source.
package main

import locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"

// rule concerns locks of the paths that its pattern stands for, and of all below. In the pattern "*" is
// any segment.
type rule struct {
	modes   []locktopus.Mode
	pattern []string
}

var (
	all    = []locktopus.Mode{locktopus.Read, locktopus.Write, locktopus.Permit}
	writes = []locktopus.Mode{locktopus.Write, locktopus.Permit}

	deny  = []rule{{writes, []string{"shared", "prod"}}}
	allow = []rule{
		{[]locktopus.Mode{locktopus.Read}, []string{"shared"}},
		{writes, []string{"jobs", "*"}},
		{all, []string{"teams", "*", "builds"}},
		{all, []string{"bench", "*"}},
	}
)

//go:wasmexport locktopus_authorize
func authorize(n uint32) locktopus.Verdict {
	r := locktopus.NewRequest(n)
	if !r.Operation().Known() {
		return locktopus.Deny(0, "unknown operation")
	}
	for resource := range r.Resources() {
		if concerned(deny, resource) || !concerned(allow, resource) {
			return locktopus.Deny(1, "not allowed")
		}
	}
	return locktopus.Allow()
}

func concerned(rules []rule, r locktopus.Resource) bool {
	for i := range rules {
		if rules[i].has(r.Mode()) && rules[i].matches(r.Path()) {
			return true
		}
	}
	return false
}

func (r *rule) has(mode locktopus.Mode) bool {
	for _, m := range r.modes {
		if m == mode {
			return true
		}
	}
	return false
}

func (r *rule) matches(path locktopus.Path) bool {
	i := 0
	for segment := range path.Segments() {
		switch {
		case i == len(r.pattern):
			return true
		case r.pattern[i] != "*" && r.pattern[i] != string(segment):
			return false
		}
		i++
	}
	return i == len(r.pattern)
}

func main() {}
