package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// dialect is how a fleet talks to one kind of server.
type dialect struct {
	hello []byte // is sent first; its answer is read by greeted
	// greeted returns how long the answer to hello in front of p is, or 0 if p doesn't hold all of it.
	greeted func(p []byte) (int, error)
	// next reads the answer in front of p; size is 0 if p doesn't hold all of it.
	next func(p []byte) (size int, payload []byte, a answer, err error)
}

// webSocket is how our server is talked to.
var webSocket = dialect{hello: []byte(upgrade), greeted: greeted, next: nextFrame}

const releaseMessage = `{"action":"release"}`

// lockMessage asks for one path of three segments. All those of a load have the same length.
func lockMessage(load string, path int) string { return lockOf("write", "bench", load, number(path)) }

func number(n int) string { return fmt.Sprintf("%06d", n) }

// lockOf asks for one resource.
func lockOf(kind string, path ...string) string { return lockAll(resource{kind, path}) }

// resource is one of a lock's.
type resource struct {
	Type string   `json:"type"`
	Path []string `json:"path"`
}

func lockAll(rs ...resource) string {
	text, err := json.Marshal(struct {
		Action    string     `json:"action"`
		Resources []resource `json:"resources"`
	}{"lock", rs})
	if err != nil {
		panic("bench: strings that have no JSON: " + err.Error())
	}
	return string(text)
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
	greeting // a dialect's first word: one may talk now
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

// upgrade asks for the protocol v1. Without an abandon timeout nothing of a load stays behind.
const upgrade = upgradeHead + "0" + upgradeTail

// upgradeKeeping leaves a lock behind, for an hour.
const upgradeKeeping = upgradeHead + "3600000" + upgradeTail

const (
	upgradeHead = "GET /v1?namespace=bench&abandon-timeout-ms="
	upgradeTail = " HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

// greeted reads the answer to an upgrade.
func greeted(p []byte) (int, error) {
	head, _, whole := bytes.Cut(p, []byte("\r\n\r\n"))
	if !whole {
		return 0, nil
	}
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 101 ")) {
		return 0, fmt.Errorf("the upgrade was refused: %.600q", p)
	}
	return len(head) + 4, nil
}
