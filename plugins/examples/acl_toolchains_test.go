//go:build toolchains

package examples

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
)

var aclOnce struct {
	sync.Once
	wasm []byte
}

func acl(t testing.TB) []byte {
	aclOnce.Do(func() { aclOnce.wasm = build.C(t, "acl/plugin.c", "-Wpedantic", "-Wconversion", "-Wundef") })
	return aclOnce.wasm
}

// somebody asks for locks.
type somebody struct {
	name, roles, namespace string
	operation              host.Operation // 0: lock
}

func (s somebody) asks(c *host.Caller, rs []host.Resource) host.Verdict {
	operation := s.operation
	if operation == 0 {
		operation = host.Lock
	}
	return c.Judge(&host.Request{
		Namespace: s.namespace, Operation: operation, Resources: rs, Remote: "192.0.2.1:1234",
		Identity: &host.Identity{Authenticated: true, Principal: s.name, Context: strings.ReplaceAll(s.roles, " ", "\n")},
	})
}

// told is a verdict as "allowed" or as code and reason.
func told(v host.Verdict) string {
	switch v.Outcome {
	case host.Allowed:
		return "allowed"
	case host.Denied:
		return fmt.Sprintf("%d %s", v.Code, v.Reason)
	}
	return fmt.Sprintf("outcome %d: %s", v.Outcome, v.Reason)
}

const (
	allowed    = "allowed"
	notAllowed = "1 resources[0]: no rule allows it"
	forbidden  = "2 resources[0]: forbidden by deny[0]"
)

