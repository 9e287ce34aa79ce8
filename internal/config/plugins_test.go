package config

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	locktopus "github.com/locktopus-project/locktopus/v2"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/stretchr/testify/require"
)

// example is the built-in file with its plugin no longer commented out.
func example() string {
	return regexp.MustCompile(`(?m)^#(\[|[a-z_]+ = )`).ReplaceAllString(locktopus.ConfigTOML, "$1")
}

func TestTheExampleShowsTheDefaults(t *testing.T) {
	shown, err := load(t, example())
	require.NoError(t, err)
	want := NewPlugin()
	want.Name, want.Path, want.Hooks = "acl", "/etc/locktopus/acl.wasm", []string{"authorize"}
	want.Config = []byte(`{"allow":[{"paths":["users/{principal}"],"who":["user:*"]}]}`)
	require.Equal(t, []Plugin{want}, shown.Plugins)
	for _, s := range pluginSettings {
		if s.required != "" {
			require.Equal(t, s.required, s.format(&want), s.key)
		}
	}

	left, err := load(t, "[[plugins]]\nname = \"acl\"\npath = \"/etc/locktopus/acl.wasm\"\nhooks = [\"authorize\"]\n")
	require.NoError(t, err)
	want.Config = nil
	require.Equal(t, []Plugin{want}, left.Plugins)
	require.Equal(t, []Plugin{{
		Name: "acl", Path: "/etc/locktopus/acl.wasm", Hooks: []string{"authorize"}, Namespaces: []string{"*"},
		ModuleBytes: 8 << 20, MemoryBytes: 16 << 20, CallTimeout: 5 * time.Millisecond, InitTimeout: time.Second, LogLines: 100,
	}}, left.Plugins)
}

func TestTheExampleNamesEverySettingInTheOrderOfTheStruct(t *testing.T) {
	var inFile, inStruct []string
	for _, m := range locate(example()) {
		if len(m.path) == 3 && m.path[0].name == "plugins" {
			inFile = append(inFile, m.path[2].name)
		}
	}
	for _, s := range pluginSettings {
		inStruct = append(inStruct, s.key)
	}
	require.Equal(t, inStruct, inFile)
}

func TestTheExampleStatesTheRangesThatAreChecked(t *testing.T) {
	said := comments(example())
	for _, s := range pluginSettings {
		requireSaid(t, s, said["plugins."+s.key])
	}
	require.Contains(t, example(), fmt.Sprintf("at most %d letters", pluginNameBytes))
	require.Contains(t, example(), fmt.Sprintf("%d at most.", PluginsMax))
	require.Contains(t, strings.ReplaceAll(example(), "\n# ", " "), fmt.Sprintf("at most %s bytes, nested at most %d deep", FormatInteger(PluginConfigBytes), pluginConfigDepth))
}

// acl are four lines that make a plugin.
const acl = "[[plugins]]\nname = \"acl\"\npath = \"acl.wasm\"\nhooks = [\"authorize\"]\n"

// aclWith is acl with one of its lines replaced.
func aclWith(line string) string {
	lines := strings.SplitAfter(acl, "\n")
	for i, l := range lines {
		if word, _, _ := strings.Cut(line, " "); strings.HasPrefix(l, word+" ") {
			lines[i] = line + "\n"
		}
	}
	return strings.Join(lines, "")
}

