package fence

import (
	"maps"
	"time"
)

// Debt is for how long clients of processes that are gone may believe that they hold something. Namespaces are kept
// apart where a process that ended in order knew who had what.
type Debt struct {
	Others time.Duration            // in each namespace that isn't named
	Named  map[string]time.Duration // may be shorter than that, too
}

// Of is that time in a namespace.
func (d *Debt) Of(namespace string) time.Duration {
	if named, ok := d.Named[namespace]; ok {
		return named
	}
	return d.Others
}

// Raise has a namespace waited for at least so long.
func (d *Debt) Raise(namespace string, least time.Duration) {
	if d.Of(namespace) >= least {
		return
	}
	if d.Named == nil {
		d.Named = map[string]time.Duration{}
	}
	d.Named[namespace] = least
}

// Longest is enough for all namespaces.
func (d *Debt) Longest() time.Duration {
	longest := d.Others
	for _, named := range d.Named {
		longest = max(longest, named)
	}
	return longest
}

// after is what is left of it.
func (d *Debt) after(passed time.Duration) Debt {
	left := Debt{Others: max(0, d.Others-passed), Named: maps.Clone(d.Named)}
	for name, named := range left.Named {
		left.Named[name] = max(0, named-passed)
	}
	return left.short()
}

// short is the same without names that say nothing.
func (d Debt) short() Debt {
	maps.DeleteFunc(d.Named, func(_ string, named time.Duration) bool { return named == d.Others })
	if len(d.Named) == 0 {
		d.Named = nil
	}
	return d
}
