//go:build toolchains

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/example"
)

func TestACLExample(t *testing.T) {
	srv := startExample(t, "acl", anyName)
	alice, dev, ops, nobody := srv.as("alice", ""), srv.as("bob", "team-a\ndev"), srv.as("carol", "ops"), srv.as("", "dev")
	const (
		notAllowed = `communication error: denied by plugin "acl" (code 1): resources[0]: no rule allows it`
		forbidden  = `communication error: denied by plugin "acl" (code 2): resources[0]: forbidden by deny[0]`
	)
	eachDialer(t, func(t *testing.T, dial dialer) {
		for _, q := range []struct {
			who  target
			asks resource
			want string
		}{
			{alice, write("users", "alice", t.Name()), acquired},
			{alice, write("users", "bob"), notAllowed},
			{alice, write("users"), notAllowed},
			{alice, read("shared", "docs"), notAllowed},
			{nobody, write("users", ""), notAllowed},
			{nobody, read("shared", "docs"), notAllowed}, // who has no name has no roles
			{dev, read("shared", "docs"), acquired},
			{dev, read("jobs", "7", "log"), acquired},
			{dev, write("shared", t.Name()), notAllowed},
			{dev, read("shared"), forbidden},
			{dev, read("shared", "prod", "db"), forbidden},
			{ops, write("shared", "prod", t.Name()), acquired},
			{ops, read(), acquired},
		} {
			require.Equal(t, q.want, told(t, dial, q.who, q.asks), "%+v", q)
		}
	})
	require.Equal(t, statistics{}, srv.stats("n"))
}

// TestJWTAndACLTogether has one example say who somebody is, and another what that one may do.
func TestJWTAndACLTogether(t *testing.T) {
	x := example.Read(t, "../../plugins/examples/acl")
	srv := startPatient(t, "jwt", x.ConfigOf(t, x.Make(t)))
	dev := srv.target("n")
	dev.token = token(t, "EdDSA", claims("bob", time.Hour, "team-a", "dev"))
	const notAllowed = `communication error: denied by plugin "acl" (code 1): resources[0]: no rule allows it`
	require.Equal(t, acquired, told(t, dialGorilla, dev, write("users", "bob")))
	require.Equal(t, acquired, told(t, dialCoder, dev, read("shared", "docs")))
	require.Equal(t, notAllowed, told(t, dialGorilla, dev, write("users", "alice")))
	nobody := srv.target("n")
	nobody.token = token(t, "HS256", claims("carol", time.Hour))
	require.Equal(t, notAllowed, told(t, dialGorilla, nobody, read("shared", "docs")))
}
