package client

import "time"

// request is anything a client sends.
type request struct {
	Op          string            `json:"op"`
	ID          uint64            `json:"id,omitempty"`
	Lock        uint64            `json:"lock,omitempty"`
	Watch       uint64            `json:"watch,omitempty"`
	Resources   []Resource        `json:"resources,omitempty"`
	Path        *[]string         `json:"path,omitempty"`
	Limit       int               `json:"limit,omitempty"`
	After       string            `json:"after,omitempty"`
	WaitMS      *int64            `json:"wait_ms,omitempty"`
	LeaseMS     *int64            `json:"lease_ms,omitempty"`
	Note        string            `json:"note,omitempty"`
	Leave       bool              `json:"leave,omitempty"`
	Party       uint64            `json:"party,omitempty"`
	Upgrade     uint64            `json:"upgrade,omitempty"`
	TTLMS       *int64            `json:"ttl_ms,omitempty"`
	Name        string            `json:"name,omitempty"`
	Credentials map[string]string `json:"credentials,omitempty"`
	Resume      *resumption       `json:"resume,omitempty"`

	lease  time.Duration
	leased bool // it has one
}

type resumption struct {
	Session string `json:"session"`
	Secret  string `json:"secret"`
	Event   uint64 `json:"event"`
}

// message is anything a server says.
type message struct {
	Op         string `json:"op"` // "welcome"
	ID         uint64 `json:"id"`
	Event      uint64 `json:"event"`
	Watch      uint64 `json:"watch"`
	Session    string `json:"session"`
	Secret     string `json:"secret"`
	TTLMS      int64  `json:"ttl_ms"`
	Epoch      string `json:"epoch"`
	Durable    bool   `json:"durable"`
	LastID     uint64 `json:"last_id"`
	FirstEvent uint64 `json:"first_event"`

	MessageBytes  int `json:"message_bytes"`
	MessageValues int `json:"message_values"`

	Lock    uint64   `json:"lock"`
	State   string   `json:"state"`
	Token   uint64   `json:"token,string"`
	Slots   []uint32 `json:"slots"`
	LeaseMS int64    `json:"lease_ms"`
	Change  string   `json:"change"`
	Number  uint64   `json:"n"`
	Notice  string   `json:"notice"`
	MS      int64    `json:"ms"`
	Next    string   `json:"next"`

	Blockers []Blocker  `json:"blockers"`
	Cycle    []Blocker  `json:"cycle"`
	Locks    []LockInfo `json:"locks"`

	Error   string `json:"error"`
	Message string `json:"message"`
	Plugin  string `json:"plugin"`
	Code    int    `json:"code"`
}

// LockInfo is what the server tells of a lock, of this session or of others.
type LockInfo struct {
	Session   string     `json:"session"` // the id of its session; "v1" for a client of version 1, "server" for the server itself
	Name      string     `json:"name"`
	Lock      uint64     `json:"lock"`
	Token     uint64     `json:"token,string"` // 0 while it waits
	State     string     `json:"state"`        // "acquired", "enqueued" or "upgrading"
	Resources []Resource `json:"resources"`    // those that are about the path which was asked for
	Cut       bool       `json:"cut"`          // it was too long: its name, its note, and some resources are left out
	Note      string     `json:"note"`
	SinceMS   int64      `json:"since_ms"` // 0 for clients of version 1, of which nobody knows
	LeaseMS   int64      `json:"lease_ms"`
	Slots     []uint32   `json:"slots"`
	WaitsFor  []Blocker  `json:"waits_for"`
}

// Since is how long the lock has been held, or has waited.
func (l *LockInfo) Since() time.Duration { return time.Duration(l.SinceMS) * time.Millisecond }
