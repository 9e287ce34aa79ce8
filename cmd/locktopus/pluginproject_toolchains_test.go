//go:build toolchains

package main

import (
	"testing"

	"github.com/locktopus-project/locktopus/v2/internal/example"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk"
)

// TestProjectsInOtherLanguages are those that TestProjectInGo leaves out.
func TestProjectsInOtherLanguages(t *testing.T) {
	for _, language := range sdk.ProjectLanguages() {
		if language != "go" {
			t.Run(language, func(t *testing.T) { tryProject(t, language, example.Path(t)) })
		}
	}
}
