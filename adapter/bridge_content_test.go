package adapter_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// A broadcast whose excluded sockets cannot be determined does not reach servers of v5, and
// its loss is reported. Later broadcasts are passed on.
func TestBridgeExcept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGenerations()
		newBystander(t, g.v5) // it is counted, and does not respond
		heard := g.onV5(t).add(t, "heard")
		both, new := g.onBoth(t, adapter.Options{Bridge: &adapter.Bridge{}, RequestsTimeout: time.Second}), g.onV6(t)
		time.Sleep(time.Second)
		for i, except := range [][]string{nil, {"room"}, {"abcdefghij0123456789"}, {"room", "abcdefghij0123456789"}, nil} {
			ok(t, new.ns.All().Except(except...).Emit(t.Context(), fmt.Sprint(i)))
		}
		time.Sleep(10 * time.Second)
		var got []string
		for len(heard.packets) > 0 {
			got = append(got, (<-heard.packets).Event())
		}
		require.Equal(t, []string{"0", "2", "4"}, got, "v5 got")
		refused := 0
		for _, err := range both.errors.all() {
			if errors.Is(err, adapter.ErrUnresolved) {
				assert.ErrorContains(t, err, `["room"]`, "refused because of %v", err)
				loss, _ := errors.AsType[*broker.LossError](err)
				refused += loss.Messages
			}
		}
		assert.Equal(t, 2, refused, "reported as refused")
	})
}

// A client of the broker can forge a leader's last mark. The next node then leads as well,
// until it receives a copy from the leader.
func TestBridgeForgedEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bridge(t, adapter.Options{})
		b.plain = true
		b.send(t, time.Second)
		uid := b.both[0].UID()
		for bus, relay := range map[*memorybroker.Bus]string{b.v6: uid + ":0@v5#end", b.v5: uid + ":0@v6#end"} {
			forged := bus.Broker()
			frame, _, err := msgpack.AppendValue(nil, []any{
				uid, map[string]any{"type": 2, "data": []any{"forged"}, "nsp": chat},
				map[string]any{"rooms": []any{"no one's"}, "except": []any{}, "flags": map[string]any{}, "crossroom": map[string]any{"relay": relay}},
			})
			ok(t, err)
			ok(t, forged.Publish(t.Context(), broker.SocketIO.Broadcast(chat), frame))
			synctest.Wait()
			ok(t, forged.Close(t.Context()))
		}
		b.send(t, 10*time.Second)
		for i, got := range b.settle(t) {
			// 50 a second, for a heartbeat and a quarter.
			assert.LessOrEqual(t, got.lost, 0, "node %d", i)
			assert.LessOrEqual(t, got.disordered, 0, "node %d", i)
			assert.NotZero(t, got.repeated, "node %d", i)
			assert.LessOrEqual(t, got.repeated, 70, "node %d", i)
		}
	})
}

// mixed is a broker to which Node.js servers may be connected.
type mixed struct{ *memorybroker.Broker }

func (m mixed) Capabilities() broker.Capabilities {
	c := m.Broker.Capabilities()
	c.OnlyCrossroom = false
	return c
}

// Content that would harm a Node.js server on the other side is not passed on, but reported.
func TestBridgeContent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGenerations()
		from, to := g.v6.Broker(), memorybroker.NewBus(nil)
		both := newNode(t, g.v6, adapter.Options{
			Bridge: &adapter.Bridge{}, Links: []adapter.Link{{Broker: mixed{to.Broker()}, Dialect: adapter.V5}},
		})
		near, far := both.add(t, "near"), newNode(t, to, adapter.Options{Dialect: adapter.V5}).add(t, "far")
		for _, event := range [][]any{
			{"first"},
			{"x", map[string]any{"__proto__": time.Now()}},
			{"x", []any{map[string]any{"hasOwnProperty": 1}}, []byte{1}},
			{"end"},
		} {
			frame, _, err := msgpack.AppendValue(nil, []any{
				"emitter", map[string]any{"type": 2, "data": event, "nsp": chat},
				map[string]any{"rooms": []any{}, "except": []any{}, "flags": map[string]any{}},
			})
			ok(t, err)
			ok(t, from.Publish(t.Context(), broker.SocketIO.Broadcast(chat), frame))
		}
		require.Equal(t, []string{"first", "x", "x"}, near.until(t, "end"), "near")
		require.Equal(t, []string{"first"}, far.until(t, "end"), "far")
		time.Sleep(time.Second)
		var paths []string
		for _, err := range both.errors.all() {
			if harm, ok := errors.AsType[*adapter.HarmError](err); ok {
				loss, _ := errors.AsType[*broker.LossError](err)
				paths = append(paths, fmt.Sprint(loss.Messages, " ", harm.Path))
			}
		}
		slices.Sort(paths)
		require.Equal(t, []string{"1 args[0].__proto__", "1 args[0][0].hasOwnProperty"}, paths, "reported")
		ok(t, from.Close(t.Context()))
	})
}
