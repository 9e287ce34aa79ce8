package main

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// connecting writes the question who a client is, with facts about its certificate, where the server does.
func connecting(flags uint32, names ...[2]string) (n uint32) {
	const header, stride = 64, 20
	buffer := locktopus.NewConnect(65536).Bytes()
	clear(buffer[:header+len(names)*stride])
	le := binary.LittleEndian
	le.PutUint64(buffer[8:], uint64(now))
	le.PutUint32(buffer[48:], flags)
	le.PutUint32(buffer[52:], uint32(len(names)))
	le.PutUint32(buffer[56:], header)
	le.PutUint32(buffer[60:], stride)
	at := header + len(names)*stride
	for i, pair := range names {
		buffer[header+i*stride] = byte(locktopus.Fact)
		for k, text := range pair {
			le.PutUint32(buffer[header+i*stride+4+8*k:], uint32(at))
			le.PutUint32(buffer[header+i*stride+8+8*k:], uint32(len(text)))
			at += copy(buffer[at:], text)
		}
	}
	return uint32(at)
}

func TestClientsAreLetInWithAVerifiedCertificateOnly(t *testing.T) {
	require.Equal(t, locktopus.StatusAllow, initialize(0).Status())
	alice := [][2]string{{"not-after", "1800003600"}, {"subject-cn", "alice"}}
	const isTLS, isVerified = 1, 2
	for _, test := range []struct {
		flags uint32
		names [][2]string
		want  locktopus.Status
	}{
		{isTLS | isVerified, alice, locktopus.StatusAllow},
		{isTLS | isVerified, alice[1:], locktopus.StatusDeny},
		{isTLS | isVerified, nil, locktopus.StatusDeny},
		{isTLS, alice, locktopus.StatusDeny},
		{isVerified, alice, locktopus.StatusDeny},
		{0, alice, locktopus.StatusDeny},
	} {
		require.Equal(t, test.want, authenticate(connecting(test.flags, test.names...)).Status(), "%+v", test)
	}
}

// TestOnlyFactsCount has a client say what only the server may.
func TestOnlyFactsCount(t *testing.T) {
	n := connecting(3, [2]string{"not-after", "1800003600"}, [2]string{"subject-cn", "root"})
	buffer := locktopus.NewConnect(65536).Bytes()
	require.Equal(t, locktopus.StatusAllow, authenticate(n).Status())
	for _, kind := range []locktopus.Kind{locktopus.Header, locktopus.Parameter, locktopus.Credential, 4} {
		buffer[64+20] = byte(kind)
		require.Equal(t, locktopus.StatusDeny, authenticate(n).Status(), kind)
	}
}

func TestFaultyConfigurationsAreRefused(t *testing.T) {
	n := copy(locktopus.NewConnect(65536).Bytes(), `{"principal": []}`)
	require.Equal(t, locktopus.StatusFault, initialize(uint32(n)).Status())
}
