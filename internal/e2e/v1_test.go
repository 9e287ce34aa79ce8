package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

func TestConversation(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		c := connect(t, dial, srv.target(t.Name()))
		first := c.mustAcquire(write("group_x", "entity_a"), read("group_y"))
		c.release(first)
		second := c.mustAcquire(write("group_x", "entity_a"), read("group_y"))
		require.Greater(t, second, first)
		c.release(second)
		require.NoError(t, c.Close())
		eventually(t, "the namespace goes with its last user", func() bool { return srv.stats(t.Name()) == statistics{} })
	})
}

func TestTypesInEveryWriting(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		holder := connect(t, dial, srv.target(t.Name()))
		held := holder.mustAcquire(read("r"))
		c := connect(t, dial, srv.target(t.Name()))
		for _, kind := range []string{"read", "r", "R", "READ", "Read", "rEaD"} {
			c.send(`{"action":"lock","resources":[{"type":"` + kind + `","path":["r"]}]}`)
			a := c.next()
			require.Equal(t, "acquired", a.state, "%q shares with a reader", kind)
			c.release(a.id)
		}
		for _, kind := range []string{"write", "w", "W", "WRITE", "Write"} {
			c.send(`{"action":"lock","resources":[{"type":"` + kind + `","path":["r"]}]}`)
			a := c.next()
			require.Equal(t, "enqueued", a.state, "%q waits for a reader", kind)
			c.release(a.id)
		}
		holder.release(held)
	})
}

func TestContention(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		const clients = 8
		var all [clients]talk
		var ids [clients]uint64
		for i := range all {
			all[i] = connect(t, dial, srv.target(t.Name()))
			var acquired bool
			ids[i], acquired = all[i].lock(write("a"))
			require.Equal(t, i == 0, acquired)
		}
		for i := range all { // one after the other, in the order of their ids
			if i > 0 {
				require.Greater(t, ids[i], ids[i-1])
				all[i].mustBeGranted(ids[i])
			}
			require.Equal(t, clients-1-i, srv.stats(t.Name()).GroupsPending)
			all[i].release(ids[i])
		}
	})
}

func TestReadersShareWritersDont(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name())
		r1, r2, w, r3 := connect(t, dial, to), connect(t, dial, to), connect(t, dial, to), connect(t, dial, to)
		id1 := r1.mustAcquire(read("a", "b"))
		id2 := r2.mustAcquire(read("a", "b"))
		idw := w.mustEnqueue(write("a", "b"))
		id3 := r3.mustEnqueue(read("a", "b")) // a writer that waits isn't overtaken
		r1.release(id1)
		r2.release(id2)
		w.mustBeGranted(idw)
		w.release(idw)
		r3.mustBeGranted(id3)
		r3.release(id3)
	})
}

func TestSubtree(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name())
		deep, sibling, parent, all := connect(t, dial, to), connect(t, dial, to), connect(t, dial, to), connect(t, dial, to)
		idDeep := deep.mustAcquire(write("a", "b", "c"))
		idSibling := sibling.mustAcquire(write("a", "b", "d"))
		idParent := parent.mustEnqueue(read("a"))
		idAll := all.mustEnqueue(write())
		deep.release(idDeep)
		sibling.release(idSibling)
		parent.mustBeGranted(idParent)
		parent.release(idParent)
		all.mustBeGranted(idAll)
		below := deep.mustEnqueue(read("somewhere", "else"))
		all.release(idAll)
		deep.mustBeGranted(below)
		deep.release(below)
	})
}

func TestAllResourcesOrNone(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name())
		a, b, both, other := connect(t, dial, to), connect(t, dial, to), connect(t, dial, to), connect(t, dial, to)
		idA := a.mustAcquire(write("a"))
		idB := b.mustAcquire(write("b"))
		idBoth := both.mustEnqueue(write("b"), write("a"), write("a"), read("a", "x")) // doubled and shadowed ones are fine
		idOther := other.mustAcquire(write("c"))
		a.release(idA)
		require.Equal(t, 1, srv.stats(t.Name()).GroupsPending)
		b.release(idB)
		both.mustBeGranted(idBoth)
		both.release(idBoth)
		other.release(idOther)
	})
}

func TestReleaseBeforeAcquired(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name())
		holder, impatient, next := connect(t, dial, to), connect(t, dial, to), connect(t, dial, to)
		held := holder.mustAcquire(write("a"))
		gone := impatient.mustEnqueue(write("a"))
		id := next.mustEnqueue(write("a"))
		impatient.release(gone)
		holder.release(held)
		next.mustBeGranted(id)
		again := impatient.mustEnqueue(write("a")) // the connection is reusable
		next.release(id)
		impatient.mustBeGranted(again)
		impatient.release(again)
	})
}

