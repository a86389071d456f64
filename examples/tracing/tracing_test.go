package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/servers"
)

// TestExample runs the fleet and checks that the trace has everything that the picture shows.
func TestExample(t *testing.T) {
	servers.Binary(t, "node")
	servers.Binary(t, "redis-server")
	if _, err := os.Stat("node/node_modules"); err != nil {
		servers.Missing(t, "npm packages of examples/tracing/node", fmt.Errorf("%w; run scripts/setup", err))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "trace.jsonl")
	id, err := run(ctx, file, "", "node")
	require.NoError(t, err)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	type keyValue struct {
		Key   string
		Value struct{ StringValue string }
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		var export struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes []keyValue }
				ScopeSpans []struct {
					Spans []struct{ TraceID, Name string }
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(line), &export))
		for _, r := range export.ResourceSpans {
			i := slices.IndexFunc(r.Resource.Attributes, func(kv keyValue) bool { return kv.Key == "service.name" })
			for _, s := range r.ScopeSpans {
				for _, span := range s.Spans {
					if span.TraceID == id.String() {
						got = append(got, r.Resource.Attributes[i].Value.StringValue+" "+span.Name)
					}
				}
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"courier-node deliver /shop#{room}", "courier-node publish /shop#{room}",
		"web-1 POST /orders", "web-1 deliver /shop#{room}", "web-1 publish /shop#{room}", "web-1 publish /shop#{room}", "web-1 query members /shop",
		"web-2 answer members /shop", "web-2 deliver /shop#{room}", "web-2 deliver /shop#{room}", "web-2 deliver /shop#{room}",
	}
	assert.Equal(t, want, got)
}
