// Smallest-go lets a client write only below its own name, and everybody read.
package main

import locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"

//go:wasmexport locktopus_authorize
func authorize(n uint32) locktopus.Verdict {
	r := locktopus.NewRequest(n)
	if !r.Operation().Known() {
		return locktopus.Deny(0, "unknown operation")
	}
	for resource := range r.Resources() {
		if resource.Mode() != locktopus.Read && !resource.Path().UnderSegment(r.Principal()) {
			return locktopus.Deny(1, "only what is below your own name is yours to write")
		}
	}
	return locktopus.Allow()
}

func main() {}
