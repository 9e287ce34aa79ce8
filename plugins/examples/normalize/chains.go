package main

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// chains looks for aliases that could go on for ever. One may follow another if it replaces what the other
// can make of a path. That must not lead in a circle: then every path comes to an end, where no alias replaces
// what it has become.
type chains struct {
	all   []*alias
	long  []int // how many can come one after the other, beginning with each; 0: not known yet
	way   []int // to where the search is
	fault bool
}

// chainMax bounds what an alias can cost.
const chainMax = 8

func checkChains(all []*alias) {
	c := chains{all: all, long: make([]int, len(all))}
	for i := range all {
		c.search(i)
	}
}

// follows says whether there is a path that first makes another and next replaces then.
func follows(first, next *alias) bool {
	return bytes.HasPrefix(first.to, next.from) || bytes.HasPrefix(next.from, first.to)
}

// search finds out how long the chains are that begin with an alias.
func (c *chains) search(i int) {
	if c.fault || c.long[i] > 0 {
		return
	}
	if at := slices.Index(c.way, i); at >= 0 {
		c.circle(c.way[at:])
		return
	}
	c.way = append(c.way, i)
	longest := 0
	for j, next := range c.all {
		if follows(c.all[i], next) {
			c.search(j)
			longest = max(longest, c.long[j])
		}
	}
	c.way = c.way[:len(c.way)-1]
	if c.long[i] = 1 + longest; c.long[i] > chainMax {
		c.fail(i, "more than "+strconv.Itoa(chainMax)+" aliases follow one another from here on")
	}
}

// circle names the aliases that follow one another for ever.
func (c *chains) circle(of []int) {
	if len(of) == 1 {
		c.fail(of[0], "it stands for itself, or for a path above or below it")
		return
	}
	var by []string
	for _, i := range of[1:] {
		by = append(by, c.all[i].field.Place())
	}
	c.fail(of[0], "it leads back to itself, by "+strings.Join(by, ", "))
}

func (c *chains) fail(i int, what string) {
	if !c.fault {
		c.all[i].field.Fail(what)
	}
	c.fault = true
}
