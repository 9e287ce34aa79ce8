// Package config reads the server's configuration: the built-in config.toml, over it the operator's
// file, over it the environment, over it flags.
//
// Terms. A setting is one key with a value, named by its dotted path ("limits.message_bytes"); a
// table groups settings. Plugins are a list of tables, of which config.toml has an example only; their
// settings are named by PluginKey. An origin is where a setting's value was given: a position in the
// file, a variable, a flag, or nowhere (the default). A fault is one thing that is wrong, with its
// origin.
//
// Invariants. The fields of Config and the keys of config.toml are the same set, those of Plugin and of
// the example too, and the defaults are valid. Load returns either a Loaded without faults or all the
// faults there are, never the first only. What isn't a setting is a fault: nothing is ignored, nothing
// is guessed. Only a plugin's config may hold anything.
//
// Load may be called from anywhere, any number of times; a Loaded is not changed after it is
// returned. The package opens no file but the one it is told to, and does not judge what is behind a
// setting (whether a certificate fits its key, whether a plugin can be loaded): its callers do.
package config

import "time"

// Config is every setting. The tags are the schema: toml names the key; min and max bound numbers
// and durations; oneof lists the words of an enumeration; check names a rule of check.go; restart
// marks what a reload can't change.
type Config struct {
	Server   Server   `toml:"server"`
	Limits   Limits   `toml:"limits"`
	Locks    Locks    `toml:"locks"`
	Sessions Sessions `toml:"sessions"`
	State    State    `toml:"state"`
	Log      Log      `toml:"log"`
	Admin    Admin    `toml:"admin"`
	Plugins  []Plugin `toml:"plugins"` // in the order in which they are asked; at most PluginsMax
}

// Server says where the server listens and to whom it talks.
type Server struct {
	Listen         string        `toml:"listen" check:"listen" restart:"yes"`
	Loops          int           `toml:"loops" min:"0" max:"256" restart:"yes"`
	AllowedOrigins []string      `toml:"allowed_origins" check:"origins"`
	Drain          time.Duration `toml:"drain" min:"0s" max:"1h"`
	PluginsPoll    time.Duration `toml:"plugins_poll" min:"0s" max:"1h"`
	TLS            TLS           `toml:"tls"`
}

// TLS names PEM files. TLS is on if Cert isn't empty; a valid Config has both Cert and Key or neither.
type TLS struct {
	Cert     string `toml:"cert"`
	Key      string `toml:"key"`
	ClientCA string `toml:"client_ca"`
}

// Limits bound what clients can make the server hold or wait for. Sizes are bytes.
type Limits struct {
	Connections           int           `toml:"connections" min:"1" max:"10000000"`
	ConnectionsPerAddress int           `toml:"connections_per_address" min:"1" max:"10000000"`
	HeaderBytes           int           `toml:"header_bytes" min:"512" max:"1048576"`
	MessageBytes          int           `toml:"message_bytes" min:"128" max:"16777216"`
	Fragments             int           `toml:"fragments" min:"1" max:"65536"`
	MessageValues         int           `toml:"message_values" min:"8" max:"1000000"`
	OutputBytes           int           `toml:"output_bytes" min:"4096" max:"500000000"`
	PauseReadingBytes     int           `toml:"pause_reading_bytes" min:"1024" max:"500000000"`
	HandshakeTimeout      time.Duration `toml:"handshake_timeout" min:"100ms" max:"1h"`
	MessageTimeout        time.Duration `toml:"message_timeout" min:"100ms" max:"1h"`
	WriteTimeout          time.Duration `toml:"write_timeout" min:"100ms" max:"1h"`
	CloseTimeout          time.Duration `toml:"close_timeout" min:"100ms" max:"1h"`
	PingInterval          time.Duration `toml:"ping_interval" min:"100ms" max:"24h"`
	PongTimeout           time.Duration `toml:"pong_timeout" min:"100ms" max:"1h"`
	PathSegments          int           `toml:"path_segments" min:"1" max:"65535"`
	SegmentBytes          int           `toml:"segment_bytes" min:"1" max:"65535"`
	Resources             int           `toml:"resources" min:"1" max:"65535"`
	NamespaceRequests     int           `toml:"namespace_requests" min:"1" max:"250000000"`
	NamespaceBytes        int64         `toml:"namespace_bytes" min:"1048576" max:"68719476736"`
	MemoryBytes           int64         `toml:"memory_bytes" min:"1048576" max:"1099511627776"`
	AbandonedPerAddress   int           `toml:"abandoned_per_address" min:"1" max:"10000000"`
	Namespaces            int           `toml:"namespaces" min:"1" max:"10000000"`
	NamespaceNameBytes    int           `toml:"namespace_name_bytes" min:"1" max:"4096"`
	Sessions              int           `toml:"sessions" min:"1" max:"10000000"`
	SessionsPerAddress    int           `toml:"sessions_per_address" min:"1" max:"10000000"`
	SessionLocks          int           `toml:"session_locks" min:"1" max:"10000000"`
	SessionAnswers        int           `toml:"session_answers" min:"16" max:"65536"`
	SessionEvents         int           `toml:"session_events" min:"16" max:"65536"`
	SessionWatches        int           `toml:"session_watches" min:"0" max:"1024"`
	NamespaceWatches      int           `toml:"namespace_watches" min:"0" max:"10000"`
	SessionNameBytes      int           `toml:"session_name_bytes" min:"0" max:"4096"`
	NoteBytes             int           `toml:"note_bytes" min:"0" max:"4096"`
}

