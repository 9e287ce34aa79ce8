//go:build toolchains

package examples

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// aclModel says what a policy means, in sets of paths: a request is allowed if all that it holds is in
// what one rule allows, and nothing of it is in what is denied. It knows few segments, and with them all
// paths that there are.
type aclModel struct {
	Allow []aclRule `json:"allow"`
	Deny  []aclRule `json:"deny,omitempty"`
}

type aclRule struct {
	Who        []string `json:"who"`
	Except     []string `json:"except,omitempty"`
	Operations []string `json:"operations,omitempty"`
	Modes      []string `json:"modes,omitempty"`
	Namespaces []string `json:"namespaces,omitempty"`
	Paths      []string `json:"paths"`
}

var operationNames = []string{"", "lock", "inspect", "watch", "force-release"}

var modeNames = []string{"read", "write", "permit"}

// aclSegments has one for each pattern to match, the names of all clients, and some that only "*" matches.
var aclSegments = []string{"", "a", "ab", "*", "abcdefgh-1", "abcdefgh-2", "abcdefghabcdefgh", "alice", "é", "a/b", "a*"}

const aclDepth = 3 // of the deepest path; patterns are no deeper

// held calls f with all paths that are held with p, until f says no, and is its last answer.
func held(p []string, f func([]string) bool) bool {
	if !f(p) {
		return false
	}
	for _, s := range aclSegments {
		if len(p) < aclDepth && !held(append(slices.Clone(p), s), f) {
			return false
		}
	}
	return true
}

var (
	aclEscaped  = regexp.MustCompile(`\\.`)
	aclSegment  = regexp.MustCompile(`(?:\\.|[^/\\])+`)
	aclPatterns = map[string]*regexp.Regexp{}
)

// matchesText has a regular expression say whether a name or a segment goes with a text.
func matchesText(pattern, text string) bool {
	re := aclPatterns[pattern]
	if re == nil {
		whole := pattern
		literal, isBeginning := strings.CutSuffix(aclEscaped.ReplaceAllString(pattern, "xx"), "*")
		if isBeginning {
			whole = whole[:len(literal)]
		}
		whole = regexp.QuoteMeta(aclEscaped.ReplaceAllStringFunc(whole, func(s string) string { return s[1:] }))
		if isBeginning {
			whole += ".*"
		}
		re = regexp.MustCompile("^(?s:" + whole + ")$")
		aclPatterns[pattern] = re
	}
	return re.MatchString(text)
}

// inPattern says whether p is the path of a pattern, or below it.
func inPattern(pattern string, p []string, principal string) bool {
	if pattern == "**" {
		return true
	}
	segments := aclSegment.FindAllString(pattern, -1)
	if len(p) < len(segments) {
		return false
	}
	for i, segment := range segments {
		if segment == "{principal}" && (principal == "" || p[i] != principal) || segment != "{principal}" && !matchesText(segment, p[i]) {
			return false
		}
	}
	return true
}

func (s somebody) isOneOf(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		kind, pattern, _ := strings.Cut(name, ":")
		switch kind {
		case "user":
			return s.name != "" && matchesText(pattern, s.name)
		case "role":
			return slices.ContainsFunc(strings.Fields(s.roles), func(role string) bool { return matchesText(pattern, role) })
		}
		return true // "*"
	})
}

func (r *aclRule) concerns(s somebody, mode host.Mode, denies bool) bool {
	operations := r.Operations
	if operations == nil {
		operations = operationNames[1:2]
		if denies && r.Modes == nil {
			operations = operationNames[1:]
		}
	}
	return slices.Contains(operations, operationNames[s.operation]) &&
		(r.Modes == nil || slices.Contains(r.Modes, modeNames[mode])) &&
		(r.Namespaces == nil || slices.ContainsFunc(r.Namespaces, func(n string) bool { return matchesText(n, s.namespace) })) &&
		s.isOneOf(r.Who) && !s.isOneOf(r.Except)
}

func (r *aclRule) names(p []string, s somebody) bool {
	return slices.ContainsFunc(r.Paths, func(pattern string) bool { return inPattern(pattern, p, s.name) })
}

// judges is the verdict on one resource, and the rule of deny that is the reason, if one is.
func (m *aclModel) judges(s somebody, mode host.Mode, p []string) (code, rule int) {
	for i, r := range m.Deny {
		if r.concerns(s, mode, true) && !held(p, func(q []string) bool { return !r.names(q, s) }) {
			return 2, i
		}
	}
	for _, r := range m.Allow {
		if r.concerns(s, mode, false) && held(p, func(q []string) bool { return r.names(q, s) }) {
			return 0, 0
		}
	}
	return 1, 0
}