// TestACLJudges goes through what rules can say, one policy at a time.
func TestACLJudges(t *testing.T) {
	type question struct {
		who  somebody
		asks string
		want string
	}
	alice, bob, nobody := somebody{name: "alice"}, somebody{name: "bob"}, somebody{}
	for _, test := range []struct {
		policy    string
		questions []question
	}{
		{`{"allow": [{"who": ["user:alice"], "paths": [["a"]]}]}`, []question{
			{alice, "write a", allowed},
			{alice, "read a", allowed},
			{alice, "permit a", allowed},
			{alice, "write a/b", notAllowed}, // a path alone is that path
			{alice, "write ab", notAllowed},
			{alice, "write ", notAllowed},
			{alice, "write a/", notAllowed}, // an empty segment is one
			{bob, "write a", notAllowed},
			{nobody, "write a", notAllowed},
			{somebody{name: "alicex"}, "write a", notAllowed},
			{somebody{name: "alic"}, "write a", notAllowed},
			{alice, "odd a", "3 resources[0]: unknown mode"},
			{alice, "read a, write a, write b", "1 resources[2]: no rule allows it"},
			{somebody{name: "alice", operation: host.Inspect}, "read a", notAllowed},
			{somebody{name: "alice", operation: host.ForceRelease}, "write a", notAllowed},
			{somebody{name: "alice", operation: 5}, "write a", "3 unknown operation"},
		}},
		{`{"allow": [{"who": ["*"], "paths": [["a", "**"], ["b", "*"], ["c", "*", "**"], ["d", "x-*"], ["e", ""], ["", "**"]]}]}`, []question{
			{nobody, "write a", allowed}, // "**" may be no segment at all
			{nobody, "write a/b/c", allowed},
			{nobody, "write ab", notAllowed},
			{nobody, "write ", notAllowed},
			{nobody, "write b", notAllowed},
			{nobody, "write b/", allowed},
			{nobody, "write b/x", allowed},
			{nobody, "write b/x/y", notAllowed},
			{nobody, "write c", notAllowed},
			{nobody, "write c/x", allowed},
			{nobody, "write c/x/y", allowed},
			{nobody, "write d/x-", allowed},
			{nobody, "write d/x-1", allowed},
			{nobody, "write d/x", notAllowed},
			{nobody, "write e/", allowed},
			{nobody, "write e/x", notAllowed},
			{nobody, "write /x", allowed},
		}},
		{`{"allow": [{"who": ["*"], "paths": [[]]}, {"who": ["user:root"], "paths": [["**"]]}]}`, []question{
			{nobody, "write ", allowed},
			{nobody, "write a", notAllowed},
			{somebody{name: "root"}, "write ", allowed},
			{somebody{name: "root"}, "write a/b/c/d/e/f", allowed},
		}},
		{`{"allow": [{"who": ["*"], "paths": [["**"]]}], "deny": [{"who": ["*"], "except": ["role:ops"], "paths": [["a", "secret", "**"]]}]}`, []question{
			{alice, "read a/secret", forbidden},
			{alice, "read a/secret/x/y", forbidden},
			{alice, "read a", forbidden}, // it holds a/secret
			{alice, "read ", forbidden},
			{alice, "read a/public", allowed},
			{alice, "read a/secrets", allowed},
			{alice, "read b", allowed},
			{alice, "read b, read a", "2 resources[1]: forbidden by deny[0]"},
			{somebody{name: "alice", roles: "dev ops"}, "write a/secret", allowed},
			{somebody{name: "alice", roles: "ops2 nops"}, "write a/secret", forbidden},
			{somebody{name: "ops"}, "write a/secret", forbidden},
		}},
		{`{"allow": [{"who": ["*"], "paths": [["**"]]}], "deny": [{"who": ["*"], "paths": [["a", "secret"]]}]}`, []question{
			{alice, "write a", forbidden},
			{alice, "write a/secret", forbidden},
			{alice, "write a/secret/x", allowed}, // not asked for
		}},
		{`{"allow": [{"who": ["*"], "paths": [["**"]]}], "deny": [{"who": ["*"], "paths": [["*", "secret", "x-*"]]}]}`, []question{
			{alice, "write ", forbidden},
			{alice, "write a", forbidden}, // somebody can make a/secret/x-1
			{alice, "write a/secret", forbidden},
			{alice, "write a/secret/x-1", forbidden},
			{alice, "write a/secret/x-1/y", allowed},
			{alice, "write a/secret/y", allowed},
			{alice, "write a/b", allowed},
		}},
		{`{"allow": [{"who": ["user:*"], "paths": [["home", "{principal}", "**"]]}], "deny": [{"who": ["*"], "paths": [["home", "*", "{principal}"]]}]}`, []question{
			{alice, "write home/alice/x", allowed},
			{alice, "write home/alice", "2 resources[0]: forbidden by deny[0]"},
			{alice, "write home/bob/x", notAllowed},
			{alice, "write home/alicex/x", notAllowed},
			{alice, "write home/", forbidden},
			{alice, "write home/alice/alice", forbidden},
			{nobody, "write home/", notAllowed}, // nobody's own path is none, here and there
			{nobody, "write home/x/", notAllowed},
		}},
		{`{"allow": [{"who": ["user:ci-*", "role:team-*"], "paths": [["**"]]}]}`, []question{
			{somebody{name: "ci-"}, "write a", allowed},
			{somebody{name: "ci-7"}, "write a", allowed},
			{somebody{name: "ci"}, "write a", notAllowed},
			{somebody{name: "x", roles: "dev team-a"}, "write a", allowed},
			{somebody{name: "x", roles: "dev xteam-a"}, "write a", notAllowed},
			{somebody{name: "role:team-a"}, "write a", notAllowed},
		}},
		{`{"allow": [{"who": ["role:ops"], "operations": ["inspect", "force-release"], "paths": [["**"]]}, {"who": ["*"], "modes": ["read", "permit"], "paths": [["**"]]}]}`, []question{
			{somebody{roles: "ops", operation: host.Inspect}, "read a", allowed},
			{somebody{roles: "ops", operation: host.ForceRelease}, "write a", allowed},
			{somebody{roles: "ops", operation: host.Watch}, "read a", notAllowed},
			{somebody{roles: "ops"}, "write a", notAllowed},
			{somebody{}, "read a, permit b", allowed},
			{somebody{operation: host.Inspect}, "read a", notAllowed},
		}},
		{`{"allow": [{"who": ["*"], "operations": ["lock", "watch"], "paths": [["**"]]}], "deny": [{"who": ["*"], "modes": ["write"], "paths": [["a"]]}, {"who": ["*"], "paths": [["b"]]}]}`, []question{
			{alice, "write a", forbidden},
			{alice, "read a", allowed},
			{somebody{operation: host.Watch}, "write a", allowed},
			{somebody{operation: host.Watch}, "read b", "2 resources[0]: forbidden by deny[1]"}, // without operations: all
		}},
		{`{"allow": [{"who": ["*"], "namespaces": ["main", "team-*"], "paths": [["**"]]}]}`, []question{
			{somebody{namespace: "main"}, "write a", allowed},
			{somebody{namespace: "main2"}, "write a", notAllowed},
			{somebody{namespace: "team-"}, "write a", allowed},
			{somebody{namespace: "team-x"}, "write a", allowed},
			{somebody{namespace: "team"}, "write a", notAllowed},
		}},
		{`{"allow": [{"who": ["user:\\a*", "user:\\\\b"], "paths": [["\\*"], ["\\{principal}"], ["\\**", "**"], ["\\"], ["\u00e9\ud83d\ude00"], ["é/\t"]]}]}`, []question{
			{somebody{name: "a*"}, "write *", allowed},
			{somebody{name: "ab"}, "write *", notAllowed},
			{somebody{name: `\b`}, "write *", allowed},
			{somebody{name: "a*"}, "write x", notAllowed},
			{somebody{name: "a*"}, "write {principal}", allowed},
			{somebody{name: "a*"}, "write a*", notAllowed},
			{somebody{name: "a*"}, "write **/x", allowed},
			{somebody{name: "a*"}, "write é😀", allowed},
			{somebody{name: "a*"}, "write \\", notAllowed},
		}},
	} {
		caller := loaded(t, acl(t), host.Authorize, test.policy)
		for _, q := range test.questions {
			require.Equal(t, q.want, told(q.who.asks(caller, resources(t, q.asks))), "%s\n%+v %s", test.policy, q.who, q.asks)
		}
	}
}

