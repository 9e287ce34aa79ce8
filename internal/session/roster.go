package session

import "sort"

// roster lists a session's locks in the order of their ids, which is that in which they come. A lock that
// goes leaves a gap, and gaps are closed when there are more of them than locks.
type roster struct {
	list []entry // ids increase
	gaps int
}

type entry struct {
	id   uint64
	lock uint32 // index; 0: a gap
}

const rosterKept = 16 // entries that a roster keeps memory for

func (r *roster) len() int { return len(r.list) - r.gaps }

// search is the place of the first entry whose id isn't below that one.
func (r *roster) search(id uint64) int {
	return sort.Search(len(r.list), func(i int) bool { return r.list[i].id >= id })
}

// find is the lock of an id; 0: there is none.
func (r *roster) find(id uint64) uint32 {
	if i := r.search(id); i < len(r.list) && r.list[i].id == id {
		return r.list[i].lock
	}
	return 0
}

// add puts a lock behind the others.
func (r *roster) add(id uint64, lock uint32) { r.list = append(r.list, entry{id, lock}) }

func (r *roster) remove(id uint64) {
	r.list[r.search(id)].lock = 0
	r.gaps++
	for n := len(r.list); n > 0 && r.list[n-1].lock == 0; n = len(r.list) {
		r.list = r.list[:n-1]
		r.gaps--
	}
	if r.gaps > len(r.list)/2 {
		r.close()
	}
}

// close closes the gaps.
func (r *roster) close() {
	kept := r.list[:0]
	if n := r.len(); cap(r.list) > rosterKept && n < cap(r.list)/4 {
		kept = make([]entry, 0, max(rosterKept, 2*n))
	}
	for _, e := range r.list {
		if e.lock != 0 {
			kept = append(kept, e)
		}
	}
	r.list, r.gaps = kept, 0
}

// first is the lowest entry whose id is above that one; ok is false if there is none.
func (r *roster) first(after uint64) (e entry, ok bool) {
	for i := r.search(after + 1); i < len(r.list); i++ {
		if r.list[i].lock != 0 {
			return r.list[i], true
		}
	}
	return e, false
}
