package session

import (
	"encoding/binary"
	"slices"
	"sort"
	"unsafe"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// watched finds the watches that a change concerns: those of the paths above a resource's by looking each of
// them up, those of the paths below it in the order of keys.
type watched struct {
	groups []*group // in the order of their keys
	byKey  map[pathKey]*group
	depths []int // how many groups have a path of that many segments
	count  int   // watches

	number      uint64    // of the last change
	pending     []*change // that watches are to be given
	pendingSize int64
	lagging     []*watch // were given one too many
	queued      int64    // what watches have to tell, counted for each of them
	size        int64    // of watches and groups
	key         []byte   // scratch
}

// group is the watches of one path.
type group struct {
	key     pathKey
	depth   int
	watches []*watch
}

const (
	watchSize = int64(unsafe.Sizeof(watch{}) + 2*unsafe.Sizeof(&watch{}))
	groupSize = int64(unsafe.Sizeof(group{}) + 6*unsafe.Sizeof(&group{}))
)

func (g *group) size() int64 { return groupSize + int64(len(g.key)) }

// pathKey is a path as one string: each segment behind its length. So a path is above another one exactly when its
// key is the beginning of the other's.
type pathKey string

func appendKey(key []byte, path [][]byte) []byte {
	for _, seg := range path {
		key = binary.BigEndian.AppendUint32(key, uint32(len(seg)))
		key = append(key, seg...)
	}
	return key
}

// meets says whether a path is that of the key, or lies above or below it.
func (k pathKey) meets(path [][]byte) bool {
	for _, seg := range path {
		if k == "" {
			return true
		}
		end := 4 + int(binary.BigEndian.Uint32([]byte(k[:4])))
		if string(k[4:end]) != string(seg) {
			return false
		}
		k = k[end:]
	}
	return true
}

func (w *watched) bytes() int64 { return w.size + w.pendingSize + w.queued }

// below says whether a path is that of a key, or lies below it.
func (k pathKey) below(key []byte) bool {
	return len(k) >= len(key) && string(k[:len(key)]) == string(key)
}

// add puts a watch to those of its path.
func (w *watched) add(x *watch, path [][]byte) {
	w.key = appendKey(w.key[:0], path)
	g := w.byKey[pathKey(w.key)]
	if g == nil {
		g = &group{key: pathKey(w.key), depth: len(path)}
		w.join(g)
	}
	x.group, x.place = g, len(g.watches)
	g.watches = append(g.watches, x)
	w.count++
	w.size += watchSize
}

func (w *watched) join(g *group) {
	if w.byKey == nil {
		w.byKey = map[pathKey]*group{}
	}
	w.byKey[g.key] = g
	w.groups = slices.Insert(w.groups, w.behind([]byte(g.key)), g)
	for len(w.depths) <= g.depth {
		w.depths = append(w.depths, 0)
	}
	w.depths[g.depth]++
	w.size += g.size()
}

// behind is the place of the first group whose key is behind that one.
func (w *watched) behind(key []byte) int {
	return sort.Search(len(w.groups), func(i int) bool { return string(w.groups[i].key) > string(key) })
}

// remove takes a watch away, with what it has to tell, if it wasn't before. When none is left nothing is.
func (w *watched) remove(x *watch) {
	w.queued -= x.size
	x.changes, x.size = nil, 0
	g := x.group
	if g == nil {
		return
	}
	last := len(g.watches) - 1
	g.watches[x.place] = g.watches[last]
	g.watches[x.place].place = x.place
	g.watches[last] = nil
	g.watches, x.group = g.watches[:last], nil
	w.size -= watchSize
	if last == 0 {
		w.part(g)
	}
	if w.count--; w.count == 0 {
		*w = watched{number: w.number}
	}
}

func (w *watched) part(g *group) {
	delete(w.byKey, g.key)
	i := w.behind([]byte(g.key)) - 1
	w.groups = slices.Delete(w.groups, i, i+1)
	w.depths[g.depth]--
	w.size -= g.size()
}

// meeting calls f with the groups of paths above a path, of its own, and of those below, until f says no: then it
// is false.
func (w *watched) meeting(path [][]byte, f func(*group) bool) bool {
	w.key = w.key[:0]
	for d := 0; ; d++ {
		if d < len(w.depths) && w.depths[d] > 0 {
			if g := w.byKey[pathKey(w.key)]; g != nil && !f(g) {
				return false
			}
		}
		if d == len(path) {
			break
		}
		w.key = appendKey(w.key, path[d:d+1])
	}
	for i := w.behind(w.key); i < len(w.groups) && w.groups[i].key.below(w.key); i++ {
		if !f(w.groups[i]) {
			return false
		}
	}
	return true
}

// concerned says whether any watch is concerned by resources.
func (w *watched) concerned(rs []engine.Resource) bool {
	for i := range rs {
		if !w.meeting(rs[i].Path, func(*group) bool { return false }) {
			return true
		}
	}
	return false
}

// each calls f with the watches that a change concerns and that don't know of it yet, each once, and says at how
// many it has looked.
func (w *watched) each(c *change, f func(*watch)) (looks int) {
	for i := range c.seen.Resources {
		looks++
		w.meeting(c.seen.Resources[i].Path, func(g *group) bool {
			looks += 1 + len(g.watches)
			for _, x := range g.watches {
				if x.since < c.number && x.found != c.number {
					x.found = c.number
					f(x)
				}
			}
			return true
		})
	}
	return looks
}

// drop forgets the change that was given to watches.
func (w *watched) drop() {
	w.pendingSize -= w.pending[0].size
	w.pending[0] = nil
	if w.pending = w.pending[1:]; len(w.pending) == 0 {
		w.pending = nil
	}
}
