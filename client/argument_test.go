package client_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// badRequests are requests for locks that can't be sent, or never succeed, and a part of what is said of them.
var badRequests = map[string]struct {
	items []client.Item
	says  string
}{
	"nothing":          {nil, "at least one resource"},
	"NUL":              {[]client.Item{client.Write("a", "b\x00")}, "resource 0: segment 1 of the path holds a NUL"},
	"no UTF-8":         {[]client.Item{client.Write("ok"), client.Read("\xff")}, "resource 1: segment 0 of the path is not UTF-8"},
	"half a surrogate": {[]client.Item{client.Write("\xed\xa0\x80")}, "resource 0: segment 0 of the path is not UTF-8"},
	"note":             {[]client.Item{client.Write("x"), client.Note("\xff")}, "the note is not UTF-8"},
	"type":             {[]client.Item{client.Resource{Type: "rite"}}, `resource 0: its type must be read, write or permit, but is "rite"`},
	"no type":          {[]client.Item{client.Resource{}}, `resource 0: its type must be read, write or permit, but is ""`},
	"no limit":         {[]client.Item{client.Permit(0, "x")}, "resource 0: a permit needs a limit of 1 or more"},
	"weight":           {[]client.Item{client.Permit(2, "x").Weighing(3)}, "resource 0: its weight is 3, and its limit 2"},
	"limit of a write": {[]client.Item{client.Resource{Type: "write", Limit: 1}}, "resource 0: a limit and a weight are for permits"},
	"two limits": {
		[]client.Item{client.Permit(2, "x"), client.Write("y"), client.Permit(3, "x")},
		"resources 0 and 2: permits of one path must have one limit, but theirs are 2 and 3",
	},
	"too many together": {
		[]client.Item{client.Permit(2, "x").Weighing(2), client.Permit(2, "y"), client.Permit(2, "x")},
		"resources 0 to 2: permits of one path weigh 3 together, and its limit is 2",
	},
	"lease below zero": {[]client.Item{client.Write("x"), client.Lease(-time.Second)}, "the lease must be above zero, but is -1s"},
	"lease of zero":    {[]client.Item{client.Write("x"), client.Lease(0)}, "the lease must be above zero, but is 0s"},
}

func TestCheckSaysWhichArgumentIsWrong(t *testing.T) {
	for name, bad := range badRequests {
		t.Run(name, func(t *testing.T) {
			err := client.Check(bad.items...)
			require.ErrorIs(t, err, client.ErrArgument)
			require.Regexp(t, "^locktopus: [a-z]", err.Error())
			require.ErrorContains(t, err, bad.says)
		})
	}
	require.NoError(t, client.Check(client.Permit(2, "x"), client.Permit(2, "x"), client.Permit(3, "x", "y"), client.Read("x")))
	require.NoError(t, client.Check(client.Resource{Type: "W"}, client.Lease(math.MaxInt64)))
}

// others are tasks that share a client with whoever makes a mistake: one holds, one waits for what another client has,
// and one watches.
type others struct {
	b                *bubble
	n                *line
	shared, stranger *client.Client
	has, held        *client.Lock
	got              chan error
	watch            *client.Watch
}

func newOthers(b *bubble) *others {
	o := &others{b: b, n: b.line(), stranger: b.line().client(client.Options{}), got: make(chan error, 1)}
	o.shared = o.n.client(client.Options{})
	var err error
	o.has, err = o.stranger.Lock(background, client.Write("busy"))
	require.NoError(b.t, err)
	o.held, err = o.shared.Lock(background, client.Write("mine"))
	require.NoError(b.t, err)
	o.watch, err = o.shared.Watch(background, []string{"seen"})
	require.NoError(b.t, err)
	go func() { _, err := o.shared.Lock(background, client.Write("busy"), client.Impatient()); o.got <- err }()
	synctest.Wait()
	return o
}

// areWell looks whether they are as they were, over the same connection.
func (o *others) areWell() {
	require.NoError(o.b.t, o.held.Release(background))
	require.NoError(o.b.t, o.has.Release(background))
	require.NoError(o.b.t, <-o.got)
	l, err := o.stranger.Lock(background, client.Write("seen"))
	require.NoError(o.b.t, err)
	x, err := o.watch.Next(background)
	require.NoError(o.b.t, err)
	require.Equal(o.b.t, l.ID(), x.Lock.Lock)
	require.Equal(o.b.t, 1, o.n.connections())
}

