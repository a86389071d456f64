package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// An emitter reaches every node, is none, and gets nothing.
func TestEmitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := make(chan string, 10)
		f := newFleet(t, 2, backplane.Options{}, func(i int) *nsOptions {
			return &nsOptions{OnEvent: func(_ context.Context, _ string, p []byte, reply func([]byte)) {
				events <- fmt.Sprintf("%d: %s, %t", i, p, reply != nil)
			}}
		})
		a, b := f.socket(0, "a", "red"), f.socket(1, "b", "blue")
		bus := f.bus.Broker()
		defer bus.Close(context.Background())
		var seen watcher
		e, err := backplane.NewEmitter(bus, &seen)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		payload := []byte("to red")
		if err := e.Broadcast(ctx, chat, payload, backplane.To("red").Header(map[string]string{"k": "v"})); err != nil {
			t.Fatal(err)
		}
		copy(payload, "XXXXXX")
		settle()
		m := <-a.got
		if string(m.Payload) != "to red" || m.Header["k"] != "v" || !strings.HasPrefix(m.Origin, "emitter~") || len(b.got) != 0 {
			t.Errorf("a got %+v, and b %d messages", m, len(b.got))
		}
		steps := []error{
			e.JoinAll(ctx, chat, backplane.All(), "all", "more"),
			e.LeaveAll(ctx, chat, backplane.To("blue"), "more", "blue"),
			e.Event(ctx, chat, []byte("news")),
			e.DisconnectAll(ctx, chat, backplane.All().Except("a"), true),
			e.Flush(ctx),
		}
		if err := errors.Join(steps...); err != nil {
			t.Fatal(err)
		}
		settle()
		for i, want := range [][]string{{"a", "all", "more", "red"}, {"all", "b"}} {
			rooms, _ := f.ns[i].LocalRoomsOf([]string{"a", "b"}[i])
			equal(t, "rooms", sorted(rooms), want)
		}
		equal(t, "events", sorted([]string{<-events, <-events}), []string{"0: news, false", "1: news, false"})
		if len(a.gone) != 0 || len(b.gone) != 1 || !<-b.gone {
			t.Errorf("disconnected %d and %d, with their connections", len(a.gone), len(b.gone))
		}
		for i := range f.nodes {
			if n, err := f.ns[i].Count(ctx); err != nil || n != 2 || len(f.nodes[i].KnownPeers()) != 1 {
				t.Errorf("node %d counts %d, knows %d, %v", i, n, len(f.nodes[i].KnownPeers()), err)
			}
		}
		want := []string{"publish", "request join", "request leave", "request event", "request disconnect"}
		for i, s := range seen.closed(t) {
			if i >= len(want) || !strings.HasPrefix(s, want[i]) {
				t.Errorf("the observer saw %q", s)
			}
		}
	})
}

func TestEmitterErrors(t *testing.T) {
	ctx := t.Context()
	var option *backplane.OptionError
	if _, err := backplane.NewEmitter(nil); !errors.As(err, &option) || option.Option != "Broker" {
		t.Errorf("without a broker: %v", err)
	}
	b := memorybroker.New(&memorybroker.Options{MaxPayload: 1000})
	if _, err := backplane.NewEmitter(b, nil); !errors.As(err, &option) || option.Option != "Observers" {
		t.Errorf("with a nil observer: %v", err)
	}
	e, err := backplane.NewEmitter(b, rudeEmitterObserver{})
	if err != nil {
		t.Fatal(err)
	}
	var name *backplane.NameError
	var size *broker.PayloadError
	long := strings.Repeat("x", broker.MaxNameLen+1)
	for what, err := range map[string]error{
		"namespace": e.Event(ctx, "\xff", nil),
		"room":      e.Broadcast(ctx, chat, nil, backplane.To(long)),
		"except":    e.Broadcast(ctx, chat, nil, backplane.All().Except(long)),
		"target":    e.JoinAll(ctx, chat, backplane.All(), long),
	} {
		if !errors.As(err, &name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"broadcast": e.Broadcast(ctx, chat, make([]byte, 1000), backplane.All()),
		"event":     e.Event(ctx, chat, make([]byte, 1000)),
	} {
		if !errors.As(err, &size) || size.Max != 1000 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := e.DisconnectAll(ctx, chat, backplane.All().Local(), true); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a local target: %v", err)
	}
	if err := e.Broadcast(ctx, chat, []byte("x"), backplane.All()); err != nil {
		t.Errorf("with an observer that panics: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := e.Broadcast(ended, chat, nil, backplane.All()); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	closing, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := b.Close(closing); err != nil {
		t.Error(err)
	}
	if err := e.Event(ctx, chat, nil); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("after the broker's Close: %v", err)
	}
	var zero backplane.Emitter
	if err := errors.Join(zero.Flush(ctx)); err == nil {
		t.Error("an emitter that is none flushes")
	}
	if err := zero.Broadcast(ctx, chat, nil, backplane.All()); err == nil {
		t.Error("an emitter that is none publishes")
	}
}

type rudeEmitterObserver struct{ observe.Nop }

func (rudeEmitterObserver) PublishStart(context.Context, *observe.Publish) context.Context {
	panic("start")
}

func (rudeEmitterObserver) PublishEnd(context.Context, *observe.Publish) { panic("end") }
