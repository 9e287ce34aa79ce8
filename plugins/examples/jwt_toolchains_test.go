//go:build toolchains

package examples

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// mint has the npm package jose make keys and sign tokens with them. Its argument is where that package is.
const mint = `
const jose = await import(process.argv[1]);
const keys = [], tokens = {};
async function add(alg, generated, options = {}) {
  const kid = alg + keys.length;
  const verifying = generated.publicKey ?? generated;
  keys.push({...await jose.exportJWK(verifying), alg, kid, use: "sig"});
  const token = (claims) => new jose.SignJWT(claims).setProtectedHeader({alg, kid, typ: "JWT"}).setIssuedAt()
    .setSubject("alice").setIssuer("https://login.example").setAudience(["x", "locktopus"]).setExpirationTime("1h")
    .sign(generated.privateKey ?? generated);
  tokens["good " + alg] = await token({roles: ["dev", "Ä \u{1f419}"]});
  tokens["role " + alg] = await token({roles: ["dev\nops"]});
  tokens["expired " + alg] = await new jose.SignJWT({}).setProtectedHeader({alg, kid}).setSubject("alice")
    .setIssuer("https://login.example").setAudience("locktopus").setExpirationTime("-1m").sign(generated.privateKey ?? generated);
}
for (const alg of ["EdDSA", "Ed25519"]) await add(alg, await jose.generateKeyPair(alg, {crv: "Ed25519", extractable: true}));
await add("HS256", await jose.generateSecret("HS256", {extractable: true}));
tokens.unsigned = new jose.UnsecuredJWT({}).setSubject("alice").setIssuer("https://login.example")
  .setAudience("locktopus").setExpirationTime("1h").encode();
console.log(JSON.stringify({keys, tokens}));
`

func TestJWTTakesTokensThatJoseHasSigned(t *testing.T) {
	at, err := filepath.Abs("../internal/build/npm/node_modules/jose/dist/webapi/index.js")
	require.NoError(t, err)
	cmd := exec.Command("node", "--input-type=module", "-e", mint, at)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	var made struct {
		Keys   []map[string]any
		Tokens map[string]string
	}
	require.NoError(t, json.Unmarshal(out, &made))
	require.Len(t, made.Keys, 3)
	config, err := json.Marshal(map[string]any{"keys": made.Keys, "issuer": "https://login.example", "audience": "locktopus"})
	require.NoError(t, err)
	caller := loaded(t, jwt(t), host.Authenticate, string(config))
	for name, want := range map[string]string{
		"good": "allowed", "role": "2 the token's roles are neither a text nor a list of texts, or there are control characters in them",
		"expired": "5 the token has expired",
	} {
		for _, alg := range []string{"EdDSA", "Ed25519", "HS256"} {
			require.Contains(t, made.Tokens, name+" "+alg)
			who, v := caller.Authenticate(bearing(made.Tokens[name+" "+alg]))
			require.Equal(t, want, told(v), "%s %s", name, alg)
			if name == "good" {
				require.Equal(t, "alice", who.Principal)
				require.Equal(t, "dev\nÄ \U0001f419", who.Context)
				require.InDelta(t, float64(time.Hour+30*time.Second), float64(who.TTL), float64(time.Minute))
			}
		}
	}
	_, v := caller.Authenticate(bearing(made.Tokens["unsigned"]))
	require.Equal(t, "4 no key is known for the token's kid", told(v))
}
