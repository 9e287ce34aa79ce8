package probe

import (
	"fmt"
)

// act2 is what a client of version 2 does in a step.
type act2 uint8

const (
	doLock      act2 = iota
	doRelease        // one of its locks; without any it asks for one
	doTimedLock      // asks for a lock, and waits for no longer than it says
	doUpgrade
	doTimedUpgrade
	doDowngrade
	doTakeBack // downgrades, and names the upgrade
	doRenew
	doList
	doInspect
	doWatch
	doUnwatch
	doUnknown  // names a lock that there isn't
	doRetry    // sends a request again
	doForgot   // sends a request again that it never sent
	doBoth     // a request, and a release of it behind it in the same write
	doCross    // releases, and so does another client, at the same time
	doBye      // ends its session
	doTakeOver // goes on with its session over another connection
	doLoseWelcome
	doGuess     // says hellos that fail, and then a good one
	doMalformed // sends what is no request
	doMisgreet  // opens another connection and sends what is no hello
	doMisframe
	doMisdial
	doClose
	doHangUp
	doReset
	doPing
	doStandStill
	doExpire // is silent until its session is over
	doLease  // has a lock with a lease until that is over
)

// StepV2 is what one client of version 2 does. The zero values of what an act doesn't need say nothing.
type StepV2 struct {
	client, other int
	act           act2
	ask           ask // as far as it doesn't depend on what happened before
	pick          int // of its locks, requests or watches
	form          int // of writing
	framing       framing
	fault         int
	payload       []byte
	back          int // so many events that it has seen are as if it hadn't, if the step connects
	reset         bool
}

// plain is what acts are called that need no more words.
var plain = map[act2]string{
	doRelease: "releases one of its locks, or else asks", doUpgrade: "upgrades one of its locks", doTimedUpgrade: "upgrades one of its locks, but not for long",
	doDowngrade: "downgrades one of its locks", doTakeBack: "takes an upgrade back", doRenew: "renews its session or one of its locks", doList: "lists its locks",
	doUnwatch: "ends a watch", doUnknown: "names a lock that there isn't", doRetry: "sends a request again", doForgot: "sends a request again that it never sent",
	doBye: "says bye", doTakeOver: "comes over another connection", doLoseWelcome: "loses its connection before it has read a welcome", doGuess: "says hellos that fail",
	doClose: "closes", doHangUp: "hangs up", doReset: "resets its connection", doExpire: "begins a session and is silent until that is over",
	doBoth: "asks and releases in the same write:", doLock: "asks", doTimedLock: "asks, but not for long,", doLease: "has a lock with a lease until that is over",
}

// String says it in a line.
func (s StepV2) String() string {
	who := fmt.Sprintf("client %d ", s.client)
	switch s.act {
	case doLock, doTimedLock, doBoth, doRelease:
		return who + plain[s.act] + s.wishes() + s.framing.String()
	case doInspect:
		return who + "inspects " + pathText(s.ask.path, quoteJSON)
	case doWatch:
		return who + "watches " + pathText(s.ask.path, quoteJSON)
	case doCross:
		return fmt.Sprintf("client %d and client %d release at the same time", s.client, s.other)
	case doMalformed:
		return who + "sends " + shorten(badAsks[s.fault])
	case doMisgreet:
		return who + "connects once more, and says " + shorten(badHellos[s.fault])
	case doMisframe:
		return who + "sends " + badFrames[s.fault].name
	case doMisdial:
		return who + "connects once more with " + badUpgradesV2[s.fault].name
	case doPing:
		return who + "pings with " + shorten(string(s.payload))
	case doStandStill:
		return "all stand still"
	}
	return who + plain[s.act] + s.framing.String()
}

// wishes are what a request for a lock is about.
func (s *StepV2) wishes() string {
	text := " for "
	for i, w := range s.ask.wants {
		if i > 0 {
			text += ", "
		}
		text += w.String()
	}
	if s.ask.wait == 0 {
		text += ", now or never"
	}
	return text
}

// A ScriptV2 is what the clients of a round of version 2 do.
type ScriptV2 struct {
	Clients int
	Steps   []StepV2
}

