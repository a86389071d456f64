package socketio

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server that closes during a client's handshake sends only a farewell.
func TestEndBeforeServe(t *testing.T) {
	s := New(nil)
	served := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		c := newConn(s, r)
		c.end(ServerShutdown, websocket.StatusGoingAway, "bye")
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c.serve(ws)
	}))
	defer web.Close()
	ws, _, err := websocket.Dial(t.Context(), web.URL, nil)
	require.NoError(t, err)
	defer ws.CloseNow()
	_, b, err := ws.Read(t.Context())
	assert.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err), "got %q, %v", b, err)
	<-served
}
