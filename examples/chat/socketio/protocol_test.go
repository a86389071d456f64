package socketio_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/socketio"
)

// The tests of this file follow the test suites of the protocols, case by case. Their cases for HTTP long-polling and
// upgrades get an error here: https://socket.io/docs/v4/engine-io-protocol/#test-suite
// https://socket.io/docs/v4/socket-io-protocol/#test-suite

func TestEngineHandshake(t *testing.T) {
	s := newServer(t, &socketio.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond})
	text, found := strings.CutPrefix(s.dial(t).read(), "0")
	var got map[string]any
	err := json.Unmarshal([]byte(text), &got)
	require.True(t, found, text)
	require.NoError(t, err, text)
	sid, _ := got["sid"].(string)
	upgrades, isList := got["upgrades"].([]any)
	if len(got) != 5 || len(sid) != 20 || !isList || len(upgrades) != 0 || got["pingInterval"] != 300.0 || got["pingTimeout"] != 200.0 || got["maxPayload"] != 1e6 {
		t.Errorf("got %s", text)
	}
}

func TestEngineHandshakeErrors(t *testing.T) {
	s := newServer(t, nil)
	for _, c := range []struct {
		method, query string
		code          int
		message       string
	}{
		{"GET", "?EIO=4&transport=polling", 0, `set transports: ["websocket"]`},
		{"POST", "?EIO=4&transport=polling", 0, "no HTTP long-polling"},
		{"GET", "?EIO=4&transport=abc", 0, "Transport unknown"},
		{"GET", "?EIO=4&transport=constructor", 0, "Transport unknown"},
		{"GET", "?EIO=4", 0, "Transport unknown"},
		{"GET", "?EIO=4&transport=websocket&sid=abc", 1, "Session ID unknown"},
		{"POST", "?EIO=4&transport=websocket", 2, "Bad handshake method"},
		{"PUT", "?EIO=4&transport=websocket", 2, "Bad handshake method"},
		{"GET", "?EIO=4&transport=websocket", 3, "Bad request"},
		{"GET", "?EIO=3&transport=websocket", 5, "Unsupported protocol version"},
		{"GET", "?EIO=abc&transport=websocket", 5, "Unsupported protocol version"},
		{"GET", "?transport=websocket", 5, "Unsupported protocol version"},
	} {
		status, code, message := s.get(t, c.method, c.query)
		assert.Equal(t, http.StatusBadRequest, status, "%s %s", c.method, c.query)
		assert.Equal(t, c.code, code, "%s %s", c.method, c.query)
		assert.Contains(t, message, c.message, "%s %s", c.method, c.query)
	}
	assert.Zero(t, s.Stats().Opened, "connections opened")
}

// Pages of other hosts may connect only if Origins allows them.
func TestOrigins(t *testing.T) {
	s := newServer(t, &socketio.Options{Origins: []string{"friend.example:*"}})
	for origin, ok := range map[string]bool{"": true, "http://127.0.0.1": true, "http://friend.example:80": true, "http://enemy.example": false} {
		ws, res, err := websocket.Dial(t.Context(), "ws://127.0.0.1/socket.io/?EIO=4&transport=websocket",
			&websocket.DialOptions{HTTPClient: s.http.Client(), HTTPHeader: http.Header{"Origin": {origin}}})
		if ok != (err == nil) || !ok && res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %v", origin, err)
		}
		if err == nil {
			ws.CloseNow()
		}
	}
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, &socketio.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond})
		c, _ := s.enter(t)
		began := time.Now()
		for range 3 {
			c.expect("2")
			c.send("3")
		}
		assert.Equal(t, 900*time.Millisecond, time.Since(began), "three pings")
		c.expect("2")
		began = time.Now()
		_, err := c.expectEnd() // this ping is not answered
		took := time.Since(began)
		assert.Equal(t, 200*time.Millisecond, took, "ended after %v: %v", took, err)
		assert.EqualValues(t, -1, websocket.CloseStatus(err), "ended after %v: %v", took, err)
		s.gone(t, socketio.PingTimeout)
	})
}

// A pong without a ping does not delay the end.
func TestUnaskedPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, &socketio.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond})
		c, _ := s.enter(t)
		began := time.Now()
		time.Sleep(299 * time.Millisecond)
		c.send("3")
		c.expect("2")
		assert.Equal(t, 300*time.Millisecond, time.Since(began), "pinged")
		c.expectEnd()
		s.gone(t, socketio.PingTimeout)
	})
}

func TestEngineClose(t *testing.T) {
	s := newServer(t, nil)
	c, _ := s.enter(t)
	c.send("1")
	_, err := c.expectEnd()
	assert.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err), "ended with %v", err)
	s.gone(t, socketio.TransportClose)
}

