package wsnet

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

func TestMain(m *testing.M) {
	if task := os.Getenv("WSNET_LOAD"); task != "" {
		load(task)
		return
	}
	goleak.VerifyTestMain(m)
}

// load is BenchmarkEcho's client, a process of its own: task is an address, and how many
// connections send how many messages at once, how often.
func load(task string) {
	var addr string
	var conns, depth, rounds int
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	_, err := fmt.Sscan(task, &addr, &conns, &depth, &rounds)
	must(err)
	sent := bytes.Repeat(text(string(bytes.Repeat([]byte("x"), 100))), depth)
	peers := make([]net.Conn, conns)
	for i := range peers {
		c, err := net.Dial("tcp", addr)
		must(err)
		_, err = c.Write([]byte(testHead))
		must(err)
		_, err = http.ReadResponse(bufio.NewReader(c), nil)
		must(err)
		peers[i] = c
	}
	start := time.Now()
	var wg sync.WaitGroup
	for _, c := range peers {
		wg.Go(func() {
			got := make([]byte, 102*depth)
			for range rounds {
				_, err := c.Write(sent)
				must(err)
				_, err = io.ReadFull(c, got)
				must(err)
			}
		})
	}
	wg.Wait()
	fmt.Println(time.Since(start).Seconds())
}

// patience bounds every wait of a test; none is ever waited out by a test that passes.
const patience = 30 * time.Second

// world is a way to serve connections. Every test of behaviour runs in all of them.
type world struct {
	name     string
	portable bool
	tls      bool
	lies     bool   // the system layer, or the net.Conn, splits, delays and repeats what it can
	network  string // tcp, if empty
}

var worlds = []world{
	{name: "loops"},
	{name: "loops-lied-to", lies: true},
	{name: "loops-unix", network: "unix"},
	{name: "portable", portable: true},
	{name: "portable-lied-to", portable: true, lies: true},
	{name: "tls", tls: true},
}

