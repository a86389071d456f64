package adapter_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// A reading is bytes on a channel, and the outcome in real servers of three generations. The
// TestReadings of internal/interop writes them to internal/socketio/testdata/readings.json.
type reading struct {
	Name, Channel, Nsp, Ask string
	Payload                 []byte
	// Sender is the only generation that writes such bytes, or "".
	Sender string
	// Took are the outcomes of v5, v6 and v8 of the package.
	Took [3]int
}

// outcome is the outcome of a reading in one server.
type outcome struct {
	Dies string
	Got  []struct {
		To  []string
		Got []arrival
	}
	Joined, Left map[string][]any
	Gone         map[string]bool
	Published    []struct{ JSON, Msgpack any }
	Events       []map[string]any
	Result       any
}

// arrival is a packet as a client reads it.
type arrival struct {
	Event                []any
	ID                   any
	Refused              string
	Volatile, NoCompress bool
}

func readReadings(t *testing.T, kind string) (list []reading, outcomes []outcome) {
	t.Helper()
	text, err := os.ReadFile("internal/socketio/testdata/readings.json")
	ok(t, err)
	var file map[string]json.RawMessage
	ok(t, json.Unmarshal(text, &file))
	ok(t, json.Unmarshal(file["outcomes"], &outcomes))
	ok(t, json.Unmarshal(file[kind], &list))
	for i := range list {
		r := &list[i]
		if r.Nsp == "" {
			r.Nsp = "/"
		}
		if r.Channel == "" {
			r.Channel = map[string]string{"broadcast": "socket.io#/#", "request": "socket.io-request#/#", "response": "socket.io-response#/#"}[kind]
		}
	}
	return list, outcomes
}

// followed returns the outcome that a Go node must have: that of the only generation which
// writes such bytes, and otherwise that of @socket.io/redis-adapter 8.
func (r *reading) followed(outcomes []outcome) *outcome {
	if r.Sender == "v5" {
		return &outcomes[r.Took[0]]
	}
	return &outcomes[r.Took[2]]
}

func (r *reading) channel(t *testing.T) broker.Channel {
	t.Helper()
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.Channel, "socket.io"), "#")
	ns, room, found := strings.Cut(rest, "#")
	w := broker.SocketIO
	switch {
	case name == "-request":
		return w.Requests(ns)
	case name == "-response":
		return w.Responses(ns)
	case found && room != "":
		return w.Room(ns, strings.TrimSuffix(room, "#"))
	}
	return w.Broadcast(ns)
}

// readingRooms are the rooms of the sockets of the real servers. A socket in a room that is a
// number was also in the room of its text.
var readingRooms = map[string][]string{
	"a": {"a"}, "b": {"b"}, "c": {"a", "b"},
	"n":   {"5", "1.5", "0", "-1", "255", "65536", "1099511627776", "-1099511627776", "18446744073709552000", "1e+300", "NaN"},
	"odd": {"null", "undefined", "true", "false", "", "[object Object]", "x,y", "\ufffd", "\ufffda"},
}

// A scene is a node with these sockets, and a peer that publishes and subscribes.
type scene struct {
	*node
	ns      *adapter.Namespace
	sockets map[string]*socket
	out     *memorybroker.Broker
	heard   *listener
	mu      sync.Mutex
	events  []map[string]any
}

type listener struct {
	mu   sync.Mutex
	list []string
}

func (l *listener) Deliver(_ broker.Channel, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, string(payload))
}
func (l *listener) Interrupted(error) {}
func (l *listener) Resumed()          {}

func (l *listener) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

// newScene makes a scene in a bubble.
func newScene(t *testing.T, namespace string, opts adapter.Options) *scene {
	t.Helper()
	bus := memorybroker.NewBus(nil)
	s := &scene{sockets: map[string]*socket{}, out: bus.Broker(), heard: &listener{}}
	opts.CustomHook = func(_ context.Context, _ *adapter.Namespace, data json.RawMessage) (any, error) {
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, err
		}
		s.event(map[string]any{"hook": v})
		return "hooked", nil
	}
	s.node = newNode(t, bus, opts)
	var err error
	s.ns, err = s.Of(t.Context(), namespace)
	ok(t, err)
	s.reset(t)
	for _, name := range []string{"hello", "5", "1.5", "null", "undefined", "true", ""} {
		_, err := s.ns.OnServerSideEmit(name, func(_ context.Context, e *adapter.ServerEvent) {
			s.event(map[string]any{"event": e.Event, "args": e.Args, "ack": e.WantsAck()})
			if e.WantsAck() {
				ok(t, e.Ack("yes"))
			}
		})
		ok(t, err)
	}
	w := broker.SocketIO
	filters := []broker.Filter{broker.Exactly(w.Responses(namespace))}
	for _, uid := range []string{"peer", "5", "ab", "a", "id-a", "\ufffda"} { // the uids in the requests
		filters = append(filters, broker.Exactly(w.NodeResponses(namespace, uid)))
	}
	_, err = s.out.Subscribe(t.Context(), s.heard, filters...)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.out.Close(context.Background())) })
	synctest.Wait()
	return s
}

