package natsbroker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestSlowReceiver: messages that overflow a receiver's buffer are counted and reported at their
// place in the sequence, and other receivers miss no message.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	const buffered = 100
	opts := &natsbroker.Options{ReceiveBuffer: buffered * brokertest.SlowCost, SlowReceiver: 10 * time.Millisecond}
	brokertest.SlowReceiver(t, open(t, srv.URL(), opts), open(t, srv.URL(), nil), buffered)
}

// TestSlowNeighbour: a receiver that is slow, and makes room again and again, delays the others by
// little more than the stated time.
func TestSlowNeighbour(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	brokertest.SlowNeighbour(t, open(t, srv.URL(), &natsbroker.Options{ReceiveBuffer: 64 << 10}), open(t, srv.URL(), nil))
}

// TestReceiverThatCatchesUp: the buffer fills up repeatedly, and no message is
// missed, because the receiver continues in time.
func TestReceiverThatCatchesUp(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	b, sender := open(t, srv.URL(), &natsbroker.Options{ReceiveBuffer: 1, SlowReceiver: patience, ProbeTimeout: 2 * patience}), open(t, srv.URL(), nil)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	const n = 5000
	for i := range n {
		publish(t, sender, room, fmt.Sprint(i))
	}
	for i := range n {
		r.Want(room, fmt.Sprint(i))
	}
}

func TestStuckReceiver(t *testing.T) {
	t.Parallel()
	brokertest.StuckReceiver(t, open(t, servers.StartNATS(t, nil).URL(), &natsbroker.Options{ReceiveBuffer: 1, SlowReceiver: 10 * time.Millisecond}))
}

// TestOutagesOfAStuckReceiver: the calls that wait for a receiver that does not return do not
// grow with the number of outages. Messages that it is known to have missed are counted nevertheless.
func TestOutagesOfAStuckReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	proxy := tcpproxy.Start(t, srv.Addr())
	opts := quick()
	opts.ReceiveBuffer, opts.SlowReceiver = 1, 10*time.Millisecond
	b, sender := open(t, "nats://"+proxy.Addr(), opts), open(t, srv.URL(), nil)
	g, free := newGate(t), record(t)
	subscribe(t, b, g, broker.Exactly(room))
	subscribe(t, b, free, broker.Exactly(marker))
	publish(t, sender, room, "first")
	<-g.Entered
	publish(t, sender, room, "fills the buffer")
	const outages = 20
	for range outages {
		publish(t, sender, room, "missed")
		publish(t, sender, marker, "behind it")
		free.Want(marker, "behind it")
		proxy.Disconnect()
		free.WantCall("interrupted")
		proxy.Heal()
		free.WantCall("resumed")
	}
	close(g.Open)
	g.Want(room, "first")
	g.Want(room, "fills the buffer")
	c := g.WantCall("interrupted")
	var loss *broker.LossError
	require.ErrorAs(t, c.Err, &loss)
	require.Equal(t, outages, loss.Messages)
	require.Equal(t, outages*len("missed"), loss.Bytes)
	require.ErrorIs(t, c.Err, broker.ErrSlowReceiver)
	g.WantCall("resumed")
	publish(t, sender, room, "last")
	g.Want(room, "last")
	assert.EqualValues(t, outages+1, b.Stats().Interruptions, "interruptions: %d of one subscription and one of the other", outages)
}

// stuck is a receiver that does not return.
type stuck struct{ release chan struct{} }

func (s *stuck) Deliver(broker.Channel, []byte) { <-s.release }
func (s *stuck) Interrupted(error)              {}
func (s *stuck) Resumed()                       {}

// TestSeveralStuckReceivers: while the connection waits for one receiver after the other, the server does
// not count as unresponsive, however long that takes.
func TestSeveralStuckReceivers(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	opts := quick()
	opts.ReceiveBuffer, opts.SlowReceiver = 1000, time.Second // half of ProbeTimeout, that is
	b, other := open(t, srv.URL(), opts), open(t, srv.URL(), quick())
	s := &stuck{make(chan struct{})}
	defer close(s.release)
	for range 4 {
		subscribe(t, b, s, broker.Exactly(room))
	}
	r := record(t)
	sound := broker.Native.Requests("/sound")
	subscribe(t, b, r, broker.Exactly(sound))
	for range 3 { // one is being delivered, one fills the buffer, one has to wait
		publish(t, other, room, strings.Repeat("x", 1000))
	}
	for _, text := range []string{"one", "two"} {
		publish(t, other, sound, text)
		flush(t, other)
		r.Want(sound, text)
	}
}
