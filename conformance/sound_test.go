package conformance_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance"
)

// TestSound runs every case on brokers that differ from the memory broker but keep the contract: no case may fail.
func TestSound(t *testing.T) {
	if testing.Short() {
		t.Skip("every case on seven brokers")
	}
	for _, m := range []breakage{
		// Wrapping alone must not be detected as a defect of a mutant.
		{name: "wrapped", wrap: func(b mem) broker.Broker {
			return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
				return &mutantReceiver{Receiver: r}
			})}
		}},
		{name: "claims nothing", powerless: true, wrap: func(b mem) broker.Broker {
			return &mutant{Broker: b,
				onCapabilities: func() broker.Capabilities { return broker.Capabilities{Name: "modest"} },
				onSubscribers:  func(context.Context, ...broker.Channel) ([]int, error) { return nil, errors.ErrUnsupported },
				onResponders:   func(context.Context, broker.Protocol, string) ([]string, error) { return nil, errors.ErrUnsupported },
			}
		}},
		{name: "does not reconnect", wrap: func(b mem) broker.Broker {
			return &mutant{Broker: b, onCapabilities: func() broker.Capabilities {
				c := b.Capabilities()
				c.Reconnects = false
				return c
			}}
		}},
		{name: "refuses names", powerless: true, wrap: fussy},
		{name: "refuses other protocols", powerless: true, wrap: func(b mem) broker.Broker { return closedTo(b, isOther, isOther) }},
		{name: "refuses a kind of another protocol", powerless: true, wrap: func(b mem) broker.Broker {
			other := func(ch broker.Channel) bool { return isOther(ch) && ch.Kind() == broker.KindResponses }
			return closedTo(b, other, other)
		}},
		{name: "no order across channels", powerless: true, wrap: shuffled},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range slices.Concat(conformance.Cases(), conformance.FleetCases()) {
				if m.name == "does not reconnect" && c.Needs == 0 {
					continue // treated like any other
				}
				err := tryMutant(t.Context(), c, m, time.Minute)
				var skipped *conformance.Skip
				if err != nil && !errors.As(err, &skipped) {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		})
	}
}

// fussy accepts plain names only.
func fussy(b mem) broker.Broker {
	check := func(ch broker.Channel) error {
		for _, c := range ch.Namespace() + ch.Name() {
			if c < '!' || c > '~' || c == '*' || c == '#' {
				return &broker.NameError{Channel: ch, Reason: "not a plain name"}
			}
		}
		return nil
	}
	all := func(filters []broker.Filter) error {
		for _, f := range filters {
			if err := check(f.Channel()); err != nil {
				return err
			}
		}
		return nil
	}
	return &mutant{Broker: b,
		onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if err := check(ch); err != nil {
				return err
			}
			return b.Publish(ctx, ch, p)
		},
		onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			if err := all(filters); err != nil {
				return nil, err
			}
			s, err := b.Subscribe(ctx, r, filters...)
			if err != nil {
				return nil, err
			}
			return &mutantSub{Subscription: s, onAdd: func(ctx context.Context, filters ...broker.Filter) error {
				if err := all(filters); err != nil {
					return err
				}
				return s.Add(ctx, filters...)
			}}, nil
		}}
}

func isOther(ch broker.Channel) bool {
	return ch.Validate() == nil && ch.Protocol() != broker.Native && ch.Protocol() != broker.SocketIO
}

// closedTo refuses to publish on some channels, and every other call on some.
func closedTo(b mem, toPublish, toAllElse func(broker.Channel) bool) broker.Broker {
	check := func(refuse func(broker.Channel) bool, ch broker.Channel) error {
		if refuse(ch) {
			return &broker.ProtocolError{Protocol: ch.Protocol(), Reason: "not here"}
		}
		return nil
	}
	all := func(filters []broker.Filter) error {
		for _, f := range filters {
			if err := check(toAllElse, f.Channel()); err != nil {
				return err
			}
		}
		return nil
	}
	return &mutant{Broker: b,
		onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if err := check(toPublish, ch); err != nil {
				return err
			}
			return b.Publish(ctx, ch, p)
		},
		onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			if err := all(filters); err != nil {
				return nil, err
			}
			s, err := b.Subscribe(ctx, r, filters...)
			if err != nil {
				return nil, err
			}
			return &mutantSub{Subscription: s, onAdd: func(ctx context.Context, filters ...broker.Filter) error {
				if err := all(filters); err != nil {
					return err
				}
				return s.Add(ctx, filters...)
			}}, nil
		},
		onSubscribers: func(ctx context.Context, channels ...broker.Channel) ([]int, error) {
			for _, ch := range channels {
				if err := check(toAllElse, ch); err != nil {
					return nil, err
				}
			}
			return b.Subscribers(ctx, channels...)
		},
		onResponders: func(ctx context.Context, p broker.Protocol, ns string) ([]string, error) {
			if err := check(toAllElse, p.NodeResponses(ns, "id")); err != nil {
				return nil, err
			}
			return b.Responders(ctx, p, ns)
		}}
}

// shuffled publishes each channel's messages from a goroutine of its own, so that only messages of one channel keep
// their order.
func shuffled(b mem) broker.Broker {
	var (
		mu      sync.Mutex
		cond    = sync.Cond{L: &mu}
		queues  = map[broker.Channel][][]byte{}
		pending int
	)
	drain := func(ch broker.Channel) {
		for {
			for range rand.IntN(20) {
				runtime.Gosched()
			}
			mu.Lock()
			queue := queues[ch]
			if len(queue) == 0 {
				delete(queues, ch)
				mu.Unlock()
				return
			}
			queues[ch] = queue[1:]
			mu.Unlock()
			b.Publish(context.Background(), ch, queue[0])
			mu.Lock()
			pending--
			cond.Broadcast()
			mu.Unlock()
		}
	}
	settle := func() {
		mu.Lock()
		defer mu.Unlock()
		for pending > 0 {
			cond.Wait()
		}
	}
	closed := false
	return &mutant{Broker: b,
		onCapabilities: func() broker.Capabilities {
			c := b.Capabilities()
			c.OrderAcrossChannels = false
			return c
		},
		onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			limit := b.Capabilities().MaxPayload
			if ctx.Err() != nil || ch.Validate() != nil || len(p) > limit {
				return b.Publish(ctx, ch, p) // for its error
			}
			mu.Lock()
			defer mu.Unlock()
			if closed {
				return broker.ErrClosed
			}
			pending++
			queue, running := queues[ch]
			queues[ch] = append(queue, bytes.Clone(p))
			if !running {
				go drain(ch) // Close waits for it
			}
			return nil
		},
		onFlush: func(ctx context.Context) error {
			if ctx.Err() == nil {
				settle()
			}
			return b.Flush(ctx)
		},
		onClose: func(ctx context.Context) error {
			mu.Lock()
			closed = true
			mu.Unlock()
			settle()
			return b.Close(ctx)
		}}
}

// Soak calls Open on the goroutine of the test, where a harness may end the test.
func TestSoakOpensOnTheTestsGoroutine(t *testing.T) {
	opened := 0
	ok := t.Run("skipped", func(t *testing.T) {
		defer func() {
			if !t.Skipped() {
				t.Error("the test was not skipped")
			}
		}()
		conformance.Soak(t, conformance.Harness{Open: func(tb testing.TB) conformance.System {
			opened++
			tb.Skip("the harness skips, as this test wants")
			return conformance.System{}
		}}, 1)
		t.Error("Soak returned")
	})
	if !ok || opened != 1 {
		t.Errorf("ok is %v, Open was called %d times", ok, opened)
	}
}
