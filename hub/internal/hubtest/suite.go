package hubtest

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/hub"
)

// Run runs the tests on a glue.
func Run(t *testing.T, glue Glue) {
	for name, test := range map[string]func(*testing.T, Glue){
		"targets": testTargets, "rooms": testRooms, "acknowledgements": testAcks, "kinds of messages": testKinds,
		"refusals": testRefusals, "rules": testRules, "slow client": testSlowClient, "unresponsive client": testUnresponsive,
		"idle client": testIdle, "slow handshake": testSlowHandshake, "coming and going": testChurn, "drain": testDrain,
		"close": testClose, "callbacks": testCallbacks, "frames stay whole": testFramesStayWhole, "kick": testKick,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, glue)
		})
	}
}

// welcome greets each connection, so that a client knows when messages reach it.
func welcome(_ context.Context, c *hub.Conn) error { return c.Send(hub.Text("welcome " + c.User())) }

// join connects a client and waits for its welcome.
func join(t testing.TB, s *Server, query string) *Client {
	t.Helper()
	c := MustDial(t, s.URL+"/?"+query)
	require.True(t, strings.HasPrefix(c.Heard(t), "welcome "))
	return c
}

func testCallbacks(t *testing.T, glue Glue) {
	var reports atomic.Int64
	conns := make(chan *hub.Conn, 1)
	gone := make(chan *hub.CloseError, 1)
	s := Start(t, 1, hub.Options{
		OnConnect: func(ctx context.Context, c *hub.Conn) error {
			switch c.User() {
			case "panic":
				panic("bug")
			case "banned":
				return &hub.CloseError{Code: 4000, Reason: "banned"}
			}
			conns <- c
			return welcome(ctx, c)
		},
		OnMessage: func(ctx context.Context, c *hub.Conn, _ hub.Message) error {
			<-ctx.Done() // a handler that hangs ends with its connection
			panic("late bug")
		},
		OnDisconnect: func(c *hub.Conn, reason *hub.CloseError) {
			if c.User() == "ada" {
				gone <- reason
				panic("again")
			}
		},
		OnError: func(err error) {
			if !strings.Contains(err.Error(), "panicked") {
				t.Errorf("reported: %v", err)
			}
			reports.Add(1)
		},
	}, glue)[0]
	for user, want := range map[string]int{"panic": 1011, "banned": 4000} {
		code, _ := MustDial(t, s.URL+"/?user="+user).Closed()
		assert.Equal(t, want, code, user)
	}
	client := join(t, s, "user=ada&value=v&room=a")
	c := <-conns
	assert.Equal(t, "ada", c.User())
	assert.Equal(t, "v", c.Value())
	assert.Same(t, s.Hub, c.Hub())
	assert.Equal(t, []string{"a"}, c.Rooms())
	require.NoError(t, c.SendJSON([]int{1}))
	assert.Equal(t, "[1]", client.Heard(t))
	var bad *hub.MessageError
	assert.ErrorAs(t, c.Send(hub.Text("\xff")), &bad)
	require.NoError(t, client.Say("hang"))
	Until(t, "the handler hangs", func() bool { return s.Hub.Stats().Received == 1 })
	c.Close(4001, "enough")
	code, reason := client.Closed()
	assert.Equal(t, 4001, code)
	assert.Equal(t, "enough", reason)
	assert.Equal(t, 4001, (<-gone).Code)
	Until(t, "all are gone", func() bool { return s.Hub.Stats().Sockets == 0 })
	assert.ErrorIs(t, c.Send(hub.Text("late")), hub.ErrDropped)
	assert.False(t, c.Ack("x", nil))
	assert.Empty(t, c.Rooms())
	var why *hub.CloseError
	assert.ErrorAs(t, context.Cause(c.Context()), &why)
	c.Close(1000, "twice")
	assert.Equal(t, uint64(3), s.Hub.Stats().Panics)
	Until(t, "a panic after the end is reported too", func() bool { return reports.Load() == 3 })
}
