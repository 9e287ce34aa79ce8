package wsnet

import (
	"net"
	"sync"
	"sync/atomic"
)

// loops are the path of Linux.
type loops struct {
	s       *Server
	all     []*loop
	wg      sync.WaitGroup
	stopped atomic.Bool
	mu      sync.Mutex // guards the calls of stopAccepting and close against each other

	trouble    atomic.Uint32 // the errno of a connection that couldn't be adopted, until the acceptor rests
	complained atomic.Bool   // since the last connection that could be taken
}

// newLoops starts the loops; a nil path without an error says that they can't serve the listener.
func newLoops(s *Server, ln net.Listener, tr tricks) (path, error) {
	a, err := newAcceptor(ln)
	if a == nil {
		return nil, err
	}
	p := &loops{s: s}
	for i := range s.opt.Loops {
		l, err := newLoop(s, i, tr)
		if err != nil {
			for _, l := range p.all {
				l.closeDescriptors()
			}
			a.ln = nil // an error leaves it open
			a.close()
			return nil, err
		}
		l.path = p
		p.all = append(p.all, l)
	}
	a.commit()
	a.loops = p.all
	p.all[0].acceptor = a
	return p, nil
}

func (p *loops) start() {
	p.all[0].listen()
	for _, l := range p.all {
		p.wg.Go(l.run)
	}
}

func (p *loops) post(id ConnID, token uint64) {
	if i := id.loop(); i < len(p.all) && id != 0 {
		p.all[i].inbox.putToken(item{id, token})
	}
}

func (p *loops) broadcast(token uint64) {
	for _, l := range p.all {
		l.inbox.putToken(item{0, token})
	}
}

func (p *loops) wakeTimers() {
	for _, l := range p.all {
		asked := false
		l.inbox.until(func() bool {
			if !asked {
				asked, l.now = true, l.s.time.now() // for the end of this turn
				return false
			}
			return !l.wheel.late
		})
	}
}

func (p *loops) addTraffic(st *Stats) {
	for _, l := range p.all {
		st.add(&l.traffic)
	}
}

func (p *loops) stopAccepting() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped.Swap(true) {
		return
	}
	for _, l := range p.all { // the first one first: it sends nothing to the others behind this
		l.inbox.until(l.stopAccepting())
	}
}

func (p *loops) close() {
	p.stopAccepting()
	for _, l := range p.all {
		l.inbox.do(func() { l.closed = true })
	}
	p.wg.Wait()
}
