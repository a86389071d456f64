package adapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// confidential is a handshake in which each credential contains "hush", and all else contains "plain" or is short.
func confidential() *adapter.Handshake {
	return &adapter.Handshake{
		URL: "/socket.io/?EIO=4&token=hush&next=%2Fplain%3Faccess_token%3Dhush#id_token=hush",
		Headers: map[string]any{
			"cookie": "sid=hush", "Authorization": "Basic hush", "proxy-authorization": "Bearer hush", "x-api-key": "hush",
			"X_API_KEY": []string{"hush", "hush"}, "x-auth-token": "hush", "x-csrf-token": "hush", "set-cookie": []any{"hush"},
			"sec-websocket-protocol": "plain, hush", "x-forwarded-client-cert": "hush", "cf-access-jwt-assertion": "hush",
			"referer": "https://ann:hush@example.org/plain?a=plain&jwt=hush", "x-other": "bearer hush",
			"x-third": "eyJhbGciOiJub25lIn0.eyJodXNoIjoxfQ.hush", "user-agent": "plain", "host": "example.org",
		},
		Query: map[string]any{
			"token": "hush", "access_token": []string{"hush"}, "Sid": "hush", "code": "hush", "key": "hush", "EIO": "4",
			"page": "plain", "to": "https://example.org/?apikey=hush",
		},
		Auth: map[string]any{
			"token": "hush", "name": "plain", "pin": 5417, "user": struct{ Password string }{"hush"},
			"session": map[string]any{"deep": []any{"hush", 5417, true, nil}},
			"list":    []map[string]string{{"refreshToken": "hush", "colour": "plain"}},
		},
	}
}

func TestRedactCredentials(t *testing.T) {
	h := confidential()
	before := confidential()
	headers, query := maps.Clone(h.Headers), maps.Clone(h.Query)
	adapter.RedactCredentials(h)
	text, err := json.Marshal(h)
	ok(t, err)
	assert.NotContains(t, string(text), "hush")
	assert.NotContains(t, string(text), "5417")
	assert.Equal(t, headers, before.Headers, "the application's map")
	assert.Equal(t, query, before.Query, "the application's map")
	for name := range before.Headers {
		assert.Contains(t, h.Headers, name)
	}
	for name := range before.Query {
		assert.Contains(t, h.Query, name)
	}
	assert.Equal(t, "/socket.io/?EIO=4&token=%5Bredacted%5D&next=%5Bredacted%5D#id_token=%5Bredacted%5D", h.URL)
	assert.Equal(t, "https://[redacted]@example.org/plain?a=plain&jwt=%5Bredacted%5D", h.Headers["referer"])
	assert.Equal(t, "plain", h.Headers["user-agent"])
	assert.Equal(t, []string{adapter.Redacted, adapter.Redacted}, h.Headers["X_API_KEY"])
	assert.Equal(t, "4", h.Query["EIO"])
	auth := h.Auth.(map[string]any)
	assert.Equal(t, "plain", auth["name"])
	assert.Equal(t, map[string]any{"deep": []any{adapter.Redacted, adapter.Redacted, true, nil}}, auth["session"])

	h = confidential()
	adapter.RedactCredentials(h, "Cookie", "access-token", "password")
	assert.Equal(t, "sid=hush", h.Headers["cookie"], "kept")
	assert.Equal(t, []string{"hush"}, h.Query["access_token"], "kept")
	assert.Equal(t, "hush", h.Auth.(map[string]any)["user"].(map[string]any)["Password"], "kept")
	assert.Equal(t, adapter.Redacted, h.Query["token"])
}

// An Auth need not be an object, and may be one that cannot be encoded.
func TestRedactAuth(t *testing.T) {
	for _, auth := range []any{"hush", json.RawMessage(`"hush"`), json.RawMessage(`{"token":"hush"}`), json.RawMessage(`["eyJhIjoxfQ.hush.x"]`),
		&struct{ Token string }{"hush"}, map[string]string{"secret": "hush"}, []string{"Bearer hush"}, json.Number("5417"), 5417.5} {
		h := &adapter.Handshake{Auth: auth}
		adapter.RedactCredentials(h)
		text, err := json.Marshal(h.Auth)
		ok(t, err)
		assert.NotContains(t, string(text), "hush", "%v", auth)
		assert.NotContains(t, string(text), "5417", "%v", auth)
	}
	h := &adapter.Handshake{Auth: map[string]any{"token": func() {}}}
	adapter.RedactCredentials(h)
	_, err := json.Marshal(h.Auth)
	require.Error(t, err, "so that it is reported")
	long := strings.Repeat("/?a=", 1<<20)
	h = &adapter.Handshake{URL: long, Query: map[string]any{"a": long}}
	adapter.RedactCredentials(h)
	assert.Equal(t, &adapter.Handshake{URL: adapter.Redacted, Query: map[string]any{"a": adapter.Redacted}}, h)
}

// A request of 71 bytes returned the credentials of all clients.
func TestCredentialsStay(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	about := adapter.Description{Handshake: confidential()}
	nodes[1].addSocket(t, &talker{socket: newSocket("s"), about: about})
	for _, n := range nodes {
		got, err := n.ns.All().FetchSockets(t.Context())
		ok(t, err)
		require.Len(t, got.List, 1)
		assert.NotContains(t, string(got.List[0].Handshake), "hush")
		assert.Contains(t, string(got.List[0].Handshake), "plain")
	}
	assert.Equal(t, confidential(), about.Handshake, "the application's handshake")
}

func TestRedactOption(t *testing.T) {
	list := func(redact func(*adapter.Handshake)) string {
		n := newNode(t, memorybroker.NewBus(nil), adapter.Options{Redact: redact})
		n.addSocket(t, &talker{socket: newSocket("s"), about: adapter.Description{Handshake: confidential()}})
		got, err := n.ns.All().FetchSockets(t.Context())
		ok(t, err)
		return string(got.List[0].Handshake)
	}
	whole := list(func(*adapter.Handshake) {})
	assert.Contains(t, whole, "sid=hush")
	assert.Contains(t, whole, "5417")
	more := list(func(h *adapter.Handshake) { h.Headers, h.Query, h.Auth, h.URL, h.Address = nil, nil, nil, "", "" })
	assert.NotContains(t, more, "plain")
	assert.Contains(t, more, `"headers":{}`, "Node.js applications look into it")
	assert.Empty(t, list(func(*adapter.Handshake) { panic("no") }), "nothing is sent")
}

func ExampleRedactCredentials() {
	bus := memorybroker.NewBus(nil)
	server, err := adapter.New(bus.Broker(), &adapter.Options{Redact: func(h *adapter.Handshake) {
		adapter.RedactCredentials(h, "x-session-colour") // its name looks like a credential
		h.Address = ""
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close(context.Background())

	h := &adapter.Handshake{Query: map[string]any{"access_token": "s3cr3t", "page": "news"}}
	adapter.RedactCredentials(h)
	for _, name := range slices.Sorted(maps.Keys(h.Query)) {
		fmt.Println(name, h.Query[name])
	}
	// Output:
	// access_token [redacted]
	// page news
}
