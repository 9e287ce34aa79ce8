package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const releaseMessage = `{"action":"release"}`

// lockMessage asks for one path of three segments. All those of a load have the same length.
func lockMessage(load string, path int) string {
	return fmt.Sprintf(`{"action":"lock","resources":[{"type":"write","path":["bench","%s","%06d"]}]}`, load, path)
}

// Opcodes of RFC 6455, 5.2, with the bit that says that a frame is a whole message.
const (
	frameText  = 0x81
	frameClose = 0x88
	framePing  = 0x89
	framePong  = 0x8a
)

// mask is any; the server's work doesn't depend on it.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// appendFrame appends a client's frame.
func appendFrame(dst []byte, head byte, payload []byte) []byte {
	if n := len(payload); n < 126 {
		dst = append(dst, head, 0x80|byte(n))
	} else {
		dst = append(dst, head, 0x80|126, byte(n>>8), byte(n))
	}
	dst = append(dst, mask[:]...)
	for i, b := range payload {
		dst = append(dst, b^mask[i%4])
	}
	return dst
}

// answer is what a frame of the server says.
type answer uint8

const (
	acquired answer = iota
	enqueued
	ready
	ping
)

var errAnswer = errors.New("the server's answer is none that a lock or a release can have")

// nextFrame reads the frame in front of p; size is 0 when p doesn't hold all of it. It looks at no
// more bytes than it takes to tell the answers apart.
func nextFrame(p []byte) (size int, payload []byte, a answer, err error) {
	if len(p) < 2 {
		return 0, nil, 0, nil
	}
	start, n := 2, int(p[1])
	if n == 126 {
		if len(p) < 4 {
			return 0, nil, 0, nil
		}
		start, n = 4, int(binary.BigEndian.Uint16(p[2:]))
	} else if n > 126 {
		return 0, nil, 0, errAnswer // a mask, or 64 KB and more
	}
	if len(p) < start+n {
		return 0, nil, 0, nil
	}
	payload = p[start : start+n]
	a, err = tellApart(p[0], payload)
	return start + n, payload, a, err
}

// tellApart knows the ends of `…"state":"acquired"}`, `…"state":"enqueued"}`, `…"state":"ready"}`.
func tellApart(head byte, payload []byte) (answer, error) {
	n := len(payload)
	switch {
	case head == framePing:
		return ping, nil
	case head != frameText || n < 20 || payload[0] != '{':
		return 0, fmt.Errorf("%w: opcode %x, %.600q", errAnswer, head&15, payload)
	case payload[n-3] == 'y' && payload[n-7] == 'r':
		return ready, nil
	case payload[n-3] == 'd' && payload[n-10] == 'a':
		return acquired, nil
	case payload[n-3] == 'd' && payload[n-10] == 'e':
		return enqueued, nil
	}
	return 0, fmt.Errorf("%w: %.600q", errAnswer, payload)
}
