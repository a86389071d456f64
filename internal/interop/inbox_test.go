package interop_test

import (
	"context"
	"errors"
	"testing"

	"github.com/crossroom/crossroom/internal/interop"
)

func TestInbox(t *testing.T) {
	in := interop.NewInbox()
	named := func(event string) func(interop.Message) bool {
		return func(m interop.Message) bool { return m.Event == event }
	}
	go func() {
		for _, event := range []string{"a", "b", "c"} {
			in.Put(interop.Message{Event: event})
		}
	}()
	before, err := in.Until(t.Context(), named("b"))
	if err != nil || len(before) != 1 || before[0].Event != "a" {
		t.Errorf("until b: %v, %v", before, err)
	}
	if m, err := in.Next(t.Context()); err != nil || m.Event != "c" {
		t.Errorf("next: %v, %v", m, err)
	}
	in.Put(interop.Message{Disconnected: "why"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if left, err := in.Until(ctx, named("d")); !errors.Is(err, context.Canceled) || len(left) != 1 {
		t.Errorf("cancelled: %v, %v", left, err)
	}
	if m, err := in.Next(ctx); err != nil || m.Disconnected != "why" {
		t.Errorf("what is there was removed: %v, %v", m, err)
	}
}
