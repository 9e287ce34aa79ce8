package wire

import (
	"strconv"
	"unicode/utf8"
)

// V2TextBytes is the most that a message's sentence for people is printed with.
const V2TextBytes = 512

// AppendV2 appends an answer, event, change, failure or notice, as
// {"id":7,"state":"acquired","token":"41"}.
func AppendV2(dst []byte, m *V2Message) []byte {
	dst = append(dst, '{')
	start := len(dst)
	dst = appendUint(dst, start, `"id":`, m.ID)
	dst = appendUint(dst, start, `"event":`, m.Event)
	if m.Watch != 0 {
		dst = appendUint(dst, start, `"watch":`, m.Watch)
		dst = appendUint(dst, start, `"n":`, m.N)
	}
	dst = appendUint(dst, start, `"lock":`, m.Lock)
	switch {
	case m.Error != V2NoError:
		dst = appendWord(dst, start, `"error":`, m.Error.String())
	case m.Change != V2NoChange:
		dst = appendWord(dst, start, `"change":`, m.Change.String())
	case m.Notice != "":
		dst = appendWord(dst, start, `"notice":`, m.Notice)
		dst = append(dst, `,"ms":`...)
		dst = strconv.AppendInt(dst, m.Millis, 10)
	default:
		dst = appendWord(dst, start, `"state":`, m.State.String())
	}
	if m.Token != 0 {
		dst = appendToken(dst, `,"token":`, m.Token)
	}
	if len(m.Slots) > 0 {
		dst = appendSlots(dst, m.Slots)
	}
	return append(appendRest(dst, start, m), '}')
}

// appendRest appends what few messages have.
func appendRest(dst []byte, start int, m *V2Message) []byte {
	if m.State == V2Enqueued && m.ID != 0 && m.Ahead != V2None {
		dst = append(dst, `,"ahead":`...)
		dst = strconv.AppendInt(dst, int64(m.Ahead), 10)
	}
	dst = appendUint(dst, start, `"ttl_ms":`, uint64(m.TTLMS))
	dst = appendUint(dst, start, `"lease_ms":`, uint64(m.LeaseMS))
	if m.Blockers != nil {
		dst = appendBlockers(dst, `,"blockers":`, m.Blockers)
	}
	if m.Cycle != nil {
		dst = appendBlockers(dst, `,"cycle":`, m.Cycle)
	}
	if m.Plugin != nil {
		dst = appendText(append(dst, `,"plugin":`...), m.Plugin)
		dst = append(dst, `,"code":`...)
		dst = strconv.AppendInt(dst, m.Code, 10)
	}
	if len(m.Message) > 0 {
		dst = appendText(append(dst, `,"message":`...), cutText(m.Message))
	}
	dst = appendUint(dst, start, `"limit":`, m.Limit)
	if m.Epoch != nil {
		dst = appendText(append(dst, `,"epoch":`...), m.Epoch)
	}
	switch {
	case m.State == V2Listed:
		dst = appendHeld(dst, m.Held)
	case m.State == V2Inspected || m.State == V2Watching || len(m.Locks) > 0:
		dst = appendSeen(dst, m.Locks)
	}
	if m.Next != 0 {
		dst = appendToken(dst, `,"next":`, m.Next)
	}
	return dst
}

// AppendV2Welcome appends the answer to a hello.
func AppendV2Welcome(dst []byte, w *V2Welcome) []byte {
	dst = appendText(append(dst, `{"op":"welcome","session":`...), w.Session)
	dst = appendText(append(dst, `,"secret":`...), w.Secret)
	dst = append(dst, `,"ttl_ms":`...)
	dst = strconv.AppendInt(dst, w.TTLMS, 10)
	dst = appendText(append(dst, `,"epoch":`...), w.Epoch)
	dst = append(dst, `,"durable":`...)
	dst = strconv.AppendBool(dst, w.Durable)
	dst = append(dst, `,"last_id":`...)
	dst = strconv.AppendUint(dst, w.LastID, 10)
	dst = appendHeld(dst, w.Held)
	if w.Next != 0 {
		dst = appendToken(dst, `,"next":`, w.Next)
	}
	dst = append(dst, `,"event":`...)
	dst = strconv.AppendUint(dst, w.Event, 10)
	if w.FirstEvent != 0 {
		dst = append(dst, `,"first_event":`...)
		dst = strconv.AppendUint(dst, w.FirstEvent, 10)
	}
	dst = appendUint(dst, 0, `"message_bytes":`, uint64(w.MessageBytes))
	dst = appendUint(dst, 0, `"message_values":`, uint64(w.MessageValues))
	return append(dst, '}')
}

// appendUint appends a member that isn't zero; a comma goes before it unless it is the first.
func appendUint(dst []byte, start int, name string, n uint64) []byte {
	if n == 0 {
		return dst
	}
	dst = append(appendComma(dst, start), name...)
	return strconv.AppendUint(dst, n, 10)
}

func appendWord(dst []byte, start int, name, word string) []byte {
	dst = append(appendComma(dst, start), name...)
	dst = append(dst, '"')
	dst = append(dst, word...)
	return append(dst, '"')
}

func appendComma(dst []byte, start int) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	return dst
}

// appendToken appends a number as a string: it may be larger than JSON of all languages holds exactly.
func appendToken(dst []byte, name string, n uint64) []byte {
	dst = append(dst, name...)
	dst = append(dst, '"')
	dst = strconv.AppendUint(dst, n, 10)
	return append(dst, '"')
}

func appendSlots(dst []byte, slots []uint32) []byte {
	dst = append(dst, `,"slots":[`...)
	for i, s := range slots {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(s), 10)
	}
	return append(dst, ']')
}

