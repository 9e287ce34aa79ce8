//go:build toolchains

package examples

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// aclRule1 is a policy with a second rule that is right in all but these members.
func aclRule1(members string) string {
	return `{"allow": [{"who": ["*"], "paths": ["**"]}, {` + members + `}]}`
}

const (
	starFault  = `* may stand at the end of a name or segment only; \* is the letter`
	braceFault = `only a segment that is {principal} means something; \{ and \} are the letters`
	keysFault  = "there is no such key; there are who, except, operations, modes, namespaces, paths"
)

// aclFaults are policies that are refused, and what is said about them.
var aclFaults = map[string]string{
	``:                                     "acl needs a table [plugins.config] with rules",
	`{}`:                                   "allow has no rules: everybody would be denied everything",
	`{"allow": []}`:                        "allow has no rules: everybody would be denied everything",
	`{"deny": []}`:                         "allow has no rules: everybody would be denied everything",
	`{"allow": {}}`:                        "allow: it must be a list",
	`{"allow": [7]}`:                       "allow[0]: it must be a table",
	`[]`:                                   "it must be a table",
	`{"rules": []}`:                        "rules: there is no such key; there are allow, deny",
	`{"allow": [{}]}`:                      "allow[0]: who is missing",
	`{"deny": [{}]}`:                       "deny[0]: who is missing",
	aclRule1(`"who": ["user:x"]`):          "allow[1]: paths is missing",
	aclRule1(`"who": [], "paths": ["a"]`):  "allow[1].who: the list is empty",
	aclRule1(`"who": "*", "paths": ["a"]`): "allow[1].who: it must be a list",
	aclRule1(`"who": ["*", 1], "paths": ["a"]`):                                                 "allow[1].who[1]: it must be a string",
	aclRule1(`"who": ["alice"], "paths": ["a"]`):                                                `allow[1].who[0]: it must be "*", "user:NAME" or "role:NAME"`,
	aclRule1(`"who": ["user:"], "paths": ["a"]`):                                                "allow[1].who[0]: a name is missing",
	aclRule1(`"who": ["role:\\"], "paths": ["a"]`):                                              `allow[1].who[0]: \ may stand before one of \ / * { } only`,
	aclRule1(`"who": ["user:a*b"], "paths": ["a"]`):                                             "allow[1].who[0]: " + starFault,
	aclRule1(`"who": ["user:**"], "paths": ["a"]`):                                              "allow[1].who[0]: " + starFault,
	aclRule1(`"who": ["user:{principal}"], "paths": ["a"]`):                                     "allow[1].who[0]: " + braceFault,
	aclRule1(`"who": ["*"], "except": [], "paths": ["a"]`):                                      "allow[1].except: the list is empty",
	aclRule1(`"who": ["*"], "except": ["ops"], "paths": ["a"]`):                                 `allow[1].except[0]: it must be "*", "user:NAME" or "role:NAME"`,
	aclRule1(`"who": ["*"], "namespaces": [""], "paths": ["a"]`):                                "allow[1].namespaces[0]: a name is missing",
	aclRule1(`"who": ["*"], "namespaces": [], "paths": ["a"]`):                                  "allow[1].namespaces: the list is empty",
	aclRule1(`"who": ["*"], "operations": ["unlock"], "paths": ["a"]`):                          "allow[1].operations[0]: it must be lock, inspect, watch or force-release",
	aclRule1(`"who": ["*"], "operations": [], "paths": ["a"]`):                                  "allow[1].operations: the list is empty",
	aclRule1(`"who": ["*"], "modes": ["READ"], "paths": ["a"]`):                                 "allow[1].modes[0]: it must be read, write or permit",
	aclRule1(`"who": ["*"], "modes": [], "paths": ["a"]`):                                       "allow[1].modes: the list is empty",
	aclRule1(`"who": ["*"], "modes": ["read"], "operations": ["lock","watch"], "paths": ["a"]`): "allow[1]: only locks have modes: with modes, operations must be lock alone",
	aclRule1(`"who": ["*"], "paths": []`):                                                       "allow[1].paths: the list is empty",
	aclRule1(`"who": ["*"], "paths": [["a"]]`):                                                  "allow[1].paths[0]: it must be a string",
	aclRule1(`"who": ["*"], "paths": ["a", ""]`):                                                "allow[1].paths[1]: a segment is empty",
	aclRule1(`"who": ["*"], "paths": ["/a"]`):                                                   "allow[1].paths[0]: a segment is empty",
	aclRule1(`"who": ["*"], "paths": ["a/"]`):                                                   "allow[1].paths[0]: a segment is empty",
	aclRule1(`"who": ["*"], "paths": ["{principal}/"]`):                                         "allow[1].paths[0]: a segment is empty",
	aclRule1(`"who": ["*"], "paths": ["a//b"]`):                                                 "allow[1].paths[0]: a segment is empty",
	aclRule1(`"who": ["*"], "paths": ["a", "b/**"]`):                                            "allow[1].paths[1]: " + starFault,
	aclRule1(`"who": ["*"], "paths": ["a/*b"]`):                                                 "allow[1].paths[0]: " + starFault,
	aclRule1(`"who": ["*"], "paths": ["a\\b"]`):                                                 `allow[1].paths[0]: \ may stand before one of \ / * { } only`,
	aclRule1(`"who": ["*"], "paths": ["{user}"]`):                                               "allow[1].paths[0]: " + braceFault,
	aclRule1(`"who": ["*"], "paths": ["x-{principal}"]`):                                        "allow[1].paths[0]: " + braceFault,
	aclRule1(`"who": ["*"], "paths": ["{principal}x"]`):                                         "allow[1].paths[0]: " + braceFault,
	aclRule1(`"who": ["*"], "path": ["a"]`):                                                     "allow[1].path: " + keysFault,
	aclRule1(`"who": ["*"], "` + strings.Repeat("é", 50) + `": ["a"]`):                          "allow[1]." + strings.Repeat("é", 20) + ": " + keysFault,
	aclRule1(`"who": ["*"], "who": ["*"]`):                                                      "allow[1].who: it is there twice",
	`{"allow": [` + strings.Repeat(`{"who":["*"],"paths":["a"]},`, 1024) + `{}]}`:               "allow[1024]: that is more than 1024 rules in all",
	aclRule1(`"who": ["*"], "paths": [` + strings.Repeat(`"**",`, 4095) + `"**"]`):              "allow[1].paths[4095]: that is more than 4096 paths in all",
	aclRule1(`"who": ["*"], "namespaces": [` + strings.Repeat(`"a",`, 8190) + `"b"]`):           "allow[1].namespaces[8190]: that is more than 8192 names and segments in all",
}

