package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// stranger is a foreign server: it subscribes to the request channel, does not announce
// itself, and responds with the result of answer.
type stranger struct {
	broker   *memorybroker.Broker
	answer   func(request map[string]any) (response any) // nil: none
	requests chan map[string]any
	types    chan int64 // packet types of broadcasts
}

func newStranger(t *testing.T, bus *memorybroker.Bus, answer func(request map[string]any) any) *stranger {
	s := &stranger{broker: bus.Broker(), answer: answer, requests: make(chan map[string]any, 256), types: make(chan int64, 256)}
	_, err := s.broker.Subscribe(t.Context(), s, broker.Exactly(broker.SocketIO.Requests(chat)), broker.SocketIO.EveryRoom(chat))
	ok(t, err)
	t.Cleanup(func() { s.broker.Close(t.Context()) })
	return s
}

func (s *stranger) Interrupted(error) {}
func (s *stranger) Resumed()          {}

func (s *stranger) Deliver(ch broker.Channel, payload []byte) {
	if ch.Kind() != broker.KindRequests {
		if v, err := msgpack.Decode(payload); err == nil {
			kind, _ := v.([]any)[1].(map[string]any)["type"].(int64)
			s.types <- kind
		}
		return
	}
	var request map[string]any
	if json.Unmarshal(payload, &request) != nil {
		return
	}
	s.requests <- request
	if out := s.answer(request); out != nil {
		text, _ := json.Marshal(out)
		// A real receiver must not publish in Deliver. Here the queue does not become full.
		go s.broker.Publish(context.Background(), broker.SocketIO.Responses(chat), text)
	}
}

// likeV5 responds like a socket.io-redis 5 without sockets.
func likeV5(r map[string]any) any {
	if r["requestid"] == nil {
		return nil
	}
	switch r["type"] {
	case 0.0:
		return map[string]any{"requestid": r["requestid"], "clients": []string{}}
	case 5.0:
		return map[string]any{"requestid": r["requestid"], "data": "hook of v5"}
	}
	return nil
}

// likeV6 responds like version 6 to the type that is its own type 0.
func likeV6(r map[string]any) any {
	if r["type"] == 0.0 {
		return map[string]any{"sockets": []string{}}
	}
	return nil
}

func TestCustomRequestAmongV5Servers(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	newStranger(t, bus, likeV5)
	n := newNode(t, bus, adapter.Options{Dialect: adapter.V5})
	replies, err := n.ns.CustomRequest(t.Context(), 1)
	ok(t, err)
	require.Len(t, replies.List, 2)
	assert.Equal(t, `"hook of v5"`, string(replies.List[1].Data))
	assert.Equal(t, 1, replies.Foreign)
}

// Newer servers crash on a custom request of v5.
func TestCustomRequestIsNotSentToNewerServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		old, new := newStranger(t, bus, likeV5), newStranger(t, bus, likeV6)
		n := newNode(t, bus, adapter.Options{Dialect: adapter.V5, RequestsTimeout: 100 * time.Millisecond})
		var mixed *adapter.MixedFleetError
		_, err := n.ns.CustomRequest(t.Context(), 1)
		require.ErrorAs(t, err, &mixed)
		// A request arrives after all messages that were sent before it.
		n.ns.AllRooms(t.Context())
		for _, s := range []*stranger{old, new} {
			for {
				r := <-s.requests
				assert.NotEqual(t, 5.0, r["type"], "it was sent")
				if r["type"] == 2.0 {
					break
				}
			}
		}
	})
}

// A newer server connects while a node checks whether all servers are v5. It gets neither
// the custom request nor binary data in v5's form.
func TestNewerServerComesMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		var newer *stranger
		armed := false
		old := newStranger(t, bus, func(r map[string]any) any {
			if armed && newer == nil && r["type"] == 0.0 {
				newer = newStranger(t, bus, likeV6)
			}
			return likeV5(r)
		})
		n := newNode(t, bus, adapter.Options{Dialect: adapter.V5, RequestsTimeout: 100 * time.Millisecond, Heartbeat: time.Hour})
		ok(t, n.ns.Emit(t.Context(), "x", []byte{1}))
		assert.EqualValues(t, 5, <-old.types, "beside v5 only: type")
		armed = true
		var mixed *adapter.MixedFleetError
		_, err := n.ns.CustomRequest(t.Context(), 1)
		assert.ErrorAs(t, err, &mixed)
		n.ns.AllRooms(t.Context())
		for r := range newer.requests {
			assert.NotEqual(t, 5.0, r["type"], "the custom request was sent")
			if r["type"] == 2.0 {
				break
			}
		}
		ok(t, n.ns.Emit(t.Context(), "x", []byte{1}))
		assert.EqualValues(t, 2, <-newer.types, "binary data came in a packet of type")
	})
}

func TestBinaryPacketTypes(t *testing.T) {
	send := func(t *testing.T, n *node, s *stranger) int64 {
		t.Helper()
		ok(t, n.ns.Emit(t.Context(), "x", []byte{1}))
		return <-s.types
	}
	opts := adapter.Options{Dialect: adapter.V5, RequestsTimeout: 100 * time.Millisecond, Heartbeat: 10 * time.Millisecond}
	t.Run("v5 only", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			s := newStranger(t, bus, likeV5)
			n := newNode(t, bus, opts)
			assert.EqualValues(t, 5, send(t, n, s), "type")
			ok(t, n.ns.Emit(t.Context(), "x", "text"))
			assert.EqualValues(t, 2, <-s.types, "text: type")
			newStranger(t, bus, likeV6)
			eventually(t, "type 2 after a newer server has come", func() bool { return send(t, n, s) == 2 })
		})
	})
	t.Run("newer ones too", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			newStranger(t, bus, likeV5)
			s := newStranger(t, bus, likeV6)
			assert.EqualValues(t, 2, send(t, newNode(t, bus, opts), s), "type")
		})
	})
	t.Run("dialect v6", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			s := newStranger(t, bus, likeV6)
			assert.EqualValues(t, 2, send(t, newNode(t, bus, adapter.Options{}), s), "type")
		})
	})
}

func TestTwoGenerationsAreReportedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		n := newNode(t, bus, adapter.Options{Heartbeat: 5 * time.Millisecond})
		out := bus.Broker()
		defer out.Close(t.Context())
		ask := func() {
			for _, request := range []string{`{"requestid":"a","type":0,"rooms":[]}`, `{"requestId":"b","uid":"u","type":1}`} {
				ok(t, out.Publish(t.Context(), broker.SocketIO.Requests(chat), []byte(request)))
			}
		}
		count := func() (reports int) {
			for _, err := range n.errors.all() {
				var g *adapter.GenerationsError
				if errors.As(err, &g) && g.Namespace == chat {
					reports++
				}
			}
			return reports
		}
		ask()
		eventually(t, "reported", func() bool { return count() > 0 })
		ask()
		other, err := n.Of(t.Context(), "other") // the check continues: it includes this one
		ok(t, err)
		ok(t, out.Publish(t.Context(), broker.SocketIO.Requests(other.Name()), []byte(`{"requestid":"a","type":0,"rooms":[]}`)))
		ok(t, out.Publish(t.Context(), broker.SocketIO.Requests(other.Name()), []byte(`{"requestId":"b","uid":"u","type":1}`)))
		eventually(t, "the other is reported", func() bool {
			return slices.ContainsFunc(n.errors.all(), func(err error) bool {
				var g *adapter.GenerationsError
				return errors.As(err, &g) && g.Namespace == other.Name()
			})
		})
		assert.Equal(t, 1, count(), "reports")
	})
}
