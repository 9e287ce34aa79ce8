package probe

import (
	"bufio"
	"bytes"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said is what a connection brings when its server sends these bytes and ends.
func said(t *testing.T, sent ...[]byte) (events []event) {
	ours, theirs := net.Pipe()
	c := &conn{nc: ours, in: bufio.NewReader(ours), longest: answerBytesMax, patience: time.Minute, events: make(chan event, 16)}
	go c.listen()
	go func() {
		discard := bufio.NewReader(theirs) // what the client answers
		go discard.WriteTo(bytes.NewBuffer(nil))
		theirs.Write(bytes.Join(sent, nil))
		theirs.Close()
	}()
	for e := range c.events {
		events = append(events, e)
	}
	return events
}

func TestWhatServersMayNotSend(t *testing.T) {
	compiled := func(f ws.Frame) []byte { return ws.MustCompileFrame(f) }
	closing := func(code ws.StatusCode, reason string) []byte {
		return compiled(ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason)))
	}
	text := func(s string) []byte { return compiled(ws.NewTextFrame([]byte(s))) }
	for name, c := range map[string]struct {
		sent []byte
		want string
	}{
		"a masked frame":            {frame(ws.OpText, true, []byte("x")), "masked a frame"},
		"a reserved bit":            {[]byte{0xc1, 0}, "reserved bit"},
		"an unknown frame":          {[]byte{0x83, 0}, "unknown kind"},
		"binary":                    {[]byte{0x82, 0}, "binary frame"},
		"a fragmented ping":         {[]byte{0x09, 0}, "fragmented or too long"},
		"a ping that is too long":   {append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...), "fragmented or too long"},
		"a continuation of nothing": {[]byte{0x80, 0}, "out of order"},
		"a message in another":      {[]byte{0x01, 0, 0x81, 0}, "out of order"},
		"no UTF-8":                  {text("\xff"), "no UTF-8"},
		"a frame of 100 kB":         {[]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0}, "frame of 100000 bytes"},
		"endless fragments":         {append([]byte{0x01, 0}, bytes.Repeat(append([]byte{0x00, 126, 0xff, 0xff}, make([]byte, 0xffff)...), 2)...), "message of more than"},
		"a close frame of one byte": {[]byte{0x88, 1, 3}, "close frame of one byte"},
		"code 1005":                 {closing(1005, ""), "close frame with code 1005"},
		"words behind the end":      {append(closing(1000, ""), text("x")...), "behind its close frame"},
	} {
		t.Run(name, func(t *testing.T) {
			events := said(t, c.sent)
			last := events[len(events)-1]
			require.NotNil(t, last.end)
			require.ErrorContains(t, last.end.err, c.want)
		})
	}
	events := said(t, text("hello"), compiled(ws.NewPongFrame([]byte("p"))), compiled(ws.NewPingFrame(nil)), closing(1001, "bye"))
	require.Len(t, events, 3)
	require.Equal(t, "hello", events[0].text)
	require.Equal(t, "p", string(events[1].pong))
	require.Equal(t, &ending{code: 1001, reason: "bye"}, events[2].end)
}

func TestLocalTargetsConnectToThisMachineOnly(t *testing.T) {
	_, err := (&Target{URL: &url.URL{Scheme: "ws", Host: "192.0.2.1:80"}, Local: true}).dial(time.Minute)
	require.ErrorContains(t, err, "192.0.2.1:80 is not on this machine")
}

func TestAnswersAreThoseOfTheProtocol(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `[]`, `{"id":"1","action":"lock"}`, `{"id":1,"action":"lock","state":"acquired"}`, `{"id":"01","action":"lock","state":"acquired"}`,
		`{"id":"0","action":"lock","state":"acquired"}`, `{"id":"-1","action":"lock","state":"acquired"}`, `{"id":"9223372036854775808","action":"lock","state":"acquired"}`,
		`{"id":"1","action":"lock","state":"ready"}`, `{"id":"1","action":"release","state":"acquired"}`, `{"id":"1","action":"lock","state":"acquired","x":0}`,
		`{"id":"1","action":"lock","state":"acquired"}{}`, `{"id":"1","action":"lock","state":"acquired"}}`, `{"ID":"1","action":"lock","state":"acquired"}`, `{"id":null,"action":"lock","state":"acquired"}`,
	} {
		_, err := parseAnswer(text)
		require.Error(t, err, text)
	}
	for _, a := range answers {
		a.id = 1<<63 - 1
		got, err := parseAnswer(a.String())
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
}