// some picks up to n of all, at least one.
func some(random *rand.Rand, n int, all ...string) (picked []string) {
	for range 1 + random.IntN(n) {
		picked = append(picked, all[random.IntN(len(all))])
	}
	return picked
}

// maybe is some, or nothing.
func maybe(random *rand.Rand, n int, all ...string) []string {
	if random.IntN(2) == 0 {
		return nil
	}
	return some(random, n, all...)
}

func randomPath(random *rand.Rand) string {
	if random.IntN(8) == 0 {
		return "**"
	}
	return strings.Join(some(random, aclDepth, "a", "a*", "ab*", "*", "{principal}", `\*`, `a\/b`, "abcdefgh-1", "abcdefgh-*", "abcdefgha*", "é", "alice"), "/")
}

func randomRule(random *rand.Rand) aclRule {
	who := []string{"*", "user:alice", "user:a*", "user:*", `user:a\*`, "user:abcdefgh-2", "role:r1", "role:r*", "role:*"}
	r := aclRule{Who: some(random, 2, who...), Namespaces: maybe(random, 2, "n", "n*", "m", "*")}
	if random.IntN(4) == 0 {
		r.Except = some(random, 2, who[1:]...)
	}
	if random.IntN(2) == 0 {
		r.Modes = some(random, 2, modeNames...)
	} else {
		r.Operations = maybe(random, 3, operationNames[1:]...)
	}
	for range 1 + random.IntN(3) {
		r.Paths = append(r.Paths, randomPath(random))
	}
	return r
}

// TestACLAgreesWithModel: random policies, random requests.
func TestACLAgreesWithModel(t *testing.T) {
	random := testseed.Rand(t)
	verdicts := map[uint8]int{}
	for range 150 {
		m := aclModel{Allow: []aclRule{randomRule(random)}}
		for range random.IntN(4) {
			m.Allow = append(m.Allow, randomRule(random))
		}
		for range random.IntN(3) {
			m.Deny = append(m.Deny, randomRule(random))
		}
		policy, err := json.Marshal(m)
		require.NoError(t, err)
		caller := loaded(t, acl(t), host.Authorize, string(policy))
		for range 60 {
			code := askBoth(t, random, &m, caller, string(policy))
			verdicts[code]++
		}
	}
	t.Log("allowed, not allowed, forbidden:", verdicts)
	for code := range uint8(3) {
		require.Greater(t, verdicts[code], 200, "code %d", code)
	}
}

// askBoth asks the model and the plugin for up to three paths, and is the plugin's code.
func askBoth(t *testing.T, random *rand.Rand, m *aclModel, caller *host.Caller, policy string) uint8 {
	s := somebody{
		name: some(random, 1, "", "", "alice", "a", "abcdefgh-1", "abcdefgh-2", "a*")[0], roles: some(random, 1, "", " ", "r1", "r2 x", " r1  ", "ops")[0],
		namespace: some(random, 1, "n", "n1", "m")[0], operation: host.Lock,
	}
	if random.IntN(3) == 0 {
		s.operation = host.Operation(1 + random.IntN(4))
	}
	var rs []host.Resource
	var asked []string
	want := allowed
	for i := range 1 + random.IntN(3) {
		mode, p := host.Mode(random.IntN(3)), []string(nil)
		for range random.IntN(aclDepth + 1) {
			p = append(p, some(random, 1, s.name, aclSegments[random.IntN(len(aclSegments))])...)
		}
		r := host.Resource{Mode: mode}
		for _, segment := range p {
			r.Path = append(r.Path, []byte(segment))
		}
		rs, asked = append(rs, r), append(asked, modeNames[mode]+" "+pathText(r.Path))
		if code, rule := m.judges(s, mode, p); want == allowed && code == 2 {
			want = fmt.Sprintf("2 resources[%d]: forbidden by deny[%d]", i, rule)
		} else if want == allowed && code == 1 {
			want = fmt.Sprintf("1 resources[%d]: no rule allows it", i)
		}
	}
	got := s.asks(caller, rs)
	require.Equal(t, want, told(got), "%s\n%+v %q", policy, s, asked)
	return got.Code
}
