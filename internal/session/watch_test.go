package session

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// watcher is what a client knows by a watch: what it was told at first, and all changes since.
type watcher struct {
	told  uint64
	locks map[string]string // what is told of each, by its session and id
}

func looking(op wire.V2Op, id uint64, path [][]byte) Request {
	return with(request(op, id, 0), func(r *Request) { r.Path = path })
}

// printed is what is told of a lock, but for its time.
func printed(l wire.V2Seen) (key, text string) {
	l.SinceMS, l.WaitsFor = wire.V2None, nil
	l.Resources = slices.Clone(l.Resources)
	slices.SortFunc(l.Resources, compareShown)
	return fmt.Sprintf("%s %d", l.Session, l.Lock), string(wire.AppendV2(nil, &wire.V2Message{Locks: []wire.V2Seen{l}}))
}

func compareShown(a, b wire.Resource) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), slices.CompareFunc(a.Path, b.Path, bytes.Compare), cmp.Compare(a.Weight, b.Weight))
}

// beginWatch takes up the answer to a watch.
func (w *twin) beginWatch(c *conn, m *wire.V2Message) {
	if c.watches == nil {
		c.watches = map[uint64]*watcher{}
	}
	x := &watcher{locks: map[string]string{}}
	if old := c.watches[m.ID]; old != nil {
		x.told = old.told
	}
	for _, l := range m.Locks {
		key, text := printed(l)
		x.locks[key] = text
	}
	c.watches[m.ID] = x
}

// follow takes up a change.
func (w *twin) follow(c *conn, m *wire.V2Message) {
	x := c.watches[m.Watch]
	require.NotNil(w.t, x, "a change of a watch that there isn't\n%s", w)
	require.Equal(w.t, x.told+1, m.N, "%s", w)
	x.told++
	require.Len(w.t, m.Locks, 1, "%s\n%s", wire.AppendV2(nil, m), w)
	l := m.Locks[0]
	require.NotEmpty(w.t, l.Resources)
	key, text := printed(l)
	switch before, known := x.locks[key], x.locks[key] != ""; m.Change {
	case wire.V2HasEnded:
		require.True(w.t, known && l.State.End(), "%s\n%s", text, w)
		delete(x.locks, key)
		return
	case wire.V2WasEnqueued:
		require.True(w.t, !known && l.State == wire.V2Enqueued, "%s\n%s", text, w)
	case wire.V2WasUpgrading:
		require.True(w.t, known && l.State == wire.V2Upgrading, "%s\n%s", text, w)
	default:
		require.Equal(w.t, wire.V2Acquired, l.State, "%s", w)
		require.True(w.t, m.Change != wire.V2WasAcquired || before != text, "nothing has changed: %s\n%s", text, w)
	}
	x.locks[key] = text
}

// checkWatches compares what a client knows by its watches with what there is.
func (w *twin) checkWatches(c *conn) {
	if c.model == nil || c.model.conn != c.number || c.model.dead || c.gone {
		return
	}
	require.Len(w.t, c.session.watches, len(c.model.watches), "%s", w)
	for _, x := range c.model.watches {
		var want, got []string
		want = append(want, w.model.seen(x.path)...)
		for _, text := range c.watches[x.id].locks {
			got = append(got, text)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			require.Equal(w.t, want, got, "watch %d of connection %d\n%s", x.id, c.number, w)
		}
	}
}

// Of the model.

func (m *model) watch(s *mSession, r *Request) {
	all := 0
	for _, o := range m.sessions {
		all += len(o.watches)
	}
	known := slices.ContainsFunc(s.watches, func(w mWatch) bool { return w.id == r.ID })
	switch {
	case known:
	case len(s.watches) >= m.limits.Watches:
		m.no(s, r.ID, "limit")
		return
	case all >= m.limits.AllWatches:
		m.no(s, r.ID, "try_later")
		return
	default:
		s.watches = append(s.watches, mWatch{r.ID, r.Path})
	}
	m.tell(s.conn, `{"id":%d,"state":"watching","locks":[%s]}`, r.ID, strings.Join(m.shown(r.Path), ","))
}

// views are the locks at, above and below a path.
func (m *model) views(path [][]byte) (all []wire.V2Seen) {
	for _, r := range m.locks.Alive {
		shown := r.Shown(path)
		if len(shown) == 0 {
			continue
		}
		l := wire.V2Seen{Session: []byte("v1"), Lock: r.Seq, State: wire.V2Enqueued, SinceMS: wire.V2None}
		if r.Acquired {
			l.State, l.Token = wire.V2Acquired, r.Token
		}
		if r.Upgrading {
			l.State = wire.V2Upgrading
		}
		for _, x := range shown {
			l.Resources = append(l.Resources, wire.Resource{Type: wire.Type(x.Mode), Limit: x.Limit, Weight: x.Weight, Path: x.Path})
		}
		slices.SortFunc(l.Resources, compareShown)
		for _, s := range m.sessions {
			for _, o := range s.alive {
				if o.request == r {
					l.Session, l.Lock, l.Note, l.SinceMS = []byte(s.id), o.id, []byte(o.note), m.now-o.since
				}
			}
		}
		all = append(all, l)
	}
	return all
}

// shown is how they are told in an answer.
func (m *model) shown(path [][]byte) (texts []string) {
	for _, l := range m.views(path) {
		text := string(wire.AppendV2(nil, &wire.V2Message{State: wire.V2Inspected, Locks: []wire.V2Seen{l}}))
		texts = append(texts, strings.TrimSuffix(strings.TrimPrefix(text, `{"state":"inspected","locks":[`), `]}`))
	}
	return texts
}

// seen is how they are compared with what a watch has told.
func (m *model) seen(path [][]byte) (texts []string) {
	for _, l := range m.views(path) {
		_, text := printed(l)
		texts = append(texts, text)
	}
	return texts
}

// randomLook inspects, watches or unwatches.
func (p *player) randomLook(r *rand.Rand, k int) {
	c := p.client(k).c
	q := looking(wire.V2Watch, c.nextID, p.randomResource(r).Path)
	switch r.IntN(4) {
	case 0:
		q.Op = wire.V2Inspect
	case 1:
		q.Op, q.Path, q.Watch = wire.V2Unwatch, nil, uint64(r.IntN(int(c.nextID)+1))
		if c.model != nil && len(c.model.watches) > 0 && r.IntN(3) > 0 {
			q.Watch = c.model.watches[0].id
		}
	}
	p.ask(k, q)
}

var _ = engine.Read