// pluginFaults are files with one fault each.
var pluginFaults = []struct{ name, text, want string }{
	{"unknown key", acl + "pth = 1", `my.toml:5:1: unknown key "pth" in [[plugins]], did you mean "path"?`},
	{"unknown key, nothing near", acl + "admins = [\"alice\"]", `my.toml:5:1: unknown key "admins" in [[plugins]]; what only the plugin itself knows belongs below [plugins.config]`},
	{"unknown key of another table", acl + "drain = \"1s\"", `my.toml:5:1: unknown key "drain" in [[plugins]]; what only the plugin itself knows belongs below [plugins.config]`},
	{"unknown table", acl + "[plugins.confg]\na = 1\nb = 2", `my.toml:5:10: unknown table "confg" in [[plugins]], did you mean "config"?`},
	{"unknown dotted", acl + "  conf.a = 1", `my.toml:5:3: unknown table "conf" in [[plugins]], did you mean "config"?`},
	{"unknown inline", `plugins = [{name = "acl", path = "p", hooks = ["authorize"], hoks = []}]`, `my.toml:1:62: unknown key "hoks" in [[plugins]], did you mean "hooks"?`},
	{"one for plugins", "[[plugin]]\nname = \"acl\"", `my.toml:1:3: unknown table "plugin", did you mean "plugins"?`},
	{"a plugin's key elsewhere", "[log]\ncall_timeot = \"5ms\"", `my.toml:2:1: unknown key "call_timeot" in [log], did you mean "call_timeout" in [[plugins]]?`},

	{"a single table", "[log]\n[plugins]\nname = \"acl\"", `my.toml:2:2: "plugins" is a list of tables: write [[plugins]] above the settings of each plugin instead of [plugins]`},
	{"a table by name", "[plugins.acl]\npath = \"acl.wasm\"", `my.toml:1:2: "plugins" is a list of tables: write [[plugins]] above the settings of each plugin instead of [plugins]`},
	{"a dotted table", "plugins.acl.path = \"acl.wasm\"", `my.toml:1:1: "plugins" is a list of tables: write [[plugins]] above the settings of each plugin instead of [plugins]`},
	{"an inline table", "plugins = {name = \"acl\"}", `my.toml:1:1: "plugins" is a list of tables: write [[plugins]] above the settings of each plugin instead of [plugins]`},
	{"a value", "plugins = \"acl.wasm\"", `my.toml:1:1: "plugins" is a list of tables: write [[plugins]] above the settings of each plugin`},
	{"an array of values", "plugins = [\"acl.wasm\"]", `my.toml:1:11: "plugins" is a list of tables, but element 1 is the string "acl.wasm"`},
	{"an array of arrays", "plugins = [[{name = \"acl\"}]]", `my.toml:1:11: "plugins" is a list of tables, but element 1 is an array`},

	{"no name", "[[plugins]]\npath = \"p\"\nhooks = [\"authorize\"]", `my.toml:1:3: plugins.name is missing: give it, such as name = "acl"`},
	{"no path", "[[plugins]]\nname = \"a.b\"\nhooks = [\"authorize\"]", `my.toml:1:3: plugins."a.b".path is missing: give it, such as path = "/etc/locktopus/acl.wasm"`},
	{"no hooks", acl + "[[plugins]]\nname = \"b\"\npath = \"p\"\n[plugins.config]\nhooks = [\"authorize\"]", `my.toml:5:3: plugins.b.hooks is missing: give it, such as hooks = ["authorize"]`},
	{"inline without hooks", "plugins = [\n  {name = \"b\", path = \"p\"}]", `my.toml:2:3: plugins.b.hooks is missing: give it, such as hooks = ["authorize"]`},
	{"twice", acl + "\n" + acl, `my.toml:7:8: plugins.acl is there already, at my.toml:1:3: each plugin needs a name of its own`},

	{"name: type", aclWith("name = 3"), `my.toml:2:8: plugins.name must be a string in quotes, but is the integer 3`},
	{"name: empty", aclWith(`name = ""`), `my.toml:2:8: plugins.name must be letters, digits, "-", "_" and ".", but is ""`},
	{"name: blank", aclWith(`name = "a b"`), `my.toml:2:8: plugins.name must be letters, digits, "-", "_" and ".", but is "a b"`},
	{"name: line", aclWith(`name = "a\n"`), `my.toml:2:8: plugins.name must be letters, digits, "-", "_" and ".", but is "a\n"`},
	{"name: other letters", aclWith(`name = "é"`), `my.toml:2:8: plugins.name must be letters, digits, "-", "_" and ".", but is "é"`},
	{"name: long", aclWith(`name = "` + strings.Repeat("n", 65) + `"`), `my.toml:2:8: plugins.name must have at most 64 bytes, but has 65`},
	{"path: type", aclWith("path = [\"p\"]"), `my.toml:3:8: plugins.acl.path must be a string in quotes, but is an array`},
	{"path: table", "[[plugins]]\nname = \"acl\"\nhooks = [\"authorize\"]\n[plugins.path]\nx = 1", `my.toml:4:10: plugins.acl.path must be a string in quotes, but is a table`},
	{"path: empty", aclWith(`path = ""`), `my.toml:3:8: plugins.acl.path must name a file, but is ""`},
	{"path: NUL", aclWith(`path = "a\u0000"`), `my.toml:3:8: plugins.acl.path must not contain NUL`},
	{"hooks: type", aclWith(`hooks = "authorize"`), `my.toml:4:9: plugins.acl.hooks must be an array of strings, such as ["a", "b"], but is the string "authorize"`},
	{"hooks: type inside", aclWith(`hooks = ["authorize", 1]`), `my.toml:4:9: plugins.acl.hooks must be an array of strings, but element 2 is the integer 1`},
	{"hooks: none", aclWith(`hooks = []`), `my.toml:4:9: plugins.acl.hooks must hold at least one of "authenticate", "authorize" or "normalize"`},
	{"hooks: unknown", aclWith(`hooks = ["authorise"]`), `my.toml:4:9: plugins.acl.hooks must hold "authenticate", "authorize" or "normalize", but has "authorise", did you mean "authorize"?`},
	{"hooks: twice", aclWith(`hooks = ["authorize", "normalize", "authorize"]`), `my.toml:4:9: plugins.acl.hooks must hold each word once, but has "authorize" twice`},
	{"namespaces: type", acl + `namespaces = "*"`, `my.toml:5:14: plugins.acl.namespaces must be an array of strings, such as ["a", "b"], but is the string "*"`},
	{"namespaces: none", acl + `namespaces = []`, `my.toml:5:14: plugins.acl.namespaces must hold at least one name, or "*" for all namespaces`},
	{"namespaces: empty", acl + `namespaces = ["a", ""]`, `my.toml:5:14: plugins.acl.namespaces must hold names of namespaces, or beginnings that end in "*", but has ""`},
	{"namespaces: star inside", acl + `namespaces = ["team-*-blue"]`, `my.toml:5:14: plugins.acl.namespaces must hold names with "*" at the end only, but has "team-*-blue"`},
	{"namespaces: two stars", acl + `namespaces = ["**"]`, `my.toml:5:14: plugins.acl.namespaces must hold names with "*" at the end only, but has "**"`},
	{"namespaces: control character", acl + `namespaces = ["a\tb"]`, `my.toml:5:14: plugins.acl.namespaces must hold names without control characters, but has "a\tb"`},
	{"namespaces: long", acl + `namespaces = ["` + strings.Repeat("n", 4097) + `*"]`, `my.toml:5:14: plugins.acl.namespaces must hold names of at most 4096 bytes, but has one of 4097`},
	{"type of a number", acl + `module_bytes = "8"`, `my.toml:5:16: plugins.acl.module_bytes must be an integer, but is the string "8"`},
	{"type of bytes", acl + `memory_bytes = 1e6`, `my.toml:5:16: plugins.acl.memory_bytes must be an integer, but is the number 1e+06`},
	{"type of a duration", acl + `call_timeout = 5`, `my.toml:5:16: plugins.acl.call_timeout must be a duration in quotes, such as "10s", but is the integer 5`},
	{"duration without unit", acl + `init_timeout = "5"`, `my.toml:5:16: plugins.acl.init_timeout must be a duration: a number with its unit, such as "500ms", "10s" or "1h30m", but is "5"`},

	{"config: type", acl + `config = "x"`, `my.toml:5:10: plugins.acl.config must be a table: write [plugins.config] and its settings below it, but is the string "x"`},
	{"config: several", acl + "[[plugins.config]]\na = 1\n[[plugins.config]]", `my.toml:5:11: plugins.acl.config must be a table: write [plugins.config] and its settings below it, but is an array of tables`},
	{"hooks: tables", "[[plugins]]\nname = \"acl\"\npath = \"p\"\n[[plugins.hooks]]", `my.toml:4:11: plugins.acl.hooks must be an array of strings, such as ["a", "b"], but is an array of tables`},
	{"config: inf", acl + "config = {a = 1, b = {c = -inf}}", `my.toml:5:27: plugins.acl.config.b.c must not have -inf: numbers in JSON are finite`},
	{"config: +inf", acl + "[plugins.config]\na.b = +inf", `my.toml:6:7: plugins.acl.config.a.b must not have inf: numbers in JSON are finite`},
	{"config: nan in arrays", acl + "[plugins.config]\n\"a.b\" = [1, [\n  nan, -nan], inf]", `my.toml:6:9: plugins.acl.config."a.b" must not have nan: numbers in JSON are finite`},
	{"config: nan in a list of tables", acl + acl2 + "[[plugins.config.x]]\ny = 1\n[[plugins.config.x]]\ny = nan", `my.toml:12:5: plugins.b.config.x.y must not have nan: numbers in JSON are finite`},
	{"config: nan in tables in arrays", acl + "config.x = [[{y = 1}, {y = nan}], [{y = 2}]]", `my.toml:5:28: plugins.acl.config.x.y must not have nan: numbers in JSON are finite`},
	{"config: empty key", acl + "[plugins.config.a]\n\"\" = [1, {x = inf}]", `my.toml:6:6: plugins.acl.config.a."" is an empty key: give it a name`},
	{"config: empty table", acl + "[plugins.config.\"\"]\na = inf", `my.toml:5:17: plugins.acl.config."" is an empty key: give it a name`},
	{"config: deep", acl + "config.x = " + strings.Repeat("[", 64) + "inf" + strings.Repeat("]", 64), `my.toml:5:1: plugins.acl.config must be nested at most 64 deep`},
	{"config: deep tables", acl + "[plugins.config" + strings.Repeat(".x", 64) + "]", `my.toml:5:10: plugins.acl.config must be nested at most 64 deep`},
	{"config: large", acl + "config.x = \"" + strings.Repeat("x", PluginConfigBytes-7) + "\"", `my.toml:5:1: plugins.acl.config must be at most 65_536 bytes as JSON, but has 65_537`},
	{"config: large because of escapes", acl + "[plugins.config]\nx = '" + strings.Repeat(`\`, PluginConfigBytes/2) + "'", `my.toml:5:10: plugins.acl.config must be at most 65_536 bytes as JSON, but has 65_544`},

	{"poll", "[server]\nplugins_poll = \"61m\"", `my.toml:2:16: server.plugins_poll must be from 0s to 1h, but is 1h1m`},
	{"too many", manyPlugins(17), `my.toml:65:3: there can be at most 16 plugins, but this is number 17 of 17`},
	{"far too many", "plugins = [\n" + inlinePlugins(20) + "]", `my.toml:18:3: there can be at most 16 plugins, but this is number 17 of 20`},
}

const acl2 = "[[plugins]]\nname = \"b\"\npath = \"b.wasm\"\nhooks = [\"normalize\"]\n"

func manyPlugins(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Replace(acl, `"acl"`, fmt.Sprintf(`"acl%d"`, i), 1))
	}
	return b.String()
}

// inlinePlugins are lines of an array.
func inlinePlugins(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  {name = \"acl%d\", path = \"acl.wasm\", hooks = [\"authorize\"]},\n", i)
	}
	return b.String()
}

func TestPluginFaults(t *testing.T) {
	for _, c := range pluginFaults {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestAllFaultsOfAllPluginsAreReportedInOrder(t *testing.T) {
	_, err := load(t, `[log]
level = "loud"
[[plugins]]
[[plugins]]
name = "b"
log_lines = -1
pth = 1
hooks = ["x"]
[plugins.config]
z = { a = inf }
a = [ { b = nan }, { b = [inf, nan] } ]
[[plugins]]
pth = 2
name = "b"
path = 1
hooks = ["x"]
[state]
block = 0
`, "LOCKTOPUS_PLUGINS_B_PATH=b.wasm")
	require.Error(t, err)
	require.Equal(t, []string{
		`my.toml:2:9: log.level must be "debug", "info", "warn" or "error", but is "loud"`,
		`my.toml:3:3: plugins.name is missing: give it, such as name = "acl"`,
		`my.toml:3:3: plugins.path is missing: give it, such as path = "/etc/locktopus/acl.wasm"`,
		`my.toml:3:3: plugins.hooks is missing: give it, such as hooks = ["authorize"]`,
		`my.toml:4:3: plugins.b.path is missing: give it, such as path = "/etc/locktopus/acl.wasm"`,
		`my.toml:6:13: plugins.b.log_lines must be from 0 to 10_000, but is -1`,
		`my.toml:7:1: unknown key "pth" in [[plugins]], did you mean "path"?`,
		`my.toml:8:9: plugins.b.hooks must hold "authenticate", "authorize" or "normalize", but has "x"`,
		`my.toml:10:11: plugins.b.config.z.a must not have inf: numbers in JSON are finite`,
		`my.toml:11:13: plugins.b.config.a.b must not have nan: numbers in JSON are finite`,
		`my.toml:11:26: plugins.b.config.a.b must not have inf: numbers in JSON are finite`,
		`my.toml:13:1: unknown key "pth" in [[plugins]], did you mean "path"?`,
		`my.toml:14:8: plugins.b is there already, at my.toml:4:3: each plugin needs a name of its own`,
		`my.toml:15:8: plugins.b.path must be a string in quotes, but is the integer 1`,
		`my.toml:16:9: plugins.b.hooks must hold "authenticate", "authorize" or "normalize", but has "x"`,
		`my.toml:18:9: state.block must be from 1 to 1_000_000_000, but is 0`,
		`environment LOCKTOPUS_PLUGINS_B_PATH: plugins can't be set by environment: write them into the file, each below its own [[plugins]]`,
	}, strings.Split(err.Error(), "\n"))
}

