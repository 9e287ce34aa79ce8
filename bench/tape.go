package main

// tape holds frames lock, release, lock, release … encoded once, so that any few in a row are one
// slice of it.
type tape struct {
	frames        []byte
	lock, release int // lengths of the frames
}

// newTape makes a tape from which depth messages can be taken, starting with either.
func newTape(lock, release []byte, depth int) *tape {
	t := &tape{lock: len(lock), release: len(release)}
	for range depth/2 + 1 {
		t.frames = append(append(t.frames, lock...), release...)
	}
	return t
}

// tapeOf is a tape of text frames.
func tapeOf(lock string, depth int) *tape {
	return newTape(appendFrame(nil, frameText, []byte(lock)), appendFrame(nil, frameText, []byte(releaseMessage)), depth)
}

// take is n frames, beginning with a release if first is odd.
func (t *tape) take(first, n int) []byte {
	first &= 1
	return t.frames[t.at(first):t.at(first+n)]
}

// at is where the i-th frame begins.
func (t *tape) at(i int) int { return i/2*(t.lock+t.release) + i%2*t.lock }
