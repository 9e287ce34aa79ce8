// Package fuzz holds the fuzz targets that cross packages, with their corpora. README.md lists all targets
// of the repository. There is no code to import; probe and cmd/protocol test a server from outside.
package fuzz
