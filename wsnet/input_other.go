//go:build !unix

package wsnet

const canAttend = false

// attempt is never called on this system.
func (in *input) attempt(uintptr) bool { panic("wsnet: attempt without readiness") }