func TestNamespacesAreIndependent(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		one, two := connect(t, dial, srv.target(t.Name()+"/1")), connect(t, dial, srv.target(t.Name()+"/2"))
		a, b := one.mustAcquire(write()), two.mustAcquire(write())
		one.release(a)
		two.release(b)
	})
}

// Clients put whatever they like into segments and names.
func TestSegmentsAndNamesAreOpaque(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name() + " \u00e4\u20ac\U0001F419&=%/?#")
		c, other := connect(t, dial, to), connect(t, dial, to)
		odd := []string{"", "*", "..", "a/b", `"\`, "\u00e4", "\U0001F419", "line\nbreak", strings.Repeat("s", 1024)}
		for i, seg := range odd {
			id := c.mustAcquire(write(seg))
			for k, others := range odd {
				if k != i {
					other.release(other.mustAcquire(write(others)))
				}
			}
			waiting := other.mustEnqueue(write(seg))
			c.release(id)
			other.mustBeGranted(waiting)
			other.release(waiting)
		}
		// The same segment in two writings.
		c.send(`{"action":"lock","resources":[{"type":"w","path":["\u00e4\ud83d\udc19\/"]}]}`)
		id := c.next().id
		waiting := other.mustEnqueue(write("\u00e4\U0001F419/"))
		c.release(id)
		other.mustBeGranted(waiting)
	})
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		c := connect(t, dial, srv.target(t.Name()))
		c.send(` { "x" : { "y" : [ null , 1.5e3 , true ] } , "resources" : [ { "note" : "\u0041" , "path" : [ "a" ] , "type" : "write" } ] , "action" : "lock" } `)
		a := c.next()
		require.Equal(t, "acquired", a.state)
		c.send(`{"action":"release","resources":[],"id":17}`)
		require.Equal(t, answer{a.id, "release", "ready"}, c.next())
	})
}

// faults are messages that end a connection, and what the complaint must name.
var faults = []struct{ name, text, says string }{
	{"no JSON", `lock please`, ``},
	{"nothing", ``, ``},
	{"cut off", `{"action":"lock","resources":[{"type":"write","path":["a"]}`, ``},
	{"more behind", `{"action":"release"}{"action":"release"}`, ``},
	{"an array", `[]`, ``},
	{"null", `null`, ``},
	{"no action", `{"resources":[{"type":"write","path":["a"]}]}`, `action`},
	{"unknown action", `{"action":"steal","resources":[{"type":"write","path":["a"]}]}`, `steal`},
	{"action in capitals", `{"action":"LOCK","resources":[{"type":"write","path":["a"]}]}`, `LOCK`},
	{"action of another type", `{"action":1}`, `action`},
	{"resources of another type", `{"action":"lock","resources":{"type":"write","path":["a"]}}`, `resources`},
	{"resource of another type", `{"action":"lock","resources":["write"]}`, `resources`},
	{"unknown type", `{"action":"lock","resources":[{"type":"write","path":["a"]},{"type":"steal","path":["a"]}]}`, `steal`},
	{"no type", `{"action":"lock","resources":[{"path":["a"]}]}`, `type`},
	{"no path", `{"action":"lock","resources":[{"type":"write"}]}`, `path`},
	{"path of another type", `{"action":"lock","resources":[{"type":"write","path":"a/b"}]}`, `path`},
	{"segment of another type", `{"action":"lock","resources":[{"type":"write","path":["a",1]}]}`, `path`},
	{"doubled key", `{"action":"lock","action":"release","resources":[{"type":"write","path":["a"]}]}`, `action`},
	{"doubled key in a resource", `{"action":"lock","resources":[{"type":"write","path":["a"],"path":["b"]}]}`, `path`},
	{"lone surrogate", `{"action":"lock","resources":[{"type":"write","path":["\ud800"]}]}`, ``},
	{"control character", "{\"action\":\"lock\",\"resources\":[{\"type\":\"write\",\"path\":[\"a\x01\"]}]}", ``},
	{"NUL in a segment", `{"action":"lock","resources":[{"type":"write","path":["\u0000"]}]}`, `NUL`},
	{"nothing to release", releaseText, `release`},
}

func TestFaultsAreNamedAndEndTheConnection(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		other := connect(t, dial, srv.target(t.Name()))
		for _, f := range faults {
			c := connect(t, dial, srv.target(t.Name()))
			c.send(f.text)
			require.Contains(t, c.mustFault(), f.says, f.name)
			other.release(other.mustAcquire(write()))
		}
	})
}

func TestFaultsOfOrder(t *testing.T) {
	srv := start(t, setup{})
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name(), 0)
		t.Log("a second lock while one is acquired")
		holder := connect(t, dial, to)
		holder.mustAcquire(write("a"))
		waiter := connect(t, dial, to)
		id := waiter.mustEnqueue(write("a"))
		holder.send(lockText(write("b")))
		require.Contains(t, holder.mustFault(), "lock")
		waiter.mustBeGranted(id) // the holder's lock went the way of any lost connection's: no abandon timeout here
		t.Log("a second lock while one is enqueued")
		eager := connect(t, dial, to)
		eager.mustEnqueue(write("a"))
		eager.send(lockText(write("b")))
		require.Contains(t, eager.mustFault(), "lock")
		t.Log("a second release")
		waiter.release(id)
		waiter.send(releaseText)
		require.Contains(t, waiter.mustFault(), "release")
	})
}

func TestLimitsAreFaults(t *testing.T) {
	srv := start(t, setup{config: "[limits]\npath_segments = 12\nsegment_bytes = 10\nresources = 3\nmessage_bytes = 4096\nnamespace_requests = 2\n"})
	many := func(n int) []string { return strings.Split(strings.Repeat("s,", n)[:2*n-1], ",") }
	eachDialer(t, func(t *testing.T, dial dialer) {
		to := srv.target(t.Name())
		good := connect(t, dial, to)
		good.release(good.mustAcquire(write(many(12)...), write("0123456789"), read()))
		for name, rs := range map[string][]resource{
			"segments":  {write(many(13)...)},
			"bytes":     {write("0123456789a")},
			"resources": {write("a"), write("b"), write("c"), write("d")},
		} {
			c := connect(t, dial, to)
			c.send(lockText(rs...))
			require.Contains(t, c.mustFault(), name)
		}
		one, two := connect(t, dial, to), connect(t, dial, to)
		held := one.mustAcquire(write("a"))
		waiting := two.mustEnqueue(write("a"))
		third := connect(t, dial, to)
		third.send(lockText(read("b")))
		require.Contains(t, third.mustFault(), "requests")
		one.release(held)
		two.mustBeGranted(waiting)
		good.release(good.mustAcquire(write("b"))) // a refused request leaves no trace
	})
}

// TestAsManyResourcesAsAllowedFitIntoAMessage of the size, and with the values, that are allowed without a configuration.
func TestAsManyResourcesAsAllowedFitIntoAMessage(t *testing.T) {
	srv := start(t, setup{})
	many := func(n int) (rs []resource) {
		for k := range n {
			rs = append(rs, write("a", "b", "c", strconv.Itoa(k)))
		}
		return rs
	}
	c := connect(t, dialGorilla, srv.target("n"))
	c.release(c.mustAcquire(many(1024)...))
	c.send(lockText(many(1025)...))
	require.Contains(t, c.mustFault(), "1025 resources, at most 1024")

	v2, _ := greet(t, srv, "n", "many")
	lock := func(id int, rs []resource) string {
		return fmt.Sprintf(`{"op":"lock","id":%d,`, id) + lockText(rs...)[len(`{"action":"lock",`):]
	}
	v2.send(lock(1, many(1024)))
	heard(t, v2, `"id":1,"state":"acquired"`)
	v2.send(lock(2, many(1025)))
	heard(t, v2, `"id":2,"error":"limit".*1025 resources`)
}

// The protocol's own faults have the RFC's close codes.
func TestWebSocketFaults(t *testing.T) {
	srv := start(t, setup{config: "[limits]\nmessage_bytes = 1024\nfragments = 4\n"})
	for name, f := range map[string]struct {
		frames []byte
		code   int
	}{
		"binary":             {frame(ws.OpBinary, true, []byte(releaseText)), 1003},
		"unmasked":           {ws.MustCompileFrame(ws.NewTextFrame([]byte(releaseText))), 1002},
		"reserved bits":      {masked(0xc1, releaseText), 1002},
		"unknown opcode":     {masked(0x83, releaseText), 1002},
		"lone continuation":  {frame(ws.OpContinuation, true, []byte(releaseText)), 1002},
		"text in fragments":  {append(frame(ws.OpText, false, nil), frame(ws.OpText, true, nil)...), 1002},
		"fragmented ping":    {masked(0x09, "a"), 1002},
		"long ping":          {masked(0x89, strings.Repeat("a", 126)), 1002},
		"close of one byte":  {masked(0x88, "a"), 1002},
		"close with 1005":    {frame(ws.OpClose, true, ws.NewCloseFrameBody(1005, "")), 1002},
		"invalid UTF-8":      {frame(ws.OpText, true, []byte("\"\xc0\xaf\"")), 1007},
		"too long":           {frame(ws.OpText, true, make([]byte, 1025)), 1009},
		"too long in pieces": {append(frame(ws.OpText, false, make([]byte, 1000)), frame(ws.OpContinuation, true, make([]byte, 25))...), 1009},
		"too many pieces":    {scraps(5), 1008},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := connect(t, dialRaw, srv.target(t.Name()))
			c, _, err := dialRawFrom("", srv.target(t.Name(), 0))
			require.NoError(t, err)
			defer c.Drop()
			bad := talk{t, c}
			bad.mustAcquire(write("a"))
			id := good.mustEnqueue(write("a"))
			require.NoError(t, c.write(f.frames))
			_, err = c.Recv()
			require.NoError(t, wantClosed(err, f.code))
			good.mustBeGranted(id)
			good.release(id)
		})
	}
}

// masked is a frame with any first byte.
func masked(first byte, payload string) []byte {
	f := frame(ws.OpText, true, []byte(payload))
	f[0] = first
	return f
}

// scraps is the beginning of a message in n pieces.
func scraps(n int) []byte {
	all := frame(ws.OpText, false, []byte(" "))
	for range n - 1 {
		all = append(all, frame(ws.OpContinuation, false, []byte(" "))...)
	}
	return all
}

func TestEverythingAtOnceInOnePacket(t *testing.T) {
	srv := start(t, setup{})
	to := srv.target(t.Name())
	const rounds = 1000
	one := string(frame(ws.OpText, true, []byte(lockText(write("a"))))) + string(frame(ws.OpPing, true, []byte("p"))) +
		string(frame(ws.OpText, true, []byte(releaseText)))
	conn, err := dialTCP("", to.addr)
	require.NoError(t, err)
	defer conn.Close()
	go conn.Write([]byte(handshake(to) + strings.Repeat(one, rounds))) // the handshake too: what follows it must not be lost
	c, _, err := upgraded(conn)
	require.NoError(t, err)
	k := talk{t, c}
	var last uint64
	for range rounds {
		a := k.next()
		require.Greater(t, a.id, last)
		require.Equal(t, answer{a.id, "lock", "acquired"}, a)
		require.Equal(t, answer{a.id, "release", "ready"}, k.next())
		last = a.id
	}
}

func TestByteByByte(t *testing.T) {
	srv := start(t, setup{})
	to := srv.target(t.Name())
	conn, err := dialTCP("", to.addr)
	require.NoError(t, err)
	defer conn.Close()
	all := handshake(to) + string(frame(ws.OpText, false, []byte(lockText(write("\u00e4"))[:40]))) +
		string(frame(ws.OpPing, true, []byte("p"))) + string(frame(ws.OpContinuation, false, nil)) +
		string(frame(ws.OpContinuation, true, []byte(lockText(write("\u00e4"))[40:])))
	for i := range len(all) {
		_, err := conn.Write([]byte{all[i]})
		require.NoError(t, err)
	}
	c, _, err := upgraded(conn)
	require.NoError(t, err)
	k := talk{t, c}
	k.release(k.next().id)
}

// An acquired lock outlives its connection for the abandon timeout, and only for that.
func TestAbandonedLockStaysForItsTimeout(t *testing.T) {
	srv := start(t, setup{config: "[locks]\ndefault_abandon_timeout = \"30ms\"\n"})
	eachDialer(t, func(t *testing.T, dial dialer) {
		for how, leave := range map[string]func(talk){
			"close": func(k talk) { require.NoError(t, k.Close()) },
			"reset": func(k talk) { k.Drop() },
		} {
			space := t.Name() + how
			long := connect(t, dial, srv.target(space, time.Hour))
			short := connect(t, dial, srv.target(space, 10*time.Millisecond))
			preset := connect(t, dial, srv.target(space))
			none := connect(t, dial, srv.target(space, 0))
			long.mustAcquire(write("long"))
			short.mustAcquire(write("short"))
			preset.mustAcquire(write("preset"))
			none.mustAcquire(write("none"))
			c := connect(t, dial, srv.target(space))
			leave(long)
			id := c.mustEnqueue(write("short"), write("preset"), write("none"))
			leave(none)
			leave(short)
			leave(preset)
			c.mustBeGranted(id)
			c.release(id)
			eventually(t, "all have left", func() bool { return srv.stats(space).Users == 2 }) // c and the hour's lock
			last := c.mustEnqueue(write("long"))                                               // an hour isn't over
			c.release(last)
			require.Equal(t, 1, srv.stats(space).GroupsAcquired)
		}
	})
}

func TestIDsOfANamespaceNeverRepeatWhileItComesAndGoes(t *testing.T) {
	srv := start(t, setup{})
	var last uint64
	for i := range 20 {
		c := connect(t, dialRaw, srv.target(t.Name()))
		for range i%3 + 1 {
			id := c.mustAcquire(write("a"))
			require.Greater(t, id, last)
			last = id
			c.release(id)
		}
		require.NoError(t, c.Close())
		eventually(t, "the namespace is gone", func() bool { return srv.stats(t.Name()) == statistics{} })
		other := connect(t, dialRaw, srv.target(fmt.Sprint("other", i)))
		other.release(other.mustAcquire(write()))
	}
}
