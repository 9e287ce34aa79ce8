package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// Keys that RFC 7515 (appendix A.1) and RFC 8037 (appendix A.1) publish.
const (
	secretText  = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	publicText  = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	privateText = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"

	secretKey = `{"kty": "oct", "alg": "HS256", "k": "` + secretText + `"}`
	publicKey = `{"kty": "OKP", "alg": "EdDSA", "kid": "ed", "crv": "Ed25519", "x": "` + publicText + `"}`
	bothKeys  = `"keys": [` + secretKey + `, ` + publicKey + `]`
)

const now = int64(1_800_000_000_000) // in milliseconds

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return b
}

// signHS and signEd make tokens of parts that can be anything.
func signHS(t testing.TB, header, claims string) string {
	t.Helper()
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, bytesOf(t, secretText))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

func signEd(t testing.TB, header, claims string) string {
	t.Helper()
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	return signed + "." + encode(ed25519.Sign(ed25519.NewKeyFromSeed(bytesOf(t, privateText)), []byte(signed)))
}

func reading(t testing.TB, config string) *settings {
	t.Helper()
	s := &settings{}
	require.Empty(t, s.read([]byte(config)), config)
	return s
}

// told is what comes of a token: who it is, or why it isn't taken.
func (s *settings) told(token string) string {
	who, p := s.judge([]byte(token), now)
	if p.code != 0 {
		return fmt.Sprintf("%d %s", p.code, p.text)
	}
	return fmt.Sprintf("%s %q %ds", who.principal, who.context, who.seconds)
}

// TestTokenOfRFC7515 takes the token of appendix A.1 as it is printed there, which is also that of RFC 7519,
// section 3.1.
func TestTokenOfRFC7515(t *testing.T) {
	s := reading(t, `{"keys": [`+secretKey+`], "principal": "iss", "issuer": "joe", "match": {"http://example.com/is_root": true}}`)
	const token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ" +
		".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	who, p := s.judge([]byte(token), 1300819380_000-5000)
	require.Equal(t, problem{}, p)
	require.Equal(t, identity{35, "joe", ""}, who)
	require.Equal(t, "5 the token has expired", s.told(token))
}

// TestSignatureOfRFC8037 takes that of appendix A.4, which signs no claims.
func TestSignatureOfRFC8037(t *testing.T) {
	s := reading(t, `{"keys": [{"kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", "x": "`+publicText+`"}]}`)
	const signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	const signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	require.True(t, s.keys[0].verifies([]byte(signed), bytesOf(t, signature)))
	require.False(t, s.keys[0].verifies([]byte(signed+"x"), bytesOf(t, signature)))
	require.Equal(t, "2 the token's body: it isn't JSON: a value is missing", s.told(signed+"."+signature))
}

const (
	plainHeader = `{"alg":"HS256"}`
	edHeader    = `{"alg":"EdDSA","kid":"ed"}`
	goodClaims  = `{"sub":"alice","roles":["dev","team-a"],"exp":1800003600}`
	goodAnswer  = `alice "dev\nteam-a" 3630s`
)