func TestACLDeniesWhoAsksForNothing(t *testing.T) {
	caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": [["**"]]}]}`)
	require.Equal(t, "3 it asks for nothing", told(somebody{}.asks(caller, nil)))
}

// TestACLCountsRoles: a role more than can be kept might be one that is denied something.
func TestACLCountsRoles(t *testing.T) {
	caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": [["**"]]}], "deny": [{"who": ["role:r64"], "paths": [["**"]]}]}`)
	roles := func(n int) (s string) {
		for i := 1; i <= n; i++ {
			s += fmt.Sprintf("\nr%d\n", i)
		}
		return s
	}
	require.Equal(t, "allowed", told(somebody{roles: roles(63)}.asks(caller, resources(t, "write a"))))
	require.Equal(t, forbidden, told(somebody{roles: roles(64)}.asks(caller, resources(t, "write a"))))
	require.Equal(t, "4 the client has more than 64 roles", told(somebody{roles: roles(65)}.asks(caller, resources(t, "write a"))))
}

// slow are requests that take longest of policies that take longest.
func slow(t testing.TB, each func(name string, caller *host.Caller, rs []host.Resource)) {
	numbered := func(n int, format string) string {
		texts := make([]string, n)
		for i := range texts {
			texts[i] = strings.ReplaceAll(format, "%d", strconv.Itoa(i))
		}
		return strings.Join(texts, ",")
	}
	long := strings.Repeat("x", 500)
	for name, paths := range map[string]string{
		"many":  numbered(4000, `["*","%d"]`),
		"deep":  numbered(200, `[`+strings.Repeat(`"*",`, 31)+`"%d"]`),
		"alike": numbered(100, `["`+long+`","%d"]`),
		"long":  numbered(1, `["`+strings.Repeat("x", 60000)+`","%d"]`),
	} {
		caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": [`+paths+`]}], "deny": [{"who": ["role:x"], "paths": [["**"]]}]}`)
		for shape, p := range map[string]string{
			"small": "a/x", "empties": strings.Repeat("/", 31) + "x", "alike": long + "/x", "deeper": strings.Repeat("/", 1000), "long": strings.Repeat("x", 60000) + "/x",
		} {
			for _, n := range []int{1, 65, 100, 1000, 1300, 4000} {
				each(fmt.Sprintf("%s/%s/%d", name, shape, n), caller, slices.Repeat([]host.Resource{{Path: path(p)}}, n))
			}
		}
	}
}

// TestACLJudgesWhatTakesLong: there is an answer to everything that isn't too long to ask.
func TestACLJudgesWhatTakesLong(t *testing.T) {
	slow(t, func(name string, caller *host.Caller, rs []host.Resource) {
		if v := (somebody{}).asks(caller, rs); v.Outcome != host.TooLong {
			require.Equal(t, host.Denied, v.Outcome, "%s: %s", name, v.Reason)
		}
	})
}

// BenchmarkACLAtWorst is to stay far below a call's 5 ms.
func BenchmarkACLAtWorst(b *testing.B) {
	slow(b, func(name string, caller *host.Caller, rs []host.Resource) {
		if v := (somebody{}).asks(caller, rs); v.Outcome == host.TooLong || v.Code == 4 {
			return
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				somebody{}.asks(caller, rs)
			}
		})
	})
}

