package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	locktopus "github.com/locktopus-project/locktopus/v2"
	"github.com/stretchr/testify/require"
)

// load loads a file's text, called my.toml, in the way of an operator.
func load(t *testing.T, text string, environ ...string) (*Loaded, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("my.toml", []byte(text), 0o600))
	return Load(Input{Path: "my.toml", Environ: environ})
}

func TestDefaultsAreValidAndSpokenFor(t *testing.T) {
	l, err := Load(Input{})
	require.NoError(t, err)
	require.Equal(t, Server{
		Listen: "127.0.0.1:9009", AllowedOrigins: []string{"*"}, Drain: 10 * time.Second, PluginsPoll: 2 * time.Second,
	}, l.Server)
	require.Equal(t, 65536, l.Limits.MessageBytes)
	require.Equal(t, int64(4<<30), l.Limits.NamespaceBytes)
	require.Equal(t, Locks{time.Minute, 168 * time.Hour}, l.Locks)
	require.Equal(t, State{DirAuto, 100_000_000, true}, l.State)
	require.Equal(t, Log{Level: "info", Format: "text"}, l.Log)
	require.Empty(t, l.Plugins)
}

func TestEveryFieldIsInTheFileAndTheReverse(t *testing.T) {
	inFile := map[string]bool{}
	for _, m := range locate(locktopus.ConfigTOML) {
		if m.end > 0 {
			inFile[join(m.path)] = true
		}
	}
	inStruct := map[string]bool{}
	for _, s := range settings {
		inStruct[s.key] = true
	}
	require.Equal(t, inStruct, inFile)
}

func TestTheFileSpeaksInTheOrderOfTheStruct(t *testing.T) {
	var inFile, inStruct []string
	for _, m := range locate(locktopus.ConfigTOML) {
		if m.end > 0 {
			inFile = append(inFile, join(m.path))
		}
	}
	for _, s := range settings {
		inStruct = append(inStruct, s.key)
	}
	require.Equal(t, inStruct, inFile)
}

// comments maps each key of a file to the comment lines straight above it.
func comments(doc string) map[string]string {
	out := map[string]string{}
	for _, m := range locate(doc) {
		if m.end == 0 {
			continue
		}
		lines := strings.Split(doc[:m.path[len(m.path)-1].at], "\n")
		text := ""
		for i := len(lines) - 2; i >= 0 && strings.HasPrefix(lines[i], "#"); i-- {
			text = strings.TrimPrefix(lines[i], "#") + text
		}
		out[join(m.path)] = text
	}
	return out
}

func TestCommentsStateTheRangesThatAreChecked(t *testing.T) {
	said := comments(locktopus.ConfigTOML)
	for _, s := range settings {
		requireSaid(t, s, said[s.key])
		require.Equal(t, s.restart, strings.Contains(said[s.key], "Needs a restart."), s.key)
	}
}

// requireSaid: a comment states what a setting may be.
func requireSaid(t *testing.T, s *setting, comment string) {
	t.Helper()
	if s.max != 0 {
		require.Contains(t, comment, "Range: "+s.rangeText()+".", s.key)
	}
	for _, w := range s.oneof {
		require.Contains(t, comment, fmt.Sprintf("%q", w), s.key)
	}
}

// Each number and each duration is taken at both ends of its range, and not one past them.
func TestEveryRangeHoldsAtItsEnds(t *testing.T) {
	ranges := 0
	for _, s := range settings {
		if s.max == 0 {
			continue
		}
		ranges++
		raw := func(n int64) any {
			if s.kind == durationType {
				return time.Duration(n).String()
			}
			return n
		}
		var c Config
		for _, n := range []int64{s.min, s.max} {
			require.NoError(t, s.set(&c, raw(n)), "%s at %d", s.key, n)
		}
		kept := c
		for _, n := range []int64{s.min - 1, s.max + 1} {
			require.ErrorContains(t, s.set(&c, raw(n)), "must be from "+s.rangeText()+", but is", "%s at %d", s.key, n)
			require.Equal(t, kept, c, "%s: nothing is taken of what is out of range", s.key)
		}
	}
	require.Greater(t, ranges, 40)
}