// Locks are the rules of locks that clients may leave to the server.
type Locks struct {
	DefaultAbandonTimeout time.Duration `toml:"default_abandon_timeout" min:"0s" max:"87600h"`
	AbandonTimeoutMax     time.Duration `toml:"abandon_timeout_max" min:"0s" max:"87600h"`
}

// Sessions are the times of version 2 of the protocol.
type Sessions struct {
	TTLDefault time.Duration `toml:"ttl_default" min:"100ms" max:"24h"`
	TTLMin     time.Duration `toml:"ttl_min" min:"100ms" max:"24h"`
	TTLMax     time.Duration `toml:"ttl_max" min:"100ms" max:"24h"`
	WaitMax    time.Duration `toml:"wait_max" min:"0s" max:"87600h"`
	LeaseMin   time.Duration `toml:"lease_min" min:"1ms" max:"1h"`
}

// DirAuto as State.Dir leaves the choice of the directory to the program.
const DirAuto = "auto"

// State is what survives a restart. Dir may be DirAuto, or empty for nothing.
type State struct {
	Dir   string `toml:"dir" restart:"yes"`
	Block uint64 `toml:"block" min:"1" max:"1000000000" restart:"yes"`
	Grace bool   `toml:"grace" restart:"yes"`
}

// Log says what is logged and how.
type Log struct {
	Level   string `toml:"level" oneof:"debug info warn error"`
	Format  string `toml:"format" oneof:"text json" restart:"yes"`
	Clients bool   `toml:"clients"`
	Locks   bool   `toml:"locks"`
}

// Admin is where and how administrators are heard. The token itself is no setting: see TokenVariable.
type Admin struct {
	Listen       string        `toml:"listen" check:"listen or nothing" restart:"yes"`
	TokenFile    string        `toml:"token_file"`
	Connections  int           `toml:"connections" min:"1" max:"10000" restart:"yes"`
	RequestBytes int           `toml:"request_bytes" min:"8192" max:"1048576" restart:"yes"`
	Timeout      time.Duration `toml:"timeout" min:"100ms" max:"1h" restart:"yes"`
	ReasonBytes  int           `toml:"reason_bytes" min:"1" max:"4096" restart:"yes"`
}

// TokenVariable of the environment holds the token of administrators, and takes the place of Admin.TokenFile.
const TokenVariable = "LOCKTOPUS_ADMIN_TOKEN"

// Plugin is one table [[plugins]]. The built-in file has none that could hold the defaults, so they are
// tags: default is the value as a variable would give it, required an example of what can't be left out.
type Plugin struct {
	Name        string        `toml:"name" check:"plugin name" required:"\"acl\""`
	Path        string        `toml:"path" check:"file" required:"\"/etc/locktopus/acl.wasm\""`
	Hooks       []string      `toml:"hooks" oneof:"authenticate authorize normalize" required:"[\"authorize\"]"`
	Namespaces  []string      `toml:"namespaces" check:"namespaces" default:"*"`
	ModuleBytes int           `toml:"module_bytes" min:"8" max:"67108864" default:"8388608"`
	MemoryBytes int64         `toml:"memory_bytes" min:"65536" max:"1073741824" default:"16777216"`
	CallTimeout time.Duration `toml:"call_timeout" min:"1ms" max:"1s" default:"5ms"`
	InitTimeout time.Duration `toml:"init_timeout" min:"10ms" max:"1m" default:"1s"`
	LogLines    int           `toml:"log_lines" min:"0" max:"10000" default:"100"`
	Config      []byte        `toml:"config"` // a JSON object with sorted keys, at most PluginConfigBytes; nil: none was given
}
