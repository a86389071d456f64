package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/conformance"
)

// breakage is a broken broker: the memory broker with one defect.
type breakage struct {
	name      string
	caught    string               // the case that must catch it
	clauses   []conformance.Clause // clauses that may be named in the failure
	options   *memorybroker.Options
	wrap      func(b *memorybroker.Broker) broker.Broker        // nil: the options make the defect
	waits     bool                                              // detected by a message that does not arrive in time
	fleet     func() func(b *memorybroker.Broker) broker.Broker // instead of wrap: for brokers that share state
	powerless bool                                              // the harness can only make nodes
	uncounted func(channels int) ([]int, error)                 // what a node without the right to count returns; nil: the correct error
}

func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("more than a minute")
	}
	cases := map[string]conformance.Case{}
	for _, c := range slices.Concat(conformance.Cases(), conformance.FleetCases()) {
		cases[c.Name] = c
	}
	breakages := slices.Concat(breakages, protocolBreakages, fleetBreakages)
	// Most mutants are detected by waiting for a message that never arrives: these run concurrently.
	results := make([]chan error, len(breakages))
	slots := make(chan struct{}, 16)
	for i, m := range breakages {
		results[i] = make(chan error, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] <- catch(t.Context(), cases[m.caught], m)
		}()
	}
	covered, ran, killed := map[conformance.Clause]bool{}, 0, 0
	for i, m := range breakages {
		t.Run("mutant/"+m.name, func(t *testing.T) {
			c, ok := cases[m.caught]
			if !ok {
				t.Fatalf("there is no case %s", m.caught)
			}
			covered[c.Clauses[0]] = true
			ran++
			err := <-results[i]
			var failure *conformance.Failure
			switch {
			case err == nil:
				t.Fatalf("%s did not catch it", c.Name)
			case !errors.As(err, &failure):
				t.Fatal(err)
			case !slices.Contains(m.clauses, failure.Clause):
				t.Fatalf("%s blames %v, which are not the violated clauses:\n%v", c.Name, failure.Clause, err)
			}
			killed++
			t.Attr("mutant", fmt.Sprintf("killed by %-24s  %s", c.Name, m.name))
			t.Logf("caught by %s: %v", c.Name, err)
		})
	}
	if ran < len(breakages) { // with -run
		return
	}
	t.Attr("figure", fmt.Sprintf("mutants: killed %d / total %d", killed, len(breakages)))
	for _, n := range slices.Concat(conformance.BrokerClauses(), conformance.FleetClauses()) {
		if !covered[n] {
			t.Errorf("no mutant shows that the suite can see %v broken", n)
		}
	}
}

// catch tries several times, because a defect may show only now and then.
func catch(ctx context.Context, c conformance.Case, m breakage) (err error) {
	timeout := time.Minute
	if m.waits {
		timeout = 4 * time.Second
	}
	for range 20 {
		err = tryMutant(ctx, c, m, timeout)
		if err == nil {
			continue
		}
		// On a busy machine a case may not have come as far as the defect.
		var failure *conformance.Failure
		if m.waits && errors.As(err, &failure) && !slices.Contains(m.clauses, failure.Clause) {
			err = tryMutant(ctx, c, m, 5*timeout)
		}
		return err
	}
	return nil
}

func tryMutant(ctx context.Context, c conformance.Case, m breakage, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	options := memorybroker.Options{QueueMessages: 2000, MaxPayload: 1 << 20, SlowReceiver: 50 * time.Millisecond}
	if m.options != nil {
		options = *m.options
	}
	bus := memorybroker.NewBus(&options)
	wrap := m.wrap
	if m.fleet != nil {
		wrap = m.fleet()
	}
	var mu sync.Mutex
	var all []*memorybroker.Broker
	outage := func(why error) {
		mu.Lock()
		defer mu.Unlock()
		for _, b := range all {
			memorytest.Cut(b, why)
		}
		for _, b := range all {
			memorytest.Heal(b)
		}
	}
	if m.powerless {
		return c.Run(ctx, conformance.System{Node: func(context.Context) (*conformance.Node, error) {
			return &conformance.Node{Broker: m.wrap(bus.Broker())}, nil
		}})
	}
	return c.Run(ctx, conformance.System{
		Node: func(context.Context) (*conformance.Node, error) {
			b := bus.Broker()
			mu.Lock()
			defer mu.Unlock()
			all = append(all, b)
			n := &conformance.Node{
				Broker:  b,
				Cut:     does(func() { memorytest.Cut(b, nil) }),
				Heal:    does(func() { memorytest.Heal(b) }),
				Freeze:  does(func() { memorytest.Freeze(b) }),
				Thaw:    does(func() { memorytest.Thaw(b) }),
				Kill:    does(func() { memorytest.Kill(b) }),
				Deny:    does(func() { memorytest.Cut(b, errDenied) }),
				Refused: func(err error) bool { return errors.Is(err, errDenied) },
			}
			if wrap != nil {
				n.Broker = wrap(b)
			}
			counted := &deniable{Broker: n.Broker, uncounted: m.uncounted}
			n.Broker = counted
			n.DenyCounting = does(func() { counted.denied.Store(true) })
			n.Allow = does(func() { counted.denied.Store(false); memorytest.Heal(b) })
			return n, nil
		},
		Restart:   does(func() { outage(nil) }),
		Supersede: does(func() { outage(errSuperseded) }),
	})
}