func TestEverySettingIsOverridableByEnvironment(t *testing.T) {
	other := map[string]string{
		"server.listen":              "unix:/run/l.sock",
		"server.loops":               "100",
		"server.allowed_origins":     "https://a.example, http://localhost:3000",
		"locks.abandon_timeout_max":  "200h",
		"limits.pause_reading_bytes": "70_000",
		"limits.output_bytes":        "70001",
		"log.level":                  "warn",
		"log.format":                 "json",
		"server.tls.cert":            "c.pem",
		"server.tls.key":             "k.pem",
		"server.tls.client_ca":       "ca.pem",
		"state.dir":                  "",
		"state.grace":                "false",
		"log.clients":                "true",
		"log.locks":                  "true",
		"limits.namespace_bytes":     "5_000_000_000",
		"limits.memory_bytes":        "5_000_000_000",
		"admin.listen":               "127.0.0.1:1",
		"admin.request_bytes":        "10_000",
	}
	var environ []string
	for _, s := range settings {
		v, ok := other[s.key]
		switch {
		case ok:
		case s.kind == durationType:
			v = "33s"
		default:
			v = "1000"
		}
		environ = append(environ, s.env+"="+v)
	}
	l, err := Load(Input{Environ: environ})
	require.NoError(t, err)
	changes := Changes(&defaults().Config, &l.Config)
	require.Len(t, changes, len(settings))
	require.Equal(t, []string{"https://a.example", "http://localhost:3000"}, l.Server.AllowedOrigins)
	require.Equal(t, "", l.State.Dir)
	require.Equal(t, 70000, l.Limits.PauseReadingBytes)

	var printed strings.Builder
	require.NoError(t, l.Print(&printed))
	for _, s := range settings {
		require.Contains(t, printed.String(), "# from environment "+s.env)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("my.toml", []byte(`server.listen = ":1"`+"\n"+`state.dir = "a"`+"\n"+`log.level = "warn"`), 0o600))
	l, err := Load(Input{
		Path:    "my.toml",
		Environ: []string{"LOCKTOPUS_SERVER_LISTEN=:2", "LOCKTOPUS_STATE_DIR=b", "PATH=x", "LOCKTOPUS_SEED=7"},
		Flags:   []Flag{{Name: "--listen", Key: "server.listen", Value: ":3"}},
	})
	require.NoError(t, err)
	require.Equal(t, ":3", l.Server.Listen)
	require.Equal(t, "b", l.State.Dir)
	require.Equal(t, "warn", l.Log.Level)
}

