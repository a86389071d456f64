package adapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// sink is a socket that drops its packets.
type sink string

func (s sink) ID() string            { return string(s) }
func (sink) Deliver(*adapter.Packet) {}
func (sink) Disconnect(bool)         {}

// Emit to a room of local sockets: only the operator and the packet allocate memory,
// independent of the number of sockets.
func BenchmarkEmit(b *testing.B) {
	for _, sockets := range []int{0, 1, 1000} {
		b.Run(fmt.Sprint(sockets, "sockets"), func(b *testing.B) {
			s, err := adapter.New(memorybroker.New(nil), nil)
			ok(b, err)
			defer s.Close(context.Background())
			ns, err := s.Of(b.Context(), "/")
			ok(b, err)
			for i := range sockets {
				id := fmt.Sprint("s", i)
				ok(b, ns.Add(b.Context(), sink(id)))
				ok(b, ns.Join(b.Context(), id, "room"))
			}
			room, text := ns.To("room"), make([]byte, 100)
			for i := range text {
				text[i] = 'x'
			}
			arg := any(string(text))
			b.ReportAllocs()
			for b.Loop() {
				if err := room.Emit(b.Context(), "event", arg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEmitValues measures Emit without sockets, by the kind of argument.
func BenchmarkEmitValues(b *testing.B) {
	type user struct {
		Name string   `json:"name"`
		Age  int      `json:"age"`
		Tags []string `json:"tags"`
	}
	list := make([]any, 20)
	for i := range list {
		list[i] = map[string]any{"id": i, "name": "some name", "text": "a few words of text", "at": 1.5, "ok": true}
	}
	for _, c := range []struct {
		name string
		arg  any
	}{
		{"text", "a few words of text"},
		{"map", map[string]any{"id": 1, "name": "some name", "text": "a few words of text", "at": 1.5, "ok": true}},
		{"struct", user{"some name", 30, []string{"a", "b"}}},
		{"list", list},
		{"json", json.RawMessage(`{"id":1,"name":"some name","text":"a few words of text","at":1.5,"ok":true}`)},
		{"map and binary", []any{list[0], make([]byte, 100)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := adapter.New(memorybroker.New(nil), nil)
			ok(b, err)
			defer s.Close(context.Background())
			ns, err := s.Of(b.Context(), "/")
			ok(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if err := ns.Emit(b.Context(), "event", c.arg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The cost of each socket when its server encodes the frames.
func BenchmarkFrames(b *testing.B) {
	p := packetOf(b, "/chat", "event", "text", 1, []byte("binary"))
	b.ReportAllocs()
	for b.Loop() {
		if p.Frames().Text == nil {
			b.Fatal("no frames")
		}
	}
}
