package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFaultsSayWhatIsWrongAndWhere(t *testing.T) {
	with := func(more string) string { return `{"keys": [` + secretKey + `], ` + more + `}` }
	key := func(members string) string { return `{"keys": [{` + members + `}]}` }
	const pairs = `keys[0]: kty and alg must be "oct" and "HS256", or "OKP" and "EdDSA" or "Ed25519"`
	for config, want := range map[string]string{
		``:                               "keys is missing",
		`{}`:                             "keys is missing",
		`[]`:                             "it must be a table",
		`{"keys": {}}`:                   "keys: it must be a list",
		`{"keys": []}`:                   "keys: the list is empty: nobody could connect",
		`{"keys": ["x"]}`:                "keys[0]: it must be a table",
		`{"key": []}`:                    "key: there is no such key; there are keys, issuer, audience, typ, leeway_seconds, principal, roles, role_prefix, required, match, query, credential",
		key(``):                          "keys[0]: alg is missing",
		key(`"alg":"HS256"`):             "keys[0]: kty is missing",
		key(`"alg":"none","kty":""`):     pairs,
		key(`"alg":"HS256","kty":"OKP"`): pairs,
		key(`"alg":"HS512","kty":"oct"`): pairs,
		key(`"alg":"RS256","kty":"RSA"`): pairs,
		key(`"alg":"HS256","kty":"oct"`): "keys[0]: k is missing",
		key(`"alg":"HS256","kty":"oct","k":"` + strings.Repeat("A", 42) + `"`):                              "keys[0].k: it must have at least 32 bytes",
		key(`"alg":"HS256","kty":"oct","k":"` + strings.Repeat("A", 43) + `="`):                             "keys[0].k: it isn't base64url without padding",
		key(`"alg":"HS256","kty":"oct","k":"` + strings.Repeat("A", 42) + `B"`):                             "keys[0].k: it isn't base64url without padding", // bits that don't count
		key(`"alg":"HS256","kty":"oct","k":"` + strings.Repeat("+", 43) + `"`):                              "keys[0].k: it isn't base64url without padding",
		key(`"alg":"HS256","kty":"oct","secret":"x"`):                                                       "keys[0].secret: there is no such key; there are kty, alg, kid, use, key_ops, ext, k, crv, x, d",
		key(`"alg":"EdDSA","kty":"OKP"`):                                                                    "keys[0]: crv is missing",
		key(`"alg":"EdDSA","kty":"OKP","crv":"Ed448"`):                                                      `keys[0].crv: it must be "Ed25519"`,
		key(`"alg":"EdDSA","kty":"OKP","crv":"Ed25519"`):                                                    "keys[0]: x is missing",
		key(`"alg":"EdDSA","kty":"OKP","crv":"Ed25519","x":"AAAA"`):                                         "keys[0].x: it must have 32 bytes",
		key(`"alg":"EdDSA","kty":"OKP","crv":"Ed25519","x":"` + publicText + `","d":"` + privateText + `"`): "keys[0].d: this is the private key: it isn't needed here, and should be nowhere but where tokens are signed",
		key(`"alg":"HS256","kty":"oct","k":"` + secretText + `","use":"enc"`):                               `keys[0].use: it must be "sig"`,
		key(`"alg":"HS256","kty":"oct","k":"` + secretText + `","kid":""`):                                  "keys[0].kid: it is empty: leave it out",
		`{"keys": [` + secretKey + `, ` + publicKey + `, ` + publicKey + `]}`:                               "keys[2].kid: keys[1] has the same one",
		`{"keys": [` + secretKey + `, ` + secretKey + `]}`:                                                  "keys[1]: it has no kid, as keys[0]",
		with(`"issuer": ""`):          "issuer: it is empty: leave it out",
		with(`"audience": []`):        "audience: the list is empty",
		with(`"audience": ["a", ""]`): "audience[1]: it is empty: leave it out",
		with(`"audience": 1`):         "audience: it must be a string",
		with(`"leeway_seconds": 301`): "leeway_seconds: it must be an integer from 0 to 300",
		with(`"leeway_seconds": -1`):  "leeway_seconds: it must be an integer from 0 to 300",
		with(`"match": ["a"]`):        "match: it must be a table",
		with(`"match": {"a": 1}`):     "match.a: it must be a string, true or false",
		with(`"query": ""`):           "query: it is empty: leave it out",
		with(`"required": [1]`):       "required[0]: it must be a string",
		with(`"principal": {}`):       "principal: it must be a string",
	} {
		fault := new(settings).read([]byte(config))
		require.Equal(t, want, fault, config)
		for _, secret := range []string{secretText, privateText} {
			require.NotContains(t, fault, secret[:8])
		}
	}
}

func TestThereAreAsManyKeysAsTheLimitSays(t *testing.T) {
	many := func(n int) string {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprintf(`{"kty":"oct","alg":"HS256","kid":"%d","k":"%s"}`, i, secretText))
		}
		return `{"keys": [` + strings.Join(keys, ",") + `]}`
	}
	s := reading(t, many(256))
	require.Equal(t, goodAnswer, s.told(signHS(t, `{"alg":"HS256","kid":"255"}`, goodClaims)))
	require.Equal(t, "keys: there are more than 256", new(settings).read([]byte(many(257))))
}

// TestKeysAreTakenAsOthersWriteThem has members that key sets on the web have.
func TestKeysAreTakenAsOthersWriteThem(t *testing.T) {
	s := reading(t, `{"keys": [{"kty":"OKP","use":"sig","key_ops":["verify"],"ext":true,"crv":"Ed25519","kid":"1","x":"`+publicText+`","alg":"Ed25519"}]}`)
	require.Equal(t, goodAnswer, s.told(signEd(t, `{"alg":"Ed25519","kid":"1"}`, goodClaims)))
}
