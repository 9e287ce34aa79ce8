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

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/example"
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

type aclQuestion struct {
	who  somebody
	asks string
	want string
}

var alice, bob, nobody = somebody{name: "alice"}, somebody{name: "bob"}, somebody{}

// aclJudgements are what rules can say, one policy at a time.
var aclJudgements = []struct {
	policy    string
	questions []aclQuestion
}{
	{`{"allow": [{"who": ["user:alice"], "paths": ["a"]}]}`, []aclQuestion{
		{alice, "write a", allowed},
		{alice, "read a", allowed},
		{alice, "permit a", allowed},
		{alice, "write a/b/c", allowed}, // who holds a has it anyway
		{alice, "write a/", allowed},    // an empty segment is one
		{alice, "write ab", notAllowed},
		{alice, "write b", notAllowed},
		{alice, "write ", notAllowed}, // it would hold all others, too
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
	{`{"allow": [{"who": ["*"], "paths": ["a/b", "c/*", "d/x-*", "e*/f", "long-segment-1/x", "*/any"]}]}`, []aclQuestion{
		{nobody, "write a/b", allowed},
		{nobody, "write a/b/c", allowed},
		{nobody, "write a", notAllowed}, // it would hold a/c, too
		{nobody, "write a/c", notAllowed},
		{nobody, "write a/bc", notAllowed},
		{nobody, "write c", notAllowed},
		{nobody, "write c/", allowed},
		{nobody, "write c/x", allowed},
		{nobody, "write c/x/y", allowed},
		{nobody, "write d/x-", allowed},
		{nobody, "write d/x-1", allowed},
		{nobody, "write d/x", notAllowed},
		{nobody, "write e/f", allowed},
		{nobody, "write ee/f", allowed},
		{nobody, "write e/g", notAllowed},
		{nobody, "write long-segment-1/x", allowed},
		{nobody, "write long-segment-2/x", notAllowed},
		{nobody, "write long-segment-1", notAllowed},
		{nobody, "write /any", allowed},
		{nobody, "write x/any", allowed},
		{nobody, "write any", notAllowed},
	}},
	{`{"allow": [{"who": ["*"], "paths": ["*"]}, {"who": ["user:root"], "paths": ["**"]}]}`, []aclQuestion{
		{nobody, "write a", allowed},
		{nobody, "write ", notAllowed}, // the whole namespace is more than any path in it
		{somebody{name: "root"}, "write ", allowed},
		{somebody{name: "root"}, "write a/b/c/d/e/f", allowed},
	}},
	{`{"allow": [{"who": ["*"], "paths": ["**"]}], "deny": [{"who": ["*"], "except": ["role:ops"], "paths": ["a/secret"]}]}`, []aclQuestion{
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
	{`{"allow": [{"who": ["*"], "paths": ["**"]}], "deny": [{"who": ["*"], "paths": ["*/secret/x-*"]}]}`, []aclQuestion{
		{alice, "write ", forbidden},
		{alice, "write a", forbidden}, // somebody can make a/secret/x-1
		{alice, "write a/secret", forbidden},
		{alice, "write a/secret/x-1", forbidden},
		{alice, "write a/secret/x-1/y", forbidden},
		{alice, "write a/secret/y", allowed},
		{alice, "write a/b", allowed},
	}},
	{`{"allow": [{"who": ["*"], "paths": ["**"]}], "deny": [{"who": ["user:bob"], "paths": ["**"]}]}`, []aclQuestion{
		{bob, "write a/b", forbidden},
		{bob, "write ", forbidden},
		{alice, "write ", allowed},
	}},
	{`{"allow": [{"who": ["*"], "paths": ["home/{principal}"]}], "deny": [{"who": ["*"], "paths": ["home/*/{principal}"]}]}`, []aclQuestion{
		{alice, "write home/alice/x", allowed},
		{alice, "write home/alice", forbidden}, // it holds home/alice/alice
		{alice, "write home/bob/x", notAllowed},
		{alice, "write home/alicex/x", notAllowed},
		{alice, "write home/", forbidden},
		{alice, "write home/alice/alice", forbidden},
		{somebody{name: "*"}, "write home/alice/x", notAllowed}, // a name is a name
		{somebody{name: "*"}, "write home/*/x", allowed},
		{nobody, "write home/", notAllowed}, // nobody's own path is none, here and there
		{nobody, "write home//x", notAllowed},
		{nobody, "write home/x/", notAllowed},
	}},
	{`{"allow": [{"who": ["user:ci-*", "role:team-*"], "paths": ["**"]}, {"who": ["user:*"], "paths": ["named"]}]}`, []aclQuestion{
		{somebody{name: "ci-"}, "write a", allowed},
		{somebody{name: "ci-7"}, "write a", allowed},
		{somebody{name: "ci"}, "write a", notAllowed},
		{somebody{name: "ci"}, "write named", allowed},
		{nobody, "write named", notAllowed},
		{somebody{name: "x", roles: "dev team-a"}, "write a", allowed},
		{somebody{name: "x", roles: "dev xteam-a"}, "write a", notAllowed},
		{somebody{name: "role:team-a"}, "write a", notAllowed},
		{somebody{roles: "user:ci-7"}, "write a", notAllowed},
	}},
	{`{"allow": [{"who": ["role:*"], "paths": ["**"]}]}`, []aclQuestion{
		{somebody{roles: "x"}, "write a", allowed},
		{somebody{roles: " "}, "write a", notAllowed}, // an empty line is no role
		{alice, "write a", notAllowed},
	}},
	{`{"allow": [{"who": ["role:ops"], "operations": ["inspect", "force-release"], "paths": ["**"]}, {"who": ["*"], "modes": ["read", "permit"], "paths": ["**"]}]}`, []aclQuestion{
		{somebody{roles: "ops", operation: host.Inspect}, "read a", allowed},
		{somebody{roles: "ops", operation: host.ForceRelease}, "write a", allowed},
		{somebody{roles: "ops", operation: host.Watch}, "read a", notAllowed},
		{somebody{roles: "ops"}, "write a", notAllowed},
		{nobody, "read a, permit b", allowed},
		{somebody{operation: host.Inspect}, "read a", notAllowed},
	}},
	{`{"allow": [{"who": ["*"], "operations": ["lock", "watch"], "paths": ["**"]}], "deny": [{"who": ["*"], "modes": ["write"], "paths": ["a"]}, {"who": ["*"], "paths": ["b"]}]}`, []aclQuestion{
		{alice, "write a", forbidden},
		{alice, "read a", allowed},
		{somebody{operation: host.Watch}, "write a", allowed},
		{somebody{operation: host.Watch}, "read b", "2 resources[0]: forbidden by deny[1]"}, // without operations: all
	}},
	{`{"allow": [{"who": ["*"], "namespaces": ["main", "team-*"], "paths": ["**"]}]}`, []aclQuestion{
		{somebody{namespace: "main"}, "write a", allowed},
		{somebody{namespace: "main2"}, "write a", notAllowed},
		{somebody{namespace: "team-"}, "write a", allowed},
		{somebody{namespace: "team-x"}, "write a", allowed},
		{somebody{namespace: "team"}, "write a", notAllowed},
	}},
	{`{"allow": [{"who": ["user:a\\*", "user:\\\\b"], "paths": ["\\*", "\\{principal\\}", "\\**/x", "a\\\\b", "c\/d", "e\\/f", "\u00e9\ud83d\ude00", "\t"]}]}`, []aclQuestion{
		{somebody{name: "a*"}, "write *", allowed},
		{somebody{name: "ab"}, "write *", notAllowed},
		{somebody{name: `\b`}, "write *", allowed},
		{somebody{name: "a*"}, "write x", notAllowed},
		{somebody{name: "a*"}, "write {principal}", allowed},
		{somebody{name: "a*"}, "write a*", notAllowed},
		{somebody{name: "a*"}, "write **/x", allowed},
		{somebody{name: "a*"}, "write a/x", notAllowed},
		{somebody{name: "a*"}, `write a\b`, allowed},
		{somebody{name: "a*"}, "write c/d", allowed}, // what JSON escapes means nothing more
		{somebody{name: "a*"}, "write e/f", notAllowed},
		{somebody{name: "a*"}, "write é😀", allowed},
		{somebody{name: "a*"}, "write \t", allowed},
	}},
}

func TestACLJudges(t *testing.T) {
	for _, test := range aclJudgements {
		caller := loaded(t, acl(t), host.Authorize, test.policy)
		for _, q := range test.questions {
			require.Equal(t, q.want, told(q.who.asks(caller, resources(t, q.asks))), "%s\n%+v %s", test.policy, q.who, q.asks)
		}
	}
}

// TestACLKnowsSlashesInSegments: of segments, "/" is a letter as any other.
func TestACLKnowsSlashesInSegments(t *testing.T) {
	caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": ["a/b", "e\\/f", "own/{principal}"]}]}`)
	asks := func(segments ...string) string {
		r := host.Resource{Mode: host.Write}
		for _, s := range segments {
			r.Path = append(r.Path, []byte(s))
		}
		return told(somebody{name: "x/y"}.asks(caller, []host.Resource{r}))
	}
	require.Equal(t, allowed, asks("a", "b"))
	require.Equal(t, notAllowed, asks("a/b"))
	require.Equal(t, allowed, asks("e/f"))
	require.Equal(t, notAllowed, asks("e", "f"))
	require.Equal(t, allowed, asks("own", "x/y"))
	require.Equal(t, notAllowed, asks("own", "x", "y"))
}

// TestACLComparesAllBytes changes each letter of names of each length, as segments behind others (the first
// eight bytes of a path are compared by themselves), as principals and as roles.
func TestACLComparesAllBytes(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	for n := 1; n < len(letters); n++ {
		name := letters[:n]
		caller := loaded(t, acl(t), host.Authorize, strings.ReplaceAll(
			`{"allow": [{"who": ["user:X", "role:X"], "paths": ["X", "own/{principal}", "some*/X"]}]}`, "X", name))
		asks := func(s somebody, p string) string { return told(s.asks(caller, resources(t, "write "+p))) }
		for i := range n {
			other := name[:i] + "-" + name[i+1:]
			for p, who := range map[string]somebody{"%": {name: name}, "some-/%": {roles: name}, "own/%": {name: name}} {
				require.Equal(t, allowed, asks(who, strings.ReplaceAll(p, "%", name)), "%s for %+v", p, who)
				require.Equal(t, notAllowed, asks(who, strings.ReplaceAll(p, "%", other)), "%s for %+v", other, who)
			}
			require.Equal(t, notAllowed, asks(somebody{name: other, roles: other}, name), other)
		}
	}
}

func TestACLDeniesWhoAsksForNothing(t *testing.T) {
	caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": ["**"]}]}`)
	require.Equal(t, "3 it asks for nothing", told(nobody.asks(caller, nil)))
}

const tooMuch = "4 it asks for more at once than can be judged in time: ask for less"

// TestACLCountsRoles: a role that is left out might be one that is denied something. There can't be more
// than there is room for in a context that a server takes.
func TestACLCountsRoles(t *testing.T) {
	caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": ["**"]}], "deny": [{"who": ["role:last"], "paths": ["**"]}]}`)
	roles := func(n int, last string) somebody { return somebody{roles: strings.Repeat("r\n", n-1) + last} }
	require.Equal(t, allowed, told(roles(2048, "x").asks(caller, resources(t, "write a"))))
	require.Equal(t, forbidden, told(roles(2048, "last").asks(caller, resources(t, "write a"))))
	require.Equal(t, tooMuch, told(roles(2049, "x").asks(caller, resources(t, "write a"))))
	require.Equal(t, forbidden, told(somebody{roles: "\n\nx\n\nlast"}.asks(caller, resources(t, "write a"))))
}

// TestACLCountsSteps: what is more than there is time for is denied before time is over.
func TestACLCountsSteps(t *testing.T) {
	caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": [`+numbered(255, `"%d"`)+`,"a"]}]}`)
	most := (1 << 19) / 258 // each is compared with 256 paths, and with the last in one step more
	for n, want := range map[int]string{most: allowed, most * 2: tooMuch} {
		require.Equal(t, want, told(nobody.asks(caller, slices.Repeat(resources(t, "write a"), n))), n)
	}
}

// numbered is a list with a number in each element.
func numbered(n int, format string) string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = strings.ReplaceAll(format, "%d", strconv.Itoa(i))
	}
	return strings.Join(texts, ",")
}

// slow are requests that take longest of policies that take longest.
func slow(t testing.TB, each func(name string, caller *host.Caller, who somebody, rs []host.Resource)) {
	long := strings.Repeat("x", 500)
	everybody := somebody{name: "alice"}
	for name, paths := range map[string]string{
		"many":  numbered(4000, `"*/%d"`),
		"deep":  numbered(200, `"`+strings.Repeat("*/", 31)+`%d"`),
		"alike": numbered(100, `"`+long+`/%d"`),
		"half":  numbered(400, `"`+long[:128]+`/%d"`),
		"long":  numbered(1, `"`+strings.Repeat("x", 60000)+`/%d"`),
	} {
		caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": ["*"], "paths": [`+paths+`]}], "deny": [{"who": ["role:x"], "paths": ["**"]}]}`)
		for shape, p := range map[string]string{
			"small": "a/x", "empties": strings.Repeat("/", 31) + "x", "alike": long + "/x", "half": long[:128] + "/x",
			"deeper": strings.Repeat("/", 1000), "long": strings.Repeat("x", 60000) + "/x",
		} {
			for _, n := range []int{1, 65, 125, 500, 1000, 1300, 4000} {
				each(fmt.Sprintf("%s/%s/%d", name, shape, n), caller, everybody, slices.Repeat([]host.Resource{{Path: path(p)}}, n))
			}
		}
	}
	caller := loaded(t, acl(t), host.Authorize, `{"allow": [{"who": [`+numbered(5000, `"role:%d"`)+`], "paths": ["**"]}]}`)
	for _, n := range []int{1, 30, 100, 1000} {
		each(fmt.Sprintf("roles/%d", n), caller, somebody{roles: strings.Repeat("x1 ", n)}, resources(t, "write a"))
	}
}

// TestACLJudgesWhatTakesLong: there is an answer to everything that isn't too long to ask.
func TestACLJudgesWhatTakesLong(t *testing.T) {
	slow(t, func(name string, caller *host.Caller, who somebody, rs []host.Resource) {
		if v := who.asks(caller, rs); v.Outcome != host.TooLong {
			require.Equal(t, host.Denied, v.Outcome, "%s: %s", name, v.Reason)
		}
	})
}

// BenchmarkACLAtWorst is to stay far below a call's 5 ms.
func BenchmarkACLAtWorst(b *testing.B) {
	slow(b, func(name string, caller *host.Caller, who somebody, rs []host.Resource) {
		if who.asks(caller, rs).Outcome == host.TooLong {
			return
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				who.asks(caller, rs)
			}
		})
	})
}

