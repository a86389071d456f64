package hubtest

import (
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/outgoing"
)

// testSlowClient: a client that never reads is broken off, whatever it costs the others nothing.
func testSlowClient(t *testing.T, glue Glue) {
	var reason atomic.Pointer[hub.CloseError]
	s := Start(t, 1, hub.Options{
		OnConnect: welcome, Queue: outgoing.Options{MaxMessages: 8},
		OnDisconnect: func(c *hub.Conn, why *hub.CloseError) {
			if c.User() == "slow" {
				reason.Store(why)
			}
		},
	}, glue)[0]
	slow := join(t, s, "user=slow")
	slow.Conn.(*net.TCPConn).SetReadBuffer(4096)
	fast := join(t, s, "user=fast")
	big := hub.Binary(make([]byte, 200_000))
	for i := 0; reason.Load() == nil; i++ {
		require.Less(t, i, 1000, "messages for a client that never reads")
		require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), big))
		require.Len(t, fast.Heard(t), len(big.Data))
	}
	assert.Equal(t, 1008, reason.Load().Code)
	assert.ErrorIs(t, reason.Load(), outgoing.ErrFull)
	Until(t, "the slow one is gone", func() bool { return s.Hub.Stats().Sockets == 1 })
	assert.Equal(t, uint64(1), s.Hub.Stats().Dropped)
	assert.Equal(t, map[int]uint64{1008: 1}, s.Hub.Stats().Closed)
	require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("on")))
	assert.Equal(t, "on", fast.Heard(t))
}

func testUnresponsive(t *testing.T, glue Glue) {
	reasons := make(chan *hub.CloseError, 2)
	s := Start(t, 1, hub.Options{
		OnConnect: welcome, PingInterval: 20 * time.Millisecond, PingTimeout: 300 * time.Millisecond,
		OnDisconnect: func(c *hub.Conn, why *hub.CloseError) {
			if c.User() == "asleep" {
				reasons <- why
			}
		},
	}, glue)[0]
	awake := join(t, s, "user=awake")
	pinged := make(chan string, 1)
	go func() { // answers pings until it hears something
		_, payload, err := awake.Next()
		pinged <- fmt.Sprintf("%s %v", payload, err)
	}()
	join(t, s, "user=asleep") // answers no ping
	why := <-reasons
	assert.Equal(t, 1006, why.Code)
	assert.ErrorIs(t, why, hub.ErrUnresponsive)
	require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("still there?")))
	assert.Equal(t, "still there? <nil>", <-pinged)
}

func testIdle(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{OnConnect: welcome, IdleTimeout: 60 * time.Millisecond}, glue)[0]
	code, reason := join(t, s, "user=ada").Closed()
	assert.Equal(t, 1000, code)
	assert.Equal(t, "idle", reason)
}

// testSlowHandshake: the web server's ReadHeaderTimeout ends handshakes that take for ever.
func testSlowHandshake(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{OnConnect: welcome}, glue)[0]
	web := httptest.NewUnstartedServer(glue(s.Hub))
	web.Config.ReadHeaderTimeout = 50 * time.Millisecond
	web.Start()
	defer web.Close()
	var conns []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: webs"))
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.SetReadDeadline(time.Now().Add(patience))
		_, err := conn.Read(make([]byte, 1))
		var timeout net.Error
		assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the server keeps it")
	}
	assert.Zero(t, s.Hub.Stats().Accepted)
	c := MustDial(t, web.URL+"/?user=ada") // deadlines of the handshake do not end the connection
	assert.Equal(t, "welcome ada", c.Heard(t))
	time.Sleep(100 * time.Millisecond) // longer than the deadline: what must not happen is the end
	require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("on")))
	assert.Equal(t, "on", c.Heard(t))
}