// faults are files with one fault each. A want that ends in a colon is only a beginning: what
// follows is the library's.
var faults = []struct{ name, text, want string }{
	{"unknown key", "[server]\n  lisen = \"\"", `my.toml:2:3: unknown key "lisen" in [server], did you mean "listen"?`},
	{"unknown key at the top", "[server]\n[log]\nlevle = 1", `my.toml:3:1: unknown key "levle" in [log], did you mean "level"?`},
	{"key of another table", "[limits]\ndrain = \"1s\"", `my.toml:2:1: unknown key "drain" in [limits], did you mean "drain" in [server]?`},
	{"no table at all", "listen = \":1\"", `my.toml:1:1: unknown key "listen", did you mean "listen" in [server]?`},
	{"unknown table once", "[sever]\nlisten = \":1\"\nloops = 2\n[sever.tls]\ncert=\"\"", `my.toml:1:2: unknown table "sever", did you mean "server"?`},
	{"unknown, nothing near", "[server]\nxyzzyxyzzy = 1", `my.toml:2:1: unknown key "xyzzyxyzzy" in [server]`},
	{"other case", "[Server]\nListen = \":1\"", `my.toml:1:2: unknown table "Server", did you mean "server"?`},
	{"dotted", "server.tls . crt = 1", `my.toml:1:14: unknown key "crt" in [server.tls], did you mean "cert"?`},
	{"dotted, first word", "servr.listen = 1", `my.toml:1:1: unknown table "servr", did you mean "server"?`},
	{"quoted", `"server"."li\u0073ten " = 1`, `my.toml:1:10: unknown key "listen " in [server], did you mean "listen"?`},
	{"one quoted key is no path", `"server.listen" = ":1"`, `my.toml:1:1: unknown key "server.listen", did you mean "server.listen"?`},
	{"inline", `server = { listen = ":1", tls = { kye = "}" } }`, `my.toml:1:35: unknown key "kye" in [server.tls], did you mean "key"?`},
	{"behind other characters", `log = { "level" = "info", lével = "é" }`, "my.toml:1:28: "},
	{"type: integer for string", "[log]\nlevel = 3", `my.toml:2:9: log.level must be a string in quotes, but is the integer 3`},
	{"type: string for integer", "[limits]\nresources = \"9\"", `my.toml:2:13: limits.resources must be an integer, but is the string "9"`},
	{"type: float", "[limits]\nresources = 1.5", `my.toml:2:13: limits.resources must be an integer, but is the number 1.5`},
	{"type: date", "[limits]\nresources = 2001-01-01 10:00:00", `my.toml:2:13: limits.resources must be an integer, but is a date or time`},
	{"type: string for bool", "[log]\nlocks = \"yes\"", `my.toml:2:9: log.locks must be true or false, but is the string "yes"`},
	{"type: integer for duration", "[server]\ndrain = 10", `my.toml:2:9: server.drain must be a duration in quotes, such as "10s", but is the integer 10`},
	{"type: duration without unit", "[server]\ndrain = \"10\"", `my.toml:2:9: server.drain must be a duration: a number with its unit, such as "500ms", "10s" or "1h30m", but is "10"`},
	{"type: string for array", "[server]\nallowed_origins = \"*\"", `my.toml:2:19: server.allowed_origins must be an array of strings, such as ["a", "b"], but is the string "*"`},
	{"type: number in array", "[server]\nallowed_origins = [\"*\", 3]", `my.toml:2:19: server.allowed_origins must be an array of strings, but element 2 is the integer 3`},
	{"type: table for setting", "[server.listen]\na = 1\nb = 2", `my.toml:1:9: server.listen must be a string in quotes, but is a table`},
	{"type: setting for table", "server = 3", `my.toml:1:1: "server" is a table: write [server] and its settings below it`},
	{"type: array of tables", "[[server]]\nlisten = \":1\"\n[[server]]\nlisten = \":2\"", `my.toml:1:3: "server" is a single table: write [server] instead of [[server]]`},
	{"range: too small", "[limits]\nmessage_bytes = 5", `my.toml:2:17: limits.message_bytes must be from 128 to 16_777_216, but is 5`},
	{"range: too large", "[limits]\nconnections = 1_000_000_000", `my.toml:2:15: limits.connections must be from 1 to 10_000_000, but is 1_000_000_000`},
	{"range: negative", "[server]\nloops = -1", `my.toml:2:9: server.loops must be from 0 to 256, but is -1`},
	{"range: more loops than can serve", "[server]\nloops = 257", `my.toml:2:9: server.loops must be from 0 to 256, but is 257`},
	{"range: duration", "[server]\ndrain = \"2h\"", `my.toml:2:9: server.drain must be from 0s to 1h, but is 2h`},
	{"word", "[log]\nlevel = \"warning\"", `my.toml:2:9: log.level must be "debug", "info", "warn" or "error", but is "warning", did you mean "warn"?`},
	{"listen: no port", "[server]\nlisten = \"localhost\"", `my.toml:2:10: server.listen must be HOST:PORT, such as "127.0.0.1:9009" or "[::1]:9009", or "unix:/path", but is "localhost"`},
	{"listen: port", "[server]\nlisten = \":70000\"", `my.toml:2:10: server.listen must have a port from 0 to 65_535, but has "70000"`},
	{"listen: unix", "[server]\nlisten = \"unix:\"", `my.toml:2:10: server.listen must name a socket behind "unix:", such as "unix:/run/locktopus.sock"`},
	{"admin: port", "[admin]\nlisten = \":70000\"", `my.toml:2:10: admin.listen must have a port from 0 to 65_535, but has "70000"`},
	{"admin: connections", "[admin]\nconnections = 0", `my.toml:2:15: admin.connections must be from 1 to 10_000, but is 0`},
	{"admin: request", "[admin]\nrequest_bytes = 8191", `my.toml:2:17: admin.request_bytes must be from 8192 to 1_048_576, but is 8191`},
	{"admin: timeout", "[admin]\ntimeout = \"99ms\"", `my.toml:2:11: admin.timeout must be from 100ms to 1h, but is 99ms`},
	{"admin: reason", "[admin]\nreason_bytes = 4097", `my.toml:2:16: admin.reason_bytes must be from 1 to 4096, but is 4097`},
	{"admin: the token is none", "[admin]\ntoken = \"abc\"", `my.toml:2:1: unknown key "token" in [admin]`},
	{"origin: path", "[server]\nallowed_origins = [\"https://a.example/\"]", `my.toml:2:19: server.allowed_origins must hold origins as browsers send them: "https://a.example" instead of "https://a.example/"`},
	{"origin: wildcard", "[server]\nallowed_origins = [\"https://*.example\"]", `my.toml:2:19: server.allowed_origins must hold whole origins: "https://*.example" has a wildcard, only "*" alone stands for all`},
	{"origin: no scheme", "[server]\nallowed_origins = [\"a.example\"]", `my.toml:2:19: server.allowed_origins must hold origins such as "https://example.com", or "*", but has "a.example"`},
	{"origin: port", "[server]\nallowed_origins = [\"https://a.example:443\"]", `my.toml:2:19: server.allowed_origins must hold origins as browsers send them: without the port in "https://a.example:443"`},
	{"cross: key alone", "[server.tls]\nkey = \"k\"", `my.toml:2:1: server.tls.key needs server.tls.cert beside it`},
	{"cross: certificate alone", "[server.tls]\ncert = \"k\"", `my.toml:2:1: server.tls.cert needs server.tls.key beside it`},
	{"cross: authorities alone", "[server.tls]\nclient_ca = \"k\"", `my.toml:2:1: server.tls.client_ca needs server.tls.cert and server.tls.key: without them TLS is off`},
	{"cross: pause", "[limits]\npause_reading_bytes = 2_000_000", `my.toml:2:1: limits.pause_reading_bytes must be at most limits.output_bytes, but 2_000_000 is more than 1_048_576`},
	{"cross: output", "[limits]\noutput_bytes = 5000", `my.toml:2:1: limits.pause_reading_bytes must be at most limits.output_bytes, but 65_536 is more than 5000`},
	{"cross: abandon", "[locks]\nabandon_timeout_max = \"1s\"", `my.toml:2:1: locks.default_abandon_timeout must be at most locks.abandon_timeout_max, but 1m is more than 1s`},
	{"twice", "[log]\nlevel = \"info\"\nlevel = \"info\"", `my.toml:3:`},
	{"byte order mark", "\ufeffa = 1", `my.toml:1:1: unknown key "a"`},
	{"another byte order mark", "\xff\xfeplugins = 1", `my.toml:1:1: "plugins" is a list of tables: write [[plugins]] above the settings of each plugin`},
	{"no TOML", "[log]\nlevel = \n", `my.toml:2:`},
	{"no TOML: at the beginning of a line", "[log]\na = 1\na = 2\n", `my.toml:3:1: `},
	{"no TOML: further down than the value begins", "a = \"\"\"x\ny\\q\n\"\"\"", `my.toml:1:8: `},
	{"no TOML: a control character alone", "\b", `my.toml:1:1: `},
	{"no UTF-8: in a value of several lines", "a = '''\ufffd\nxy\xff'''", `my.toml:2:3: invalid UTF-8 byte: 0xff`},
	{"no UTF-8: behind a byte order mark", "\ufeffa = \"\xc3\"", `my.toml:1:6: invalid UTF-8 byte: 0xc3`},
}