// TestPluginLimitsHoldAtTheLimit tries each bound of each setting, and one past it.
func TestPluginLimitsHoldAtTheLimit(t *testing.T) {
	for _, s := range pluginSettings {
		if s.max == 0 {
			continue
		}
		write := func(n int64) string {
			if s.kind == durationType {
				return FormatString(time.Duration(n).String())
			}
			return fmt.Sprint(n)
		}
		for _, n := range []int64{s.min, s.max} {
			l, err := load(t, acl+s.key+" = "+write(n))
			require.NoError(t, err, s.key)
			f := s.field(&l.Plugins[0])
			require.Equal(t, n, f.Int(), s.key)
		}
		for _, n := range []int64{s.min - 1, s.max + 1} {
			is := FormatInteger(n)
			if s.kind == durationType {
				is = FormatDuration(time.Duration(n))
			}
			_, err := load(t, acl+s.key+" = "+write(n))
			require.EqualError(t, err, fmt.Sprintf("my.toml:5:%d: plugins.acl.%s must be from %s, but is %s", len(s.key)+4, s.key, s.rangeText(), is))
		}
	}
}

func TestOtherPluginLimitsHoldAtTheLimit(t *testing.T) {
	for name, text := range map[string]string{
		"plugins":     manyPlugins(PluginsMax),
		"no plugins":  "plugins = []",
		"name":        aclWith(`name = "` + strings.Repeat("n", 64) + `"`),
		"hooks":       aclWith(`hooks = ["normalize", "authorize", "authenticate"]`),
		"namespaces":  acl + `namespaces = ["*", "a", "é-*", "a", "` + strings.Repeat("n", 4096) + `*"]`,
		"config":      acl + "config.x = \"" + strings.Repeat("x", PluginConfigBytes-8) + "\"",
		"config deep": acl + "config.x = " + strings.Repeat("[", 63) + strings.Repeat("]", 63),
		"tables deep": acl + "[plugins.config" + strings.Repeat(".x", 63) + "]",
		"poll never":  "server.plugins_poll = \"0s\"",
		"poll seldom": "server.plugins_poll = \"1h\"",
	} {
		l, err := load(t, text)
		require.NoError(t, err, name)
		var printed strings.Builder
		require.NoError(t, l.Print(&printed))
		again, err := load(t, printed.String())
		require.NoError(t, err, name)
		require.Equal(t, l.Config, again.Config, name)
	}
}

