//go:build !race

package wsnet

// poolMisses is how many buffers a sync.Pool loses in a round of a test.
const poolMisses = 0