func TestFaults(t *testing.T) {
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text)
			require.Error(t, err)
			if strings.HasSuffix(c.want, ": ") || strings.HasSuffix(c.want, ":") {
				require.Regexp(t, "^"+regexp.QuoteMeta(c.want), err.Error())
				require.NotContains(t, err.Error(), "\n")
				return
			}
			require.Equal(t, c.want, err.Error())
		})
	}
}

func TestAllFaultsAreReportedAtOnceInOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	text := "[limits]\nmessage_bytes = 1\nfoo = 1\n\n[server]\ndrain = \"x\"\n[server.tls]\nkey = \"k\"\n"
	require.NoError(t, os.WriteFile("my.toml", []byte(text), 0o600))
	_, err := Load(Input{
		Path: "my.toml",
		Environ: []string{
			"LOCKTOPUS_LOG_LEVEL=loud", "LOCKTOPUS_SERVER_LISTN=:1", "LOCKTOPUS_LIMITS_RESOURCES=many", "LOCKTOPUS_LOG_LOCKS=1",
			"LOCKTOPUS_SERVER_DRAIN=",
		},
		Flags: []Flag{{Name: "--listen", Key: "server.listen", Value: "nowhere"}},
	})
	var faults Faults
	require.ErrorAs(t, err, &faults)
	require.Equal(t, []string{
		`my.toml:2:17: limits.message_bytes must be from 128 to 16_777_216, but is 1`,
		`my.toml:3:1: unknown key "foo" in [limits]`,
		`my.toml:6:9: server.drain must be a duration: a number with its unit, such as "500ms", "10s" or "1h30m", but is "x"`,
		`my.toml:8:1: server.tls.key needs server.tls.cert beside it`,
		`environment LOCKTOPUS_LOG_LEVEL: must be "debug", "info", "warn" or "error", but is "loud"`,
		`environment LOCKTOPUS_SERVER_LISTN: unknown setting, did you mean "LOCKTOPUS_SERVER_LISTEN"?`,
		`environment LOCKTOPUS_LIMITS_RESOURCES: must be an integer from 1 to 65_535, but is "many"`,
		`environment LOCKTOPUS_LOG_LOCKS: must be true or false, but is "1"`,
		`environment LOCKTOPUS_SERVER_DRAIN: must be a duration: a number with its unit, such as "500ms", "10s" or "1h30m", but is ""`,
		`--listen: must be HOST:PORT, such as "127.0.0.1:9009" or "[::1]:9009", or "unix:/path", but is "nowhere"`,
	}, strings.Split(err.Error(), "\n"))
}