func TestPluginsInlineAreTheSame(t *testing.T) {
	written, err := load(t, acl+"[plugins.config]\na.b = 1\n[[plugins.config.c]]\nd = 2\n"+acl2)
	require.NoError(t, err)
	inline, err := load(t, `plugins = [
		# the first one
		{name = "acl", path = "acl.wasm", hooks = ["authorize"], config = {c = [{d = 2}], a.b = 1}},
		{hooks = ["normalize"], path = "b.wasm", name = "b"},
	]`)
	require.NoError(t, err)
	require.Equal(t, written.Config, inline.Config)
	require.Equal(t, []byte(`{"a":{"b":1},"c":[{"d":2}]}`), inline.Plugins[0].Config)
	require.Nil(t, inline.Plugins[1].Config)
}

func TestPluginsAreNotSetByEnvironment(t *testing.T) {
	for name, want := range map[string]string{
		"LOCKTOPUS_PLUGINS":           "plugins can't be set by environment: write them into the file, each below its own [[plugins]]",
		"LOCKTOPUS_PLUGINS_ACL_PATH":  "plugins can't be set by environment: write them into the file, each below its own [[plugins]]",
		"LOCKTOPUS_PLUGINS_0":         "plugins can't be set by environment: write them into the file, each below its own [[plugins]]",
		"LOCKTOPUS_PLUGINS_POLL":      `unknown setting, did you mean "LOCKTOPUS_SERVER_PLUGINS_POLL"?`,
		"LOCKTOPUS_SERVER_PLUGINS":    `unknown setting, did you mean "LOCKTOPUS_SERVER_LOOPS"?`,
		"LOCKTOPUS_PLUGINSXYZZY_QUUX": "unknown setting",
	} {
		_, err := load(t, acl, name+"=x")
		require.EqualError(t, err, "environment "+name+": "+want)
	}
	_, err := load(t, acl, "LOCKTOPUS_PLUGINS_SERVICE_HOST=10.0.0.1", "LOCKTOPUS_PLUGINS_PORT=tcp://10.0.0.1:80", "LOCKTOPUS_SERVER_PLUGINS_POLL=3s")
	require.NoError(t, err)
}

