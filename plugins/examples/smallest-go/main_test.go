package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnEmptyQuestionIsDenied calls the hook as it is, where there is no server.
func TestAnEmptyQuestionIsDenied(t *testing.T) {
	const deny = 2
	require.EqualValues(t, deny, authorize(64)&0xff)
}