func TestHeaders(t *testing.T) {
	s := reading(t, `{`+bothKeys+`}`)
	for header, want := range map[string]string{
		plainHeader: goodAnswer,
		` { "typ" : "JWT" , "alg":"HS256", "jku": "https://evil.example", "jwk": {"kty":"oct","k":""} } `: goodAnswer,
		`{"alg":"HS256","typ":"at+jwt"}`:                goodAnswer,
		`{"alg":"HS256","typ":"application/AT+JWT"}`:    goodAnswer,
		`{"alg":"HS256","typ":"dpop+jwt"}`:              "6 the token's typ isn't one that is taken here",
		`{"alg":"HS256","typ":""}`:                      "6 the token's typ isn't one that is taken here",
		`{"alg":"HS256","typ":null}`:                    "6 the token's typ isn't one that is taken here",
		`{"alg":"none"}`:                                "4 the token's alg isn't that of its key",
		`{"alg":"None"}`:                                "4 the token's alg isn't that of its key",
		`{"alg":"hs256"}`:                               "4 the token's alg isn't that of its key",
		`{"alg":"HS512"}`:                               "4 the token's alg isn't that of its key",
		`{"alg":"EdDSA"}`:                               "4 the token's alg isn't that of its key",
		`{"alg":["HS256"]}`:                             "4 the token's alg isn't that of its key",
		`{"alg":""}`:                                    "4 the token's alg isn't that of its key",
		`{}`:                                            "4 the token's alg isn't that of its key",
		`{"alg":"HS256","kid":"ed"}`:                    "4 the token's alg isn't that of its key",
		`{"alg":"HS256","kid":"x"}`:                     "4 no key is known for the token's kid",
		`{"alg":"HS256","kid":""}`:                      "4 no key is known for the token's kid",
		`{"alg":"HS256","kid":null}`:                    "4 no key is known for the token's kid",
		`{"alg":"HS256","kid":1}`:                       "4 no key is known for the token's kid",
		edHeader:                                        "4 the token's signature is wrong",
		`{"alg":"HS256","crit":["exp"],"exp":1}`:        "2 the token has extensions (crit)",
		`{"alg":"HS256","crit":null}`:                   "2 the token has extensions (crit)",
		`{"alg":"HS256","b64":false,"crit":["b64"]}`:    "2 the token has extensions (crit)",
		`{"alg":"HS256","alg":"HS256"}`:                 "2 the token's header: a member is there twice",
		`{"alg":"EdDSA","\u0061lg":"HS256"}`:            "2 the token's header: a member is there twice",
		`{"alg":"HS256",}`:                              "2 the token's header: it isn't JSON: a string is missing",
		`{"alg":"HS256"}{}`:                             "2 the token's header: there is something behind its end",
		"{\"alg\":\"HS256\",\"x\":\"\xff\"}":            "2 the token's header: it isn't UTF-8",
		"\ufeff" + plainHeader:                          "2 the token's header: it isn't JSON: a value is missing",
		`["alg","HS256"]`:                               "2 the token's header isn't a JSON object",
		``:                                              "2 the token's header: it isn't JSON: a value is missing",
		`{"alg":"HS256","x":` + strings.Repeat("[", 99): "2 the token's header: it is nested more than 64 deep",
	} {
		require.Equal(t, want, s.told(signHS(t, header, goodClaims)), header)
	}
	require.Equal(t, goodAnswer, s.told(signEd(t, edHeader, goodClaims)))
	require.Equal(t, "4 the token's alg isn't that of its key", s.told(signEd(t, `{"alg":"Ed25519","kid":"ed"}`, goodClaims)))
	require.Equal(t, "4 the token's signature is wrong", s.told(signEd(t, plainHeader, goodClaims)))
}

// TestPublicKeyIsNoSecret signs with what everybody knows, as HS256.
func TestPublicKeyIsNoSecret(t *testing.T) {
	s := reading(t, `{"keys": [`+publicKey+`]}`)
	for _, secret := range [][]byte{bytesOf(t, publicText), []byte(publicText), {}} {
		for _, header := range []string{`{"alg":"HS256","kid":"ed"}`, edHeader} {
			signed := encode([]byte(header)) + "." + encode([]byte(goodClaims))
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(signed))
			require.Contains(t, s.told(signed+"."+encode(mac.Sum(nil))), "4 the token's ")
		}
	}
}

func TestTypIsTheOneThatIsAskedFor(t *testing.T) {
	s := reading(t, `{"keys": [`+secretKey+`], "typ": "application/At+Jwt"}`)
	for header, want := range map[string]string{
		`{"alg":"HS256","typ":"at+JWT"}`: goodAnswer,
		`{"alg":"HS256","typ":"JWT"}`:    "6 the token's typ isn't one that is taken here",
		plainHeader:                      "6 the token's typ isn't one that is taken here",
		`{"alg":"HS256","typ":7}`:        "6 the token's typ isn't one that is taken here",
	} {
		require.Equal(t, want, s.told(signHS(t, header, goodClaims)), header)
	}
}