func TestWherePluginsAre(t *testing.T) {
	l, err := load(t, "\n"+acl+"[plugins.config]\nx = 1\n"+strings.Replace(acl2, `"b"`, `"b.path"`, 1)+"config = {}\n")
	require.NoError(t, err)
	require.Equal(t, "my.toml:2:3", l.Where("plugins.acl"))
	require.Equal(t, "my.toml:3:1", l.Where("plugins.acl.name"))
	require.Equal(t, "my.toml:4:1", l.Where("plugins.acl.path"))
	require.Equal(t, "my.toml:6:10", l.Where("plugins.acl.config"))
	require.Equal(t, "my.toml:2:3", l.Where("plugins.acl.memory_bytes"), "left out: where the plugin is")
	require.Equal(t, "my.toml:8:3", l.Where(PluginKey("b.path")))
	require.Equal(t, `plugins."b.path"`, PluginKey("b.path"))
	require.Equal(t, "my.toml:10:1", l.Where(PluginKey("b.path", "path")))
	require.Equal(t, "my.toml:12:1", l.Where(PluginKey("b.path", "config")))
	require.Equal(t, "default", l.Where("plugins.b"))
	require.Equal(t, "default", l.Where("plugins.ac"))
	require.Equal(t, "default", l.Where("server.plugins_poll"))

	l, err = load(t, "plugins = [\n  {name = \"a\",\n path = \"p\", hooks = [\"authorize\"]}]")
	require.NoError(t, err)
	require.Equal(t, "my.toml:2:3", l.Where("plugins.a"))
	require.Equal(t, "my.toml:3:2", l.Where("plugins.a.path"))
}