func appendHeld(dst []byte, held []V2Held) []byte {
	dst = append(dst, `,"locks":[`...)
	for i := range held {
		h := &held[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"lock":`...)
		dst = strconv.AppendUint(dst, h.Lock, 10)
		dst = appendWord(dst, 0, `"state":`, h.State.String())
		if h.Token != 0 {
			dst = appendToken(dst, `,"token":`, h.Token)
		}
		if len(h.Slots) > 0 {
			dst = appendSlots(dst, h.Slots)
		}
		if h.LeaseMS != V2None {
			dst = append(dst, `,"lease_ms":`...)
			dst = strconv.AppendInt(dst, h.LeaseMS, 10)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendBlockers(dst []byte, name string, list []V2Blocker) []byte {
	dst = append(append(dst, name...), '[')
	for i := range list {
		b := &list[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"session":`...), b.Session)
		dst = appendLock(dst, b.Note, b.Lock)
		dst = append(dst, `,"type":"`...)
		dst = append(dst, b.Type.String()...)
		dst = appendPath(append(dst, `","path":`...), b.Path)
		dst = appendSince(dst, b.State, b.SinceMS)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendSeen(dst []byte, list []V2Seen) []byte {
	dst = append(dst, `,"locks":[`...)
	for i := range list {
		l := &list[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"session":`...), l.Session)
		if len(l.Name) > 0 {
			dst = appendText(append(dst, `,"name":`...), l.Name)
		}
		dst = appendLock(dst, l.Note, l.Lock)
		if l.Token != 0 {
			dst = appendToken(dst, `,"token":`, l.Token)
		}
		dst = appendSince(dst, l.State, l.SinceMS)
		dst = appendResources(append(dst, `,"resources":`...), l.Resources)
		if l.Cut {
			dst = append(dst, `,"cut":true`...)
		}
		if len(l.WaitsFor) > 0 {
			dst = appendBlockers(dst, `,"waits_for":`, l.WaitsFor)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendLock appends what its owner calls a lock: an id, and perhaps a note.
func appendLock(dst, note []byte, id uint64) []byte {
	if id != 0 {
		dst = append(dst, `,"lock":`...)
		dst = strconv.AppendUint(dst, id, 10)
	}
	if len(note) > 0 {
		dst = appendText(append(dst, `,"note":`...), note)
	}
	return dst
}

func appendSince(dst []byte, s V2State, ms int64) []byte {
	dst = appendWord(dst, 0, `"state":`, s.String())
	if ms == V2None {
		return dst
	}
	dst = append(dst, `,"since_ms":`...)
	return strconv.AppendInt(dst, ms, 10)
}

// AppendV2Request appends the canonical form of a request, with its secrets. What Parse gave, it
// parses back to the same.
func AppendV2Request(dst []byte, r V2Request) []byte {
	dst = append(dst, `{"op":"`...)
	dst = append(dst, r.Op.String()...)
	dst = append(dst, '"')
	dst = appendUint(dst, 0, `"id":`, r.ID)
	dst = appendUint(dst, 0, `"lock":`, r.Lock)
	dst = appendUint(dst, 0, `"watch":`, r.Watch)
	dst = appendUint(dst, 0, `"upgrade":`, r.Upgrade)
	if len(r.Resources) > 0 {
		dst = appendResources(append(dst, `,"resources":`...), r.Resources)
	}
	if r.Op == V2Inspect || r.Op == V2Watch {
		dst = appendPath(append(dst, `,"path":`...), r.Path)
	}
	if r.Hello != nil {
		return append(appendGreeting(dst, r.Hello), '}')
	}
	dst = appendMillis(dst, `,"wait_ms":`, r.WaitMS)
	dst = appendMillis(dst, `,"lease_ms":`, r.LeaseMS)
	if len(r.Note) > 0 {
		dst = appendText(append(dst, `,"note":`...), r.Note)
	}
	if r.Leave {
		dst = append(dst, `,"leave":true`...)
	}
	dst = appendUint(dst, 0, `"party":`, r.Party)
	dst = appendUint(dst, 0, `"limit":`, r.Limit)
	if r.After != 0 {
		dst = appendToken(dst, `,"after":`, r.After)
	}
	return append(dst, '}')
}

func appendGreeting(dst []byte, g *V2Greeting) []byte {
	dst = appendMillis(dst, `,"ttl_ms":`, g.TTLMS)
	if len(g.Name) > 0 {
		dst = appendText(append(dst, `,"name":`...), g.Name)
	}
	for i, c := range g.Credentials {
		if i == 0 {
			dst = append(dst, `,"credentials":{`...)
		}
		dst = appendText(dst, c.Name)
		dst = appendText(append(dst, ':'), c.Value)
		if i < len(g.Credentials)-1 {
			dst = append(dst, ',')
		} else {
			dst = append(dst, '}')
		}
	}
	if g.Resume {
		dst = appendText(append(dst, `,"resume":{"session":`...), g.Session)
		dst = appendText(append(dst, `,"secret":`...), g.Secret)
		dst = append(dst, `,"event":`...)
		dst = strconv.AppendUint(dst, g.Event, 10)
		dst = append(dst, '}')
	}
	return dst
}

func appendMillis(dst []byte, name string, ms int64) []byte {
	if ms == V2None {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), ms, 10)
}

// cutText cuts a text that is longer than V2TextBytes, between characters.
func cutText(text []byte) []byte {
	if len(text) <= V2TextBytes {
		return text
	}
	cut := V2TextBytes
	for cut > V2TextBytes-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut:cut]
}