// aclReadme is the policy of the README, as a server hands it over.
func aclReadme(t testing.TB) string {
	t.Helper()
	return string(plugins(t, example.Read(t, "acl").Config)[0].Config)
}

func TestACLCasesHaveThePolicyOfTheReadme(t *testing.T) {
	var cases struct{ Config any }
	_, err := toml.DecodeFile("acl/cases.toml", &cases)
	require.NoError(t, err)
	policy, err := json.Marshal(cases.Config)
	require.NoError(t, err)
	require.JSONEq(t, aclReadme(t), string(policy))
}

// BenchmarkACL judges a request for two resources by the policy of the README.
func BenchmarkACL(b *testing.B) {
	caller := loaded(b, acl(b), host.Authorize, aclReadme(b))
	alice := &host.Identity{Authenticated: true, Principal: "alice", Context: "team-a\ndev"}
	for name, asked := range map[string]string{
		"own":  "read users/alice/projects/alpha, write users/alice/projects/beta/files",
		"role": "read shared/docs/manual, read jobs/7/log",
		"not":  "read users/alice/projects/alpha, write users/bob/projects/beta/files",
	} {
		q := &host.Request{Namespace: "tenant-1", Identity: alice, Remote: "10.1.2.3:51234", Operation: host.Lock, Resources: resources(b, asked)}
		want := host.Allowed
		if name == "not" {
			want = host.Denied
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := caller.Judge(q); v.Outcome != want {
					b.Fatal(told(v))
				}
			}
		})
	}
}

// TestACLAllocatesNothing: neither when it allows nor when it denies.
func TestACLAllocatesNothing(t *testing.T) {
	caller := loaded(t, acl(t), host.Authorize, aclReadme(t))
	alice := &host.Identity{Authenticated: true, Principal: "alice", Context: "dev"}
	for asked, want := range map[string]host.Outcome{"write users/alice/x, read shared/docs": host.Allowed, "write users/bob/x": host.Denied} {
		q := &host.Request{Namespace: "n", Identity: alice, Operation: host.Lock, Resources: resources(t, asked)}
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if caller.Judge(q).Outcome != want {
				panic(asked)
			}
		}), asked)
	}
}
