package interop_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/interop"
)

// TestRedactedHandshakes has each generation that lists handshakes list one that a Go node redacts. It shows it with
// all its fields, and serves the next request.
func TestRedactedHandshakes(t *testing.T) {
	beside(t, []interop.Generation{interop.V6, interop.V7, interop.V8}, redisbroker.Options{}, func(g *guest) {
		g.add(&odd{id: "redacted", describe: func() adapter.Description {
			return adapter.Description{Handshake: &adapter.Handshake{
				URL:     "/socket.io/?token=hush",
				Headers: map[string]any{"cookie": "sid=hush", "authorization": []string{"Basic hush"}, "host": "example.org"},
				Query:   map[string]any{"token": "hush", "page": "plain"},
				Auth:    map[string]any{"token": "hush", "session": map[string]any{"user": "hush"}, "name": "plain"},
			}}
		}}, "red")
		for range 2 {
			list, _ := g.must("fetchSockets", args{"to": []any{"red"}}).([]any)
			require.Len(g, list, 1)
			shown := list[0].(map[string]any)["handshake"].(map[string]any)
			assert.NotContains(g, interop.Text(shown), "hush")
			for name, want := range map[string]any{
				"url": "/socket.io/?token=%5Bredacted%5D", "query": args{"token": "[redacted]", "page": "plain"},
				"headers": args{"cookie": "[redacted]", "authorization": []any{"[redacted]"}, "host": "example.org"},
				"auth":    args{"token": "[redacted]", "session": args{"user": "[redacted]"}, "name": "plain"},
			} {
				assert.Equal(g, interop.Text(want), interop.Text(shown[name]), name)
			}
			assert.Equal(g, []string{"address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"}, slices.Sorted(maps.Keys(shown)))
		}
	})
}
