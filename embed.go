// Package locktopus holds what the repository's root gives to the program: the configuration file
// that is also the table of defaults. The program itself is cmd/locktopus.
package locktopus

import _ "embed"

// ConfigTOML is the repository's config.toml: every setting with its meaning, its range and its
// default. The server decodes it before the operator's file, so what it says is what happens.
//
//go:embed config.toml
var ConfigTOML string
