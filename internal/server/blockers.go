package server

import (
	"bytes"
	"slices"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// shown are those in the way of a client whose paths it may inspect, if there are plugins to say so. The list is
// changed in place. It is empty while a request is still to be done: plugins may be asked nothing then, as
// they hold its paths. The server's own lock is no secret: everybody waits for it.
func (w *worker) shown(conn *connection, list []wire.V2Blocker) []wire.V2Blocker {
	switch {
	case len(list) == 0 || !w.judges():
		return list
	case conn.client == nil || w.effects.Undone:
		return list[:0]
	}
	own := slices.ContainsFunc(list, func(b wire.V2Blocker) bool { return b.House })
	if !own && w.mayInspect(conn, list) {
		return list
	}
	kept, may := list[:0], false
	var last [][]byte // which is often that of the next one, too
	for i := range list {
		if list[i].House {
			kept = append(kept, list[i])
			continue
		}
		if last == nil || !equalPaths(list[i].Path, last) {
			may, last = len(list) > 1 && w.mayInspect(conn, list[i:i+1]), list[i].Path
		}
		if may {
			kept = append(kept, list[i])
		}
	}
	return kept
}

func equalPaths(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// mayInspect has plugins judge whether a client may inspect what is in its way: all of that.
func (w *worker) mayInspect(conn *connection, list []wire.V2Blocker) bool {
	w.resources = w.resources[:0]
	for i := range list {
		w.resources = append(w.resources, engine.Resource{Mode: engine.Read, Path: list[i].Path})
	}
	if v := w.ask(conn, host.Inspect); v.Outcome != host.Allowed {
		return false
	}
	for i := range list {
		if !equalPaths(list[i].Path, w.resources[i].Path) {
			return false // they mean something else by it now
		}
	}
	return true
}