// deniable is a broker whose right to count can be withdrawn.
type deniable struct {
	broker.Broker
	denied    atomic.Bool
	uncounted func(channels int) ([]int, error)
}

func (d *deniable) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	switch {
	case !d.denied.Load():
		return d.Broker.Subscribers(ctx, channels...)
	case d.uncounted != nil:
		return d.uncounted(len(channels))
	}
	return nil, &broker.InexactError{Err: errDenied}
}

func (d *deniable) Responders(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
	if d.denied.Load() {
		return nil, &broker.InexactError{Err: errDenied}
	}
	return d.Broker.Responders(ctx, w, ns)
}

// errDenied is the reason of a system that withdraws a right.
var errDenied = errors.New("permission denied")

// errSuperseded is the reason of a system whose server lost its role.
var errSuperseded = errors.New("superseded")

func does(f func()) func(context.Context) error {
	return func(context.Context) error {
		f()
		return nil
	}
}

// mutant is a broker with some methods replaced.
type mutant struct {
	broker.Broker
	onPublish      func(context.Context, broker.Channel, []byte) error
	onFlush        func(context.Context) error
	onSubscribe    func(context.Context, broker.Receiver, ...broker.Filter) (broker.Subscription, error)
	onSubscribers  func(context.Context, ...broker.Channel) ([]int, error)
	onResponders   func(context.Context, broker.Protocol, string) ([]string, error)
	onOnLoss       func(func(broker.Loss)) func()
	onCapabilities func() broker.Capabilities
	onClose        func(context.Context) error
}

func (m *mutant) Publish(ctx context.Context, ch broker.Channel, p []byte) error {
	if m.onPublish != nil {
		return m.onPublish(ctx, ch, p)
	}
	return m.Broker.Publish(ctx, ch, p)
}

func (m *mutant) Flush(ctx context.Context) error {
	if m.onFlush != nil {
		return m.onFlush(ctx)
	}
	return m.Broker.Flush(ctx)
}

func (m *mutant) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if m.onSubscribe != nil {
		return m.onSubscribe(ctx, r, filters...)
	}
	return m.Broker.Subscribe(ctx, r, filters...)
}

func (m *mutant) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	if m.onSubscribers != nil {
		return m.onSubscribers(ctx, channels...)
	}
	return m.Broker.Subscribers(ctx, channels...)
}

func (m *mutant) Responders(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
	if m.onResponders != nil {
		return m.onResponders(ctx, w, ns)
	}
	return m.Broker.Responders(ctx, w, ns)
}

func (m *mutant) OnLoss(f func(broker.Loss)) func() {
	if m.onOnLoss != nil {
		return m.onOnLoss(f)
	}
	return m.Broker.OnLoss(f)
}

func (m *mutant) Capabilities() broker.Capabilities {
	if m.onCapabilities != nil {
		return m.onCapabilities()
	}
	return m.Broker.Capabilities()
}

func (m *mutant) Close(ctx context.Context) error {
	if m.onClose != nil {
		return m.onClose(ctx)
	}
	return m.Broker.Close(ctx)
}

// mutantSub is a subscription with some methods replaced.
type mutantSub struct {
	broker.Subscription
	onAdd, onRemove func(context.Context, ...broker.Filter) error
	onClose         func(context.Context) error
}

func (s *mutantSub) Close(ctx context.Context) error {
	if s.onClose != nil {
		return s.onClose(ctx)
	}
	return s.Subscription.Close(ctx)
}

func (s *mutantSub) Add(ctx context.Context, filters ...broker.Filter) error {
	if s.onAdd != nil {
		return s.onAdd(ctx, filters...)
	}
	return s.Subscription.Add(ctx, filters...)
}

func (s *mutantSub) Remove(ctx context.Context, filters ...broker.Filter) error {
	if s.onRemove != nil {
		return s.onRemove(ctx, filters...)
	}
	return s.Subscription.Remove(ctx, filters...)
}

// mutantReceiver is a receiver with some methods replaced.
type mutantReceiver struct {
	broker.Receiver
	onDeliver     func(broker.Channel, []byte)
	onInterrupted func(error)
	onResumed     func()
}

func (r *mutantReceiver) Deliver(ch broker.Channel, p []byte) {
	if r.onDeliver != nil {
		r.onDeliver(ch, p)
		return
	}
	r.Receiver.Deliver(ch, p)
}

func (r *mutantReceiver) Interrupted(err error) {
	if r.onInterrupted != nil {
		r.onInterrupted(err)
		return
	}
	r.Receiver.Interrupted(err)
}

func (r *mutantReceiver) Resumed() {
	if r.onResumed != nil {
		r.onResumed()
		return
	}
	r.Receiver.Resumed()
}

// subscribeFunc is Broker.Subscribe.
type subscribeFunc = func(context.Context, broker.Receiver, ...broker.Filter) (broker.Subscription, error)

// wrapReceivers puts a receiver between the broker and each real receiver.
func wrapReceivers(b broker.Broker, wrap func(broker.Receiver) broker.Receiver) subscribeFunc {
	return func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
		return b.Subscribe(ctx, wrap(r), filters...)
	}
}

// wrapSubs changes each subscription.
func wrapSubs(b broker.Broker, change func(*mutantSub)) subscribeFunc {
	return func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
		s, err := b.Subscribe(ctx, r, filters...)
		if err != nil {
			return nil, err
		}
		m := &mutantSub{Subscription: s}
		change(m)
		return m, nil
	}
}