func TestClaims(t *testing.T) {
	const noExp, noTime = "2 the token's exp is missing, or isn't a number as it should be", "2 the token's nbf or iat isn't a number as it should be"
	const notYet, expired = "5 the token isn't valid yet", "5 the token has expired"
	const badRoles = "2 the token's roles are neither a text nor a list of texts, or there are control characters in them"
	const noName = "2 the token's sub is no name: 1 to 256 bytes without control characters"
	long := strings.Repeat("é", 128)
	s := reading(t, `{`+bothKeys+`}`)
	for claims, want := range map[string]string{
		// With a leeway of 30 s, now is 1800000000.
		`"sub":"a","exp":1800000001`:                         `a "" 31s`,
		`"sub":"a","exp":1799999971`:                         `a "" 1s`,
		`"sub":"a","exp":1799999970.999`:                     expired, // one second less would be for ever
		`"sub":"a","exp":1799999970`:                         expired,
		`"sub":"a","exp":0`:                                  expired,
		`"sub":"a","exp":-1`:                                 expired,
		`"sub":"a","exp":-9007199254740991`:                  expired,
		`"sub":"a","exp":9007199254740991`:                   `a "" 4294967295s`,
		`"sub":"a","exp":9007199254740992`:                   noExp,
		`"sub":"a","exp":1e12`:                               noExp,
		`"sub":"a","exp":"1800000001"`:                       noExp,
		`"sub":"a","exp":null`:                               noExp,
		`"sub":"a"`:                                          noExp,
		`"sub":"a","exp":1800000001,"nbf":1800000030`:        `a "" 31s`,
		`"sub":"a","exp":1800000001,"nbf":1800000030.9`:      `a "" 31s`,
		`"sub":"a","exp":1800000001,"nbf":1800000031`:        notYet,
		`"sub":"a","exp":1800000001,"iat":1800000030`:        `a "" 31s`,
		`"sub":"a","exp":1800000001,"iat":1800000031`:        notYet,
		`"sub":"a","exp":1800000001,"nbf":9007199254740991`:  notYet,
		`"sub":"a","exp":1800000001,"iat":-9007199254740991`: `a "" 31s`,
		`"sub":"a","exp":1800000001,"nbf":null`:              noTime,
		`"sub":"a","exp":1800000001,"iat":"0"`:               noTime,
		`"sub":"a","exp":1,"nbf":9007199254740991`:           notYet,
		`"sub":"a","exp":1800000001,"exp":1`:                 "2 the token's body: a member is there twice",
		`"sub":"a","exp":1800000001,"x":{"y":1,"y":1}`:       "2 the token's body: a member is there twice",
		`"exp":1800000001`:                                   noName,
		`"sub":"","exp":1800000001`:                          noName,
		`"sub":1,"exp":1800000001`:                           noName,
		`"sub":["a"],"exp":1800000001`:                       noName,
		`"sub":"a\u0000","exp":1800000001`:                   noName,
		`"sub":"a\nb","exp":1800000001`:                      noName,
		`"sub":"a\u0085","exp":1800000001`:                   noName,
		`"sub":"a\ud800","exp":1800000001`:                   "2 the token's body: there is half a character in it",
		`"sub":"` + long + `","exp":1800000001`:              long + ` "" 31s`,
		`"sub":"` + long + `x","exp":1800000001`:             noName,
		`"sub":"a","exp":1800000001,"roles":[]`:              `a "" 31s`,
		`"sub":"a","exp":1800000001,"roles":null`:            `a "" 31s`,
		`"sub":"a","exp":1800000001,"roles":"b  c "`:         `a "b\nc" 31s`,
		`"sub":"a","exp":1800000001,"roles":["b c","","d"]`:  `a "b c\nd" 31s`,
		`"sub":"a","exp":1800000001,"roles":["b\nops"]`:      badRoles, // which would be two
		`"sub":"a","exp":1800000001,"roles":"b\nops"`:        badRoles,
		`"sub":"a","exp":1800000001,"roles":["b",1]`:         badRoles,
		`"sub":"a","exp":1800000001,"roles":{"b":true}`:      badRoles,
		`"sub":"a","exp":1800000001,"roles":true`:            badRoles,
		`"sub":"a","exp":1800000001,"aud":"x"`:               "6 the token's aud doesn't name this server", // nobody is named here
		`"sub":"a","exp":1800000001,"aud":[]`:                "6 the token's aud doesn't name this server",
		`"sub":"a","exp":1800000001,"iss":"x"`:               `a "" 31s`,
	} {
		require.Equal(t, want, s.told(signHS(t, plainHeader, "{"+claims+"}")), claims)
	}
	require.Equal(t, "2 the token's body isn't a JSON object", s.told(signHS(t, plainHeader, `["sub"]`)))
	roles := func(n int) string {
		return signHS(t, plainHeader, `{"sub":"a","exp":1800000001,"roles":["`+strings.Repeat("r", 4000)+`","`+strings.Repeat("r", n)+`"]}`)
	}
	require.Equal(t, `a "`+strings.Repeat("r", 4000)+`\n`+strings.Repeat("r", 95)+`" 31s`, s.told(roles(95)))
	require.Equal(t, "3 the token has more roles than fit into 4096 bytes", s.told(roles(96)))
}

