package host

import (
	"log/slog"
	"time"
)

// Hooks is a set of the moments at which a plugin is asked.
type Hooks uint8

// The hooks.
const (
	Authenticate Hooks = 1 << iota // at connect: who is this?
	Authorize                      // for each lock request: may this client?
	Normalize                      // for each lock request, first: what do its paths really mean?
)

// Limits bound what a plugin may use. Zero values are replaced by DefaultLimits', but for LogLines: 0 are none.
type Limits struct {
	ModuleBytes int           // of the file
	MemoryBytes int64         // of an instance's linear memory; rounded up to pages of 64 KiB
	Call        time.Duration // of one call of a hook
	Init        time.Duration // of all that happens before the first call
	LogLines    int           // a second; more are dropped and counted
}

// Spec names a plugin, its file and what it is for.
type Spec struct {
	Name       string // in answers, logs and counters; unique among the plugins
	Path       string // the module's file
	Hooks      Hooks
	Config     []byte   // a JSON object handed to the plugin as it is; nil: none
	Namespaces []string // names, or prefixes that end in "*"; none: all
	Limits     Limits
}

// Options of a Gate.
type Options struct {
	Instances int // of each plugin: one for each goroutine that calls at the same time, and spares
	Log       *slog.Logger
	CacheDir  string // where compiled code is kept between starts; "": nowhere
}

// Outcome is how a question ended. The zero value denies.
type Outcome uint8

// The outcomes. Only Allowed allows.
const (
	Denied  Outcome = iota // a plugin said no
	Failed                 // a plugin could not judge: it trapped, took too long, broke the contract, or isn't there
	TooLong                // the question doesn't fit into a plugin's buffer
	Allowed
)

// Verdict is the answer to a question. The zero value denies.
type Verdict struct {
	Outcome Outcome
	Plugin  string // who didn't allow it
	Code    uint8  // the plugin's own, of a denial
	Reason  []byte // text for people; valid until the Caller's next call
}

// CodeForbidden, as the Code of a denied authentication, asks for HTTP 403 instead of 401.
const CodeForbidden = 3

// Connect is a client that connects. Strings are read during the call only.
type Connect struct {
	Namespace string
	Remote    string // "ip:port"; empty for unix sockets
	URLPath   string
	RawQuery  string
	TLS       bool
	Verified  bool // the client showed a certificate that was verified
	Fields    []Field
}

// Field is one thing known of a client that connects.
type Field struct {
	Kind  FieldKind
	Name  string
	Value string
}

// FieldKind says where a Field is from.
type FieldKind uint8

// The kinds of fields.
const (
	Header     FieldKind = iota // an HTTP header, its name in lower case
	Query                       // a query parameter, decoded
	Fact                        // a fact about the TLS connection
	Credential                  // given in the hello of protocol version 2
)

// Bounds of an Identity.
const (
	PrincipalBytes = 256
	ContextBytes   = 4096
)

// Identity is who a client is. Its strings are copies.
type Identity struct {
	Authenticated bool          // a plugin with the authenticate hook allowed it
	Principal     string        // empty: no plugin named one
	Context       string        // opaque bytes for authorize
	TTL           time.Duration // how long it holds; 0: as long as the connection
}

// Operation is what a client wants to do to resources.
type Operation uint32

// The operations.
const (
	Lock Operation = 1 + iota
	Inspect
	Watch
	ForceRelease
)

// Mode is how a resource is wanted.
type Mode uint8

// The modes.
const (
	Read Mode = iota
	Write
	Permit
)

// Resource is one path and how it is wanted.
type Resource struct {
	Mode Mode
	Path [][]byte
}

// Request is a request to be judged. Judge reads it during the call only.
type Request struct {
	Namespace string
	Identity  *Identity // never nil
	Remote    string    // "ip:port"
	Operation Operation
	Resources []Resource // Judge puts normalized paths in; their memory is the Caller's until its next call
}

// Stats are a plugin's counters since it was loaded.
type Stats struct {
	Name      string
	Digest    [32]byte // SHA-256 of module and configuration
	Calls     uint64
	Denied    uint64
	Traps     uint64 // calls that ended in a trap or a fault of the plugin's own
	Overruns  uint64 // calls that took too long
	Breaches  uint64 // calls whose answer broke the contract
	Missing   uint64 // calls for which there was no instance
	Replaced  uint64 // instances made after the first ones
	LogsLost  uint64 // lines over the limit
	Instances int    // ready now
}

// DefaultLimits are those that config.toml documents.
func DefaultLimits() Limits {
	return Limits{ModuleBytes: 8 << 20, MemoryBytes: 16 << 20, Call: 5 * time.Millisecond, Init: time.Second, LogLines: 100}
}

// orDefaults is a copy with zero values replaced.
func (s Spec) orDefaults() Spec {
	l, d := &s.Limits, DefaultLimits()
	l.ModuleBytes = orDefault(l.ModuleBytes, d.ModuleBytes)
	l.MemoryBytes = orDefault(l.MemoryBytes, d.MemoryBytes)
	l.Call = orDefault(l.Call, d.Call)
	l.Init = orDefault(l.Init, d.Init)
	if len(s.Namespaces) == 0 {
		s.Namespaces = []string{"*"}
	}
	return s
}

func (o Options) orDefaults() Options {
	o.Instances = orDefault(o.Instances, 1)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
