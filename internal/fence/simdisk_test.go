package fence

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
)

// simDisk is a file system in memory that can fail at any step and forgets, when its power is cut,
// what wasn't synced: the content of files, and which names a directory has.
type simDisk struct {
	mu    sync.Mutex
	names map[string]*simFile // as the process sees them; a directory is a nil file
	safe  map[string]*simFile // durable
	dirty []entry             // changes of names since, oldest first
	locks map[string]bool

	steps int
	// fault decides on each step: what happens instead, if anything. Nil: nothing does.
	fault func(step int, op string) outcome
	dead  bool          // the process has crashed: nothing it does has an effect any more
	hang  chan struct{} // if there: Sync waits until it is closed
	says  error         // what a step that fails ends in; nil: errFault
}

// entry is a change of one directory: a name set, or removed, and another name removed with it.
type entry struct {
	name   string
	file   *simFile
	gone   bool
	source string // of a rename: removed in the same step
}

type simFile struct {
	content, synced string
}

type outcome uint8

const (
	works outcome = iota
	failsBefore
	failsAfter // the step is done and reported as failed
	crashBefore
	crashAfter
	outcomes
)

var (
	errFault   = errors.New("simulated fault")
	errCrashed = errors.New("the process has crashed")
)

func newSimDisk() *simDisk {
	root := map[string]*simFile{"/": nil}
	return &simDisk{names: root, safe: maps.Clone(root), locks: map[string]bool{}}
}

// do makes one step, unless it fails or the process dies at it.
func (d *simDisk) do(op string, act func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errCrashed
	}
	what := works
	if d.fault != nil {
		what = d.fault(d.steps, op)
	}
	d.steps++
	d.dead = what == crashBefore || what == crashAfter
	switch what {
	case failsBefore:
		return cmp.Or(d.says, errFault)
	case crashBefore:
		return errCrashed
	}
	err := act()
	if err == nil && what != works {
		err = cmp.Or(d.says, errFault)
	}
	return err
}

func (d *simDisk) change(e entry) {
	apply(d.names, e)
	d.dirty = append(d.dirty, e)
}

func apply(names map[string]*simFile, e entry) {
	delete(names, e.source)
	if e.gone {
		delete(names, e.name)
	} else {
		names[e.name] = e.file
	}
}

func (d *simDisk) Mkdir(dir string) error {
	return d.do("mkdir", func() error {
		if _, ok := d.names[dir]; ok {
			return fs.ErrExist
		}
		if _, ok := d.names[path.Dir(dir)]; !ok {
			return fs.ErrNotExist
		}
		d.change(entry{name: dir})
		return nil
	})
}

func (d *simDisk) ReadFile(name string) (content []byte, err error) {
	err = d.do("read", func() error {
		f := d.names[name]
		if f == nil {
			return fs.ErrNotExist
		}
		content = []byte(f.content)
		return nil
	})
	return content, err
}

func (d *simDisk) Create(name string) (f file, err error) {
	err = d.do("create", func() error {
		if _, ok := d.names[name]; ok {
			return fs.ErrExist
		}
		made := &simFile{}
		d.change(entry{name: name, file: made})
		f = &simHandle{d, made}
		return nil
	})
	return f, err
}

func (d *simDisk) Remove(name string) error {
	return d.do("remove", func() error {
		if _, ok := d.names[name]; !ok {
			return fs.ErrNotExist
		}
		d.change(entry{name: name, gone: true})
		return nil
	})
}

func (d *simDisk) Rename(from, to string) error {
	return d.do("rename", func() error {
		f, ok := d.names[from]
		if !ok {
			return fs.ErrNotExist
		}
		d.change(entry{name: to, file: f, source: from})
		return nil
	})
}

func (d *simDisk) SyncDir(dir string) error {
	return d.do("syncdir", func() error {
		var rest []entry
		for _, e := range d.dirty {
			if path.Dir(e.name) == dir {
				apply(d.safe, e)
			} else {
				rest = append(rest, e)
			}
		}
		d.dirty = rest
		return nil
	})
}

func (d *simDisk) Lock(name string) (l lock, err error) {
	err = d.do("lock", func() error {
		if d.locks[name] {
			return heldError{pid: "7"}
		}
		d.locks[name] = true
		l = simLock{d, name}
		return nil
	})
	return l, err
}

type simLock struct {
	d    *simDisk
	name string
}

func (l simLock) Check() error { return l.d.do("check", func() error { return nil }) }

func (l simLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	delete(l.d.locks, l.name)
	return nil
}

type simHandle struct {
	d *simDisk
	f *simFile
}

func (h *simHandle) Write(b []byte) (n int, err error) {
	err = h.d.do("write", func() error {
		h.f.content += string(b)
		n = len(b)
		return nil
	})
	return n, err
}

func (h *simHandle) Sync() error {
	h.d.mu.Lock()
	hang := h.d.hang
	h.d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return h.d.do("sync", func() error {
		h.f.synced = h.f.content
		return nil
	})
}

func (h *simHandle) Close() error { return h.d.do("close", func() error { return nil }) }

// reboot is the disk as the next process finds it. If the process alone has died, it is as it was.
// If the power was cut, the synced names and contents are there, and of the rest what chance left.
func (d *simDisk) reboot(power bool, rng *rand.Rand) *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newSimDisk()
	if !power {
		next.names, next.safe = maps.Clone(d.names), maps.Clone(d.safe)
		next.dirty = slices.Clone(d.dirty)
		return next
	}
	next.names = maps.Clone(d.safe)
	lost := rng.IntN(3) // nothing, all, or each by chance
	for _, e := range d.dirty {
		if lost == 0 || lost == 2 && rng.IntN(2) == 0 {
			apply(next.names, e)
		}
	}
	for name, f := range next.names {
		if f != nil {
			content := f.synced
			if f.content != f.synced {
				content = torn(f.content, rng)
			}
			next.names[name] = &simFile{content, content}
		}
	}
	next.safe = maps.Clone(next.names)
	return next
}

// torn is what may be left of content that was never synced.
func torn(content string, rng *rand.Rand) string {
	n := rng.IntN(len(content) + 1)
	switch rng.IntN(3) {
	case 0:
		return content[:n]
	case 1:
		return content[:n] + strings.Repeat("\x00", len(content)-n)
	}
	return content
}
