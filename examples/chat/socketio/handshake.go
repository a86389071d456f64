package socketio

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossroom/crossroom/adapter"
)

// handshakeError is the response of Engine.IO servers to a request that opens no connection.
type handshakeError struct {
	status  int
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// The codes are those of Engine.IO: 0 unknown transport, 1 unknown session, 2 bad
// method, 3 bad request, 4 forbidden, 5 unsupported protocol version.
var (
	errTransport = &handshakeError{http.StatusBadRequest, 0, "Transport unknown"}
	errPolling   = &handshakeError{http.StatusBadRequest, 0, `Transport unknown: this server has no HTTP long-polling; set transports: ["websocket"] in the client's options`}
	errSession   = &handshakeError{http.StatusBadRequest, 1, "Session ID unknown"}
	errMethod    = &handshakeError{http.StatusBadRequest, 2, "Bad handshake method"}
	errRequest   = &handshakeError{http.StatusBadRequest, 3, "Bad request: not a WebSocket handshake"}
	errVersion   = &handshakeError{http.StatusBadRequest, 5, "Unsupported protocol version"}
	errShutdown  = &handshakeError{http.StatusServiceUnavailable, 3, "Server shutting down"}
)

func (e *handshakeError) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	// The response is the same for all clients, and pages of other origins should see it.
	h.Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(e.status)
	json.NewEncoder(w).Encode(e)
}

// checkHandshake checks a request in the order of Engine.IO servers.
// https://socket.io/docs/v4/engine-io-protocol/#handshake
func checkHandshake(r *http.Request) *handshakeError {
	query := r.URL.Query()
	switch transport := query.Get("transport"); {
	case transport == "polling":
		return errPolling
	case transport != "websocket":
		return errTransport
	case query.Has("sid"):
		return errSession
	case r.Method != http.MethodGet:
		return errMethod
	case query.Get("EIO") != "4":
		return errVersion
	case r.Header.Get("Upgrade") == "":
		return errRequest
	}
	return nil
}

// open is the payload of Engine.IO's first packet.
type open struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

func openPacket(sid string, o *Options) adapter.Frames {
	text, _ := json.Marshal(open{sid, []string{}, o.PingInterval.Milliseconds(), o.PingTimeout.Milliseconds(), o.MaxPayload})
	return adapter.Frames{Engine: append([]byte{engineOpen}, text...)}
}

// describe returns the description of a request for other nodes.
func describe(r *http.Request) *adapter.Handshake {
	now := time.Now()
	origin, err := url.Parse(r.Header.Get("Origin"))
	return &adapter.Handshake{
		Headers: headers(r), Query: flat(r.URL.Query()), URL: r.URL.RequestURI(),
		Time: now.Format(time.RFC1123), Issued: now.UnixMilli(),
		Address: r.RemoteAddr, Secure: r.TLS != nil,
		XDomain: err == nil && origin.Host != "" && origin.Host != r.Host,
	}
}

// headers returns a request's headers under the names that Node.js gives them.
func headers(r *http.Request) map[string]any {
	m := map[string]any{"host": r.Host}
	for name, value := range flat(r.Header) {
		m[strings.ToLower(name)] = value
	}
	return m
}

// flat replaces lists with one entry by that entry, like Node.js.
func flat(lists map[string][]string) map[string]any {
	m := make(map[string]any, len(lists))
	for k, list := range lists {
		if len(list) == 1 {
			m[k] = list[0]
		} else {
			m[k] = list
		}
	}
	return m
}
