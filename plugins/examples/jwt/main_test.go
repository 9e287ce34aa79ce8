package main

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

type entry struct {
	kind        locktopus.Kind
	name, value string
}

// connecting writes the question who a client is, where the server does.
func connecting(entries ...entry) (n uint32) {
	const header, stride = 64, 20
	buffer := locktopus.NewConnect(65536).Bytes()
	clear(buffer[:header+len(entries)*stride])
	le := binary.LittleEndian
	le.PutUint64(buffer[8:], uint64(now))
	le.PutUint32(buffer[52:], uint32(len(entries)))
	le.PutUint32(buffer[56:], header)
	le.PutUint32(buffer[60:], stride)
	at := header + len(entries)*stride
	for i, e := range entries {
		buffer[header+i*stride] = byte(e.kind)
		for k, text := range []string{e.name, e.value} {
			le.PutUint32(buffer[header+i*stride+4+8*k:], uint32(at))
			le.PutUint32(buffer[header+i*stride+8+8*k:], uint32(len(text)))
			at += copy(buffer[at:], text)
		}
	}
	return uint32(at)
}

func TestTokensAreFoundWhereTheyMayBe(t *testing.T) {
	const noBearer, none, several = "the header Authorization must be: Bearer TOKEN", "a token is needed: Authorization: Bearer TOKEN", "there is more than one token"
	header := func(value string) entry { return entry{locktopus.Header, "authorization", value} }
	hello, query := entry{locktopus.Credential, "token", "b"}, entry{locktopus.Parameter, "jwt", "c"}
	plain, open := &settings{credential: "token"}, &settings{credential: "token", query: "jwt"}
	for _, test := range []struct {
		s       *settings
		entries []entry
		want    string
	}{
		{plain, nil, none},
		{plain, []entry{{locktopus.Header, "host", "h"}, {locktopus.Header, "cookie", "token=x"}}, none},
		{plain, []entry{header("Bearer a.b.c")}, "a.b.c"},
		{plain, []entry{header("bEARER   a")}, "a"},
		{plain, []entry{header("Bearer a b")}, "a b"}, // which is no token
		{plain, []entry{header("Bearer ")}, ""},
		{plain, []entry{header("Bearer")}, noBearer},
		{plain, []entry{header("Bearera")}, noBearer},
		{plain, []entry{header("Basic YTpi")}, noBearer},
		{plain, []entry{header("")}, noBearer},
		{plain, []entry{header("Bearer a"), header("Bearer a")}, several},
		{plain, []entry{header("Bearer a"), hello}, several},
		{plain, []entry{header("Basic YTpi"), hello}, noBearer},
		{plain, []entry{hello}, "b"},
		{plain, []entry{hello, hello}, several},
		{plain, []entry{{locktopus.Credential, "password", "b"}}, none},
		{plain, []entry{{locktopus.Parameter, "token", "c"}, {locktopus.Parameter, "", "c"}, {locktopus.Fact, "token", "c"}, {7, "token", "c"}}, none},
		{plain, []entry{query}, none},
		{open, []entry{query}, "c"},
		{open, []entry{{locktopus.Header, "jwt", "c"}}, none},
		{open, []entry{query, hello}, several},
		{&settings{credential: "jwt"}, []entry{hello}, none},
		{&settings{credential: "jwt"}, []entry{{locktopus.Credential, "jwt", "d"}}, "d"},
	} {
		got, p := test.s.find(locktopus.NewConnect(connecting(test.entries...)))
		if p.code != 0 {
			require.Equal(t, uint8(codeNoToken), p.code)
			require.Equal(t, test.want, p.text, "%v", test.entries)
			continue
		}
		require.Equal(t, test.want, string(got), "%v", test.entries)
	}
}

func TestClientsAreLetInWithATokenOnly(t *testing.T) {
	config := []byte(`{` + bothKeys + `}`)
	n := copy(locktopus.NewConnect(65536).Bytes(), config)
	require.Equal(t, locktopus.StatusAllow, initialize(uint32(n)).Status())
	for token, want := range map[string]locktopus.Status{
		signHS(t, plainHeader, goodClaims):       locktopus.StatusAllow,
		signEd(t, edHeader, goodClaims):          locktopus.StatusAllow,
		signEd(t, edHeader, `{"sub":"x"}`):       locktopus.StatusDeny,
		signHS(t, `{"alg":"none"}`, goodClaims):  locktopus.StatusDeny,
		signHS(t, plainHeader, goodClaims) + "x": locktopus.StatusDeny,
	} {
		require.Equal(t, want, authenticate(connecting(entry{locktopus.Header, "authorization", "Bearer " + token})).Status(), token)
	}
	require.Equal(t, locktopus.StatusDeny, authenticate(connecting()).Status())
	require.Equal(t, locktopus.StatusFault, initialize(0).Status())
}