// everywhere runs a test in every world.
func everywhere(t *testing.T, f func(t *testing.T, w world)) {
	for _, w := range worlds {
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

// fibber is a liar that draws its lies from a seed. It never loses or invents a byte.
type fibber struct {
	mu  sync.Mutex
	rnd *mrand.Rand
}

func newFibber(seed uint64) *fibber { return &fibber{rnd: mrand.New(mrand.NewPCG(seed, 1))} }

func (f *fibber) lie(call string, n int) (int, uintptr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch p := f.rnd.IntN(100); {
	case call == "events" && p < 20:
		return f.rnd.IntN(n + 1), 0
	case call == "events" && p < 40:
		return n + 1, 0
	case call == "clock" && p < 20:
		return n + 1, 0
	case call == "events" || call == "add" || call == "poll" || call == "clock":
		return n, 0
	case p < 5:
		return 0, uintptr(syscall.EINTR)
	case call == "accept" && p < 15:
		return 0, uintptr(syscall.ECONNABORTED)
	case p < 15:
		return 0, uintptr(syscall.EAGAIN)
	case p < 50 && n > 1:
		return 1 + f.rnd.IntN(n-1), 0
	case p < 60:
		return 1, 0
	}
	return n, 0
}

// pieces is a listener whose connections read a few bytes at a time.
type pieces struct {
	net.Listener
	fib *fibber
}

func (p pieces) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &pieceConn{Conn: c, fib: p.fib}, nil
}

type pieceConn struct {
	net.Conn
	fib *fibber
}

func (c *pieceConn) Read(b []byte) (int, error) {
	if n, errno := c.fib.lie("read", len(b)); errno == 0 {
		b = b[:n]
	}
	return c.Conn.Read(b)
}

func (c *pieceConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// spy is a handler made of functions; missing ones echo messages and accept everything.
type spy struct {
	open    func(c Conn, r *Request) *Refusal
	message func(c Conn, msg []byte)
	notify  func(c Conn, token uint64)
	closed  func(c Conn, why Reason)
}

func (s *spy) Open(c Conn, r *Request) *Refusal {
	if s.open != nil {
		return s.open(c, r)
	}
	return nil
}

func (s *spy) Message(c Conn, msg []byte) {
	if s.message != nil {
		s.message(c, msg)
	} else {
		c.Send(msg)
	}
}

func (s *spy) Notify(c Conn, token uint64) {
	if s.notify != nil {
		s.notify(c, token)
	}
}

func (s *spy) Closed(c Conn, why Reason) {
	if s.closed != nil {
		s.closed(c, why)
	}
}

// subject is a server under test.
type subject struct {
	*Server
	t       testing.TB
	w       world
	clock   *handClock
	reasons chan Reason // of every Closed
	ids     chan ConnID // of every accepted Open
	root    *x509.CertPool
}

// start serves in a world. The spy's functions may be nil.
func (w world) start(t testing.TB, h spy, opt Options) *subject {
	t.Helper()
	s := &subject{t: t, w: w, clock: &handClock{}, reasons: make(chan Reason, 4096), ids: make(chan ConnID, 4096)}
	network, address := "tcp", "127.0.0.1:0"
	if w.network == "unix" {
		network, address = "unix", t.TempDir()+"/socket"
	}
	ln, err := net.Listen(network, address)
	require.NoError(t, err)
	tr := tricks{clock: s.clock}
	if w.lies {
		fib := newFibber(testseed.New(t))
		if tr.lies = fib; w.portable {
			ln = pieces{ln, fib}
		}
	}
	opt.Portable = w.portable
	if opt.Loops == 0 {
		opt.Loops = 2
	}
	if w.tls {
		opt.TLS, s.root = certificate(t)
	}
	opened, ended := h.open, h.closed
	h.open = func(c Conn, r *Request) *Refusal {
		if opened != nil {
			if no := opened(c, r); no != nil {
				return no
			}
		}
		s.ids <- c.ID()
		return nil
	}
	h.closed = func(c Conn, why Reason) {
		if ended != nil {
			ended(c, why)
		}
		s.reasons <- why
	}
	opt.NewHandler = func() Handler { h := h; return &h }
	s.Server, err = serve(ln, opt, tr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

var certificate = func() func(testing.TB) (*tls.Config, *x509.CertPool) {
	var once sync.Once
	var conf *tls.Config
	pool := x509.NewCertPool()
	return func(t testing.TB) (*tls.Config, *x509.CertPool) {
		once.Do(func() {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
			der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
			require.NoError(t, err)
			leaf, err := x509.ParseCertificate(der)
			require.NoError(t, err)
			pool.AddCert(leaf)
			conf = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		})
		return conf, pool
	}
}()

// advance moves the server's clock and returns when all that became due is done.
func (s *subject) advance(d time.Duration) {
	s.clock.ticks.Add(uint32(d / tick))
	s.path.wakeTimers()
}

// expire moves the clock just past a timeout that begins now at the latest.
func (s *subject) expire(d time.Duration) { s.advance(d + 2*tick) }

// reason waits for the next Closed.
func (s *subject) reason() Reason {
	s.t.Helper()
	select {
	case r := <-s.reasons:
		return r
	case <-time.After(patience):
		require.FailNow(s.t, "no Closed")
	}
	return 0
}

// until waits for a condition on the server.
func (s *subject) until(what string, f func() bool) {
	s.t.Helper()
	require.Eventually(s.t, f, patience, time.Millisecond, what)
}

// heard waits until the server has read n bytes in all.
func (s *subject) heard(n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d bytes read", n), func() bool { return s.Stats().BytesIn >= uint64(n) })
}

// wrote waits until the server knows that it has written what the peer has received.
func (s *subject) wrote(p *peer) {
	s.t.Helper()
	s.until("written", func() bool { return s.Stats().BytesOut >= p.received })
}

// dial connects without saying anything; TLS is done.
func (s *subject) dial() *peer {
	s.t.Helper()
	c, err := net.Dial(s.Addr().Network(), s.Addr().String())
	require.NoError(s.t, err)
	return s.peer(c)
}

func (s *subject) peer(c net.Conn) *peer {
	require.NoError(s.t, c.SetDeadline(time.Now().Add(patience)))
	p := &peer{t: s.t, raw: c, Conn: c}
	if s.w.tls {
		p.Conn = tls.Client(c, &tls.Config{RootCAs: s.root, ServerName: "127.0.0.1"})
	}
	p.in = bufio.NewReader(counting{p.Conn, &p.received})
	s.t.Cleanup(func() { _ = c.Close() })
	return p
}

const (
	testKey    = "dGhlIHNhbXBsZSBub25jZQ=="     // RFC 6455 section 1.3
	testAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // its answer
	testHead   = "GET /a%20b/c?x=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + testKey + "\r\nOrigin: http://o\r\n\r\n"
)

// open connects and upgrades.
func (s *subject) open() *peer {
	s.t.Helper()
	p := s.dial()
	p.send([]byte(testHead))
	p.upgraded()
	return p
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// peer is a client that can do everything wrong.
type peer struct {
	net.Conn
	raw net.Conn
	t   testing.TB
	in  *bufio.Reader

	received uint64
}

type counting struct {
	io.Reader
	n *uint64
}

func (c counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	*c.n += uint64(n)
	return n, err
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	_, err := p.Write(b)
	require.NoError(p.t, err)
}

func (p *peer) response() *http.Response {
	p.t.Helper()
	r, err := http.ReadResponse(p.in, nil)
	require.NoError(p.t, err)
	return r
}

func (p *peer) upgraded() {
	p.t.Helper()
	r := p.response()
	require.Equal(p.t, 101, r.StatusCode)
	require.Equal(p.t, testAccept, r.Header.Get("Sec-WebSocket-Accept"))
}

// frame reads a frame, checking what must hold for all of a server's.
func (p *peer) frame() (ws.OpCode, []byte) {
	p.t.Helper()
	h, err := ws.ReadHeader(p.in)
	require.NoError(p.t, err)
	require.True(p.t, h.Fin && !h.Masked && h.Rsv == 0)
	b := make([]byte, h.Length)
	_, err = io.ReadFull(p.in, b)
	require.NoError(p.t, err)
	return h.OpCode, b
}

func (p *peer) wantText(want string) {
	p.t.Helper()
	op, b := p.frame()
	require.Equal(p.t, ws.OpText, op)
	if want != string(b) {
		require.Equal(p.t, clip(want), clip(string(b)))
		require.FailNow(p.t, "long text differs")
	}
}

func clip(s string) string { return s[:min(len(s), 200)] }

func (p *peer) wantClose(code uint16) string {
	p.t.Helper()
	op, b := p.frame()
	require.Equal(p.t, ws.OpClose, op)
	if code == 0 {
		require.Empty(p.t, b)
		return ""
	}
	require.GreaterOrEqual(p.t, len(b), 2)
	require.Equal(p.t, code, binary.BigEndian.Uint16(b))
	return string(b[2:])
}

// wantEnd expects a graceful end of the stream.
func (p *peer) wantEnd() {
	p.t.Helper()
	_, err := p.in.ReadByte()
	require.ErrorIs(p.t, err, io.EOF)
}

// wantGone expects an end of any kind.
func (p *peer) wantGone() {
	p.t.Helper()
	_, err := io.Copy(io.Discard, p.in)
	if err != nil {
		require.NotErrorIs(p.t, err, os.ErrDeadlineExceeded)
	}
}

// closeWrite sends FIN.
func (p *peer) closeWrite() {
	p.t.Helper()
	require.NoError(p.t, p.Conn.(interface{ CloseWrite() error }).CloseWrite())
}

// masked is a client's frame.
func masked(fin bool, op ws.OpCode, payload string) []byte {
	var b bytes.Buffer
	h := ws.Header{Fin: fin, OpCode: op, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(payload))}
	if err := ws.WriteHeader(&b, h); err != nil {
		panic(err)
	}
	body := []byte(payload)
	ws.Cipher(body, h.Mask, 0)
	b.Write(body)
	return b.Bytes()
}

func text(s string) []byte { return masked(true, ws.OpText, s) }

func closing(code uint16, reason string) []byte {
	return masked(true, ws.OpClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func concat(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
