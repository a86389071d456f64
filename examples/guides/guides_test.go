// Package guides has the programs of docs/guides. A test holds the guides to them.
package guides_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGuidesShowWhatRuns: each block of Go in a guide is a part of a file in this
// directory, which is compiled and run.
func TestGuidesShowWhatRuns(t *testing.T) {
	guides, err := filepath.Glob("../../docs/guides/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, guides)
	for _, guide := range guides {
		text, err := os.ReadFile(guide)
		require.NoError(t, err)
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		assert.NotEmpty(t, blocks, "%s has no code", guide)
		source, err := os.ReadFile(strings.TrimSuffix(filepath.Base(guide), ".md") + "_test.go")
		require.NoError(t, err)
		for _, b := range blocks {
			if strings.HasPrefix(b[1], "package main\n") {
				continue // a test runs it as a program of its own
			}
			assert.Contains(t, string(source), b[1], "%s", guide)
		}
	}
}