func TestPrintOfPlugins(t *testing.T) {
	l, err := load(t, acl+"call_timeout = \"1s\"\n[plugins.config]\nb = {c = [1, 2.0, {}]}\n\"a b\" = 07:32:00\n"+acl2+"[plugins.config]\n"+strings.Replace(acl2, `"b"`, `"c"`, 1))
	require.NoError(t, err)
	var printed strings.Builder
	require.NoError(t, l.Print(&printed))
	require.Equal(t, locktopus.ConfigTOML+`

[[plugins]]  # from my.toml:1:3
name = "acl"  # from my.toml:2:1
path = "acl.wasm"  # from my.toml:3:1
hooks = ["authorize"]  # from my.toml:4:1
namespaces = ["*"]
module_bytes = 8_388_608
memory_bytes = 16_777_216
call_timeout = "1s"  # from my.toml:5:1
init_timeout = "1s"
log_lines = 100

[plugins.config]  # from my.toml:6:10
"a b" = "07:32:00"
b = { c = [1, 2.0, {}] }


[[plugins]]  # from my.toml:9:3
name = "b"  # from my.toml:10:1
path = "b.wasm"  # from my.toml:11:1
hooks = ["normalize"]  # from my.toml:12:1
namespaces = ["*"]
module_bytes = 8_388_608
memory_bytes = 16_777_216
call_timeout = "5ms"
init_timeout = "1s"
log_lines = 100

[plugins.config]  # from my.toml:13:10


[[plugins]]  # from my.toml:14:3
name = "c"  # from my.toml:15:1
path = "b.wasm"  # from my.toml:16:1
hooks = ["normalize"]  # from my.toml:17:1
namespaces = ["*"]
module_bytes = 8_388_608
memory_bytes = 16_777_216
call_timeout = "5ms"
init_timeout = "1s"
log_lines = 100
`, printed.String())
	again, err := load(t, printed.String())
	require.NoError(t, err)
	require.Equal(t, l.Config, again.Config)
}

