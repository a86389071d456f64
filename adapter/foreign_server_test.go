package adapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// foreignServer is a Node.js server of one version. It reads and executes the requests of
// that version, and responds to them.
type foreignServer struct {
	version string // "5.4", "6.0", "6.1" or "8.3"
	broker  *memorybroker.Broker

	mu      sync.Mutex
	mute    bool                // does not respond
	sockets map[string][]string // id: rooms, its own among them
	got     map[string][]string // id: events
	asked   map[string]int      // type: requests
}

func newForeign(t *testing.T, bus *memorybroker.Bus, version string, sockets map[string][]string) *foreignServer {
	s := &foreignServer{version: version, broker: bus.Broker(), sockets: map[string][]string{}, got: map[string][]string{}, asked: map[string]int{}}
	for id, rooms := range sockets {
		s.sockets[id] = append([]string{id}, rooms...)
	}
	filters := []broker.Filter{broker.Exactly(broker.SocketIO.Requests(chat)), broker.SocketIO.EveryRoom(chat)}
	if version == "8.3" {
		filters = append(filters, broker.Exactly(broker.SocketIO.NodeResponses(chat, fmt.Sprintf("js-%p", s))))
	}
	_, err := s.broker.Subscribe(t.Context(), s, filters...)
	ok(t, err)
	t.Cleanup(func() { s.broker.Close(context.Background()) })
	return s
}

func (s *foreignServer) Interrupted(error) {}
func (s *foreignServer) Resumed()          {}

func (s *foreignServer) Deliver(ch broker.Channel, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.Kind() != broker.KindRequests {
		s.broadcast(payload)
		return
	}
	var q map[string]any
	if json.Unmarshal(payload, &q) != nil {
		return
	}
	_, old := q["requestid"]
	s.asked[fmt.Sprint(map[bool]string{true: "v5 "}[old], q["type"])]++
	if s.mute {
		return
	}
	if out := s.answer(q); out != nil {
		text, _ := json.Marshal(out)
		go s.broker.Publish(context.Background(), broker.SocketIO.Responses(chat), text)
	}
}

func (s *foreignServer) broadcast(payload []byte) {
	v, err := msgpack.Decode(payload)
	if err != nil {
		return
	}
	packet, opts := v.([]any)[1].(map[string]any), v.([]any)[2].(map[string]any)
	except := names(opts["except"])
	for id := range s.selected(names(opts["rooms"]), nil) {
		excepted := slices.Contains(except, id)
		if s.version >= "6.1" {
			excepted = slices.ContainsFunc(s.sockets[id], func(room string) bool { return slices.Contains(except, room) })
		}
		if !excepted {
			s.got[id] = append(s.got[id], fmt.Sprint(packet["data"].([]any)[0]))
		}
	}
}

func names(list any) (out []string) {
	values, _ := list.([]any)
	for _, v := range values {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

func (s *foreignServer) selected(rooms, except []string) map[string]bool {
	out := map[string]bool{}
	for id, in := range s.sockets {
		has := func(room string) bool { return slices.Contains(in, room) }
		if (len(rooms) == 0 || slices.ContainsFunc(rooms, has)) && !slices.ContainsFunc(except, has) {
			out[id] = true
		}
	}
	return out
}

func (s *foreignServer) answer(q map[string]any) any {
	ids := slices.Sorted(maps.Keys(s.selected(names(q["rooms"]), nil)))
	if ids == nil {
		ids = []string{}
	}
	opts, filter := q["opts"].(map[string]any)
	if s.version == "5.4" {
		switch {
		case q["type"] == 0.0 && q["requestid"] != nil:
			return map[string]any{"requestid": q["requestid"], "clients": ids}
		case q["type"] == 0.0:
			return map[string]any{"clients": ids}
		case q["type"] == 5.0:
			return map[string]any{"data": nil}
		}
		return nil
	}
	if q["requestid"] != nil {
		if q["type"] == 0.0 {
			return map[string]any{"sockets": ids}
		}
		return nil
	}
	if filter && s.version < "6.1" {
		return nil
	}
	do := func(id string) {
		switch q["type"] {
		case 2.0:
			s.sockets[id] = append(s.sockets[id], append(names(q["rooms"]), names([]any{q["room"]})...)...)
		case 3.0:
			s.sockets[id] = slices.DeleteFunc(s.sockets[id], func(r string) bool { return r == q["room"] || slices.Contains(names(q["rooms"]), r) })
		case 4.0:
			delete(s.sockets, id)
		}
	}
	switch q["type"] {
	case 0.0:
		return map[string]any{"requestId": q["requestId"], "sockets": ids}
	case 1.0:
		var rooms []string
		for _, in := range s.sockets {
			rooms = append(rooms, in...)
		}
		return map[string]any{"requestId": q["requestId"], "rooms": append([]string{}, rooms...)}
	case 2.0, 3.0, 4.0:
		if id, byID := q["sid"].(string); byID {
			if s.sockets[id] == nil {
				return nil
			}
			do(id)
			return map[string]any{"requestId": q["requestId"]}
		}
		for id := range s.selected(names(opts["rooms"]), names(opts["except"])) {
			do(id)
		}
	case 5.0:
		list := []any{}
		for id := range s.selected(names(opts["rooms"]), names(opts["except"])) {
			list = append(list, map[string]any{"id": id, "rooms": s.sockets[id], "handshake": map[string]any{}, "data": map[string]any{}})
		}
		return map[string]any{"requestId": q["requestId"], "sockets": list}
	}
	return nil
}

func (s *foreignServer) events(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got[id], " ")
}

func (s *foreignServer) rooms(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	rooms := slices.DeleteFunc(slices.Clone(s.sockets[id]), func(r string) bool { return r == id || r == "<nil>" })
	slices.Sort(rooms)
	return strings.Join(slices.Compact(rooms), " ")
}

func (s *foreignServer) requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[kind]
}
