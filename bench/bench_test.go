package main

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serverFrame is a frame as the server sends it.
func serverFrame(head byte, payload string) []byte {
	if n := len(payload); n >= 126 {
		return append([]byte{head, 126, byte(n >> 8), byte(n)}, payload...)
	}
	return append([]byte{head, byte(len(payload))}, payload...)
}

func TestFramesAreToldApart(t *testing.T) {
	for text, want := range map[string]answer{
		`{"id":"1","action":"lock","state":"acquired"}`:   acquired,
		`{"id":"77","action":"lock","state":"enqueued"}`:  enqueued,
		`{"id":"123","action":"release","state":"ready"}`: ready,
	} {
		frame := serverFrame(frameText, text)
		for n := range frame {
			size, _, _, err := nextFrame(frame[:n])
			require.NoError(t, err)
			require.Zero(t, size, "%q isn't whole", frame[:n])
		}
		size, payload, a, err := nextFrame(append(frame, frame...))
		require.NoError(t, err)
		require.Equal(t, len(frame), size)
		require.Equal(t, text, string(payload))
		require.Equal(t, want, a)
	}
	_, payload, a, err := nextFrame(serverFrame(framePing, "hi"))
	require.NoError(t, err)
	require.Equal(t, ping, a)
	require.Equal(t, "hi", string(payload))
}

func TestOtherFramesAreErrors(t *testing.T) {
	for _, frame := range [][]byte{
		serverFrame(frameText, "communication error: lock is not allowed now"),
		serverFrame(frameText, "communication error: "+string(bytes.Repeat([]byte("x"), 200))),
		serverFrame(frameText, ""),
		serverFrame(frameText, `{"id":"1","action":"lock","state":"revoked"}`),
		serverFrame(frameClose, "\x03\xe9"),
		{frameText, 0x80},
		{frameText, 127, 0, 0, 0, 0, 0, 1, 0, 0},
	} {
		_, _, _, err := nextFrame(frame)
		require.ErrorIs(t, err, errAnswer, "%q", frame)
	}
}

func TestAnUpgradeIsReadToItsEnd(t *testing.T) {
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	for n := range head {
		size, err := greeted([]byte(head[:n]))
		require.NoError(t, err)
		require.Zero(t, size)
	}
	size, err := greeted([]byte(head + "\x81\x00"))
	require.NoError(t, err)
	require.Equal(t, len(head), size)
	_, err = greeted([]byte("HTTP/1.1 503 Service Unavailable\r\n\r\nfull"))
	require.ErrorContains(t, err, "503")
}

func TestRepliesOfRedisAreToldApart(t *testing.T) {
	for text, want := range map[string]answer{"+OK\r\n": acquired, ":1\r\n": ready} {
		for n := range text {
			size, _, _, err := nextReply([]byte(text[:n]))
			require.NoError(t, err)
			require.Zero(t, size)
		}
		size, _, a, err := nextReply([]byte(text + "+O"))
		require.NoError(t, err)
		require.Equal(t, len(text), size)
		require.Equal(t, want, a)
	}
	for _, text := range []string{"$-1\r\n", ":0\r\n", "-ERR no\r\n"} { // somebody else's, lost, an error
		_, _, _, err := nextReply([]byte(text))
		require.ErrorIs(t, err, errAnswer, text)
	}
	greeting := "$40\r\n" + redisDigest + "\r\n"
	for n := range greeting {
		size, err := redisGreeted([]byte(greeting[:n]))
		require.NoError(t, err)
		require.Zero(t, size)
	}
	size, err := redisGreeted([]byte(greeting))
	require.NoError(t, err)
	require.Equal(t, len(greeting), size)
	_, err = redisGreeted([]byte("-NOAUTH Authentication required.\r\n"))
	require.ErrorIs(t, err, errAnswer)
}

func TestLockMessagesOfALoadHaveOneLength(t *testing.T) {
	require.Equal(t, `{"action":"lock","resources":[{"type":"write","path":["bench","own","000007"]}]}`, lockMessage("own", 7))
	require.Len(t, lockMessage("own", 999_999), len(lockMessage("own", 0)))
	require.Less(t, len(lockMessage("own", 0)), 126)
}

func TestBadFlagsAreSentences(t *testing.T) {
	for _, args := range [][]string{
		{"-loads", "x"}, {"-conns", "0"}, {"-conns", "many"}, {"-idle", "1"}, {"-seconds", "11"}, {"-repeats", "0"},
		{"-stall", "1ms"}, {"surplus"}, {"-unknown"}, {"-crowd", "0"}, {"-held", "-1"}, {"-held", "10000001"}, {"-churn", "1"},
		{"-rate", "-1"}, {"-rate", "NaN"}, {"-only", "oracle"}, {"-compare"}, {"-compare", "a", "b", "c"}, {"-peers", "-conns", "1001"},
	} {
		_, err := parseOptions(args, io.Discard)
		require.Error(t, err, "%v", args)
	}
	opt, err := parseOptions([]string{"-loads", "idle,u", "-conns", "5", "-seconds", "0.5", "-peers", "-out", "somewhere/of/mine"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []string{"idle", "u", "peers"}, opt.loads)
	require.Equal(t, 500*time.Millisecond, opt.slice)
	require.Equal(t, "go run ./bench -conns 5 -loads idle,u -peers -seconds 0.5", opt.command)
	opt, err = parseOptions([]string{"-compare", "old.json", "new.json"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []string{"old.json", "new.json"}, opt.compare)
}

func TestAllLoadsButPeersAreUsual(t *testing.T) {
	opt, err := parseOptions(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, allLoads(), append(opt.loads, peersLoad))
}