func TestFilesThatCantBeRead(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(Input{Path: filepath.Join(dir, "none.toml")})
	require.EqualError(t, err, filepath.Join(dir, "none.toml")+": cannot open it: no such file or directory")
	_, err = Load(Input{Path: dir})
	require.ErrorContains(t, err, dir+": cannot read it: is a directory")
	big := filepath.Join(dir, "big.toml")
	require.NoError(t, os.WriteFile(big, []byte(strings.Repeat("#", FileBytes+1)), 0o600))
	_, err = Load(Input{Path: big})
	require.EqualError(t, err, big+": it must have at most 1_048_576 bytes")
}

func TestVariablesOfOthersAreNoTypingErrors(t *testing.T) {
	_, err := Load(Input{Environ: []string{
		"LOCKTOPUS_URL=ws://h", "LOCKTOPUS_SEED=1", "LOCKTOPUS_ADMIN_URL=http://h", "LOCKTOPUS_ADMIN_TOKEN=t",
		"LOCKTOPUS_SERVICE_HOST=10.0.0.1", "LOCKTOPUS_SERVICE_PORT=9009", "LOCKTOPUS_SERVICE_PORT_WS=9009",
		"LOCKTOPUS_PORT=tcp://10.0.0.1:9009", "LOCKTOPUS_PORT_9009_TCP=tcp://10.0.0.1:9009",
		"LOCKTOPUS_PORT_9009_TCP_PROTO=tcp", "LOCKTOPUS_PORT_9009_TCP_PORT=9009", "LOCKTOPUS_PORT_9009_TCP_ADDR=10.0.0.1",
		"LOCKTOPUS_BLUE_SERVICE_HOST=10.0.0.1", "LOCKTOPUS_BLUE_PORT=tcp://10.0.0.1:9009",
	}})
	require.NoError(t, err)
	_, err = Load(Input{Environ: []string{"LOCKTOPUS_PORT=9009"}})
	require.ErrorContains(t, err, "environment LOCKTOPUS_PORT: unknown setting")
	for _, s := range settings {
		require.False(t, isServiceLink(s.env, "tcp://"), s.env)
		require.False(t, otherPrograms[s.env], s.env)
	}
}