// TestABadArgumentHarmsNobodyElse: whatever one task passes, the connection that it shares with others lives on.
func TestABadArgumentHarmsNobodyElse(t *testing.T) {
	lock := func(items ...client.Item) func(*client.Client) error {
		return func(c *client.Client) error { _, err := c.Lock(background, items...); return err }
	}
	inspect := func(path []string, limit int, after string) func(*client.Client) error {
		return func(c *client.Client) error { _, _, err := c.Inspect(background, path, limit, after); return err }
	}
	watch := func(path ...string) func(*client.Client) error {
		return func(c *client.Client) error { _, err := c.Watch(background, path); return err }
	}
	var many []client.Item
	for range 2100 {
		many = append(many, client.Write("a"))
	}
	long := strings.Repeat("n", 70_000)
	calls := map[string]struct {
		call func(*client.Client) error
		says string
	}{
		"note beyond the server's limit":  {lock(client.Write("x"), client.Note(long[:257])), "note: has 257 bytes"},
		"note beyond a message":           {lock(client.Write("x"), client.Note(long)), "(limits.message_bytes)"},
		"segment beyond a message":        {lock(client.Write(long)), "(limits.message_bytes)"},
		"resources beyond a message":      {lock(many...), "(limits.message_values)"},
		"segments beyond a message":       {lock(client.Write(make([]string, 8200)...)), "(limits.message_values)"},
		"inspect below zero":              {inspect(nil, -5, ""), "the limit must be 0 or more, but is -5"},
		"inspect from nowhere":            {inspect(nil, 0, "abc"), `after must be "", or what an Inspect before said as more, but is "abc"`},
		"inspect from below zero":         {inspect(nil, 0, "-1"), "after must be"},
		"inspect from a number's double":  {inspect(nil, 0, "01"), "after must be"},
		"inspect from beyond all numbers": {inspect(nil, 0, "18446744073709551616"), "after must be"},
		"inspect from beyond cursors":     {inspect(nil, 0, "9223372036854775808"), "after must be"},
		"inspect of no UTF-8":             {inspect([]string{"\xff"}, 0, ""), "segment 0 of the path is not UTF-8"},
		"inspect of too much":             {inspect([]string{long}, 0, ""), "(limits.message_bytes)"},
		"watch of a NUL":                  {watch("a", "\x00"), "segment 1 of the path holds a NUL"},
		"watch of too much":               {watch(make([]string, 8200)...), "(limits.message_values)"},
	}
	for name, bad := range badRequests {
		calls["lock: "+name] = struct {
			call func(*client.Client) error
			says string
		}{lock(bad.items...), bad.says}
	}
	for name, bad := range calls {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				o := newOthers(b)
				require.ErrorContains(b.t, bad.call(o.shared), bad.says)
				o.areWell()
			})
		})
	}
}

// TestOddArgumentsAreMeant: these look odd, and say what they say.
func TestOddArgumentsAreMeant(t *testing.T) {
	inBubble(t, func(b *bubble) {
		o := newOthers(b)
		for _, items := range [][]client.Item{
			{client.Write("x"), client.Lease(math.MaxInt64)},
			{client.Write("x"), client.Lease(1)},
			{client.Resource{Type: "P", Path: []string{"p"}, Limit: math.MaxUint32}},
		} {
			l, err := o.shared.Lock(background, items...)
			require.NoError(b.t, err)
			require.NoError(b.t, l.Release(background))
		}
		_, err := o.shared.TryLock(background, client.Resource{Type: "read"})
		_, unavailable := errors.AsType[*client.UnavailableError](err)
		require.True(b.t, unavailable, "it is the whole namespace: %v", err)
		far, cancel := context.WithDeadline(background, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
		defer cancel()
		l, err := o.shared.Lock(far, client.Write("x"))
		require.NoError(b.t, err)
		require.NoError(b.t, l.Release(background))
		_, _, err = o.shared.Inspect(background, nil, math.MaxInt32, "9223372036854775807")
		requireRefused(b.t, err, "forgotten")
		o.areWell()
	})
}

// TestWhatIsTooMuchForTheNextServerIsRefused: a request that waits for a connection is measured by the server that it
// leads to.
func TestWhatIsTooMuchForTheNextServerIsRefused(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		c := n.client(client.Options{})
		n.instead(refused)
		n.cut()
		synctest.Wait()
		got := make(chan error, 1)
		go func() {
			_, err := c.Lock(background, client.Write(strings.Repeat("n", 70_000)))
			got <- err
		}()
		synctest.Wait()
		require.Empty(b.t, got)
		n.instead(nil)
		requireRefused(b.t, <-got, "limit")
		connections := n.connections()
		_, _, err := c.Inspect(background, nil, 0, "")
		require.NoError(b.t, err)
		require.Equal(b.t, connections, n.connections(), "it was sent")
		require.Zero(b.t, client.Unanswered(c))
	})
}
