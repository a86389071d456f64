package memorybroker_test

import (
	"context"
	"testing"
	"time"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Open: func(testing.TB) conformance.System {
			// Smaller than the defaults, so that the suite meets the limits.
			bus := memorybroker.NewBus(&memorybroker.Options{
				QueueMessages: 2000,
				SlowReceiver:  100 * time.Millisecond,
				MaxPayload:    1<<20 + 1000,
			})
			return conformance.System{Node: func(context.Context) (*conformance.Node, error) {
				b := bus.Broker()
				return &conformance.Node{
					Broker:    b,
					Interrupt: does(func() { b.Interrupt(nil) }),
					Resume:    does(b.Resume),
					Freeze:    does(b.Freeze),
					Thaw:      does(b.Thaw),
					Kill:      does(b.Kill),
				}, nil
			}}
		},
	})
}

func does(f func()) func(context.Context) error {
	return func(context.Context) error {
		f()
		return nil
	}
}
