//go:build !toolchains

package example

// Toolchains says whether all compilers are there.
const Toolchains = false
