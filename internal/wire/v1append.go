package wire

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// V1ErrorBytes is the most that AppendV1Error appends.
const V1ErrorBytes = 512

const (
	v1ErrorPrefix = "communication error: "
	ellipsis      = "…"
)

// AppendV1 appends an answer, for example {"id":"1","action":"lock","state":"acquired"}.
func AppendV1(dst []byte, id uint64, action V1Action, state V1State) []byte {
	dst = append(dst, `{"id":"`...)
	dst = strconv.AppendUint(dst, id, 10)
	dst = append(dst, `","action":"`...)
	dst = append(dst, action.String()...)
	dst = append(dst, `","state":"`...)
	dst = append(dst, state.String()...)
	return append(dst, `"}`...)
}

// AppendV1Request appends the canonical form of a request, as
// {"action":"lock","resources":[{"type":"write","path":["a","b"]}]}. What Parse gave, it parses back
// to the same.
func AppendV1Request(dst []byte, r V1Request) []byte {
	dst = append(dst, `{"action":"`...)
	dst = append(dst, r.Action.String()...)
	dst = append(dst, '"')
	if r.Action == V1Release {
		return append(dst, '}')
	}
	dst = append(dst, `,"resources":`...)
	return append(appendResources(dst, r.Resources), '}')
}

// AppendV1Error appends what a client is told before its connection is closed: "communication
// error: …". It is valid UTF-8 without control characters, V1ErrorBytes long at most: what is
// neither is replaced, what is over is cut.
func AppendV1Error(dst []byte, err error) []byte {
	start := len(dst)
	dst = append(dst, v1ErrorPrefix...)
	for _, r := range err.Error() {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			r = ' '
		}
		if len(dst)-start+utf8.RuneLen(r) > V1ErrorBytes-len(ellipsis) {
			return append(dst, ellipsis...)
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
