package wsnet

import "sync/atomic"

// Stats counts what happened since the server started. The figures are read one after another
// while the server goes on, so sums need not match to the last connection.
type Stats struct {
	Accepted uint64 // connections taken from the listener
	Open     int    // WebSockets at this moment
	Sockets  int    // connections of any kind at this moment

	Messages uint64 // handed to handlers
	BytesIn  uint64 // read from sockets (TLS: decrypted)
	BytesOut uint64 // written to sockets (TLS: before encryption)
	Pings    uint64 // sent
	HTTP     uint64 // connections handed to net/http

	RefusedConnections uint64 // closed because of Limits.Connections
	RefusedPerAddress  uint64 // closed because of Limits.ConnectionsPerAddress
	RefusedUpgrades    uint64 // answered with an HTTP error
	AcceptErrors       uint64 // such as no descriptors left

	ProtocolErrors    uint64 // breaches of RFC 6455, and messages over a limit
	Overflows         uint64 // peers over Limits.OutputBytes
	HandshakeTimeouts uint64
	MessageTimeouts   uint64
	WriteTimeouts     uint64
	CloseTimeouts     uint64
	PingTimeouts      uint64
	TLSErrors         uint64 // failed TLS handshakes, and TLS spoken to a plain port
}

// counters are the rare events, shared by all loops.
type counters struct {
	accepted, refusedConnections, refusedPerAddress, refusedUpgrades, acceptErrors atomic.Uint64

	pings, http, protocolErrors, overflows, tlsErrors atomic.Uint64

	handshakeTimeouts, messageTimeouts, writeTimeouts, closeTimeouts, pingTimeouts atomic.Uint64

	open atomic.Int64
}

// traffic is what happens with every message. Each loop has its own, on its own cache lines: the
// loop adds up plain numbers and stores them once a turn.
type traffic struct {
	_                           [64]byte
	messages, bytesIn, bytesOut atomic.Uint64
	_                           [64]byte
}

func (s *Stats) add(t *traffic) {
	s.Messages += t.messages.Load()
	s.BytesIn += t.bytesIn.Load()
	s.BytesOut += t.bytesOut.Load()
}

// timedOut counts a timeout by its reason; why is ReasonNone for a request head.
func (c *counters) timedOut(why Reason) {
	switch why {
	case ReasonMessageTimeout:
		c.messageTimeouts.Add(1)
	case ReasonWriteTimeout:
		c.writeTimeouts.Add(1)
	case ReasonCloseTimeout:
		c.closeTimeouts.Add(1)
	case ReasonPingTimeout:
		c.pingTimeouts.Add(1)
	default:
		c.handshakeTimeouts.Add(1)
	}
}

func (c *counters) stats() Stats {
	return Stats{
		Accepted:           c.accepted.Load(),
		Open:               int(c.open.Load()),
		Pings:              c.pings.Load(),
		HTTP:               c.http.Load(),
		RefusedConnections: c.refusedConnections.Load(),
		RefusedPerAddress:  c.refusedPerAddress.Load(),
		RefusedUpgrades:    c.refusedUpgrades.Load(),
		AcceptErrors:       c.acceptErrors.Load(),
		ProtocolErrors:     c.protocolErrors.Load(),
		Overflows:          c.overflows.Load(),
		HandshakeTimeouts:  c.handshakeTimeouts.Load(),
		MessageTimeouts:    c.messageTimeouts.Load(),
		WriteTimeouts:      c.writeTimeouts.Load(),
		CloseTimeouts:      c.closeTimeouts.Load(),
		PingTimeouts:       c.pingTimeouts.Load(),
		TLSErrors:          c.tlsErrors.Load(),
	}
}
