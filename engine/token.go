package engine

import "math"

// A request's token is its sequence number unless an upgrade has overtaken it: then some of those
// that it conflicts with may have a higher one already. The floor is the highest number that was
// given as a token of its own, and whoever is acquired with a sequence number below it gets a new
// one, which is the floor from then on. So whoever is acquired has a higher token than all it
// conflicts with that were acquired before. If its token is new, no number given before is higher.
// If it is the sequence number, it is above all new tokens given so far, and above the sequence
// numbers of those it conflicts with, as they were acquired in the order of these.

// promise takes one of the numbers that this call may draw. False: none is left.
func (e *Engine) promise() bool {
	if e.last+e.promised >= e.reserved {
		return false
	}
	e.promised++
	return true
}

// draw gives a number that was promised, as a token.
func (e *Engine) draw() uint64 {
	if e.last >= e.reserved {
		panic("engine: a token that wasn't reserved")
	}
	e.last++
	e.promised--
	e.floor = e.last
	e.countUpgrades(0)
	return e.last
}

// countUpgrades counts pending upgrades, and follows with what they mean for others.
func (e *Engine) countUpgrades(more int) {
	e.upgrades += more
	e.careful = e.floor
	if e.upgrades > 0 {
		e.careful = math.MaxUint64
	}
}

// issue draws the token of a grant. The grants of one call don't conflict with each other, so that
// all go by the floor as it was before the call.
func (e *Engine) issue(g *Grant, q *request) {
	g.Token = e.draw()
	e.specialOf(g.Handle.index(), q).token = g.Token
}

// token is that of an acquired request.
func (e *Engine) token(q *request) uint64 {
	if q.flags&isSpecial != 0 {
		if t := e.specials.at(q.permits).token; t != 0 {
			return t
		}
	}
	return q.seq
}
