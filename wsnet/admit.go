package wsnet

import (
	"net/netip"
	"sync"
)

// door counts connections, in all and by address, from accept to the descriptor's close. Every
// connection holds a pass of it. Addresses live in a slab without pointers and are forgotten with
// their last connection.
type door struct {
	mu    sync.Mutex // guards all below
	total int
	index map[[16]byte]uint32
	slab  []addressCount // [0] stands for no address
	free  []uint32
}

type addressCount struct {
	addr [16]byte
	n    int32
}

// pass is an index into door.slab.
type pass uint32

func newDoor() *door {
	return &door{index: map[[16]byte]uint32{}, slab: make([]addressCount, 1)}
}

// verdict is what the door says to a new connection.
type verdict uint8

const (
	admitted verdict = iota
	fullHouse
	fullAddress
)

// enter admits a connection or says which limit it hit. An invalid address is not counted by address.
func (d *door) enter(addr netip.Addr, lim *Limits) (pass, verdict) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.total >= lim.Connections {
		return 0, fullHouse
	}
	if !addr.IsValid() {
		d.total++
		return 0, admitted
	}
	i := d.slot(addressKey(addr))
	if d.slab[i].n >= int32(lim.ConnectionsPerAddress) {
		return 0, fullAddress
	}
	d.total++
	d.slab[i].n++
	return pass(i), admitted
}

// addressKey is what counts as one address: all of an IPv4 address, and the first half of an IPv6
// one, for whoever has one has the whole network of the second half (RFC 4291 section 2.5.4).
func addressKey(addr netip.Addr) [16]byte {
	key := addr.As16()
	if addr.Is6() && !addr.Is4In6() {
		clear(key[8:])
	}
	return key
}

// slot finds or makes the counter of an address.
func (d *door) slot(addr [16]byte) uint32 {
	if i, ok := d.index[addr]; ok {
		return i
	}
	i := uint32(len(d.slab))
	if n := len(d.free); n > 0 {
		i, d.free = d.free[n-1], d.free[:n-1]
		d.slab[i] = addressCount{addr: addr}
	} else {
		d.slab = append(d.slab, addressCount{addr: addr})
	}
	d.index[addr] = i
	return i
}

// leave gives a pass back.
func (d *door) leave(p pass) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.total--; d.total < 0 {
		panic("wsnet: more connections left than entered")
	}
	if p == 0 {
		return
	}
	a := &d.slab[p]
	if a.n--; a.n == 0 {
		delete(d.index, a.addr)
		d.free = append(d.free, uint32(p))
	}
}

// inside is the number of connections.
func (d *door) inside() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total
}

// remoteOf is a connection's address, unmapped; invalid for anything but TCP.
func remoteOf(a interface{ String() string }) netip.AddrPort {
	if t, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
