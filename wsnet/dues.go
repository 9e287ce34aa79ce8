package wsnet

// dues are a connection's deadlines; a zero instant is none.
type dues struct {
	end    instant // of the request head, the closing handshake, or lingering
	frame  instant // of a started frame
	write  instant // of output that waits without progress
	heard  instant // when something was read last
	pinged instant // when a ping was sent after that
}

// chore is what a deadline asks for.
type chore uint8

const (
	choreNone chore = iota
	chorePing
	choreEnd // the connection is to be given up
)

// check says what to do at an instant, and why.
func (d *dues) check(now instant, st state, lim *Limits) (chore, Reason) {
	switch {
	case d.end != 0 && now.reached(d.end):
		if st == stateClosing {
			return choreEnd, ReasonCloseTimeout
		}
		return choreEnd, ReasonNone
	case d.frame != 0 && now.reached(d.frame):
		return choreEnd, ReasonMessageTimeout
	case d.write != 0 && now.reached(d.write):
		return choreEnd, ReasonWriteTimeout
	case !d.minded(st) || !now.reached(d.silence(lim)):
		return choreNone, ReasonNone
	case d.pinged != 0:
		return choreEnd, ReasonPingTimeout
	}
	return chorePing, ReasonNone
}

// minded says whether the peer's silence means something: not while its frame is half here or its
// output doesn't move, for those have deadlines of their own, and reading may be paused.
func (d *dues) minded(st state) bool {
	return st == stateOpen && d.frame == 0 && d.write == 0
}

// silence is when silence will have lasted too long.
func (d *dues) silence(lim *Limits) instant {
	if d.pinged != 0 {
		return d.pinged.after(lim.PongTimeout)
	}
	return d.heard.after(lim.PingInterval)
}

// next is the instant at which check should be called again; false: never.
func (d *dues) next(st state, lim *Limits) (at instant, some bool) {
	for _, due := range [...]instant{d.end, d.frame, d.write} {
		if due != 0 {
			if !some || int32(due-at) < 0 {
				at = due
			}
			some = true
		}
	}
	if d.minded(st) {
		if quiet := d.silence(lim); !some || int32(quiet-at) < 0 {
			at = quiet
		}
		some = true
	}
	return at, some
}
