package adapter_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// sink is a socket that drops what it gets.
type sink string

func (s sink) ID() string            { return string(s) }
func (sink) Deliver(*adapter.Packet) {}
func (sink) Disconnect(bool)         {}

// Emit to a room of so many local sockets: the allocations are those of the operator
// and of the packet, however many sockets there are.
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
				ok(b, ns.Add(sink(id)))
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

// What each socket adds when its server asks for the frames.
func BenchmarkFrames(b *testing.B) {
	p := packetOf(b, "/chat", "event", "text", 1, []byte("binary"))
	b.ReportAllocs()
	for b.Loop() {
		if p.Frames().Text == nil {
			b.Fatal("no frames")
		}
	}
}
