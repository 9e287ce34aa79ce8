package engine

import "unsafe"

// Stats are numbers of the present.
type Stats struct {
	Requests  int // alive
	Acquired  int // of them
	Waiting   int // the others
	Upgrades  int // pending
	Resources int // of all requests
	Nodes     int // paths that are held in memory: those of resources, and those above them
	Entries   int // a request has one per node and mode
	// Bytes is what the requests take. Lock and Upgrade keep it within Limits.Bytes; what is left over
	// for Advance, and requests that an upgrade holds up, may take some more for a time.
	Bytes int64
	// Capacity is the memory that the engine holds for them, in use or not, itself included.
	Capacity int64
}

// Bytes is Stats.Bytes alone, for whoever adds it up over many engines with every call.
func (e *Engine) Bytes() int64 { return e.liveBytes() }

// Waiting is how many requests wait, and upgrades.
func (e *Engine) Waiting() int { return e.requests.live() - e.acquired + e.upgrades }

// Stats counts without looking at requests; Capacity costs a step per 1024 items of memory.
func (e *Engine) Stats() Stats {
	s := Stats{
		Requests:  e.requests.live(),
		Acquired:  e.acquired,
		Waiting:   e.requests.live() - e.acquired,
		Upgrades:  e.upgrades,
		Resources: e.resources,
		Nodes:     e.nodes.live(),
		Entries:   e.entries.live(),
		Bytes:     e.liveBytes(),
		Capacity:  int64(unsafe.Sizeof(*e)),
	}
	s.Capacity += e.requests.heldBytes() + e.entries.heldBytes() + e.nodes.heldBytes() +
		e.permits.heldBytes() + e.extras.heldBytes() + e.blocks.heldBytes() + e.edges.heldBytes() +
		e.specials.heldBytes() + e.lines.heldBytes() + e.view.heldBytes() +
		int64(cap(e.grants))*int64(unsafe.Sizeof(Grant{})) + int64(cap(e.order))*4
	return s
}

func (e *Engine) liveBytes() int64 {
	return e.requests.liveBytes() + e.entries.liveBytes() + e.nodes.liveBytes() +
		e.permits.liveBytes() + e.extras.liveBytes() + e.blocks.liveBytes() +
		e.specials.liveBytes() + e.lines.liveBytes()
}
