package hubtest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/hub"
)

// testChurn: many clients come and go, also in the middle of everything.
func testChurn(t *testing.T, glue Glue) {
	var connected, disconnected atomic.Int64
	s := Start(t, 1, hub.Options{
		OnConnect:    func(context.Context, *hub.Conn) error { connected.Add(1); return nil },
		OnDisconnect: func(*hub.Conn, *hub.CloseError) { disconnected.Add(1) },
	}, glue)[0]
	const clients, workers = 600, 16
	var all sync.WaitGroup
	var next atomic.Int64
	for range workers {
		all.Go(func() {
			for i := next.Add(1); i <= clients; i = next.Add(1) {
				c, err := Dial(fmt.Sprintf("%s/?user=u%d&room=a&room=r%d", s.URL, i%7, i))
				if !assert.NoError(t, err) {
					return
				}
				if i%3 == 0 {
					c.Raw(Frame(Fin|CloseFrame, []byte("\x03\xe8")))
				}
				if i%3 == 1 {
					c.Conn.(*net.TCPConn).SetLinger(0) // a reset
				}
				c.Conn.Close()
			}
		})
		all.Go(func() {
			for next.Load() < clients {
				assert.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("x")))
				time.Sleep(time.Millisecond) // gives the others the processor
			}
		})
	}
	all.Wait()
	Until(t, "all are gone", func() bool { st := s.Hub.Stats(); return st.Accepted == clients && st.Sockets == 0 })
	assert.Zero(t, s.Hub.Namespace().Len())
	assert.Empty(t, s.Hub.Namespace().LocalRooms())
	assert.Equal(t, connected.Load(), disconnected.Load())
	closed := uint64(0)
	for _, n := range s.Hub.Stats().Closed {
		closed += n
	}
	assert.Equal(t, uint64(clients), closed)
}

func testKick(t *testing.T, glue Glue) {
	list := Start(t, 2, hub.Options{OnConnect: welcome}, glue)
	a, b := join(t, list[0], "user=eve&room=a"), join(t, list[1], "user=eve")
	stays := join(t, list[1], "user=ada&room=a")
	n, err := list[0].Hub.Kick(t.Context(), hub.User("eve"), 4001, "spam")
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	for _, c := range []*Client{a, b} {
		code, reason := c.Closed()
		assert.Equal(t, 4001, code)
		assert.Equal(t, "spam", reason)
	}
	n, err = list[0].Hub.Kick(t.Context(), hub.Target{}, 4001, "nobody")
	assert.NoError(t, err)
	assert.Zero(t, n)
	require.NoError(t, list[0].Hub.Send(t.Context(), hub.Room("a"), hub.Text("on")))
	assert.Equal(t, "on", stays.Heard(t))
	n, err = list[0].Hub.Kick(t.Context(), hub.Everyone().Local(), 4001, "nobody is here")
	assert.NoError(t, err)
	assert.Zero(t, n)
	_, err = list[0].Hub.Namespace().DisconnectAll(t.Context(), backplane.All(), true)
	require.NoError(t, err)
	code, _ := stays.Closed()
	assert.Equal(t, 1000, code)
}

func testDrain(t *testing.T, glue Glue) {
	list := Start(t, 2, hub.Options{OnConnect: welcome}, glue)
	s, other := list[0], list[1].Hub.Namespace().Node()
	const n = 20
	var codes sync.Map
	var all sync.WaitGroup
	for i := range n {
		c := join(t, s, fmt.Sprintf("user=u%d", i))
		all.Go(func() {
			code, _ := c.Closed()
			codes.Store(i, code)
		})
	}
	assert.Error(t, s.Hub.Drain(t.Context(), 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, s.Hub.Drain(ctx, 0.001), context.Canceled)
	assert.False(t, s.Hub.Namespace().Node().Health().Ready, "no load balancer sends clients")
	Until(t, "the other server knows", func() bool { peers := other.KnownPeers(); return len(peers) == 1 && peers[0].Leaving })
	_, err := Dial(s.URL)
	var refused *Refused
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 503, refused.Status)
	began := time.Now()
	require.NoError(t, s.Hub.Drain(t.Context(), 100))
	assert.GreaterOrEqual(t, time.Since(began), (n-2)*10*time.Millisecond, "the rate")
	all.Wait()
	codes.Range(func(i, code any) bool { return assert.Equal(t, 1012, code, "client %v", i) })
	assert.Equal(t, map[int]uint64{1012: n}, s.Hub.Stats().Closed)
	assert.NoError(t, s.Hub.Drain(t.Context(), 1), "again")
}

// testClose: queued messages come before the close frame, and clients that do not answer it delay nothing for long.
func testClose(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{OnConnect: welcome, CloseTimeout: 300 * time.Millisecond}, glue)[0]
	c, mute := join(t, s, "user=ada"), join(t, s, "user=mute")
	for i := range 100 {
		require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text(fmt.Sprint(i))))
	}
	closed := make(chan error)
	go func() { closed <- s.Hub.Close(context.Background()) }()
	for i := range 100 {
		assert.Equal(t, fmt.Sprint(i), c.Heard(t))
	}
	code, _ := c.Closed()
	assert.Equal(t, 1001, code)
	require.NoError(t, <-closed)
	assert.Equal(t, map[int]uint64{1001: 2}, s.Hub.Stats().Closed)
	assert.NoError(t, s.Hub.Close(t.Context()), "again")
	assert.Error(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("late")))
	code, _ = mute.Closed()
	assert.Equal(t, 1001, code)
	_, err := Dial(s.URL)
	var refused *Refused
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 503, refused.Status)
}
