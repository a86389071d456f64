package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

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
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(guide), "```text\n")
	want, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("the guide has no transcript")
	}
	var got strings.Builder
	if err := run(t.Context(), "node", &got); err != nil {
		t.Error(err)
	}
	if strings.TrimSpace(got.String()) != strings.TrimSpace(want) {
		t.Errorf("printed:\n%s\nin the guide:\n%s", &got, want)
	}
}
