package main

import (
	"fmt"
	"io"
	"time"
)

const (
	// speakerLines is how many lines may wait for whoever reads them; those beyond are not written.
	speakerLines = 16
	// speakerPatience is how long it is waited at the end until they are read.
	speakerPatience = time.Second
)

// speaker tells people what run does. They may read it late or never, as with a full pipe or a terminal that was told
// to pause: run has a lock to watch, and waits for them at its end only, and not long.
type speaker struct {
	lines   chan string
	written chan struct{} // closed when all of them are
}

func newSpeaker(to io.Writer) *speaker {
	s := &speaker{lines: make(chan string, speakerLines), written: make(chan struct{})}
	go func() {
		defer close(s.written)
		for line := range s.lines {
			_, _ = io.WriteString(to, line) // there is nobody else to tell
		}
	}()
	return s
}

// say writes a line. Much of it is what others have written.
func (s *speaker) say(format string, args ...any) {
	select {
	case s.lines <- "locktopus run: " + printable(fmt.Sprintf(format, args...)) + "\n":
	default:
	}
}

// close is the end of it. Nothing is said afterwards.
func (s *speaker) close() {
	close(s.lines)
	patience := time.NewTimer(speakerPatience)
	defer patience.Stop()
	select {
	case <-s.written:
	case <-patience.C:
	}
}
