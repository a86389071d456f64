package backplane_test

import (
	"context"
	"testing"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// BenchmarkBroadcast measures a broadcast without an observer, from one node over the
// memory broker to another. Three members are in the room, or none.
func BenchmarkBroadcast(b *testing.B) {
	for name, room := range map[string]string{"delivered": "red", "unwanted": "nowhere"} {
		b.Run(name, func(b *testing.B) {
			bus := memorybroker.NewBus(nil)
			var ns [2]*backplane.Namespace
			for i := range ns {
				br := bus.Broker()
				node, err := backplane.New(br, nil)
				if err != nil {
					b.Fatal(err)
				}
				if ns[i], err = node.Namespace(b.Context(), chat, nil); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = node.Close(context.Background()); _ = br.Close(context.Background()) })
			}
			last := markerMember{make(chan struct{})}
			for _, m := range []backplane.Member{newNull("a"), newNull("b"), newNull("c"), last} {
				if err := ns[1].Add(b.Context(), m); err != nil {
					b.Fatal(err)
				}
				if m == last {
					continue
				}
				if err := ns[1].Join(b.Context(), m.ID(), "red"); err != nil {
					b.Fatal(err)
				}
			}
			send := func(rooms []string) {
				if err := ns[0].Broadcast(b.Context(), benchPayload, backplane.To(rooms...)); err != nil {
					b.Fatal(err)
				}
			}
			rooms, marker := []string{room}, []string{last.ID()}
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				send(rooms)
				if i%256 == 0 { // so that no queue fills up
					send(marker)
					<-last.came
				}
			}
		})
	}
}

var benchPayload = make([]byte, 128)

type markerMember struct{ came chan struct{} }

func (markerMember) ID() string                   { return "marker" }
func (m markerMember) Deliver(*backplane.Message) { m.came <- struct{}{} }
func (markerMember) Disconnect(bool)              {}