// ScriptV2Of turns any bytes into a script, as ScriptOf does.
func ScriptV2Of(data []byte) ScriptV2 {
	s := source{data: data}
	script := ScriptV2{Clients: 2 + s.below(4)}
	for len(s.data) > 0 && len(script.Steps) < stepsMax {
		script.Steps = append(script.Steps, s.stepV2(script.Clients))
	}
	return script
}

// chances are how often acts are drawn.
var chances = drawnFrom(map[act2]int{
	doLock: 70, doRelease: 46, doTimedLock: 6, doUpgrade: 12, doTimedUpgrade: 3, doDowngrade: 7, doTakeBack: 5, doRenew: 5, doList: 4, doInspect: 6, doWatch: 5,
	doUnwatch: 2, doUnknown: 3, doRetry: 12, doForgot: 2, doBoth: 8, doCross: 7, doBye: 4, doTakeOver: 6, doLoseWelcome: 5, doGuess: 4, doMalformed: 4, doMisgreet: 2,
	doMisframe: 3, doMisdial: 2, doClose: 4, doHangUp: 8, doReset: 4, doPing: 2, doStandStill: 5,
})

// drawnFrom lists each act as often as it is to be drawn.
func drawnFrom(often map[act2]int) (acts []act2) {
	for a := range doExpire {
		for range often[a] {
			acts = append(acts, a)
		}
	}
	return acts
}

func (s *source) stepV2(clients int) StepV2 {
	st := StepV2{client: s.below(clients), act: pickOf(s, chances...), ask: newAsk("")}
	st.pick, st.back = s.below(256), pickOf(s, 0, 0, 0, 1, 2, 1000)
	switch st.act {
	case doLock, doRelease, doTimedLock, doBoth:
		st.ask, st.form, st.framing = s.askForLock(), s.below(writings), s.framing()
	case doUpgrade, doTimedUpgrade, doDowngrade, doTakeBack, doRenew, doList:
		st.form, st.framing = s.below(writings), s.framing()
		st.ask.wait, st.ask.lease, st.ask.limit = pickOf(s, -1, -1, 0), pickOf(s, -1, longLease, 0), uint64(pickOf(s, 0, 1, 2))
	case doInspect, doWatch:
		st.ask.path, st.ask.limit = s.path(), uint64(pickOf(s, 0, 0, 1, 3))
	case doCross:
		st.other = (st.client + 1 + s.below(clients-1)) % clients
	case doMalformed:
		st.fault, st.framing = s.below(len(badAsks)), s.framing()
	case doMisgreet:
		st.fault = s.below(len(badHellos))
	case doMisframe:
		st.fault = s.below(len(badFrames))
	case doMisdial:
		st.fault = s.below(len(badUpgradesV2))
	case doPing:
		st.payload = s.bytes(s.below(126))
	case doTakeOver, doLoseWelcome:
		st.reset = s.below(2) == 0
	}
	return st
}

func (s *source) askForLock() ask {
	a := newAsk("lock")
	a.wants, a.wait, a.lease = s.wants(), pickOf(s, -1, -1, -1, -1, -1, 0), pickOf(s, -1, -1, -1, -1, -1, -1, longLease)
	switch s.below(16) {
	case 0, 1:
		a.leave = true
	case 2, 3:
		a.party = 1
	case 4:
		a.party = 2
	case 5, 6:
		a.note = "deploy \"12\""
	case 7:
		a.note = longText
	case 8:
		a.lease = pickOf(s, longLease, longLease, 0)
	}
	return a
}

// slowEvery: so many rounds of version 2, and then one that waits for what takes its time.
const slowEvery = 25

// slowStepsV2 are what a round of that number has behind its others.
func slowStepsV2(round int) []StepV2 {
	switch round % slowEvery {
	case slowEvery / 2:
		return []StepV2{{act: doLease, ask: newAsk("")}}
	case slowEvery - 1:
		return []StepV2{{act: doExpire, pick: round / slowEvery, ask: newAsk("")}}
	}
	return nil
}