func TestPrintRoundTrips(t *testing.T) {
	l, err := load(t, "[server]\nlisten = \"[::1]:0\"\ndrain = \"1h\"\n[state]\ndir = 'a \"quoted\\\\ \u0301dir'\nblock = 7\n[limits]\nnamespace_bytes = 0x1000_0000\n",
		`LOCKTOPUS_SERVER_ALLOWED_ORIGINS=https://a.example,null`)
	require.NoError(t, err)
	var printed strings.Builder
	require.NoError(t, l.Print(&printed))
	require.Contains(t, printed.String(), "\nlisten = \"[::1]:0\"  # from my.toml:2:1\n")
	require.Contains(t, printed.String(), "\nallowed_origins = [\"https://a.example\", \"null\"]  # from environment LOCKTOPUS_SERVER_ALLOWED_ORIGINS\n")
	require.Contains(t, printed.String(), "\nnamespace_bytes = 268_435_456  # from my.toml:8:1\n")
	require.Contains(t, printed.String(), "\nheader_bytes = 8192\n")

	again, err := load(t, printed.String())
	require.NoError(t, err)
	require.Equal(t, l.Config, again.Config)
}

func TestPrintOfDefaultsIsTheFile(t *testing.T) {
	var printed strings.Builder
	require.NoError(t, defaults().Print(&printed))
	require.Equal(t, locktopus.ConfigTOML, printed.String())
}

func TestChangesSayWhatNeedsARestart(t *testing.T) {
	from, err := Load(Input{})
	require.NoError(t, err)
	to, err := load(t, "[server]\nlisten = \":1\"\n[log]\nlevel = \"warn\"\n[server.tls]\ncert=\"c\"\nkey=\"k\"\nclient_ca=\"a\"\n")
	require.NoError(t, err)
	require.Equal(t, []Change{
		{"server.listen", `"127.0.0.1:9009"`, `":1"`, true},
		{"server.tls.cert", `""`, `"c"`, true},
		{"server.tls.key", `""`, `"k"`, true},
		{"server.tls.client_ca", `""`, `"a"`, true},
		{"log.level", `"info"`, `"warn"`, false},
	}, Changes(&from.Config, &to.Config))
	Keep(&from.Config, &to.Config)
	require.Equal(t, []Change{{"log.level", `"info"`, `"warn"`, false}}, Changes(&from.Config, &to.Config))

	old, err := load(t, "[server.tls]\ncert=\"a\"\nkey=\"k\"\n")
	require.NoError(t, err)
	renamed, err := load(t, "[server.tls]\ncert=\"b\"\nkey=\"k\"\n")
	require.NoError(t, err)
	require.Equal(t, []Change{{"server.tls.cert", `"a"`, `"b"`, false}}, Changes(&old.Config, &renamed.Config))
}

func TestNearest(t *testing.T) {
	names := []string{"serve", "config", "version", "health", "help"}
	require.Equal(t, "serve", Nearest("sevre", names))
	require.Equal(t, "serve", Nearest("server", names))
	require.Equal(t, "version", Nearest("VERSION", names))
	require.Equal(t, "", Nearest("banana", names))
	require.Equal(t, "", Nearest("", names))
}

