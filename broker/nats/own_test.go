package natsbroker_test

import (
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/servers"
)

// joining is a receiver that wants messages for a room from the first request on.
type joining struct {
	*recorder
	in atomic.Bool
}

func (j *joining) Deliver(ch broker.Channel, payload []byte) {
	if ch.Kind() == broker.KindRequests {
		j.in.Store(true)
	}
	j.recorder.Deliver(ch, payload)
}

func (j *joining) Wants(broker.Channel) bool { return j.in.Load() }

// TestOwnRequestBeforeOwnMessage: a request of this broker that makes a member join a room takes effect
// before its next message, although both are delivered only after the server's confirmation (B26).
func TestOwnRequestBeforeOwnMessage(t *testing.T) {
	t.Parallel()
	b := open(t, servers.StartNATS(t, nil).URL(), quick())
	j := &joining{recorder: record(t)}
	requests := broker.Native.Requests("/")
	subscribe(t, b, j, broker.Exactly(requests), broker.Exactly(room))
	publish(t, b, room, "not yet")
	publish(t, b, requests, "join")
	publish(t, b, room, "hello")
	j.Want(requests, "join")
	j.Want(room, "hello")
}

// TestOwnCopy: a broker's own message that arrives over the network, as one may
// that had stayed at a server of a cluster, is not delivered again.
func TestOwnCopy(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	b := open(t, srv.URL(), quick())
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	nc, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	defer nc.Close()
	copies, err := nc.SubscribeSync("crossroom.native.cast.>")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	for _, text := range []string{"one", "two"} {
		publish(t, b, room, text)
		r.Want(room, text)
	}
	m, err := copies.NextMsg(patience)
	require.NoError(t, err)
	require.NoError(t, nc.Publish(m.Subject, m.Data))
	require.NoError(t, nc.Flush())
	other := open(t, srv.URL(), quick())
	publish(t, other, room, "after it")
	r.Want(room, "after it")
}
