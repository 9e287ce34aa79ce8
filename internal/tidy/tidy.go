// Package tidy holds tests of the repository itself: who may import whom, what may not be written,
// how long a function may be, what the documents must name. It has no code to run.
package tidy
