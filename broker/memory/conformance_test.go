package memorybroker_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/conformance"
)

func TestConformance(t *testing.T) {
	one := conformance.Run(t, harness())
	all := conformance.RunFleet(t, harness())
	took := (one.Took + all.Took).Round(10 * time.Millisecond)
	t.Attr("figure", fmt.Sprintf("the whole suite on memory: %v, %v of it the fleets", took, all.Took.Round(10*time.Millisecond)))
}

func TestConformanceDynamic(t *testing.T) {
	h := harness()
	h.Name, h.Subscription = "memory-dynamic", backplane.DynamicSubscription
	conformance.RunFleet(t, h)
}

// The nodes of the fleets sign.
func TestConformanceSigned(t *testing.T) {
	keys, err := backplane.NewKeyring(bytes.Repeat([]byte("secret"), 6))
	if err != nil {
		t.Fatal(err)
	}
	h := harness()
	h.Name, h.Keys = "memory-signed", keys
	conformance.RunFleet(t, h)
}

func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("every case that depends on timing, ten times")
	}
	conformance.Soak(t, harness(), brokertest.Soak(t, 2, 1))
}

func harness() conformance.Harness {
	return conformance.Harness{
		Open: func(testing.TB) conformance.System {
			// Smaller than the defaults, so that the suite reaches the limits.
			bus := memorybroker.NewBus(&memorybroker.Options{
				QueueMessages: 2000,
				SlowReceiver:  100 * time.Millisecond,
				MaxPayload:    1<<20 + 1000,
			})
			var mu sync.Mutex
			var nodes []*memorybroker.Broker
			return conformance.System{
				Node: func(context.Context) (*conformance.Node, error) {
					b := bus.Broker()
					mu.Lock()
					defer mu.Unlock()
					nodes = append(nodes, b)
					return &conformance.Node{
						Broker: b,
						Cut:    does(func() { memorytest.Cut(b, nil) }),
						Heal:   does(func() { memorytest.Heal(b) }),
						Freeze: does(func() { memorytest.Freeze(b) }),
						Thaw:   does(func() { memorytest.Thaw(b) }),
						Kill:   does(func() { memorytest.Kill(b) }),
					}, nil
				},
				// The effects of a restarted server on the nodes.
				Restart: does(func() {
					mu.Lock()
					defer mu.Unlock()
					for _, b := range nodes {
						memorytest.Cut(b, nil)
					}
					for _, b := range nodes {
						memorytest.Heal(b)
					}
				}),
			}
		},
	}
}

func does(f func()) func(context.Context) error {
	return func(context.Context) error {
		f()
		return nil
	}
}
