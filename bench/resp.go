package main

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"strconv"
)

// redisDialect is how Redis is talked to by the generator. Loading the script that releases is its
// hello: the answer is the script's digest, which we know.
var redisDialect = dialect{
	hello:   command("SCRIPT", "LOAD", redisRelease),
	greeted: redisGreeted,
	next:    nextReply,
}

// redisRelease is the script of Redis's documentation of SET ("Patterns").
const redisRelease = `if redis.call("get",KEYS[1]) == ARGV[1]
then
    return redis.call("del",KEYS[1])
else
    return 0
end`

// redisDigest names the script.
var redisDigest = fmt.Sprintf("%x", sha1.Sum([]byte(redisRelease)))

// redisTape locks and releases one key with a token.
func redisTape(i int) *tape {
	key, token := "bench:raw:"+number(i), strconv.Itoa(1_000_000+i)
	return newTape(
		command("SET", key, token, "NX", "PX", "600000"),
		command("EVALSHA", redisDigest, "1", key, token), 1)
}

// command is a request in RESP, Redis's protocol.
func command(words ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b
}

// redisGreeted reads the digest.
func redisGreeted(p []byte) (int, error) {
	want := []byte("$40\r\n" + redisDigest + "\r\n")
	switch {
	case len(p) < len(want) && bytes.HasPrefix(want, p):
		return 0, nil
	case !bytes.HasPrefix(p, want):
		return 0, fmt.Errorf("%w: to SCRIPT LOAD: %.600q", errAnswer, p)
	}
	return len(want), nil
}

// nextReply knows the answers +OK to SET and :1 to the script; that the key is there, or that the lock
// was lost, can't be in what we measure.
func nextReply(p []byte) (size int, payload []byte, a answer, err error) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return 0, nil, 0, nil
	}
	payload = p[:end+1]
	switch string(payload) {
	case "+OK\r\n":
		return end + 1, payload, acquired, nil
	case ":1\r\n":
		return end + 1, payload, ready, nil
	}
	return 0, nil, 0, fmt.Errorf("%w: %.600q", errAnswer, payload)
}
