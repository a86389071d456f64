package adapter_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// Other clients may publish any bytes. Unreadable messages are counted and reported, and
// sound ones are delivered.
func TestHostileBytes(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := newNode(t, bus, adapter.Options{}), newNode(t, bus, adapter.Options{Dialect: adapter.V5})
	acquainted(t, a, b)
	s := b.add(t, "s", "room")
	out := bus.Broker()
	defer out.Close(t.Context())
	w := broker.SocketIO
	channels := []broker.Channel{w.Broadcast(chat), w.Room(chat, "room"), w.Requests(chat), w.Responses(chat), w.NodeResponses(chat, b.UID())}
	payloads := [][]byte{
		nil, {0xc0}, {0xc1}, []byte("{"), []byte("null"), []byte("{}"), []byte(`{"type":99,"requestId":"x"}`),
		[]byte(`{"requestid":1,"type":"x"}`), []byte(`{"type":3}`), []byte(`{"type":6,"uid":"u","requestId":"r","data":{}}`),
		[]byte(`{"type":6,"uid":"u","data":[]}`), []byte(`{"type":6,"uid":"u","data":[{}]}`),
		{0x93, 0xa1, 'u', 0x80, 0x80}, {0xdd, 0xff, 0xff, 0xff, 0xff}, {0xc6, 0xff, 0xff, 0xff, 0xff, 1},
		// A sound envelope around data that is not an event.
		append(append([]byte{0x93, 0xa1, 'u', 0x83, 0xa4}, "type\x02\xa4data\x90\xa3nsp\xa5/chat"...), 0x80),
		append(append([]byte{0x93, 0xa1, 'u', 0x83, 0xa4}, "type\x02\xa4data\x91\xc0\xa3nsp\xa5/chat"...), 0x80),
	}
	deep := make([]byte, 100_000)
	for i := range deep {
		deep[i] = 0x91
	}
	payloads = append(payloads, deep)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		p := make([]byte, random.IntN(64))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		payloads = append(payloads, p)
	}
	for _, ch := range channels {
		for _, p := range payloads {
			ok(t, out.Publish(t.Context(), ch, p))
		}
	}
	ok(t, out.Flush(t.Context()))
	end, err := adapter.NewEmitter(out, &adapter.EmitterOptions{Namespace: chat})
	ok(t, err)
	ok(t, end.Emit(t.Context(), "end"))
	for {
		p := s.next(t)
		if p.Event() == "end" {
			break
		}
		// Sound enough to be delivered: binding it does no harm.
		_, _, _ = p.Args(), p.Frames(), p.AckFrames(1)
		assert.Error(t, p.Err(), "delivered %q %v", p.Event(), p.Args())
	}
	got, err := a.ns.All().FetchSockets(t.Context())
	ok(t, err)
	require.Equal(t, []string{"s"}, ids(got.List), "sockets")
	assert.NotZero(t, b.Stats().Links[0].Undecodable, "nothing was counted")
	eventually(t, "reported with the channel", func() bool {
		return slices.ContainsFunc(b.errors.all(), func(err error) bool {
			var d *backplane.MessageError
			return errors.As(err, &d) && d.Channel == w.Requests(chat)
		})
	})
	for _, err := range b.errors.all() {
		var p *backplane.PanicError
		assert.NotErrorAs(t, err, &p)
	}
}

func TestTooLarge(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(&memorybroker.Options{MaxPayload: 1000}), adapter.Options{})
	s := n.add(t, "s")
	var size *broker.PayloadError
	assert.ErrorAs(t, n.ns.Emit(t.Context(), "x", make([]byte, 1000)), &size)
	ok(t, n.ns.Emit(t.Context(), "end"))
	require.Empty(t, s.until(t, "end"), "delivered")
}

// While the broker is down queries return the local part of the result within the deadline.
func TestQueriesDuringAnOutage(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d, RequestsTimeout: 100 * time.Millisecond})
		nodes[0].add(t, "here")
		nodes[1].add(t, "there")
		memorytest.Cut(nodes[0].broker, errors.New("cable"))
		var partial *backplane.PartialError
		got, err := nodes[0].ns.All().FetchSockets(t.Context())
		require.ErrorAs(t, err, &partial)
		require.Len(t, partial.Coverage.Missing, 1)
		require.Equal(t, nodes[1].UID(), partial.Coverage.Missing[0].Node)
		require.Equal(t, []string{"here"}, ids(got.List), "sockets")
		memorytest.Heal(nodes[0].broker)
		eventually(t, "all is well again", func() bool {
			got, err = nodes[0].ns.All().FetchSockets(t.Context())
			return err == nil && len(got.List) == 2
		})
	})
}