func TestClaimsThatAreAskedFor(t *testing.T) {
	s := reading(t, `{"keys": [`+secretKey+`], "issuer": "https://login.example", "audience": ["locktopus", "spare"], "leeway_seconds": 0,
		"principal": ["user", "name"], "roles": ["realm_access", "roles"], "role_prefix": "lock:",
		"required": ["jti"], "match": {"tenant": "acme", "verified": true}}`)
	good := map[string]any{
		"iss": "https://login.example", "aud": "locktopus", "exp": 1800000010, "jti": "7", "tenant": "acme", "verified": true,
		"user": map[string]any{"name": "bob"}, "realm_access": map[string]any{"roles": []string{"lock:dev", "offline", "lock:", "xlock:ops", "lock:ops"}},
	}
	for _, test := range []struct {
		claim string
		value any
		want  string
	}{
		{"", nil, `bob "dev\nops" 10s`},
		{"aud", []string{"other", "spare"}, `bob "dev\nops" 10s`},
		{"aud", []string{"other"}, "6 the token's aud doesn't name this server"},
		{"aud", "Locktopus", "6 the token's aud doesn't name this server"},
		{"aud", nil, "6 the token's aud doesn't name this server"},
		{"aud", []any{[]string{"locktopus"}}, "6 the token's aud doesn't name this server"},
		{"iss", "https://login.example/", "6 the token's iss isn't the issuer that is trusted here"},
		{"iss", nil, "6 the token's iss isn't the issuer that is trusted here"},
		{"iss", []string{"https://login.example"}, "6 the token's iss isn't the issuer that is trusted here"},
		{"exp", 1800000000, "5 the token has expired"},
		{"jti", nil, "3 the token's claim jti is missing"},
		{"tenant", []string{"x", "acme"}, `bob "dev\nops" 10s`},
		{"tenant", "acm", "3 the token's claim tenant isn't what it must be"},
		{"tenant", []string{}, "3 the token's claim tenant isn't what it must be"},
		{"verified", false, "3 the token's claim verified isn't what it must be"},
		{"verified", "true", "3 the token's claim verified isn't what it must be"},
		{"verified", []bool{true}, "3 the token's claim verified isn't what it must be"},
		{"user", "bob", "2 the token's name is no name: 1 to 256 bytes without control characters"},
		{"realm_access", nil, `bob "" 10s`},
		{"realm_access", map[string]any{"roles": "lock:a b lock:c"}, `bob "a\nc" 10s`},
	} {
		claims := map[string]any{}
		for name, value := range good {
			claims[name] = value
		}
		claims[test.claim] = test.value
		text, err := json.Marshal(claims)
		require.NoError(t, err)
		require.Equal(t, test.want, s.told(signHS(t, plainHeader, string(text))), "%s", text)
	}
}

func TestPartsAreStrict(t *testing.T) {
	s := reading(t, `{`+bothKeys+`}`)
	token := signHS(t, plainHeader, goodClaims)
	parts := strings.Split(token, ".")
	const notThree, notBase64, wrong = "2 the token doesn't have three parts, with dots between them", "2 a part of the token isn't base64url without padding", "4 the token's signature is wrong"
	for broken, want := range map[string]string{
		"":                              notThree,
		".":                             notThree,
		"..":                            "2 the token's header: it isn't JSON: a value is missing",
		parts[0] + "." + parts[1]:       notThree,
		parts[0] + "." + parts[1] + ".": wrong,
		token + ".":                     notThree,
		token + ".x":                    notThree,
		token + "=":                     notBase64,
		token + "A":                     wrong,
		token + "AA":                    notBase64,
		token + "AAAA":                  wrong,
		token + "\n":                    notBase64,
		" " + token:                     notBase64,
		token[:len(token)-1]:            wrong,
		parts[0] + "=." + parts[1] + "." + parts[2]:                              notBase64,
		parts[0] + "\n." + parts[1] + "." + parts[2]:                             notBase64,
		parts[0] + "." + parts[1] + "=." + parts[2]:                              wrong,
		parts[0] + "." + parts[1] + "." + parts[2][:20] + "\r\n" + parts[2][20:]: notBase64,
		strings.Repeat("A", 8193):                                                "2 the token is longer than 8192 bytes",
	} {
		if broken == token[:len(token)-1] {
			require.NotContains(t, s.told(broken), "alice")
			continue
		}
		require.Equal(t, want, s.told(broken), broken)
	}
	fits := func(n int) string {
		return signHS(t, plainHeader, `{"sub":"alice","exp":1800003600,"x":"`+strings.Repeat("x", n)+`"}`)
	}
	n := 6000
	for len(fits(n+1)) <= tokenBytesMax {
		n++
	}
	require.Equal(t, `alice "" 3630s`, s.told(fits(n)))
	require.Equal(t, "2 the token is longer than 8192 bytes", s.told(fits(n+1)))
}

