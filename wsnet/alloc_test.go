package wsnet

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

// TestAMessageAllocatesNothing plays over real sockets and counts what the whole process allocates;
// the client makes its frames beforehand. TLS isn't among it: crypto/tls allocates by itself. Nor are
// long messages on the portable path, which keeps no large buffer for a connection that is idle.
func TestAMessageAllocatesNothing(t *testing.T) {
	hello := text("hello")
	for _, w := range worlds {
		if w.lies || w.tls {
			continue
		}
		for name, c := range map[string]struct {
			sent [][]byte // one write each
			want int      // bytes
		}{
			"a message":                   {[][]byte{hello}, 2 + 5},
			"many at once":                {[][]byte{concat(hello, hello, hello, hello)}, 4 * (2 + 5)},
			"a long one":                  {[][]byte{text(strings.Repeat("x", 10_000))}, 4 + 10_000},
			"one in two pieces":           {[][]byte{hello[:3], hello[3:]}, 2 + 5},
			"a ping":                      {[][]byte{masked(true, ws.OpPing, "hello")}, 2 + 5},
			"a token for another":         {[][]byte{text("post")}, 2 + 5},
			"a token while there is more": {[][]byte{concat(text("post"), hello)}, 2 * (2 + 5)},
		} {
			if w.portable && c.want > keepBytes {
				continue
			}
			t.Run(w.name+"/"+name, func(t *testing.T) { w.allocatesNothing(t, c.sent, c.want) })
		}
	}
}

// allocatesNothing has a connection say something again and again. What it posts goes to itself, by way
// of the inbox.
func (w world) allocatesNothing(t *testing.T, sent [][]byte, want int) {
	var posts *Server
	tell := []byte("hello")
	s := w.start(t, spy{
		message: func(c Conn, msg []byte) {
			if string(msg) == "post" {
				posts.Post(c.ID(), 1)
				return
			}
			c.Send(msg)
		},
		notify: func(c Conn, _ uint64) { c.Send(tell) },
	}, Options{Ready: func(n *Server) { posts = n }})
	p := s.open()
	got := make([]byte, want)
	round := func() {
		for _, b := range sent {
			if _, err := p.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(p.in, got); err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 1000
	for range rounds {
		round()
	}
	// Less than one in two rounds is the runtime's: for who waits for a mutex, or for a goroutine more.
	most := uint64(rounds / 2)
	if w.portable {
		most += poolMisses * rounds
	}
	require.LessOrEqual(t, mallocs(func() {
		for range rounds {
			round()
		}
	}), most, "allocations in %d rounds", rounds)
}

// mallocs is how often f allocates, the server included.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}