// TestACLRefusesPolicies says what is wrong with them, and where.
func TestACLRefusesPolicies(t *testing.T) {
	rule := func(members string) string {
		return `{"allow": [{"who": ["*"], "paths": [["**"]]}, {` + members + `}]}`
	}
	for config, want := range map[string]string{
		``:                                   "acl needs a table [plugins.config] with rules",
		`{}`:                                 "allow has no rules: everybody would be denied everything",
		`{"allow": []}`:                      "allow has no rules: everybody would be denied everything",
		`{"deny": []}`:                       "allow has no rules: everybody would be denied everything",
		`{"allow": {}}`:                      "allow: it must be a list",
		`{"allow": [7]}`:                     "allow[0]: it must be a table",
		`[]`:                                 "it must be a table",
		`{"rules": []}`:                      "rules: there is no such key; there are allow, deny",
		`{"allow": [{}]}`:                    "allow[0]: who is missing",
		`{"deny": [{}]}`:                     "deny[0]: who is missing",
		rule(`"who": ["user:x"]`):            "allow[1]: paths is missing",
		rule(`"who": [], "paths": [["a"]]`):  "allow[1].who: the list is empty",
		rule(`"who": "*", "paths": [["a"]]`): "allow[1].who: it must be a list",
		rule(`"who": ["*", 1], "paths": [["a"]]`):                                                 "allow[1].who[1]: it must be a string",
		rule(`"who": ["alice"], "paths": [["a"]]`):                                                `allow[1].who[0]: it must be "*", "user:NAME" or "role:NAME"`,
		rule(`"who": ["user:"], "paths": [["a"]]`):                                                "allow[1].who[0]: a name is missing",
		rule(`"who": ["role:\\"], "paths": [["a"]]`):                                              "allow[1].who[0]: a name is missing",
		rule(`"who": ["user:a*b"], "paths": [["a"]]`):                                             `allow[1].who[0]: * may stand at the end only; a \ before all makes it a letter as any other`,
		rule(`"who": ["user:**"], "paths": [["a"]]`):                                              `allow[1].who[0]: * may stand at the end only; a \ before all makes it a letter as any other`,
		rule(`"who": ["*"], "except": [], "paths": [["a"]]`):                                      "allow[1].except: the list is empty",
		rule(`"who": ["*"], "namespaces": [""], "paths": [["a"]]`):                                "allow[1].namespaces[0]: a name is missing",
		rule(`"who": ["*"], "operations": ["unlock"], "paths": [["a"]]`):                          "allow[1].operations[0]: it must be lock, inspect, watch or force-release",
		rule(`"who": ["*"], "operations": [], "paths": [["a"]]`):                                  "allow[1].operations: the list is empty",
		rule(`"who": ["*"], "modes": ["READ"], "paths": [["a"]]`):                                 "allow[1].modes[0]: it must be read, write or permit",
		rule(`"who": ["*"], "modes": ["read"], "operations": ["lock","watch"], "paths": [["a"]]`): "allow[1]: only locks have modes: the operations of a rule with modes are lock alone",
		rule(`"who": ["*"], "paths": []`):                                                         "allow[1].paths: the list is empty",
		rule(`"who": ["*"], "paths": ["a/b"]`):                                                    "allow[1].paths[0]: it must be a list",
		rule(`"who": ["*"], "paths": [["a"], ["b", "**", "c"]]`):                                  `allow[1].paths[1][2]: "**" may be a path's last segment only`,
		rule(`"who": ["*"], "paths": [["**", "**"]]`):                                             `allow[1].paths[0][1]: "**" may be a path's last segment only`,
		rule(`"who": ["*"], "paths": [["a", "*b"]]`):                                              `allow[1].paths[0][1]: * may stand at the end only; a \ before all makes it a letter as any other`,
		rule(`"who": ["*"], "paths": [["{user}"]]`):                                               `allow[1].paths[0][0]: { and } mean nothing here; a \ before all makes them letters as any other`,
		rule(`"who": ["*"], "paths": [["x-{principal}"]]`):                                        `allow[1].paths[0][0]: { and } mean nothing here; a \ before all makes them letters as any other`,
		rule(`"who": ["*"], "path": [["a"]]`):                                                     "allow[1].path: there is no such key; there are who, except, operations, modes, namespaces, paths",
		rule(`"who": ["*"], "` + strings.Repeat("é", 50) + `": [["a"]]`):                          "allow[1]." + strings.Repeat("é", 20) + ": there is no such key; there are who, except, operations, modes, namespaces, paths",
		rule(`"who": ["*"], "who": ["*"]`):                                                        "allow[1].who: it is there twice",
		rule(`"who": ["*"], "paths": [[` + strings.Repeat(`"a",`, 64) + `"a"]]`):                  "allow[1].paths[0][64]: the path has more than 64 segments",
		`{"allow": [` + strings.Repeat(`{"who":["*"],"paths":[["a"]]},`, 1024) + `{}]}`:           "allow[1024]: that is more than 1024 rules in all",
		rule(`"who": ["*"], "paths": [` + strings.Repeat(`[],`, 4095) + `[]]`):                    "allow[1].paths[4095]: that is more than 4096 paths in all",
		rule(`"who": ["*"], "namespaces": [` + strings.Repeat(`"a",`, 8190) + `"b"]`):             "allow[1].namespaces[8190]: that is more than 8192 names and segments in all",
	} {
		require.Equal(t, want, fault(t, acl(t), host.Authorize, config), "%.200s", config)
	}
}

