package conformance_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/conformance"
)

type mem = *memorybroker.Broker

var breakages = []breakage{
	{name: "filters live a little late", caught: "B01_Live", clauses: []conformance.Clause{1}, wrap: func(b mem) broker.Broker {
		later := func(f func()) { time.AfterFunc(time.Millisecond, f) }
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			s, err := b.Subscribe(ctx, r)
			if err != nil {
				return nil, err
			}
			later(func() { s.Add(ctx, filters...) })
			return &mutantSub{Subscription: s, onAdd: func(_ context.Context, filters ...broker.Filter) error {
				later(func() { s.Add(ctx, filters...) })
				return nil
			}}, nil
		}}
	}},
	{name: "the first 1000 filters only", waits: true, caught: "B01_ManyFilters", clauses: []conformance.Clause{1}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			return b.Subscribe(ctx, r, filters[:min(1000, len(filters))]...)
		}}
	}},
	{name: "one message in a thousand is dropped", caught: "B02_Order", clauses: []conformance.Clause{1}, wrap: func(b mem) broker.Broker {
		var n atomic.Uint64
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if n.Add(1)%1000 == 0 {
				return nil
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "two neighbouring messages change places", caught: "B02_Order", clauses: []conformance.Clause{1, 2}, wrap: func(b mem) broker.Broker {
		var mu sync.Mutex
		var kept []byte
		n := 0
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%700 == 0 {
				kept = bytes.Clone(p)
				return nil
			}
			err := b.Publish(ctx, ch, p)
			if kept != nil {
				err = errors.Join(err, b.Publish(ctx, ch, kept))
				kept = nil
			}
			return err
		}}
	}},
	{name: "a batch is sent in reverse order", caught: "B02_Order", clauses: []conformance.Clause{1, 2}, wrap: func(b mem) broker.Broker {
		var mu sync.Mutex
		var batch []func() error
		n := 0
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%300 >= 4 {
				return b.Publish(ctx, ch, p)
			}
			p = bytes.Clone(p)
			batch = append(batch, func() error { return b.Publish(ctx, ch, p) })
			if n%300 < 3 {
				return nil
			}
			var err error
			for _, publish := range slices.Backward(batch) {
				err = errors.Join(err, publish())
			}
			batch = nil
			return err
		}}
	}},
	{name: "one message in 500 is delivered twice", caught: "B02_Order", clauses: []conformance.Clause{3}, wrap: func(b mem) broker.Broker {
		var n atomic.Uint64
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			err := b.Publish(ctx, ch, p)
			if n.Add(1)%500 == 0 {
				err = errors.Join(err, b.Publish(ctx, ch, p))
			}
			return err
		}}
	}},
	{name: "once for each matching filter", caught: "B03_Once", clauses: []conformance.Clause{3}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			var mu sync.Mutex
			locked := &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
				mu.Lock()
				defer mu.Unlock()
				r.Deliver(ch, p)
			}}
			var exact, every []broker.Filter
			for _, f := range filters {
				if f.IsEveryRoom() {
					every = append(every, f)
				} else {
					exact = append(exact, f)
				}
			}
			if _, err := b.Subscribe(ctx, locked, every...); err != nil {
				return nil, err
			}
			return b.Subscribe(ctx, locked, exact...)
		}}
	}},
	{name: "the outbox is sent again after an outage", caught: "B03_OnceAcrossOutage", clauses: []conformance.Clause{3}, wrap: func(b mem) broker.Broker {
		var mu sync.Mutex
		var recent []func()
		return &mutant{Broker: b,
			onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
				mu.Lock()
				defer mu.Unlock()
				again := bytes.Clone(p)
				recent = append(recent, func() { b.Publish(ctx, ch, again) })
				return b.Publish(ctx, ch, p)
			},
			onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
				return &mutantReceiver{Receiver: r, onResumed: func() {
					r.Resumed()
					mu.Lock()
					defer mu.Unlock()
					for _, f := range recent[max(0, len(recent)-10):] {
						f()
					}
				}}
			})}
	}},
	{name: "namespaces that share a prefix receive each other's messages", caught: "B04_CrossTalk", clauses: []conformance.Clause{4}, wrap: func(b mem) broker.Broker {
		return withFilters(b, func(f broker.Filter) []broker.Filter {
			if f.IsEveryRoom() && f.Channel().Namespace() == "/a" {
				return []broker.Filter{f.Channel().Protocol().EveryRoom("/ab")}
			}
			return nil
		})
	}},
	{name: "the protocols receive from each other", caught: "B04_CrossTalk", clauses: []conformance.Clause{4}, wrap: func(b mem) broker.Broker {
		return withFilters(b, func(f broker.Filter) []broker.Filter {
			ch := f.Channel()
			if ch.Kind() == broker.KindRequests && ch.Protocol() == broker.Native {
				return []broker.Filter{broker.Exactly(broker.SocketIO.Requests(ch.Namespace()))}
			}
			return nil
		})
	}},
	{name: "EveryRoom delivers on the broadcast channel", caught: "B01_Live", clauses: []conformance.Clause{4}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
				if ch.Kind() == broker.KindRoom && strings.HasPrefix(ch.Namespace(), "/live") {
					ch = ch.Protocol().Broadcast(ch.Namespace())
				}
				r.Deliver(ch, p)
			}}
		})}
	}},
	{name: "one hostile name is mangled", waits: true, caught: "B05_HostileNames", clauses: []conformance.Clause{4, 5}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if name := ch.Name(); ch.Kind() == broker.KindRoom && len(name) > 1 && name[0] == ' ' {
				ch = ch.Protocol().Room(ch.Namespace(), strings.TrimSpace(name))
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "trailing line ends are cut off", caught: "B04_Exact", clauses: []conformance.Clause{4}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			return b.Publish(ctx, ch, bytes.TrimSuffix(p, []byte("\r\n")))
		}}
	}},
	{name: "Publish takes a name that Subscribe refuses", caught: "B05_HostileNames", clauses: []conformance.Clause{5}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			for _, f := range filters {
				if strings.Contains(f.Channel().Name(), "*") {
					return nil, &broker.NameError{Channel: f.Channel(), Reason: "has a star"}
				}
			}
			return b.Subscribe(ctx, r, filters...)
		}}
	}},
	{name: "a bad name is an untyped error", caught: "B05_Refused", clauses: []conformance.Clause{5}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if err := ch.Validate(); err != nil {
				return errors.New("bad name")
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "the empty payload is not sent", caught: "B06_Sizes", clauses: []conformance.Clause{6}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if len(p) == 0 {
				return nil
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "payloads over 64 KiB are cut short", caught: "B06_Sizes", clauses: []conformance.Clause{1, 4, 6}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			return b.Publish(ctx, ch, p[:min(len(p), 64<<10)])
		}}
	}},
	{name: "the largest payload is refused", caught: "B06_Sizes", clauses: []conformance.Clause{6}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onCapabilities: func() broker.Capabilities {
			c := b.Capabilities()
			c.MaxPayload++
			return c
		}}
	}},
	{name: "too large a payload is sent", caught: "B06_TooLarge", clauses: []conformance.Clause{6}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onCapabilities: func() broker.Capabilities {
			c := b.Capabilities()
			c.MaxPayload /= 2
			return c
		}}
	}},
	{name: "Publish keeps the caller's slice", caught: "B07_Overwritten", clauses: []conformance.Clause{7}, wrap: func(b mem) broker.Broker {
		type queued struct {
			ch broker.Channel
			p  []byte
		}
		queue := make(chan queued, 1000)
		quit := make(chan struct{})
		var drain sync.WaitGroup
		drain.Go(func() {
			for {
				select {
				case m := <-queue:
					time.Sleep(time.Millisecond)
					b.Publish(context.Background(), m.ch, m.p)
				case <-quit:
					return
				}
			}
		})
		return &mutant{Broker: b,
			// The race detector would report the shared memory before the suite does.
			onPublish: func(_ context.Context, ch broker.Channel, p []byte) error {
				wrong := bytes.Clone(p)
				for i := range wrong {
					wrong[i] = 0xEE
				}
				queue <- queued{ch, wrong}
				return nil
			},
			onClose: func(ctx context.Context) error {
				close(quit)
				drain.Wait()
				return b.Close(ctx)
			}}
	}},
	{name: "payloads are read into one buffer", caught: "B08_Kept", clauses: []conformance.Clause{8, 3, 4}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			var buf []byte
			return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
				buf = append(buf[:0], p...)
				r.Deliver(ch, buf)
			}}
		})}
	}},
	{name: "a goroutine for each message", caught: "B09_OneAtATime", clauses: []conformance.Clause{9, 2, 1, 3}, wrap: func(b mem) broker.Broker {
		var running sync.WaitGroup
		return &mutant{Broker: b,
			onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
				return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
					running.Go(func() { r.Deliver(ch, p) })
				}}
			}),
			onClose: func(ctx context.Context) error {
				defer running.Wait()
				return b.Close(ctx)
			}}
	}},
	{name: "Deliver from within Publish", waits: true, caught: "B09_OwnGoroutine", clauses: []conformance.Clause{9, 20}, wrap: func(b mem) broker.Broker {
		var arrived sync.Map
		return &mutant{Broker: b,
			onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
				done := make(chan struct{})
				arrived.Store(ch, done)
				err := b.Publish(ctx, ch, p)
				select {
				case <-done:
				case <-ctx.Done():
				}
				return err
			},
			onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
				return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
					r.Deliver(ch, p)
					if done, ok := arrived.LoadAndDelete(ch); ok {
						close(done.(chan struct{}))
					}
				}}
			})}
	}},
	{name: "receivers share one lock", waits: true, caught: "B09_Independent", clauses: []conformance.Clause{9, 1}, wrap: func(b mem) broker.Broker {
		var mu sync.Mutex
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
				mu.Lock()
				defer mu.Unlock()
				r.Deliver(ch, p)
			}}
		})}
	}},
	{name: "a full queue stops the others", waits: true, caught: "B09_Starved", clauses: []conformance.Clause{9, 16}, wrap: func(b mem) broker.Broker {
		var reader sync.Mutex
		quit := make(chan struct{})
		var calls sync.WaitGroup
		return &mutant{Broker: b,
			onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
				queue := make(chan func(), 128)
				put := func(call func()) {
					reader.Lock()
					defer reader.Unlock()
					select {
					case queue <- call:
					case <-quit:
					}
				}
				calls.Go(func() {
					for {
						select {
						case call := <-queue:
							call()
						case <-quit:
							return
						}
					}
				})
				return &mutantReceiver{Receiver: r,
					onDeliver:     func(ch broker.Channel, p []byte) { put(func() { r.Deliver(ch, p) }) },
					onInterrupted: func(err error) { put(func() { r.Interrupted(err) }) },
					onResumed:     func() { put(r.Resumed) },
				}
			}),
			onClose: func(ctx context.Context) error {
				close(quit)
				calls.Wait()
				return b.Close(ctx)
			}}
	}},
	{name: "own messages are not delivered", waits: true, caught: "B10_Own", clauses: []conformance.Clause{10, 1}, wrap: func(b mem) broker.Broker {
		var own sync.Map
		return &mutant{Broker: b,
			onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
				own.Store(string(p), true)
				return b.Publish(ctx, ch, p)
			},
			onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
				return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
					if _, ok := own.Load(string(p)); !ok {
						r.Deliver(ch, p)
					}
				}}
			})}
	}},
	{name: "Remove does not wait", caught: "B11_WaitsForRunningCall", clauses: []conformance.Clause{11}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			s.onRemove = func(ctx context.Context, filters ...broker.Filter) error {
				s.Subscription.Remove(ctx, filters...)
				return nil
			}
		})}
	}},
	{name: "Remove takes effect a little late", caught: "B11_RemoveUnderLoad", clauses: []conformance.Clause{11}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			s.onRemove = func(ctx context.Context, filters ...broker.Filter) error {
				time.AfterFunc(200*time.Microsecond, func() { s.Subscription.Remove(ctx, filters...) })
				return nil
			}
		})}
	}},
	{name: "Remove does nothing", caught: "B11_Remove", clauses: []conformance.Clause{11}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			s.onRemove = func(context.Context, ...broker.Filter) error { return nil }
		})}
	}},
	{name: "Remove drops everything for a moment", caught: "B11_RemoveUnderLoad", clauses: []conformance.Clause{1, 12}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			stay := broker.Exactly(broker.Native.Requests("/stay"))
			s.onRemove = func(ctx context.Context, filters ...broker.Filter) error {
				if err := s.Subscription.Remove(ctx, append(filters, stay)...); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
				return s.Subscription.Add(ctx, stay)
			}
		})}
	}},
	{name: "removing one filter of two that match", waits: true, caught: "B12_Overlapping", clauses: []conformance.Clause{12, 1}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			s.onRemove = func(ctx context.Context, filters ...broker.Filter) error {
				for _, f := range slices.Clone(filters) {
					filters = append(filters, f.Channel().Protocol().EveryRoom(f.Channel().Namespace()))
				}
				return s.Subscription.Remove(ctx, filters...)
			}
		})}
	}},
	{name: "adding twice needs removing twice", caught: "B13_Again", clauses: []conformance.Clause{11, 13}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			count := map[broker.Filter]int{}
			s.onAdd = func(ctx context.Context, filters ...broker.Filter) error {
				for _, f := range filters {
					count[f]++
				}
				return s.Subscription.Add(ctx, filters...)
			}
			s.onRemove = func(ctx context.Context, filters ...broker.Filter) error {
				for _, f := range filters {
					if count[f]--; count[f] <= 0 {
						if err := s.Subscription.Remove(ctx, f); err != nil {
							return err
						}
					}
				}
				return nil
			}
		})}
	}},
	{name: "outages are not reported", waits: true, caught: "B14_Outage", clauses: []conformance.Clause{14}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onInterrupted: func(error) {}, onResumed: func() {}}
		})}
	}},
	{name: "overflow is not reported", caught: "B14_SlowReceiver", clauses: []conformance.Clause{1, 14}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onInterrupted: func(error) {}, onResumed: func() {}}
		})}
	}},
	{name: "Resumed is called too early", caught: "B14_Outage", clauses: []conformance.Clause{1, 14, 15}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r,
				onInterrupted: func(err error) { r.Interrupted(err); r.Resumed() },
				onResumed:     func() {}}
		})}
	}},
	{name: "Resumed is never called", waits: true, caught: "B14_Outage", clauses: []conformance.Clause{14, 15}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onResumed: func() {}}
		})}
	}},
	{name: "one filter is not restored", waits: true, caught: "B15_Restart", clauses: []conformance.Clause{1, 15}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			var lost atomic.Bool
			return b.Subscribe(ctx, &mutantReceiver{Receiver: r,
				onDeliver: func(ch broker.Channel, p []byte) {
					if len(filters) == 0 || ch != filters[len(filters)-1].Channel() || !lost.Load() {
						r.Deliver(ch, p)
					}
				},
				onResumed: func() { lost.Store(true); r.Resumed() },
			}, filters...)
		}}
	}},
	{name: "one subscription of many is forgotten", waits: true, caught: "B14_Outage", clauses: []conformance.Clause{1, 15}, wrap: func(b mem) broker.Broker {
		var n atomic.Int32
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			if n.Add(1) != 2 {
				return b.Subscribe(ctx, r, filters...)
			}
			var lost atomic.Bool
			return b.Subscribe(ctx, &mutantReceiver{Receiver: r,
				onDeliver: func(ch broker.Channel, p []byte) {
					if !lost.Load() {
						r.Deliver(ch, p)
					}
				},
				onResumed: func() { lost.Store(true); r.Resumed() },
			}, filters...)
		}}
	}},
	{name: "the queue has no bound", caught: "B16_Bounded", clauses: []conformance.Clause{16},
		options: &memorybroker.Options{OutboxBytes: 1 << 40, OutboxMessages: 1 << 40}},
	{name: "Publish fails while the link is cut", caught: "B16_Bounded", clauses: []conformance.Clause{16}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if err := b.Flush(ctx); err != nil {
				return errors.New("no connection")
			}
			if err := b.Publish(ctx, ch, p); err != nil {
				return err
			}
			if b.Stats().QueuedMessages > 0 {
				return errors.New("no connection")
			}
			return nil
		}}
	}},
	{name: "Flush does not wait", caught: "B17_FlushWhileCut", clauses: []conformance.Clause{17}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onFlush: func(ctx context.Context) error { return ctx.Err() }}
	}},
	{name: "a loss is reported twice", waits: true, caught: "B18_LossOnClose", clauses: []conformance.Clause{18}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onOnLoss: func(f func(broker.Loss)) func() {
			return b.OnLoss(func(l broker.Loss) { f(l); f(l) })
		}}
	}},
	{name: "a loss is not reported", waits: true, caught: "B18_LossOnClose", clauses: []conformance.Clause{18}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onOnLoss: func(func(broker.Loss)) func() { return func() {} }}
	}},
	{name: "Publish ignores the context", caught: "B19_EndedContext", clauses: []conformance.Clause{19}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			return b.Publish(context.WithoutCancel(ctx), ch, p)
		}}
	}},
	{name: "Subscribe wraps the context's error", caught: "B19_EndedContext", clauses: []conformance.Clause{19}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			s, err := b.Subscribe(ctx, r, filters...)
			if err != nil {
				return nil, errors.Join(errors.New("subscribe"), err)
			}
			return s, nil
		}}
	}},
	{name: "a failed Subscribe stays behind", caught: "B19_EndedContext", clauses: []conformance.Clause{19}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			s, err := b.Subscribe(context.WithoutCancel(ctx), r, filters...)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return s, err
		}}
	}},
	{name: "Subscribers ignores the context in an outage", waits: true, caught: "B20_CutLink", clauses: []conformance.Clause{20}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribers: func(ctx context.Context, channels ...broker.Channel) ([]int, error) {
			return b.Subscribers(context.WithoutCancel(ctx), channels...)
		}}
	}},
	{name: "Publish after Close returns nil", caught: "B21_After", clauses: []conformance.Clause{21}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if err := b.Publish(ctx, ch, p); !errors.Is(err, broker.ErrClosed) {
				return err
			}
			return nil
		}}
	}},
	{name: "Close discards queued messages", caught: "B21_HandsOver", clauses: []conformance.Clause{21}, wrap: func(b mem) broker.Broker {
		memorytest.Freeze(b)
		return &mutant{Broker: b,
			onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
				memorytest.Thaw(b)
				return b.Subscribe(ctx, r, filters...)
			},
			onClose: func(ctx context.Context) error {
				memorytest.Kill(b)
				return b.Close(ctx)
			}}
	}},
	{name: "a goroutine stays behind", caught: "B21_Goroutines", clauses: []conformance.Clause{21}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onClose: func(ctx context.Context) error {
			go func() { // long enough for the case, and ends before these tests do
				time.Sleep(4 * time.Second)
			}()
			return b.Close(ctx)
		}}
	}},
	{name: "Close does not wait for a receiver", caught: "B21_RunningReceiver", clauses: []conformance.Clause{21}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onClose: func(ctx context.Context) error {
			b.Close(ctx)
			return nil
		}}
	}},
	{name: "one subscriber too many", caught: "B22_Subscribers", clauses: []conformance.Clause{22}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribers: func(ctx context.Context, channels ...broker.Channel) ([]int, error) {
			counts, err := b.Subscribers(ctx, channels...)
			for i := range counts {
				counts[i]++
			}
			return counts, err
		}}
	}},
	{name: "EveryRoom counts as a subscriber", caught: "B22_Subscribers", clauses: []conformance.Clause{22}, wrap: func(b mem) broker.Broker {
		return withFilters(b, func(f broker.Filter) []broker.Filter {
			if f.IsEveryRoom() {
				return []broker.Filter{broker.Exactly(f.Channel())}
			}
			return nil
		})
	}},
	{name: "responders of namespaces with a common prefix", caught: "B23_Responders", clauses: []conformance.Clause{23}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onResponders: func(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
			ids, err := b.Responders(ctx, w, ns)
			if err != nil || ns != "/r" {
				return ids, err
			}
			more, err := b.Responders(ctx, w, "/rr")
			return append(ids, more...), err
		}}
	}},
	{name: "only one Subscribe at a time", caught: "B24_Everything", clauses: []conformance.Clause{24, 1}, wrap: func(b mem) broker.Broker {
		var busy atomic.Int32
		return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			if busy.Load() > 0 {
				return nil, errors.New("busy")
			}
			return b.Subscribe(ctx, r, filters...)
		}, onFlush: func(ctx context.Context) error {
			busy.Add(1)
			defer busy.Add(-1)
			time.Sleep(10 * time.Microsecond)
			return b.Flush(ctx)
		}}
	}},
	{name: "Capabilities change", caught: "B25_Capabilities", clauses: []conformance.Clause{25}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onCapabilities: func() broker.Capabilities {
			c := b.Capabilities()
			c.Reconnects = b.Flush(context.Background()) == nil
			return c
		}}
	}},
	{name: "Responders is claimed and does not work", caught: "B25_Capabilities", clauses: []conformance.Clause{25}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onResponders: func(context.Context, broker.Protocol, string) ([]string, error) {
			return nil, errors.ErrUnsupported
		}}
	}},
	{name: "order across channels is claimed and not kept", caught: "B25_OrderAcrossChannels", clauses: []conformance.Clause{25}, wrap: func(b mem) broker.Broker {
		var mu sync.Mutex
		kept := map[broker.Channel][]byte{}
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if ch.Kind() == broker.KindRequests && kept[ch] == nil {
				kept[ch] = bytes.Clone(p)
				return nil
			}
			err := b.Publish(ctx, ch, p)
			for late, p := range kept {
				if late != ch {
					err = errors.Join(err, b.Publish(ctx, late, p))
					delete(kept, late)
				}
			}
			return err
		}}
	}},
	{name: "Wants is called too early", caught: "B26_Prefilter", clauses: []conformance.Clause{26}, waits: true, wrap: func(b mem) broker.Broker {
		m := &mutant{Broker: b}
		var mu sync.Mutex
		var choosy []broker.Prefilter
		m.onSubscribe = func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
			if s, ok := r.(broker.Prefilter); ok {
				mu.Lock()
				choosy = append(choosy, s)
				mu.Unlock()
			}
			return b.Subscribe(ctx, r, filters...)
		}
		m.onPublish = func(ctx context.Context, ch broker.Channel, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if ch.Kind() == broker.KindRoom && slices.ContainsFunc(choosy, func(s broker.Prefilter) bool { return !s.Wants(ch) }) {
				return nil
			}
			return b.Publish(ctx, ch, p)
		}
		return m
	}},
	{name: "a withdrawn right is not noticed", waits: true, caught: "B28_Withdrawn", clauses: []conformance.Clause{28}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			denied := false
			return &mutantReceiver{Receiver: r,
				onInterrupted: func(err error) {
					if denied = errors.Is(err, errDenied); !denied {
						r.Interrupted(err)
					}
				},
				onResumed: func() {
					if !denied {
						r.Resumed()
					}
				},
			}
		})}
	}},
	{name: "a withdrawn subscription is not requested again", waits: true, caught: "B28_Withdrawn", clauses: []conformance.Clause{28}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			denied := false
			return &mutantReceiver{Receiver: r,
				onDeliver: func(ch broker.Channel, p []byte) {
					if !denied {
						r.Deliver(ch, p)
					}
				},
				onInterrupted: func(err error) {
					denied = errors.Is(err, errDenied)
					r.Interrupted(err)
				},
				onResumed: func() {
					if !denied {
						r.Resumed()
					}
				},
			}
		})}
	}},
	{name: "a superseded server is not noticed", waits: true, caught: "B29_Superseded", clauses: []conformance.Clause{29}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			deaf := false
			return &mutantReceiver{Receiver: r,
				onDeliver: func(ch broker.Channel, p []byte) {
					if !deaf {
						r.Deliver(ch, p)
					}
				},
				onInterrupted: func(err error) {
					if deaf = deaf || errors.Is(err, errSuperseded); !deaf {
						r.Interrupted(err)
					}
				},
				onResumed: func() {
					if !deaf {
						r.Resumed()
					}
				},
			}
		})}
	}},
	{name: "the new server is not used", waits: true, caught: "B29_Superseded", clauses: []conformance.Clause{29}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			gone := false
			return &mutantReceiver{Receiver: r,
				onDeliver: func(ch broker.Channel, p []byte) {
					if !gone {
						r.Deliver(ch, p)
					}
				},
				onInterrupted: func(err error) {
					gone = gone || errors.Is(err, errSuperseded)
					r.Interrupted(err)
				},
			}
		})}
	}},
	{name: "an interruption has no reason", caught: "B28_Withdrawn", clauses: []conformance.Clause{28}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onInterrupted: func(error) { r.Interrupted(errors.New("EOF")) }}
		})}
	}},
	{name: "a node without the right to count returns zero", caught: "B30_MayNotCount", clauses: []conformance.Clause{30}, uncounted: func(channels int) ([]int, error) {
		return make([]int, channels), nil
	}},
	{name: "a node without the right to count returns no reason", caught: "B30_MayNotCount", clauses: []conformance.Clause{30}, uncounted: func(int) ([]int, error) {
		return nil, &broker.InexactError{Err: errors.New("EOF")}
	}},
	{name: "a node without the right to count invents numbers", caught: "B30_MayNotCount", clauses: []conformance.Clause{30}, uncounted: func(channels int) ([]int, error) {
		return slices.Repeat([]int{2}, channels), &broker.InexactError{Err: errDenied}
	}},
	{name: "a node that is cut off returns zero", caught: "B30_CutOff", clauses: []conformance.Clause{30}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribers: func(ctx context.Context, channels ...broker.Channel) ([]int, error) {
			counts, err := b.Subscribers(ctx, channels...)
			if err != nil {
				return make([]int, len(channels)), nil
			}
			return counts, nil
		}}
	}},
	{name: "a refused TryDeliver loses the message", caught: "B27_TryReceiver", clauses: []conformance.Clause{27}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			if t, ok := r.(broker.TryReceiver); ok {
				return forgetful{t}
			}
			return r
		})}
	}},
	{name: "a refused TryDeliver delays the message behind the next", caught: "B27_TryReceiver", clauses: []conformance.Clause{27}, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			if t, ok := r.(broker.TryReceiver); ok {
				return &tardy{TryReceiver: t}
			}
			return r
		})}
	}},
}

