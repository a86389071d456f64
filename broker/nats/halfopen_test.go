package natsbroker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// publishFor publishes 2,000 messages a second for the given duration.
func publishFor(t *testing.T, b broker.Broker, d time.Duration) {
	t.Helper()
	began, sent := time.Now(), 0
	for time.Since(began) < d {
		for due := int(time.Since(began) * 2000 / time.Second); sent < due; sent++ {
			require.NoError(t, b.Publish(context.Background(), room, []byte("x")))
		}
		time.Sleep(time.Millisecond)
	}
}

// TestHalfOpenLinkHoldsMessages: on a half-open link, messages are held back after about 250 milliseconds, with the
// default options. Messages written before that are uncertain. The others are sent over the next connection.
func TestHalfOpenLinkHoldsMessages(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	link := tcpproxy.Start(t, srv.Addr())
	b := open(t, link.Addr(), nil)
	losses := watchLosses(t, b)
	publishFor(t, b, 500*time.Millisecond)
	flush(t, b)
	sent := b.Stats().Sent
	link.HalfOpen()
	publishFor(t, b, 2*time.Second)
	link.Heal()
	link.Disconnect()
	eventually(t, func() error { return b.Flush(within(t, patience)) })
	s := balanced(t, b, losses)
	t.Logf("%d messages were published on the dead link in 2 s: %d uncertain, %d lost", s.Accepted-sent, s.Uncertain, s.Lost)
	require.Zero(t, s.Lost)
	require.NotZero(t, s.Uncertain)
	require.Less(t, s.Uncertain, uint64(1200), "in about 600 ms, on a busy machine")
	require.Greater(t, s.Accepted-sent, uint64(3000))
}

// TestSlowLinkStays: a link with a long delay is neither closed nor slowed down permanently.
func TestSlowLinkStays(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	link := tcpproxy.Start(t, srv.Addr())
	b := open(t, link.Addr(), nil)
	losses := watchLosses(t, b)
	flush(t, b)
	link.Delay(400 * time.Millisecond)
	publishFor(t, b, 1500*time.Millisecond)
	flush(t, b)
	s := balanced(t, b, losses)
	require.Zero(t, s.Uncertain+s.Lost+s.Interruptions, "%+v", s)
	require.EqualValues(t, 1, link.Accepted(), "connections")
}
