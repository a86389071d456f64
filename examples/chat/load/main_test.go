package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
	"github.com/crossroom/crossroom/internal/servers"
)

// A short run with few clients, on nodes of both kinds.
func TestShortRun(t *testing.T) {
	redis := servers.StartRedis(t, nil)
	browsertest.Script(t, "server.js")
	for _, kind := range []string{"go", "node"} {
		ok, err := run(t.Context(), options{
			conns: 60, rooms: 6, workers: 2, rate: 100, length: 3 * time.Second,
			broker: redis.URL(), kind: kind, dir: "..",
		})
		if assert.NoError(t, err, kind) {
			assert.True(t, ok, kind)
		}
	}
}
