package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/servers"
)

// The test's binary is a Go node of the bridge as well.
func TestMain(m *testing.M) {
	if redis, ok := os.LookupEnv(envBridge); ok {
		if err := bridge(context.Background(), redis, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bridge:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The guide has what the example prints, to the letter.
func TestTranscript(t *testing.T) {
	servers.Binary(t, "node")
	servers.Binary(t, "redis-server")
	if _, err := os.Stat("node/node_modules"); err != nil {
		servers.Missing(t, "npm packages of examples/migration/node", fmt.Errorf("%w; run scripts/setup", err))
	}
	guide, err := os.ReadFile("../../docs/MIGRATION.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(guide), "```text\n")
	want, _, found := strings.Cut(rest, "```\n")
	require.True(t, found, "the guide has no transcript")
	var got strings.Builder
	assert.NoError(t, run(t.Context(), "node", &got))
	assert.Equal(t, strings.TrimSpace(want), strings.TrimSpace(got.String()), "what is printed is not what is in the guide")
}
