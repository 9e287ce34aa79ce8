//go:build race

package wsnet

// poolMisses is how many buffers a sync.Pool loses in a round of a test: with the race detector it loses
// some on purpose.
const poolMisses = 2