// TestNoOtherTextIsAToken changes each character of good tokens to each other one of base64url, and some more,
// takes one away, and puts one in: each token can be written in one way only.
func TestNoOtherTextIsAToken(t *testing.T) {
	s := reading(t, `{`+bothKeys+`}`)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.\r\n \x00\xff"
	random := testseed.Rand(t)
	for _, token := range []string{signHS(t, plainHeader, goodClaims), signEd(t, edHeader, goodClaims)} {
		require.Equal(t, goodAnswer, s.told(token))
		for i := range token {
			changes := alphabet
			if i < len(token)-3 && random.IntN(16) > 0 { // the last ones are all tried: there the bits are that don't count
				k := random.IntN(len(alphabet))
				changes = alphabet[k : k+1]
			}
			for _, c := range []byte(changes) {
				for _, other := range []string{token[:i] + string([]byte{c}) + token[i+1:], token[:i] + string([]byte{c}) + token[i:], token[:i] + token[i+1:]} {
					if other != token {
						require.NotContains(t, s.told(other), "alice", "%q", other)
					}
				}
			}
		}
		for _, c := range []byte(alphabet) {
			require.NotContains(t, s.told(token+string([]byte{c})), "alice")
		}
	}
}

// TestNothingIsLeftOfAToken looks into the memory where it was decoded.
func TestNothingIsLeftOfAToken(t *testing.T) {
	s := reading(t, `{`+bothKeys+`}`)
	for _, token := range []string{signHS(t, plainHeader, goodClaims), "e30." + encode([]byte("secret")) + ".AAAA", signHS(t, plainHeader, "{")} {
		s.told(token)
		require.Zero(t, decoded)
	}
}

// FuzzToken signs whatever it gets, and compares what is taken with how package json reads it.
func FuzzToken(f *testing.F) {
	for _, seed := range [][2]string{
		{plainHeader, goodClaims}, {edHeader, goodClaims}, {`{"alg":"none"}`, `{}`}, {`{"alg":"HS256","typ":"JWT"}`, `{"sub":"a","exp":1.8e9,"aud":["x"]}`},
		{plainHeader, `{"sub":"\u0061","exp":1800000001.5,"roles":"x y","nbf":0,"iat":0,"iss":null}`},
	} {
		f.Add(seed[0], seed[1], true)
		f.Add(seed[0], seed[1], false)
	}
	s := &settings{}
	require.Empty(f, s.read([]byte(`{`+bothKeys+`}`)))
	f.Fuzz(func(t *testing.T, header, claims string, hs bool) {
		s.judge([]byte(header+"."+claims), now)
		token := signEd(t, header, claims)
		if hs {
			token = signHS(t, header, claims)
		}
		who, p := s.judge([]byte(token), now)
		if p.code != 0 {
			require.True(t, utf8.ValidString(p.text), p.text)
			require.NotEmpty(t, p.text)
			return
		}
		var h struct{ Alg, Kid string }
		var c struct {
			Sub      string
			Exp, Nbf json.Number
			Aud      any
		}
		require.NoError(t, json.Unmarshal([]byte(header), &h))
		require.NoError(t, json.Unmarshal([]byte(claims), &c))
		require.Equal(t, hs, h.Alg == "HS256" && h.Kid == "")
		require.Equal(t, !hs, h.Alg == "EdDSA" && h.Kid == "ed")
		require.Equal(t, c.Sub, who.principal)
		require.Nil(t, c.Aud)
		exp, err := c.Exp.Float64()
		require.NoError(t, err)
		require.Greater(t, exp+30, float64(now)/1000)
		require.NotZero(t, who.seconds)
		require.LessOrEqual(t, float64(who.seconds), exp+30-float64(now)/1000)
		require.LessOrEqual(t, len(who.context), contextBytesMax)
		require.False(t, hasControls(strings.ReplaceAll(who.context, "\n", "")))
	})
}
