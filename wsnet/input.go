package wsnet

import (
	"io"
	"net"
	"slices"
	"syscall"
)

// input is what a connection of the portable path has read and not yet understood. A connection
// that waits for input holds no buffer if its system can tell readiness from reading, and a small
// one otherwise (TLS always).
type input struct {
	p      *portable
	nc     net.Conn
	raw    syscall.RawConn // nil: readiness can't be told
	attend func(uintptr) bool

	data   []byte  // in own or in shared
	own    []byte  // memory of the connection's own
	shared *[]byte // borrowed from p.buffers; nil while there is nothing to read

	n   int // of the last attempt
	err error
}

// blockBytes is the buffer held while waiting where readiness can't be told.
const blockBytes = 2 << 10

func newInput(p *portable, nc net.Conn) *input {
	in := &input{p: p, nc: nc}
	if canAttend {
		if sc, ok := nc.(syscall.Conn); ok {
			in.raw, _ = sc.SyscallConn()
		}
	}
	if in.raw != nil {
		in.attend = in.attempt
	}
	return in
}

// take drops n bytes from the front.
func (in *input) take(n int) { in.data = in.data[n:] }

// settle moves what is left to memory of the connection's own and gives the shared buffer back.
func (in *input) settle() {
	switch {
	case len(in.data) == 0:
		if cap(in.own) > blockBytes || in.raw != nil {
			in.own = nil
		}
		in.data = nil
	case in.shared != nil || cap(in.data) != cap(in.own):
		in.own = append(in.own[:0], in.data...)
		in.data = in.own
	}
	if in.shared != nil {
		in.p.buffers.Put(in.shared)
		in.shared = nil
	}
}

// room is a buffer with the data in front and space behind.
func (in *input) room(least int) []byte {
	if in.raw != nil && len(in.data) <= keepBytes {
		in.shared = in.p.buffers.Get().(*[]byte)
		return (*in.shared)[:copy(*in.shared, in.data)]
	}
	in.own = slices.Grow(in.data, max(least, len(in.data)))
	in.data = in.own
	return in.own
}

// read reads once, at least a byte, behind the data.
func (in *input) read() (int, error) {
	in.settle()
	if in.raw == nil {
		if in.data == nil {
			in.data = in.own[:0]
		}
		in.fill(in.nc.Read)
		return in.n, in.err
	}
	if err := in.raw.Read(in.attend); err != nil {
		return 0, err
	}
	return in.n, in.err
}

// fill calls read with room.
func (in *input) fill(read func([]byte) (int, error)) {
	b := in.room(blockBytes)
	in.n, in.err = read(b[len(b):cap(b)])
	if in.n > 0 {
		in.data, in.err = b[:len(b)+in.n], nil
	} else if in.err == nil {
		in.err = io.ErrNoProgress
	}
}
