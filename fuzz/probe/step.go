package probe

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// act is what a client does in a step.
type act uint8

const (
	say        act = iota // sends a message
	proceed               // sends a message if it has no request, and otherwise releases that
	sayTwice              // sends a message, and a release behind it in the same write
	cross                 // releases, and so does another client, at the same time
	misframe              // sends what is no frame
	misdial               // opens another connection with what is no upgrade
	sendClose             // closes with a handshake
	hangUp                // closes without one
	reset                 // closes with a reset
	ping                  // wants a pong
	standStill            // all clients look whether anything has arrived that nobody expects
)

// Step is what one client does. The zero values of what an act doesn't need say nothing.
type Step struct {
	client, other int
	act           act
	text          string        // the message
	payload       []byte        // of a ping
	framing       framing       // of what is sent
	fault         int           // which one, of badFrames or badUpgrades
	abandon       time.Duration // the timeout of the connection, if the step opens one
}

// String says it in a line.
func (s Step) String() string {
	who := fmt.Sprintf("client %d ", s.client)
	switch s.act {
	case say:
		return who + "sends " + shorten(s.text) + s.framing.String()
	case proceed:
		return who + "releases, or else sends " + shorten(s.text) + s.framing.String()
	case sayTwice:
		return who + "sends " + shorten(s.text) + " and a release at once" + s.framing.String()
	case cross:
		return fmt.Sprintf("client %d and client %d release at the same time", s.client, s.other)
	case misframe:
		return who + "sends " + badFrames[s.fault].name
	case misdial:
		return who + "connects once more with " + badUpgrades[s.fault].name
	case sendClose:
		return who + "closes"
	case hangUp:
		return who + "hangs up"
	case reset:
		return who + "resets its connection"
	case ping:
		return who + "pings with " + shorten(string(s.payload))
	case standStill:
		return "all stand still"
	}
	panic("probe: a step has no such act")
}

const shownBytes = 200

// shorten makes a text fit to be shown: cut to what a person reads, and quoted if it needs to be.
func shorten(text string) string {
	cut := ""
	if len(text) > shownBytes {
		cut = fmt.Sprintf("… (%d bytes)", len(text))
		text = text[:shownBytes]
	}
	if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		text = strconv.Quote(text)
	}
	return text + cut
}

// Limits of a script.
const (
	stepsMax   = 48
	clientsMax = 8
)

// A Script is what the clients of a round do.
type Script struct {
	Clients int
	Steps   []Step
}

// ScriptOf turns any bytes into a script, so that small changes of the bytes are small changes of the
// script.
func ScriptOf(data []byte) Script {
	s := source{data: data}
	script := Script{Clients: 2 + s.below(4)}
	for len(s.data) > 0 && len(script.Steps) < stepsMax {
		script.Steps = append(script.Steps, s.step(script.Clients))
	}
	return script
}

// source draws from bytes; zeros when they are used up.
type source struct{ data []byte }

func (s *source) below(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := int(s.data[0])
	s.data = s.data[1:]
	return b % n
}

func (s *source) bytes(n int) []byte {
	n = min(n, len(s.data))
	b := s.data[:n]
	s.data = s.data[n:]
	return b
}

// pickOf draws one of several.
func pickOf[T any](s *source, of ...T) T { return of[s.below(len(of))] }

// abandonTimeouts are short, as rounds wait for them.
var abandonTimeouts = []time.Duration{0, 0, 0, 3 * time.Millisecond}

func (s *source) step(clients int) Step {
	st := Step{client: s.below(clients), abandon: pickOf(s, abandonTimeouts...)}
	switch k := s.below(64); {
	case k < 38:
		st.act, st.text, st.framing = proceed, s.lock(), s.framing()
	case k < 40:
		st.act, st.text, st.framing = say, s.lock(), s.framing()
	case k < 42:
		st.act, st.text, st.framing = say, s.release(), s.framing()
	case k < 45:
		st.act, st.text, st.framing = sayTwice, s.lock(), s.framing()
	case k < 48:
		st.act, st.other = cross, (st.client+1+s.below(clients-1))%clients
	case k < 50:
		st.act, st.text, st.framing = say, pickOf(s, badMessages...), s.framing()
	case k < 53:
		st.act, st.text, st.framing = say, s.mutate(pickOf(s, s.lock, s.release)()), s.framing()
	case k < 54:
		st.act, st.text = say, string(s.bytes(s.below(256)))
	case k < 56:
		st.act, st.fault = misframe, s.below(len(badFrames))
	case k < 57:
		st.act, st.fault = misdial, s.below(len(badUpgrades))
	case k < 59:
		st.act = sendClose
	case k < 60:
		st.act = hangUp
	case k < 61:
		st.act = reset
	case k < 63:
		st.act, st.payload = ping, s.bytes(s.below(126))
	default:
		st.act = standStill
	}
	return st
}
