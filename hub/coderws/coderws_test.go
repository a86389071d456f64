package coderws_test

import (
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/hub/coderws"
	"github.com/crossroom/crossroom/hub/internal/hubtest"
	"github.com/crossroom/crossroom/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestHub(t *testing.T) {
	hubtest.Run(t, func(h *hub.Hub) http.Handler { return coderws.Handler(h, nil) })
}

// TestHubWithCompression: the library writes the messages.
func TestHubWithCompression(t *testing.T) {
	hubtest.Run(t, func(h *hub.Hub) http.Handler {
		return coderws.Handler(h, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	})
}

func TestMemory(t *testing.T) {
	hubtest.RunMemory(t, func(h *hub.Hub) http.Handler { return coderws.Handler(h, nil) })
}