func TestUnsignedSettingsFitTOML(t *testing.T) {
	for _, s := range settings {
		if s.kind.Kind() == reflect.Uint64 {
			require.GreaterOrEqual(t, s.min, int64(0), s.key)
		}
	}
}

// keysOf is a document's keys as the library and as locate see them.
func keysOf(doc string) (library, located []string, ok bool) {
	md, err := toml.Decode(doc, &map[string]any{})
	if err != nil {
		return nil, nil, false
	}
	for _, k := range md.Keys() {
		library = append(library, fmt.Sprintf("%q", []string(k)))
	}
	for _, m := range locate(doc) {
		var names []string
		for _, s := range m.path {
			if s.item == 0 {
				names = append(names, s.name)
			}
		}
		if m.end == 0 || !isElement(m.path) { // else no key, but a table in an array that is written as a value
			located = append(located, fmt.Sprintf("%q", names))
		}
	}
	return library, located, true
}

// hasEmptyWord looks into a key of keysOf.
func hasEmptyWord(key string) bool { return regexp.MustCompile(`[\[ ]""`).MatchString(key) }

// placesOf is where a document's tables have keys and its arrays have tables: what the library decoded,
// and what the paths of locate lead to.
func placesOf(t testing.TB, doc string) (library, located map[string]bool) {
	tree := map[string]any{}
	_, err := toml.Decode(doc, &tree)
	require.NoError(t, err)
	library, located = map[string]bool{}, map[string]bool{}
	listPlaces(tree, "", library)
	for _, m := range locate(doc) {
		at, value := "", any(tree)
		for _, s := range m.path {
			ok := true
			if s.item > 0 {
				list, _ := elements(value)
				require.LessOrEqual(t, s.item, len(list), "%v in %s", m.path, doc)
				at, value = fmt.Sprintf("%s[%d]", at, s.item), list[s.item-1]
			} else {
				table, _ := value.(map[string]any)
				value, ok = table[s.name]
				at = fmt.Sprintf("%s.%q", at, s.name)
			}
			require.True(t, ok, "%v in %s", m.path, doc)
			if _, isTable := value.(map[string]any); isTable || s.item == 0 {
				located[at] = true
			}
		}
	}
	return library, located
}

func listPlaces(value any, at string, into map[string]bool) {
	if table, ok := value.(map[string]any); ok {
		for name, v := range table {
			at := fmt.Sprintf("%s.%q", at, name)
			into[at] = true
			listPlaces(v, at, into)
		}
	}
	list, _ := elements(value)
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", at, i+1)
		if _, ok := v.(map[string]any); ok {
			into[at] = true
		}
		listPlaces(v, at, into)
	}
}

var documents = []string{
	locktopus.ConfigTOML,
	"",
	"a = 1",
	"\xff\xfea = 1",
	"\xfe\xffplugins = [{}]",
	"\ufeffa = 1\r\n[b]\r\nc.d . \"e.f\" = 2 # = [x]\r\n",
	"a = \"\"\"\"\"x\"\" \\\"\"\"\" # \n b = '''\n''x'''''\nc = '\\'\nd = \"\\\\\"",
	"[a.b]\nc = [1, [2, \"]\"], # ]\n 3,]\nd = {}\n[[e]]\n[[e]]\nf = 07:32:00\n",
	"a = { b = { c = 1, d = [ { e = 1 }, { e = 2 } ] }, \"f\" = 1979-05-27 07:32:00 }\ng=1",
	"a = 1 # \"\n'b c' = '#'\n\"\\u00e9\" = 2",
	"[ a . 'b' ]\n[ [",
	"[[a]]\nb = 1\n[[a.c]]\n[a.c.d]\ne.f = 1\n[[a.c]]\n[[a]]\n[a.c]\nd = [[{x = 1}, 2], [], [[{}, {y = [{}]}]]]\n",
	"[a]\n[[a.b]]\nc = { d = [ { e.f = 1 }, { e.f = 2 }, 3 ] }\n[[a.b]]\n[x.y]\n[[x.y.z]]\n",
	"plugins = [{name = \"a\", config = {x = [{y = 1}]}}, {name = \"b\", config.x = [{y = 1}]}, 3]\n",
	"[[plugins]]\nname = \"a\"\npath = \"a\"\nhooks = [\"authorize\"]\n[plugins.config]\nx = 1e22\n[[plugins.config.y]]\nz = 07:32:00\n[[plugins.config.y]]\n" +
		"[[plugins]]\nname = \"b.c\"\npath = \"a\"\nhooks = [\"normalize\"]\nconfig = {\"\u00e9 #\" = [[-0.0, 1979-05-27 07:32:00], [{\"a.b\" = true}]], e = {}, f = []}\n",
}