func TestChangesOfPlugins(t *testing.T) {
	const third = "[[plugins]]\nname = \"c.d\"\npath = \"c.wasm\"\nhooks = [\"authorize\"]\n"
	for _, c := range []struct {
		name, from, to string
		want           []Change
	}{
		{"none", acl + acl2, acl + "call_timeout = \"5ms\"\n" + acl2, nil},
		{"added", "", acl + "log_lines = 0\n[plugins.config]\nsecret = \"x\"", []Change{
			{Key: "plugins.acl", From: "none", To: `{ path = "acl.wasm", hooks = ["authorize"], log_lines = 0, config = {…} }`},
		}},
		{"added before", acl, third + acl, []Change{
			{Key: `plugins."c.d"`, From: "none", To: `{ path = "c.wasm", hooks = ["authorize"] }`},
		}},
		{"removed", acl + acl2, acl, []Change{
			{Key: "plugins.b", From: `{ path = "b.wasm", hooks = ["normalize"] }`, To: "none"},
		}},
		{"renamed", acl, aclWith(`name = "lca"`), []Change{
			{Key: "plugins.acl", From: `{ path = "acl.wasm", hooks = ["authorize"] }`, To: "none"},
			{Key: "plugins.lca", From: "none", To: `{ path = "acl.wasm", hooks = ["authorize"] }`},
		}},
		{"changed", acl, aclWith(`path = "x"`) + "call_timeout = \"1s\"", []Change{
			{Key: "plugins.acl", From: `{ path = "acl.wasm", call_timeout = "5ms" }`, To: `{ path = "x", call_timeout = "1s" }`},
		}},
		{"order of hooks", aclWith(`hooks = ["authorize", "normalize"]`), aclWith(`hooks = ["normalize", "authorize"]`), []Change{
			{Key: "plugins.acl", From: `{ hooks = ["authorize", "normalize"] }`, To: `{ hooks = ["normalize", "authorize"] }`},
		}},
		{"told something", acl, acl + "config = {}", []Change{{Key: "plugins.acl", From: "{}", To: "{ config = {…} }"}}},
		{"told nothing", acl + "config = {}", acl, []Change{{Key: "plugins.acl", From: "{ config = {…} }", To: "{}"}}},
		{"told something else", acl + "config = {secret = 1}", acl + "config = {secret = 2}", []Change{
			{Key: "plugins.acl", From: "{ config = {…} }", To: "{ config = {… changed} }"},
		}},
		{"order", acl + acl2 + third, acl + third + acl2, []Change{
			{Key: "plugins", From: `["acl", "b", "c.d"]`, To: `["acl", "c.d", "b"]`},
		}},
		{"all at once", acl + acl2 + third, "server.plugins_poll = \"1m\"\n" + third + "[[plugins]]\nname = \"new\"\npath = \"n\"\nhooks = [\"normalize\"]\n" + aclWith(`path = "x"`), []Change{
			{Key: "server.plugins_poll", From: `"2s"`, To: `"1m"`},
			{Key: "plugins.acl", From: `{ path = "acl.wasm" }`, To: `{ path = "x" }`},
			{Key: "plugins.b", From: `{ path = "b.wasm", hooks = ["normalize"] }`, To: "none"},
			{Key: "plugins.new", From: "none", To: `{ path = "n", hooks = ["normalize"] }`},
			{Key: "plugins", From: `["acl", "c.d"]`, To: `["c.d", "acl"]`},
		}},
	} {
		from, err := load(t, c.from)
		require.NoError(t, err, c.name)
		to, err := load(t, c.to)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, Changes(&from.Config, &to.Config), c.name)
		plugins := slices.Clone(to.Plugins)
		Keep(&from.Config, &to.Config)
		require.Equal(t, plugins, to.Plugins, "%s: a reload can take plugins over", c.name)
	}
}

