package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/go/strictjson"
)

// key verifies signatures by one algorithm: a token can't choose another.
type key struct {
	id     string // "": it is for tokens that name none
	alg    string
	mac    hash.Hash         // of HS256
	public ed25519.PublicKey // of EdDSA
}

// Limits of keys.
const (
	keysMax        = 256
	secretBytesMin = sha256.Size // RFC 7518, section 3.2
)

// readKeys reads a list of JSON Web Keys (RFC 7517).
func readKeys(list strictjson.Field) (keys []*key) {
	fields := list.List()
	if list.Given() && len(fields) == 0 {
		list.Fail("the list is empty: nobody could connect")
	}
	if len(fields) > keysMax {
		list.Fail("there are more than " + strconv.Itoa(keysMax))
	}
	places := map[string]string{}
	for _, f := range fields {
		k := readKey(f)
		if place, twice := places[k.id]; twice && k.id != "" {
			f.Key("kid").Fail(place + " has the same one")
		} else if twice {
			f.Fail("it has no kid, as " + place)
		}
		places[k.id] = f.Place()
		keys = append(keys, k)
	}
	return keys
}

func readKey(f strictjson.Field) *key {
	f.Table("kty", "alg", "kid", "use", "key_ops", "ext", "k", "crv", "x", "d")
	if f.Key("d").Given() {
		f.Key("d").Fail("this is the private key: it isn't needed here, and should be nowhere but where tokens are signed")
	}
	if use := f.Key("use").Text("sig"); use != "sig" {
		f.Key("use").Fail(`it must be "sig"`)
	}
	k := &key{id: name(f.Key("kid"), ""), alg: f.Must("alg").Text("")}
	kind := f.Must("kty").Text("")
	switch {
	case k.alg == "HS256" && kind == "oct":
		secret := readBytes(f.Must("k"))
		if len(secret) < secretBytesMin {
			f.Key("k").Fail("it must have at least " + strconv.Itoa(secretBytesMin) + " bytes")
		}
		k.mac = hmac.New(sha256.New, secret)
	case (k.alg == "EdDSA" || k.alg == "Ed25519") && kind == "OKP":
		if f.Must("crv").Text("Ed25519") != "Ed25519" {
			f.Key("crv").Fail(`it must be "Ed25519"`)
		}
		if k.public = readBytes(f.Must("x")); len(k.public) != ed25519.PublicKeySize {
			f.Key("x").Fail("it must have " + strconv.Itoa(ed25519.PublicKeySize) + " bytes")
		}
	default:
		f.Fail(`kty and alg must be "oct" and "HS256", or "OKP" and "EdDSA" or "Ed25519"`)
	}
	return k
}

func readBytes(f strictjson.Field) []byte {
	text := f.Text("")
	b, ok := decode(make([]byte, 0, len(text)), []byte(text))
	if !ok {
		f.Fail("it isn't base64url without padding")
	}
	return b
}

// base64url is what RFC 7515 calls so in section 2; bits that don't count must be zero.
var base64url = base64.RawURLEncoding.Strict()

// decode appends what a text stands for. Each text stands for something else.
func decode(to, text []byte) (all []byte, ok bool) {
	for _, c := range text {
		if c == '\r' || c == '\n' {
			return to, false // which package base64 skips
		}
	}
	all, err := base64url.AppendDecode(to, text)
	return all, err == nil
}

// verifies says whether the signature is the key's. It takes as long wherever a wrong one differs.
func (k *key) verifies(signed, signature []byte) bool {
	if k.mac == nil {
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.public, signed, signature)
	}
	var sum [sha256.Size]byte
	k.mac.Reset()
	k.mac.Write(signed)
	return hmac.Equal(k.mac.Sum(sum[:0]), signature)
}
