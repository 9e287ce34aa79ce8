// Package wsnet turns sockets into WebSocket messages and back: bytes in, messages out.
//
// On Linux plain connections are served by epoll loops, one per core, that allocate nothing per
// message; TLS connections everywhere, and plain ones on other systems, by a goroutine each. Both
// paths share one codec (RFC 6455, the server's side, no extensions), one set of limits and one
// Handler, and pass one test suite. HTTP requests that are no WebSocket upgrade are handed to
// net/http on the same port. The package knows nothing of locks.
//
// # Terms
//
// A turn is the time in which one connection's input is looked at, its handler called and its
// answers collected; turn.go is the connection's whole behaviour and knows no sockets. A path
// brings bytes to turns and carries their output away: loop_linux.go and its neighbours are one,
// portable.go is the other. A token is a number that somebody posts to a connection; it arrives as
// a call of Handler.Notify. To linger is to have said the last word: output is flushed, FIN sent,
// and input thrown away until the peer ends too, because closing a socket with unread input resets
// it and can eat the last answer.
//
// # Following a byte
//
// A readable socket wakes loop.run; loop.readable reads it into the loop's one buffer; turn.talk
// takes frames from there through assembly.next and hands messages to the handler; the handler's
// Send appends to turn.out; loop.settle writes that once and keeps what the socket didn't take.
//
// # Rules
//
//   - Calls for one connection never overlap, and calls on one Handler never overlap.
//   - Server's methods may be called from any goroutine. Post and Broadcast never call a handler
//     and never block, so they may be called from handlers and with locks held. StopAccepting and
//     Close wait, so handlers must not call them.
//   - A token for a connection whose Closed hasn't been called is never dropped, and tokens of one
//     poster to one connection keep their order. A token for any other connection vanishes.
//   - What a peer can make the server hold, or wait for, has a limit.
//   - How long others wait for a turn has one, too, however much a peer has sent and however long the handler takes
//     for it: a turn ends behind the message that makes it last longer than turnTime, and goes on when others had theirs.
//
// # What it will not do
//
// No permessage-deflate, no binary messages, no client's side, no HTTP keep-alive, no reading of
// one message piece by piece, no sending from outside a handler's call.
package wsnet

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// ConnID names a connection for as long as the process runs: a stale one is recognized and never
// reaches another connection. Zero names none.
type ConnID uint64

// Conn is a connection as its handler sees it during a call. It is valid during that call only;
// keep its ID instead. Its methods may be called by the handler that was given it and by nobody
// else; to reach a connection from elsewhere, use Server.Post.
type Conn interface {
	// ID names the connection.
	ID() ConnID
	// User is the number stored by SetUser, zero before.
	User() uint64
	// SetUser stores a number of the handler's choosing with the connection.
	SetUser(uint64)
	// Send queues a text message, which must be UTF-8. It copies msg and never blocks: a peer that
	// doesn't read is closed once Limits.OutputBytes are waiting for it. After Close it does nothing.
	Send(msg []byte)
	// Close starts the closing handshake, behind what was sent. No Message follows; Closed does.
	// A code that must not be sent (RFC 6455 section 7.4) is the caller's fault and panics; zero
	// sends none. The reason is cut to 123 bytes.
	Close(code uint16, reason string)
}

// Handler is what stands behind the connections. One handler serves one loop (or, on the portable
// path, one connection at a time): calls on one Handler never overlap, so it may keep scratch
// memory without a lock. Calls for one connection never overlap either and come in this order: Open,
// any number of Message and Notify, Closed. Calls must not block: they hold up every connection of
// the loop.
type Handler interface {
	// Open decides on an upgrade before it is answered; nil accepts. Exactly one Closed follows an
	// accepted Open. It may already Send.
	Open(c Conn, r *Request) *Refusal
	// Message hands over one whole text message, valid UTF-8. It is the handler's to modify, during the call only.
	Message(c Conn, msg []byte)
	// Notify hands over a token given to Server.Post or Server.Broadcast.
	Notify(c Conn, token uint64)
	// Closed says that the connection is gone or that its closing handshake is over. Send and Close do nothing any more.
	Closed(c Conn, why Reason)
}

// Request is an HTTP upgrade request that passed the protocol's own checks. It is valid during Open only.
type Request struct {
	Path      string // as sent, decoded
	RawQuery  string
	Host      string
	Header    http.Header          // canonical names; without those of the WebSocket handshake itself
	Protocols []string             // the subprotocols the client offers, in its order
	Remote    netip.AddrPort       // invalid for unix sockets
	TLS       *tls.ConnectionState // nil on a plain connection

	// Protocol is Open's to set: the subprotocol chosen from Protocols; empty selects none.
	Protocol string
}