// TestPluginsRoundTrip: what is loaded from any file with plugins is printed as a file that means the same.
func TestPluginsRoundTrip(t *testing.T) {
	r := testseed.Rand(t)
	t.Chdir(t.TempDir())
	for range 200 {
		text, want := randomPlugins(r)
		require.NoError(t, os.WriteFile("my.toml", []byte(text), 0o600))
		l, err := Load(Input{Path: "my.toml"})
		require.NoError(t, err, text)
		require.Equal(t, want, l.Plugins, text)
		decoded, found := placesOf(t, text)
		require.Equal(t, decoded, found, text)

		var printed strings.Builder
		require.NoError(t, l.Print(&printed))
		require.NoError(t, os.WriteFile("my.toml", []byte(printed.String()), 0o600))
		again, err := Load(Input{Path: "my.toml"})
		require.NoError(t, err, "%s\n\nprinted:\n%s", text, printed.String())
		require.Equal(t, l.Config, again.Config, "%s\n\nprinted:\n%s", text, printed.String())
	}
}

// randomPlugins writes some valid plugins, and what they must become.
func randomPlugins(r *rand.Rand) (string, []Plugin) {
	var b strings.Builder
	var want []Plugin
	for i := range r.IntN(4) {
		p := NewPlugin()
		p.Name = fmt.Sprintf("%s%d", []string{"a", "a.", "-", "_.Z9"}[r.IntN(4)], i)
		p.Path = "/" + randomText(r)
		p.Hooks = []string{"normalize", "authenticate", "authorize"}[:1+r.IntN(3)]
		fmt.Fprintf(&b, "[[plugins]]\nname = %s\npath = %s\nhooks = [\"%s\"]\n", randomQuote(r, p.Name), randomQuote(r, p.Path), strings.Join(p.Hooks, `", "`))
		if r.IntN(2) == 0 {
			p.Namespaces = []string{"a" + strings.NewReplacer("\n", "", "\x1b", "", "\x7f", "").Replace(randomText(r)), "*"}
			fmt.Fprintf(&b, "namespaces = [%s, '*']\n", randomQuote(r, p.Namespaces[0]))
		}
		for _, s := range pluginSettings {
			if s.max > 0 && r.IntN(3) == 0 {
				n := s.min + r.Int64N(s.max-s.min+1)
				s.field(&p).SetInt(n)
				fmt.Fprintf(&b, "%s = %s\n", s.key, s.format(&p))
			}
		}
		if r.IntN(4) > 0 {
			var text string
			text, p.Config = randomTable(r)
			b.WriteString(text)
		}
		want = append(want, p)
	}
	return b.String(), want
}
