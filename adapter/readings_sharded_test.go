package adapter_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// exact is a broker without subscriptions to every room, like sharded pub/sub of Redis.
type exact struct{ *memorybroker.Broker }

func (e exact) Capabilities() broker.Capabilities {
	c := e.Broker.Capabilities()
	c.OnlyExactly = true
	return c
}

// TestReadShardedBroadcasts is TestReadBroadcasts for the wire of the sharded adapter. TestShardedReadings of
// internal/interop writes the outcomes.
func TestReadShardedBroadcasts(t *testing.T) {
	text, err := os.ReadFile("internal/socketio/testdata/readings-sharded.json")
	ok(t, err)
	var file struct {
		Outcomes  []outcome
		Broadcast []struct {
			Name    string
			Payload []byte
			Took    int
		}
	}
	ok(t, json.Unmarshal(text, &file))
	require.GreaterOrEqual(t, len(file.Broadcast), 700, "readings")
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		in := bus.Broker()
		s := &scene{sockets: map[string]*socket{}, out: bus.Broker(), heard: &listener{}, node: &node{}}
		var err error
		s.Server, err = adapter.New(exact{in}, &adapter.Options{OnError: func(error) {}})
		ok(t, err)
		s.ns, err = s.Of(t.Context(), "/")
		ok(t, err)
		t.Cleanup(func() {
			assert.NoError(t, s.Close(context.Background()))
			assert.NoError(t, in.Close(context.Background()))
			assert.NoError(t, s.out.Close(context.Background()))
		})
		s.reset(t)
		for _, r := range file.Broadcast {
			before := s.dropped()
			s.publish(t, &reading{Name: r.Name, Channel: "socket.io#/#", Payload: r.Payload})
			got, want := s.arrivals(t), file.Outcomes[r.Took].wanted()
			switch name, _, _ := strings.Cut(r.Name, ","); name {
			case "nsp missing", "nsp undefined":
				// The adapter ignores what its versions before 8.3 send. A Go node reads it.
				assert.Len(t, got, len(s.sockets), "%s: delivered", r.Name)
				continue
			}
			assert.Equal(t, want, got, "%s: %x\n got %v\nwant %v", r.Name, r.Payload, show(got), show(want))
			if dropped := s.dropped() - before; len(got) == 0 && dropped != 1 || len(got) > 0 && dropped != 0 {
				t.Errorf("%s: delivered to %d sockets, and %d counted as dropped", r.Name, len(got), dropped)
			}
		}
	})
}
