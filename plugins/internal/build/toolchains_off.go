//go:build !toolchains

package build

// Toolchains says whether all compilers are there.
const Toolchains = false