func TestLocateAgreesWithTheLibrary(t *testing.T) {
	for _, doc := range documents {
		library, located, ok := keysOf(doc)
		if ok {
			require.Equal(t, library, located, doc)
			decoded, found := placesOf(t, doc)
			require.Equal(t, decoded, found, doc)
		}
	}
}

func FuzzLocate(f *testing.F) {
	for _, doc := range documents {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		for _, m := range locate(doc) {
			if m.start > m.end || m.end > len(doc) {
				t.Fatalf("value %d to %d of %d bytes", m.start, m.end, len(doc))
			}
		}
		library, located, ok := keysOf(doc)
		if ok {
			require.Equal(t, library, located)
			if !slices.ContainsFunc(library, hasEmptyWord) { // the library can lose what is in an array of that name
				decoded, found := placesOf(t, doc)
				require.Equal(t, decoded, found)
			}
		}
	})
}

// placeOf is a fault's Where.
var placeOf = regexp.MustCompile(`^my\.toml:([1-9]\d*):([1-9]\d*)$`)

// requireBlame looks at a fault of a document: it says in one line what is wrong, and where, which is in
// the document or right behind it.
func requireBlame(t *testing.T, doc string, f Fault) {
	place := placeOf.FindStringSubmatch(f.Where)
	require.NotNil(t, place, "%v", f)
	line, err := strconv.Atoi(place[1])
	require.NoError(t, err)
	lines := strings.Split(doc, "\n")
	require.LessOrEqual(t, line, len(lines), "%v", f)
	column, err := strconv.Atoi(place[2])
	require.NoError(t, err)
	require.LessOrEqual(t, column, len(lines[line-1])+1, "%v", f)
	require.NotEmpty(t, f.What)
	require.NotContains(t, f.What, "\n")
}

// FuzzLoad: whatever an operator writes is taken, or blamed where it stands, and what is taken prints as
// something that is taken again.
func FuzzLoad(f *testing.F) {
	for _, doc := range documents {
		f.Add(doc)
	}
	f.Add("server.listen = \"unix:/\u00e9\"")
	f.Fuzz(func(t *testing.T, doc string) {
		ld := loader{into: defaults()}
		ld.document("my.toml", doc)
		ld.across()
		for _, f := range ld.faults {
			requireBlame(t, doc, f)
		}
		if len(ld.faults) > 0 {
			return
		}
		var printed strings.Builder
		require.NoError(t, ld.into.Print(&printed))
		again := loader{into: defaults()}
		again.document("my.toml", printed.String())
		require.Empty(t, again.faults, printed.String())
		require.Equal(t, ld.into.Config, again.into.Config)
	})
}

// TestTheOperatorsPageNamesEverySetting: its table of reloads covers all, and tells what needs a restart.
func TestTheOperatorsPageNamesEverySetting(t *testing.T) {
	page, err := os.ReadFile("../../docs/OPERATING.md")
	require.NoError(t, err)
	for _, s := range settings {
		row := regexp.MustCompile("(?m)^\\|.*`" + regexp.QuoteMeta(s.key) + "`.*\\|(.*)\\|$").FindSubmatch(page)
		require.NotNil(t, row, s.key)
		require.Equal(t, s.restart, strings.TrimSpace(string(row[1])) == "needs a restart", s.key)
	}
}
