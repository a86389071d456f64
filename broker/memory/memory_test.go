package memorybroker_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

type recorder struct {
	events chan string
}

func newRecorder() *recorder { return &recorder{events: make(chan string, 1<<16)} }

func (r *recorder) Deliver(ch broker.Channel, payload []byte) {
	r.events <- fmt.Sprintf("%s %s", ch, payload)
}
func (r *recorder) Interrupted(err error) { r.events <- "interrupted: " + err.Error() }
func (r *recorder) Resumed()              { r.events <- "resumed" }

func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	for i, w := range want {
		select {
		case got := <-r.events:
			if got != w {
				t.Fatalf("event %d: got %q, want %q", i, got, w)
			}
		case <-t.Context().Done():
			t.Fatalf("event %d: nothing, want %q", i, w)
		}
	}
}

func TestTwoNodes(t *testing.T) {
	ctx := t.Context()
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	r := newRecorder()
	sub, err := b.Subscribe(ctx, r, broker.Native.EveryRoom("/a"), broker.Exactly(broker.Native.Room("/a", "x")))
	if err != nil {
		t.Fatal(err)
	}
	publish := func(from *memorybroker.Broker, ch broker.Channel, text string) {
		t.Helper()
		if err := from.Publish(ctx, ch, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	publish(a, broker.Native.Room("/a", "x"), "1")
	publish(a, broker.Native.Broadcast("/a"), "2")
	publish(b, broker.Native.Room("/a", "y"), "3")
	publish(a, broker.SocketIO.Room("/a", "y"), "no")
	publish(a, broker.Native.Room("/ab", "x"), "no")
	r.expect(t, `native room "/a" "x" 1`, `native broadcast "/a" 2`, `native room "/a" "y" 3`)

	b.Interrupt(nil)
	publish(a, broker.Native.Broadcast("/a"), "missed")
	publish(b, broker.Native.Broadcast("/a"), "own")
	b.Resume()
	if err := b.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	publish(a, broker.Native.Broadcast("/a"), "4")
	r.expect(t, "interrupted: memory broker: link interrupted", "resumed",
		`native broadcast "/a" own`, `native broadcast "/a" 4`)
	if err := sub.Remove(ctx, broker.Native.EveryRoom("/a")); err != nil {
		t.Fatal(err)
	}
	publish(a, broker.Native.Room("/a", "y"), "no")
	publish(a, broker.Native.Room("/a", "x"), "5")
	r.expect(t, `native room "/a" "x" 5`)
	for _, x := range []*memorybroker.Broker{a, b} {
		if err := x.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

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

type nop struct{}

func (nop) Deliver(broker.Channel, []byte) {}
func (nop) Interrupted(error)              { panic("lost") }
func (nop) Resumed()                       {}