// Refusal answers an upgrade request that isn't accepted; the connection is closed behind it.
type Refusal struct {
	Status int    // an HTTP status, 400 and above
	Body   string // a sentence for people, text/plain; a newline is added

	// Challenge is the WWW-Authenticate of a 401, which must have one (RFC 9110 section 11.6.1), and of
	// no other status. A challenge that is missing, out of place or no header's value panics.
	Challenge string
}

// Reason says why a connection ended.
type Reason uint8

// The reasons.
const (
	ReasonNone           Reason = iota
	ReasonClientClosed          // the client's close frame came first, or crossed ours: see ReasonServerClosed
	ReasonServerClosed          // Conn.Close, answered by the client's close frame; 1001 with the same code only
	ReasonLost                  // the stream ended without a closing handshake
	ReasonReset                 // the connection was reset or failed
	ReasonProtocolError         // a breach of RFC 6455
	ReasonMessageTooBig         // Limits.MessageBytes or Limits.Fragments
	ReasonOverflow              // Limits.OutputBytes
	ReasonWriteTimeout          // Limits.WriteTimeout
	ReasonMessageTimeout        // Limits.MessageTimeout
	ReasonPingTimeout           // Limits.PongTimeout
	ReasonCloseTimeout          // Limits.CloseTimeout: the client didn't answer our close frame
	ReasonServerStopped         // Server.Close
	ReasonUnanswered            // Conn.Close, and the stream ended without an answer
)

// reasonGoingAway is the reason while our close frame with 1001 isn't answered. So a handler knows whether a client
// has read what was sent before that frame: one that closes by itself at the same moment says something else.
const reasonGoingAway Reason = 255

var reasonTexts = [...]string{
	ReasonNone:           "open",
	ReasonClientClosed:   "closed by the client",
	ReasonServerClosed:   "closed by the server",
	ReasonLost:           "connection lost",
	ReasonReset:          "reset",
	ReasonProtocolError:  "protocol error",
	ReasonMessageTooBig:  "message too big",
	ReasonOverflow:       "too slow to read",
	ReasonWriteTimeout:   "write timeout",
	ReasonMessageTimeout: "message timeout",
	ReasonPingTimeout:    "ping timeout",
	ReasonCloseTimeout:   "close timeout",
	ReasonServerStopped:  "server stopped",
	ReasonUnanswered:     "closed by the server, without an answer",
}

// String is the reason in a few lower-case words, for logs.
func (r Reason) String() string {
	if int(r) < len(reasonTexts) {
		return reasonTexts[r]
	}
	return "unknown reason"
}

// Limits bound what a peer can make the server hold or wait for. Zero values are replaced by
// DefaultLimits'. Times are kept in tenths of a second: a timeout never ends early, and at most two
// tenths late on an idle machine.
type Limits struct {
	Connections           int // all together, also those that speak HTTP or are ending
	ConnectionsPerAddress int // of one IPv4 address, or one IPv6 network of 64 bits; unix sockets don't count
	HeaderBytes           int // of an HTTP request head, its blank line included
	MessageBytes          int // of one message, all its fragments together
	Fragments             int // frames of one message
	OutputBytes           int // waiting to be sent, frame headers included; more closes the connection
	PauseBytes            int // waiting to be sent; as many pause reading until a quarter is left

	HandshakeTimeout time.Duration // from accept to the end of the request head, TLS included
	MessageTimeout   time.Duration // from a message's first byte to its last, however it is cut
	WriteTimeout     time.Duration // without progress of waiting output
	CloseTimeout     time.Duration // for the closing handshake, and again for lingering
	PingInterval     time.Duration // of silence before a ping
	PongTimeout      time.Duration // of further silence before the connection is given up
}

// Options of a Server.
type Options struct {
	NewHandler func() Handler // called once for each loop, or as often as connections are served at once
	Ready      func(*Server)  // called once, before the first connection is served; may be nil
	HTTP       http.Handler   // requests that are no upgrade; nil: 404
	TLS        *tls.Config    // nil: plain
	Loops      int            // 0: one per core; ignored on the portable path
	Portable   bool           // a goroutine per connection even where there are loops
	Limits     Limits
	Log        *slog.Logger // nil: none
}

// Serve takes ln over, starts serving and returns at once. The loops serve TCP and unix listeners
// of package net on Linux; anything else takes the portable path. An error leaves ln open.
func Serve(ln net.Listener, opt Options) (*Server, error) {
	return serve(ln, opt, tricks{})
}
