package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTokensGoOnAndSessionsDoNotOverKills: a server that was killed knows nothing of the sessions before, says so,
// by its epoch, too, and gives higher tokens than any before.
func TestTokensGoOnAndSessionsDoNotOverKills(t *testing.T) {
	state := t.TempDir()
	var old struct{ Session, Secret, Epoch string }
	var highest uint64
	for round := range 3 {
		srv := start(t, setup{stateDir: state, config: "[state]\nblock = 1000\ngrace = false\n"})
		to := srv.target("n")
		to.version = 2
		c, _, err := dialRawFrom("", to)
		require.NoError(t, err)
		ask := func(text string) (m struct {
			Op, Session, Secret, Epoch, State, Error string
			Durable                                  bool
			Token                                    uint64 `json:",string"`
		}) {
			require.NoError(t, c.Send(text))
			answer, err := c.Recv()
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal([]byte(answer), &m), answer)
			return m
		}
		if round > 0 {
			resume := fmt.Sprintf(`{"op":"hello","resume":{"session":%q,"secret":%q}}`, old.Session, old.Secret)
			require.Equal(t, "no_session", ask(resume).Error)
		}
		m := ask(`{"op":"hello","ttl_ms":60000}`) // for which nobody waits here
		require.True(t, m.Durable)
		require.NotEqual(t, old.Epoch, m.Epoch)
		old.Session, old.Secret, old.Epoch = m.Session, m.Secret, m.Epoch
		for id := 1; id < 1500; id++ { // more than a block
			lock := fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"read","path":["a"]}]}`, id)
			m := ask(lock)
			require.Equal(t, "acquired", m.State, lock)
			require.Greater(t, m.Token, highest)
			highest = m.Token
		}
		srv.kill()
		c.Drop()
	}
}
