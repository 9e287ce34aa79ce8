package histories

import (
	"sync"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// kills are when a server was killed.
type kills struct {
	mu sync.Mutex // guards at
	at []oracle.Moment
}

// add notes that it is going to be.
func (k *kills) add(at oracle.Moment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = append(k.at, at)
}

// after is the first one after something that happened with the server that was killed then: what it had was there
// until then, whatever it had promised.
func (k *kills) after(m oracle.Moment) oracle.Moment {
	if k == nil {
		return oracle.Never
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, at := range k.at {
		if at >= m {
			return at
		}
	}
	return oracle.Never
}