// TestACLRefusesPolicies says what is wrong with them, and where.
func TestACLRefusesPolicies(t *testing.T) {
	for config, want := range aclFaults {
		require.Equal(t, want, fault(t, acl(t), host.Authorize, config), "%.200s", config)
	}
}

// TestACLTakesPoliciesUpToItsLimits: one more of anything is refused above.
func TestACLTakesPoliciesUpToItsLimits(t *testing.T) {
	for _, members := range []string{
		`"who": ["*"], "paths": ["` + strings.Repeat(`a/`, 7000) + `a"]`,
		`"who": ["*"], "paths": [` + strings.Repeat(`"**",`, 4094) + `"**"]`,
		`"who": ["*"], "paths": ["**"], "namespaces": [` + strings.Repeat(`"a",`, 8189) + `"b"]`,
		`"who": ["*"], "paths": ["**"]` + strings.Repeat(`},{"who":["*"],"paths":["a"]`, 1022),
	} {
		loaded(t, acl(t), host.Authorize, aclRule1(members))
	}
}

// TestACLReadsNoJSONButJSON tries texts that are almost JSON, in a policy that is right in all else.
func TestACLReadsNoJSONButJSON(t *testing.T) {
	for config, want := range map[string]string{
		`{"allow"`:                               "allow: it isn't JSON: a colon is missing",
		`{"allow": [`:                            "allow[0]: it must be a table",
		`{"allow`:                                "it isn't JSON: a string has no end",
		`{allow: []}`:                            "it must be a string",
		`{"allow": [],}`:                         "it must be a string",
		`{"allow": [{"who": ["*",]}]}`:           "allow[0].who[1]: it must be a string",
		`{"allow": [{"who": ["\x"]}]}`:           "allow[0].who[0]: there is NUL in it, or half a character, or an escape that JSON doesn't know",
		`{"allow": [{"who": ["\u00"]}]}`:         "allow[0].who[0]: there is NUL in it, or half a character, or an escape that JSON doesn't know",
		`{"allow": [{"who": ["\u0000"]}]}`:       "allow[0].who[0]: there is NUL in it, or half a character, or an escape that JSON doesn't know",
		`{"allow": [{"who": ["\ud800"]}]}`:       "allow[0].who[0]: there is NUL in it, or half a character, or an escape that JSON doesn't know",
		`{"allow": [{"who": ["\udc00"]}]}`:       "allow[0].who[0]: there is NUL in it, or half a character, or an escape that JSON doesn't know",
		`{"allow": [{"who": ["\ud800\u0041"]}]}`: "allow[0].who[0]: there is NUL in it, or half a character, or an escape that JSON doesn't know",
		"{\"allow\": [{\"who\": [\"a\nb\"]}]}":   "allow[0].who[0]: it isn't JSON: there is a control character in a string",
	} {
		require.Equal(t, want, fault(t, acl(t), host.Authorize, config), "%q", config)
	}
	right := `{"allow": [{"who": ["*"], "paths": ["**"]}]}`
	for _, more := range []string{"x", "{}", ",", "\x0b", "]"} {
		require.Equal(t, "there is something behind its end", fault(t, acl(t), host.Authorize, right+more), "%q", more)
	}
	loaded(t, acl(t), host.Authorize, " \t\r\n"+strings.ReplaceAll(right, " ", " \n")+"\n")
}

// TestACLTakesNoJSONThatGoRefuses breaks a policy at random.
func TestACLTakesNoJSONThatGoRefuses(t *testing.T) {
	random := testseed.Rand(t)
	whole := `{"allow":[{"who":["user:\u00e9*","role:\ud83d\ude00"],"paths":["a\\\\b/{principal}","**"]}],"deny":[{"who":["*"],"modes":["read"],"paths":["é/x*"]}]}`
	loaded(t, acl(t), host.Authorize, whole)
	letters := []rune("{}[]\",:\\u0dD8c \n\x00*é/")
	for range 300 {
		broken := []rune(whole)
		for range 1 + random.IntN(3) {
			at, letter := random.IntN(len(broken)), letters[random.IntN(len(letters))]
			switch random.IntN(3) {
			case 0:
				broken[at] = letter
			case 1:
				broken = slices.Delete(broken, at, at+1)
			default:
				broken = slices.Insert(broken, at, letter)
			}
		}
		if _, err := load(t, acl(t), host.Authorize, string(broken)); err == nil {
			require.True(t, json.Valid([]byte(string(broken))), "%q", broken)
		} else {
			require.Contains(t, err.Error(), "locktopus_init refused the configuration: ", "%q", broken)
		}
	}
}