// reset puts new sockets into their rooms.
func (s *scene) reset(t *testing.T) {
	t.Helper()
	for name, rooms := range readingRooms {
		talks := &talker{socket: newSocket("id-" + name), answer: func(_ *adapter.Packet, ack func(...any)) { ack(name + " has it") }}
		s.ns.Remove(talks.id)
		ok(t, s.ns.Add(t.Context(), talks))
		ok(t, s.ns.Join(t.Context(), talks.id, rooms...))
		s.sockets[name] = talks.socket
	}
}

func (s *scene) event(e map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// publish publishes a reading and waits for all its effects.
func (s *scene) publish(t *testing.T, r *reading) {
	t.Helper()
	ok(t, s.out.Publish(t.Context(), r.channel(t), r.Payload))
	ok(t, s.out.Flush(t.Context()))
	synctest.Wait()
}

// arrivals returns the packets of the sockets since the last call, by name.
func (s *scene) arrivals(t *testing.T) map[string][]arrival {
	t.Helper()
	got := map[string][]arrival{}
	for name, socket := range s.sockets {
		for len(socket.packets) > 0 {
			p := <-socket.packets
			assert.NoError(t, p.Err(), name)
			a := arrival{Event: clientEvent(t, p.Frames()), Volatile: p.Volatile(), NoCompress: !p.Compress()}
			if assert.NotEmpty(t, a.Event, "%s: event", name) {
				assert.Equal(t, scriptText(a.Event[0]), p.Event(), "%s: event", name)
				assert.Len(t, p.Args(), len(a.Event)-1, "%s: event", name)
			}
			got[name] = append(got[name], a)
		}
	}
	return got
}

func scriptText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = scriptText(v[i])
		}
		return strings.Join(texts, ",")
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// clientEvent reads frames like a client.
func clientEvent(t *testing.T, f adapter.Frames) (event []any) {
	t.Helper()
	text := string(f.Text)
	at := strings.IndexByte(text, '[')
	if at < 0 {
		return nil
	}
	ok(t, json.Unmarshal([]byte(text[at:]), &event))
	var fill func(v any) any
	fill = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = fill(v[i])
			}
		case map[string]any:
			if v["_placeholder"] == true {
				return map[string]any{"$bytes": hex.EncodeToString(f.Attachments[int(v["num"].(float64))])}
			}
			for k := range v {
				v[k] = fill(v[k])
			}
		}
		return v
	}
	fill(event)
	return event
}

// wanted returns the expected packets of the sockets, by name.
func (o *outcome) wanted() map[string][]arrival {
	got := map[string][]arrival{}
	for _, g := range o.Got {
		for _, a := range g.Got {
			if a.Refused != "" || o.Dies != "" {
				continue // the client disconnects, or the server crashed
			}
			a.ID = nil // no server responds to it
			for _, name := range g.To {
				got[name] = append(got[name], a)
			}
		}
	}
	return got
}

// dropped returns the number of messages that the node counted as dropped.
func (s *scene) dropped() uint64 {
	stats := s.ns.Server().Stats().Links[0]
	return stats.Undecodable + stats.Foreign + stats.Unwanted
}

// TestReadBroadcasts compares a node with the real servers that receive broadcasts: the same
// sockets get the same event. The node drops and counts a broadcast on which they crash,
// which they ignore, or at which their clients disconnect.
func TestReadBroadcasts(t *testing.T) {
	list, outcomes := readReadings(t, "broadcast")
	require.GreaterOrEqual(t, len(list), 700, "readings")
	bubble(t, func(t *testing.T) {
		scenes := map[string]*scene{}
		for i := range list {
			r := &list[i]
			s := scenes[r.Nsp]
			if s == nil {
				s = newScene(t, r.Nsp, adapter.Options{})
				scenes[r.Nsp] = s
			}
			before := s.dropped()
			s.publish(t, r)
			got, want := s.arrivals(t), r.followed(outcomes).wanted()
			if r.Sender == "v5" { // whose servers do not tell their clients' connections
				for _, list := range got {
					for i := range list {
						list[i].Volatile = false
					}
				}
			}
			if strings.HasPrefix(r.Name, "packet.type") && r.Sender == "v5" || r.Name == "type 5" {
				// Without binary data v5 announces no attachments. Older clients accepted such
				// a packet. A Go node delivers an ordinary event.
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

func show(got map[string][]arrival) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(got)) {
		fmt.Fprintf(&b, "%s:%+v ", name, got[name])
	}
	return b.String()
}