// withFilters adds filters to each subscription.
func withFilters(b mem, more func(broker.Filter) []broker.Filter) broker.Broker {
	add := func(filters []broker.Filter) []broker.Filter {
		for _, f := range slices.Clone(filters) {
			filters = append(filters, more(f)...)
		}
		return filters
	}
	m := &mutant{Broker: b}
	m.onSubscribe = func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
		s, err := b.Subscribe(ctx, r, add(filters)...)
		if err != nil {
			return nil, err
		}
		return &mutantSub{Subscription: s, onAdd: func(ctx context.Context, filters ...broker.Filter) error {
			return s.Add(ctx, add(filters)...)
		}}, nil
	}
	return m
}

// forgetful never delivers a message that TryDeliver refused.
type forgetful struct{ broker.TryReceiver }

func (f forgetful) Deliver(ch broker.Channel, payload []byte) { f.TryDeliver(ch, payload) }

// tardy delivers such a message after the next one.
type tardy struct {
	broker.TryReceiver
	refused func()
}

func (t *tardy) Deliver(ch broker.Channel, payload []byte) {
	took := t.TryDeliver(ch, payload)
	if refused := t.refused; refused != nil {
		t.refused = nil
		refused()
	}
	if !took {
		t.refused = func() { t.TryReceiver.Deliver(ch, payload) }
	}
}