// TestACLReadsNoJSONButJSON tries texts that are almost JSON, in a policy that is right in all else.
func TestACLReadsNoJSONButJSON(t *testing.T) {
	for config, want := range map[string]string{
		"{\"allow\": [\xff]}":                    "it isn't UTF-8",
		"{\"allow\": [\"\xed\xa0\x80\"]}":        "it isn't UTF-8",
		"{\"allow\": [\"\xc0\x80\"]}":            "it isn't UTF-8",
		"{\"allow\": [\"\xf4\x90\x80\x80\"":      "it isn't UTF-8",
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
	right := `{"allow": [{"who": ["*"], "paths": [["**"]]}]}`
	for _, more := range []string{"x", "{}", ",", "\x0b", "]"} {
		require.Equal(t, "there is something behind its end", fault(t, acl(t), host.Authorize, right+more), "%q", more)
	}
	loaded(t, acl(t), host.Authorize, " \t\r\n"+strings.ReplaceAll(right, " ", " \n")+"\n")
}

// TestACLTakesNoJSONThatGoRefuses breaks a policy at random.
func TestACLTakesNoJSONThatGoRefuses(t *testing.T) {
	random := testseed.Rand(t)
	whole := `{"allow":[{"who":["user:\u00e9*","role:\ud83d\ude00"],"paths":[["a\\b","**"],[]]}],"deny":[{"who":["*"],"modes":["read"],"paths":[["é"]]}]}`
	loaded(t, acl(t), host.Authorize, whole)
	const letters = "{}[]\",:\\u0dD8c \n\x00\xff*é"
	for range 300 {
		broken := []byte(whole)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(broken))
			switch random.IntN(3) {
			case 0:
				broken[at] = letters[random.IntN(len(letters))]
			case 1:
				broken = append(broken[:at:at], broken[at+1:]...)
			default:
				broken = append(broken[:at:at], append([]byte{letters[random.IntN(len(letters))]}, broken[at:]...)...)
			}
		}
		if _, err := load(t, acl(t), host.Authorize, string(broken)); err == nil {
			require.True(t, json.Valid(broken), "%q", broken)
		} else {
			require.Contains(t, err.Error(), "locktopus_init refused the configuration: ", "%q", broken)
		}
	}
}

// BenchmarkACL judges a request for two resources by the policy of the README.
func BenchmarkACL(b *testing.B) {
	caller := loaded(b, acl(b), host.Authorize, readmeACL)
	alice := &host.Identity{Authenticated: true, Principal: "alice", Context: "dev\nteam-a"}
	for name, asked := range map[string]string{
		"own":  "read users/alice/projects/alpha, write users/alice/projects/beta/files",
		"role": "read shared/docs/x, write teams/team-a/builds/7",
		"not":  "write teams/team-b/builds/7",
	} {
		q := &host.Request{Namespace: "tenant-1", Identity: alice, Remote: "10.1.2.3:51234", Operation: host.Lock, Resources: resources(b, asked)}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if caller.Judge(q).Outcome == host.Failed {
					b.Fatal("failed")
				}
			}
		})
	}
}

const readmeACL = `{
	"allow": [
		{"who": ["user:*"], "paths": [["users", "{principal}", "**"]]},
		{"who": ["role:dev"], "modes": ["read"], "paths": [["shared", "**"]]},
		{"who": ["role:team-a"], "paths": [["teams", "team-a", "**"]]},
		{"who": ["user:ci-*"], "namespaces": ["build", "build-*"], "modes": ["write", "permit"], "paths": [["jobs", "*"]]},
		{"who": ["role:ops"], "operations": ["lock", "inspect", "watch", "force-release"], "paths": [["**"]]}
	],
	"deny": [
		{"who": ["*"], "except": ["role:ops"], "modes": ["write", "permit"], "paths": [["shared", "prod", "**"]]}
	]
}`
