package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/examples/connect/chat"
	"github.com/crossroom/crossroom/examples/connect/chat/chatconnect"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/servers"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// TestLength: the example is short.
func TestLength(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, len(regexp.MustCompile(`(?m)\S.*$`).FindAll(source, -1)), 100, "lines of main.go that are not empty")
}

// TestChat has clients of each protocol listen to two servers, on memory and on Redis.
func TestChat(t *testing.T) {
	t.Run("memory", func(t *testing.T) { testChat(t, "memory") })
	t.Run("redis", func(t *testing.T) { testChat(t, servers.StartRedis(t, nil).URL()) })
}

func testChat(t *testing.T, address string) {
	list := start(t, address, 2)
	ctx := t.Context()
	streams := map[string]*connect.ServerStreamForClient[chat.Line]{
		"Connect on one":             listen(t, list[0].client(http1(t)), "lobby"),
		"Connect on two":             listen(t, list[1].client(http1(t)), "lobby"),
		"Connect over HTTP/2":        listen(t, list[0].client(http2(t)), "lobby"),
		"gRPC on two":                listen(t, list[1].client(http2(t), connect.WithGRPC()), "lobby"),
		"gRPC-Web on one":            listen(t, list[0].client(http1(t), connect.WithGRPCWeb()), "lobby"),
		"Connect in JSON, on one":    listen(t, list[0].client(http1(t), connect.WithProtoJSON()), "lobby"),
		"another room, on the other": listen(t, list[1].client(http1(t)), "kitchen"),
	}
	said := func(name string) string {
		require.True(t, streams[name].Receive(), "%s: %v", name, streams[name].Err())
		return streams[name].Msg().GetFrom() + ": " + streams[name].Msg().GetText()
	}
	for i, line := range []string{"hello", "Grüße"} {
		_, err := list[i].client(http1(t)).Say(ctx, connect.NewRequest(&chat.Line{Room: "lobby", From: "ada", Text: line}))
		require.NoError(t, err)
		for name := range streams {
			if name != "another room, on the other" {
				assert.Equal(t, "ada: "+line, said(name), name)
			}
		}
	}
	_, err := list[0].client(http1(t)).Say(ctx, connect.NewRequest(&chat.Line{Room: "kitchen", From: "bob", Text: "tea?"}))
	require.NoError(t, err)
	assert.Equal(t, "bob: tea?", said("another room, on the other"), "and nothing of the lobby")

	// A client leaves, and the others are sent to another server.
	require.NoError(t, streams["another room, on the other"].Close())
	delete(streams, "another room, on the other")
	require.Eventually(t, func() bool { return list[1].ns.Len() == 2 }, 30*time.Second, 5*time.Millisecond)
	n, err := list[0].ns.DisconnectAll(ctx, backplane.All(), true)
	require.NoError(t, err)
	assert.Equal(t, 6, n.Total)
	for name, s := range streams {
		assert.False(t, s.Receive(), name)
		assert.Equal(t, connect.CodeUnavailable, connect.CodeOf(s.Err()), "%s: %v", name, s.Err())
		s.Close()
	}
	assert.Zero(t, list[0].ns.Len()+list[1].ns.Len())

	s, err := list[0].client(http1(t)).Listen(ctx, connect.NewRequest(&chat.ListenRequest{Room: strings.Repeat("x", 5000)}))
	require.NoError(t, err)
	assert.False(t, s.Receive(), "no line says that the stream is in the room")
	assert.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(s.Err()), "a room that cannot be: %v", s.Err())
	s.Close()
	_, err = list[0].client(http1(t)).Say(ctx, connect.NewRequest(&chat.Line{Room: "lobby", Text: strings.Repeat("x", 100_000)}))
	assert.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err), "a line that is too long: %v", err)
}

// TestSlowClient: the stream of a client that does not read ends, and costs the others nothing.
func TestSlowClient(t *testing.T) {
	for name, transport := range map[string]func(*testing.T) *http.Client{"HTTP/1.1": http1, "HTTP/2": http2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, "memory", 1)[0]
			plain := connect.WithAcceptCompression("gzip", nil, nil) // removes it
			slow, fast := listen(t, s.client(transport(t), plain), "lobby"), listen(t, s.client(transport(t), plain), "lobby")
			say := s.client(http1(t))
			text := strings.Repeat("x", 60_000)
			for i := 0; s.ns.Len() == 2; i++ {
				require.Less(t, i, 1000, "messages for a client that never reads")
				_, err := say.Say(t.Context(), connect.NewRequest(&chat.Line{Room: "lobby", Text: text}))
				require.NoError(t, err)
				require.True(t, fast.Receive(), "%v", fast.Err())
			}
			_, err := say.Say(t.Context(), connect.NewRequest(&chat.Line{Room: "lobby", Text: "on"}))
			require.NoError(t, err)
			require.True(t, fast.Receive(), "%v", fast.Err())
			assert.Equal(t, "on", fast.Msg().GetText())
			for slow.Receive() { // what was sent before
			}
			assert.Error(t, slow.Err())
		})
	}
}

type server struct {
	ns  *backplane.Namespace
	url string
}

func (s server) client(c *http.Client, opts ...connect.ClientOption) chatconnect.ChatClient {
	return chatconnect.NewChatClient(c, s.url, opts...)
}

// listen returns when the stream is in the room.
func listen(t *testing.T, c chatconnect.ChatClient, room string) *connect.ServerStreamForClient[chat.Line] {
	t.Helper()
	s, err := c.Listen(t.Context(), connect.NewRequest(&chat.ListenRequest{Room: room}))
	require.NoError(t, err)
	require.True(t, s.Receive(), "%v", s.Err())
	require.Empty(t, s.Msg().GetText())
	return s
}

func start(t *testing.T, address string, n int) (list []server) {
	system, err := dial.New(address, nil)
	require.NoError(t, err)
	for range n {
		b, err := system.Broker()
		require.NoError(t, err)
		ns, handler := newServer(t.Context(), b)
		web := httptest.NewUnstartedServer(handler)
		web.Config.Protocols = new(http.Protocols)
		web.Config.Protocols.SetHTTP1(true)
		web.Config.Protocols.SetUnencryptedHTTP2(true)
		web.Start()
		list = append(list, server{ns, web.URL})
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := ns.DisconnectAll(ctx, backplane.All().Local(), true)
			assert.NoError(t, err)
			web.CloseClientConnections()
			web.Close()
			assert.NoError(t, ns.Node().Close(ctx))
			assert.NoError(t, b.Close(ctx))
		})
	}
	return list
}

func http1(t *testing.T) *http.Client { return over(t, (*http.Protocols).SetHTTP1) }
func http2(t *testing.T) *http.Client { return over(t, (*http.Protocols).SetUnencryptedHTTP2) }

func over(t *testing.T, set func(*http.Protocols, bool)) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	set(transport.Protocols, true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
