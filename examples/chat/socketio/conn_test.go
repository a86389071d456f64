package socketio

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
)

// A server that closes while a client's handshake is under way says only goodbye.
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
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if _, b, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %q, %v", b, err)
	}
	<-served
}
