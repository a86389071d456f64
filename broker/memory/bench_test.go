package memorybroker_test

import (
	"fmt"
	"testing"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

func BenchmarkPublishEveryRoom(b *testing.B) {
	for _, nodes := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			ctx := b.Context()
			bus := memorybroker.NewBus(nil)
			from := bus.Broker()
			defer from.Close(ctx)
			for range nodes {
				n := bus.Broker()
				defer n.Close(ctx)
				if _, err := n.Subscribe(ctx, nop{}, broker.Native.EveryRoom("/chat")); err != nil {
					b.Fatal(err)
				}
			}
			ch := broker.Native.Room("/chat", "lobby")
			payload := make([]byte, 128)
			b.ReportAllocs()
			for b.Loop() {
				if err := from.Publish(ctx, ch, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPublishParallel(b *testing.B) {
	ctx := b.Context()
	bus := memorybroker.NewBus(nil)
	for range 4 {
		n := bus.Broker()
		defer n.Close(ctx)
		if _, err := n.Subscribe(ctx, nop{}, broker.Native.EveryRoom("/chat")); err != nil {
			b.Fatal(err)
		}
	}
	ch := broker.Native.Room("/chat", "lobby")
	payload := make([]byte, 128)
	from := bus.Broker()
	defer from.Close(ctx)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := from.Publish(ctx, ch, payload); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkPublishNobody(b *testing.B) {
	from := memorybroker.New(nil)
	defer from.Close(b.Context())
	ch := broker.Native.Room("/chat", "lobby")
	payload := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		if err := from.Publish(b.Context(), ch, payload); err != nil {
			b.Fatal(err)
		}
	}
}

type nop struct{}

func (nop) Deliver(broker.Channel, []byte) {}
func (nop) Interrupted(error)              { panic("lost") }
func (nop) Resumed()                       {}
