package examples

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/example"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
)

var jwtOnce struct {
	sync.Once
	wasm []byte
}

func jwt(t testing.TB) []byte {
	jwtOnce.Do(func() { jwtOnce.wasm = build.Go(t, "jwt") })
	return jwtOnce.wasm
}

// bearing is a client that connects with a token.
func bearing(token string) *host.Connect {
	return &host.Connect{Namespace: "n", Fields: []host.Field{{Kind: host.Header, Name: "authorization", Value: "Bearer " + token}}}
}

// TestConfigurationsBesideTheReadmesAreTheirs compares files that transcripts use.
func TestConfigurationsBesideTheReadmesAreTheirs(t *testing.T) {
	for _, folder := range []string{"jwt", "mtls"} {
		text, err := os.ReadFile(folder + "/config.json")
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(plugins(t, example.Read(t, folder).Config)[0].Config), folder)
	}
}

// BenchmarkJWT lets a client in, or not.
func BenchmarkJWT(b *testing.B) {
	encode := base64.RawURLEncoding.EncodeToString
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(b, err)
	secret := []byte(strings.Repeat("s", 32))
	config, err := json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "1", "x": encode(public)},
		{"kty": "oct", "alg": "HS256", "kid": "2", "k": encode(secret)},
	}})
	require.NoError(b, err)
	caller := loaded(b, jwt(b), host.Authenticate, string(config))
	body := "." + encode(fmt.Appendf(nil, `{"sub":"alice","roles":["dev","team-a"],"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	ed, hs := encode([]byte(`{"alg":"EdDSA","kid":"1"}`))+body, encode([]byte(`{"alg":"HS256","kid":"2"}`))+body
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(hs))
	for name, token := range map[string]string{
		"EdDSA": ed + "." + encode(ed25519.Sign(private, []byte(ed))),
		"HS256": hs + "." + encode(mac.Sum(nil)),
		"wrong": hs + "." + encode(make([]byte, 32)),
		"none":  "",
	} {
		q := bearing(token)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, v := caller.Authenticate(q); v.Outcome == host.Failed {
					b.Fatalf("%s", v.Reason)
				}
			}
		})
	}
}