func TestConnect(t *testing.T) {
	s := newServer(t, nil)
	for _, c := range []struct{ send, prefix, auth string }{
		{"40", "40{", `42["auth",{}]`},
		{`40{"token":"123"}`, "40{", `42["auth",{"token":"123"}]`},
		{"40/,", "40{", `42["auth",{}]`},
		{"40/custom,", "40/custom,{", `42/custom,["auth",{}]`},
		{"40/custom", "40/custom,{", `42/custom,["auth",{}]`},
		{`40/custom,{"token":"abc"}`, "40/custom,{", `42/custom,["auth",{"token":"abc"}]`},
	} {
		client := s.open(t)
		client.send(c.send)
		got := client.read()
		var payload map[string]string
		i := strings.IndexByte(got, '{')
		if i < 0 || got[:i+1] != c.prefix || json.Unmarshal([]byte(got[i:]), &payload) != nil || len(payload) != 1 {
			t.Fatalf("%s: got %s", c.send, got)
		}
		client.expect(c.auth)
		assert.Equal(t, (<-s.connected).ID(), payload["sid"], "%s: got %s", c.send, got)
	}
}

func TestConnectErrors(t *testing.T) {
	s := newServer(t, nil)
	c := s.open(t)
	c.send("40/random")
	c.expect(`44/random,{"message":"Invalid namespace"}`)
	c.send(`40/random,{"token":"123"}`)
	c.expect(`44/random,{"message":"Invalid namespace"}`)
	c.send(`40{"token":"wrong"}`)
	c.expect(`44{"message":"Not authorized"}`)
	c.send(`40/custom,{"token":"wrong"}`)
	c.expect(`44/custom,{"message":"Not authorized"}`)
	c.send("40") // and enter again with the same connection
	got := c.read()
	assert.True(t, strings.HasPrefix(got, `40{"sid"`), "got %s", got)
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, &socketio.Options{ConnectTimeout: time.Second})
		began := time.Now()
		_, err := s.open(t).expectEnd()
		took := time.Since(began)
		assert.Equal(t, time.Second, took, "ended after %v: %v", took, err)
		assert.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err), "ended after %v: %v", took, err)
		// The same for a connection that has left its only namespace.
		c, _ := s.enter(t)
		time.Sleep(5 * time.Second)
		began = time.Now()
		c.send("41")
		c.expectEnd()
		assert.Equal(t, time.Second, time.Since(began), "ended")
	})
}

func TestDisconnect(t *testing.T) {
	s := newServer(t, nil)
	c, socket := s.enter(t)
	require.NoError(t, s.root.Join(t.Context(), socket.ID(), "lobby"))
	c.send("40/custom")
	c.read()
	c.expect(`42/custom,["auth",{}]`)
	c.send("41/custom")
	c.send(`42["message","message to main namespace"]`)
	c.expect(`42["message-back","message to main namespace"]`)
	d := s.gone(t, socketio.ClientDisconnect)
	assert.Equal(t, "/custom", d.socket.Namespace().Name(), "left")
	assert.Len(t, d.rooms, 1, "left")
	c.send("41")
	d = s.gone(t, socketio.ClientDisconnect)
	assert.Same(t, socket, d.socket)
	assert.Len(t, d.rooms, 2)
	// The connection stays, so that the client may enter again.
	c.send("40")
	got := c.read()
	assert.True(t, strings.HasPrefix(got, `40{"sid"`), "got %s", got)
}

func TestMessages(t *testing.T) {
	s := newServer(t, nil)
	c, _ := s.enter(t)
	c.send(`42["message",1,"2",{"3":[true]}]`)
	c.expect(`42["message-back",1,"2",{"3":[true]}]`)

	c.send(`452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	c.attach([]byte{1, 2, 3})
	c.attach([]byte{4, 5, 6})
	c.expect(`452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "b:\x01\x02\x03", "b:\x04\x05\x06")

	c.send(`42456["message-with-ack",1,"2",{"3":[false]}]`)
	c.expect(`43456[1,"2",{"3":[false]}]`)
	c.send(`420["message-with-ack"]`)
	c.expect(`430[]`)

	c.send(`452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	c.attach([]byte{1, 2, 3})
	c.attach(nil)
	c.expect(`462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "b:\x01\x02\x03", "b:")

	// A pong may come between a packet and its attachment.
	c.send(`451-["message",{"_placeholder":true,"num":0}]`)
	c.send("3")
	c.attach([]byte("é"))
	c.expect(`451-["message-back",{"_placeholder":true,"num":0}]`, "b:é")

	c.send(`42["message","é😀",null,1.5,-7,1e300,9007199254740993]`)
	c.expect(`42["message-back","é😀",null,1.5,-7,1e+300,9007199254740993]`)
	c.send(`42["message",{"_placeholder":true,"num":0}]`) // no placeholder in a plain packet
	c.expect(`42["message-back",{"_placeholder":true,"num":0}]`)
	c.send(`42["unheard of"]`)
	c.send(`42["message-with-ack"]`) // without an id: no acknowledgement
	c.send(`42["message"]`)
	c.expect(`42["message-back"]`)
	assert.EqualValues(t, 1, s.Stats().Unhandled, "events unhandled")
}
