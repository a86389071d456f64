package conformance_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance"
)

// f returns one clause of a fleet, as a list.
var f = func(n int) []conformance.Clause { return []conformance.Clause{conformance.FleetClauses()[n-1]} }

// fleetBreakages are brokers whose defects a fleet must show. Each violates the promise of package backplane that
// depends on it.
var fleetBreakages = []breakage{
	{name: "later nodes are live a little late", caught: "F01_LateJoiner", clauses: f(1), fleet: func() wrapper {
		return numbered(func(n int, b mem) broker.Broker {
			return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
				if n < 3 || filters[0].Channel().Kind() == broker.KindControl {
					return b.Subscribe(ctx, r, filters...)
				}
				s, err := b.Subscribe(ctx, r)
				if err == nil {
					time.AfterFunc(20*time.Millisecond, func() { s.Add(context.WithoutCancel(ctx), filters...) })
				}
				return s, err
			}}
		})
	}},
	{name: "heartbeats are lost", waits: true, caught: "F23_Ready", clauses: f(23), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, payload []byte) error {
			if ch.Kind() == broker.KindControl {
				return nil
			}
			return b.Publish(ctx, ch, payload)
		}}
	}},
	{name: "filters that are added are live a little late", waits: true, caught: "F21_JoinIsLive", clauses: f(21), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			s.onAdd = func(ctx context.Context, filters ...broker.Filter) error {
				if filters[0].Channel().Kind() == broker.KindRoom {
					time.AfterFunc(20*time.Millisecond, func() { s.Subscription.Add(context.WithoutCancel(ctx), filters...) })
					return nil
				}
				return s.Subscription.Add(ctx, filters...)
			}
		})}
	}},
	{name: "one filter too many is removed", waits: true, caught: "F21_Changes", clauses: f(21), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			var mu sync.Mutex
			added := map[broker.Filter]bool{}
			s.onAdd = func(ctx context.Context, filters ...broker.Filter) error {
				mu.Lock()
				defer mu.Unlock()
				for _, f := range filters {
					added[f] = f.Channel().Kind() == broker.KindRoom
				}
				return s.Subscription.Add(ctx, filters...)
			}
			s.onRemove = func(ctx context.Context, filters ...broker.Filter) error {
				mu.Lock()
				defer mu.Unlock()
				for _, f := range filters {
					delete(added, f)
				}
				for f, room := range added {
					if room && f.Channel().Name() == "kept-7" {
						filters = append(filters, f)
					}
				}
				return s.Subscription.Remove(ctx, filters...)
			}
		})}
	}},
	{name: "filters that are removed stay", waits: true, caught: "F21_Changes", clauses: f(21), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			s.onRemove = func(context.Context, ...broker.Filter) error { return nil }
		})}
	}},
	{name: "a message that two filters select arrives twice", caught: "F21_Changes", clauses: append(f(21), f(3)...), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: twofold(b)}
	}},
	{name: "the filter of every room is live late", waits: true, caught: "F21_Changes", clauses: f(21), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapSubs(b, func(s *mutantSub) {
			s.onAdd = func(ctx context.Context, filters ...broker.Filter) error {
				if filters[0].IsEveryRoom() {
					time.AfterFunc(20*time.Millisecond, func() { s.Subscription.Add(context.WithoutCancel(ctx), filters...) })
					return nil
				}
				return s.Subscription.Add(ctx, filters...)
			}
		})}
	}},
	{name: "one broadcast to a room in seven is lost", caught: "F02_Shapes3", clauses: f(2), wrap: func(b mem) broker.Broker {
		return dropping(b, func(ch broker.Channel, n uint64) bool { return ch.Kind() == broker.KindRoom && n%7 == 6 })
	}},
	{name: "one broadcast in seven is delivered twice", caught: "F02_Shapes8", clauses: f(2), wrap: func(b mem) broker.Broker {
		var n atomic.Uint64
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			err := b.Publish(ctx, ch, p)
			if ch.Kind() == broker.KindBroadcast && n.Add(1)%7 == 0 {
				err = errors.Join(err, b.Publish(ctx, ch, p))
			}
			return err
		}}
	}},
	{name: "broadcasts overtake each other", caught: "F03_Order", clauses: f(3), wrap: func(b mem) broker.Broker {
		var mu sync.Mutex
		kept := map[broker.Channel][]byte{}
		n := 0
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if ch.Kind() == broker.KindBroadcast {
				n++
			}
			if ch.Kind() == broker.KindBroadcast && n%20 == 0 && kept[ch] == nil {
				kept[ch] = bytes.Clone(p)
				return nil
			}
			err := b.Publish(ctx, ch, p)
			if late := kept[ch]; late != nil {
				err = errors.Join(err, b.Publish(ctx, ch, late))
				delete(kept, ch)
			}
			return err
		}}
	}},
	{name: "the response channels have no subscribers in the count", caught: "F04_Questions3", clauses: f(4), wrap: func(b mem) broker.Broker {
		return counting(b, func(ch broker.Channel, n int) int {
			if ch.Kind() == broker.KindNodeResponses {
				return 0
			}
			return n
		})
	}},
	{name: "large responses are lost", waits: true, caught: "F04_Questions8", clauses: f(4), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if ch.Kind() == broker.KindNodeResponses && len(p) > 200 {
				return nil
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "the third node receives no requests", waits: true, caught: "F05_Operations3", clauses: f(5), fleet: func() wrapper { return deaf(3, broker.KindRequests) }},
	{name: "responses of one node are lost", waits: true, caught: "F06_NoSuchMember", clauses: f(6), fleet: func() wrapper {
		return numbered(func(n int, b mem) broker.Broker {
			return dropping(b, func(ch broker.Channel, _ uint64) bool { return n == 2 && ch.Kind() == broker.KindNodeResponses })
		})
	}},
	{name: "messages to a room come on the channel of the namespace", waits: true, caught: "F22_Forged", clauses: f(22), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if ch.Kind() == broker.KindRoom {
				ch = ch.Protocol().Broadcast(ch.Namespace())
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "one response in five is lost", waits: true, caught: "F07_Replies8", clauses: f(7), wrap: func(b mem) broker.Broker {
		return dropping(b, func(ch broker.Channel, n uint64) bool { return ch.Kind() == broker.KindNodeResponses && n%5 == 4 })
	}},
	{name: "announcements are lost", waits: true, caught: "F08_Peers3", clauses: f(8), wrap: func(b mem) broker.Broker {
		return dropping(b, func(ch broker.Channel, _ uint64) bool { return ch.Kind() == broker.KindControl })
	}},
	{name: "one node too many is counted", caught: "F08_Peers8", clauses: f(8), wrap: func(b mem) broker.Broker {
		return counting(b, func(ch broker.Channel, n int) int {
			if ch.Kind() == broker.KindRequests {
				n++
			}
			return n
		})
	}},
	{name: "requests are lost once a node leaves", waits: true, caught: "F09_TwoLeave", clauses: f(9), fleet: func() wrapper {
		var gone atomic.Bool
		return func(b mem) broker.Broker {
			return &mutant{Broker: b, onSubscribe: func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
				s, err := b.Subscribe(ctx, &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
					if ch.Kind() != broker.KindRequests || !gone.Load() {
						r.Deliver(ch, p)
					}
				}}, filters...)
				return &mutantSub{Subscription: s, onClose: func(ctx context.Context) error {
					gone.Store(true)
					return s.Close(ctx)
				}}, err
			}}
		}
	}},
	{name: "killed nodes are still counted", caught: "F10_Killed", clauses: f(10), fleet: remembering},
	{name: "an idle subscription is forgotten", waits: true, caught: "F11_Frozen", clauses: f(11), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			var last time.Time
			return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
				if ch.Kind() != broker.KindControl && !last.IsZero() && time.Since(last) > 300*time.Millisecond {
					return
				}
				last = time.Now()
				r.Deliver(ch, p)
			}}
		})}
	}},
	{name: "a fleet is not notified of outages", waits: true, caught: "F12_Cut", clauses: f(12), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onInterrupted: func(error) {}, onResumed: func() {}}
		})}
	}},
	{name: "messages after an outage are lost", waits: true, caught: "F12_Cut", clauses: f(12), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			var lost atomic.Bool
			return &mutantReceiver{Receiver: r,
				onDeliver: func(ch broker.Channel, p []byte) {
					if !lost.Load() {
						r.Deliver(ch, p)
					}
				},
				onResumed: func() { lost.Store(true); r.Resumed() }}
		})}
	}},
	{name: "a request waits until its context ends", waits: true, caught: "F13_Deadline", clauses: f(13), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if ch.Kind() == broker.KindRequests {
				<-ctx.Done()
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "the third node receives no announcements", waits: true, caught: "F14_SameID", clauses: f(14), fleet: func() wrapper { return deaf(3, broker.KindControl) }},
	{name: "names are cut off at 64 bytes", waits: true, caught: "F15_Names", clauses: f(15), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if name := ch.Name(); ch.Kind() == broker.KindRoom && len(name) > 64 && name[0] == 'n' {
				ch = ch.Protocol().Room(ch.Namespace(), name[:64])
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "only one Publish at a time", caught: "F16_Everything", clauses: f(16), wrap: func(b mem) broker.Broker {
		var busy atomic.Int32
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			defer busy.Add(-1)
			if busy.Add(1) > 1 && ch.Kind() == broker.KindRequests {
				return errors.New("busy")
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "the fourth node is neither announced nor counted", caught: "F17_AtOnce", clauses: f(17), fleet: func() wrapper {
		return numbered(func(n int, b mem) broker.Broker {
			return &mutant{Broker: b,
				onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
					if n == 4 && ch.Kind() == broker.KindControl {
						return nil
					}
					return b.Publish(ctx, ch, p)
				},
				onSubscribers: func(ctx context.Context, channels ...broker.Channel) ([]int, error) {
					counts, err := b.Subscribers(ctx, channels...)
					for i := range counts {
						if channels[i].Kind() == broker.KindRequests {
							counts[i] = min(counts[i], 3)
						}
					}
					return counts, err
				}}
		})
	}},
	{name: "long announcements are lost", waits: true, caught: "F18_Announcements", clauses: f(18), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if ch.Kind() == broker.KindControl && len(p) > 500 {
				return nil
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "one request in 400 is lost", waits: true, caught: "F20_AtOnce", clauses: f(20), wrap: func(b mem) broker.Broker {
		return dropping(b, func(ch broker.Channel, n uint64) bool { return ch.Kind() == broker.KindRequests && n%400 == 399 })
	}},
	{name: "announcements are delivered ten times", caught: "F19_MassStart", clauses: f(19), wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
				for range 10 {
					r.Deliver(ch, p)
					if ch.Kind() != broker.KindControl {
						return
					}
				}
			}}
		})}
	}},
}

// wrapper makes a broken broker of each one of a system.
type wrapper = func(mem) broker.Broker

// numbered numbers a system's brokers, from 1.
func numbered(wrap func(n int, b mem) broker.Broker) wrapper {
	var made atomic.Int32
	return func(b mem) broker.Broker { return wrap(int(made.Add(1)), b) }
}

// dropping loses the messages for which drop returns true. n numbers the messages on that kind of channel, from 0.
func dropping(b mem, drop func(ch broker.Channel, n uint64) bool) broker.Broker {
	var counts [16]atomic.Uint64
	return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
		if drop(ch, counts[ch.Kind()].Add(1)-1) {
			return nil
		}
		return b.Publish(ctx, ch, p)
	}}
}

// counting changes the result of Subscribers.
func counting(b mem, change func(ch broker.Channel, n int) int) broker.Broker {
	return &mutant{Broker: b, onSubscribers: func(ctx context.Context, channels ...broker.Channel) ([]int, error) {
		counts, err := b.Subscribers(ctx, channels...)
		for i := range counts {
			counts[i] = change(channels[i], counts[i])
		}
		return counts, err
	}}
}

// remembering counts every broker that ever subscribed.
func remembering() wrapper {
	var mu sync.Mutex
	most := map[broker.Channel]int{}
	return func(b mem) broker.Broker {
		return counting(b, func(ch broker.Channel, n int) int {
			mu.Lock()
			defer mu.Unlock()
			most[ch] = max(most[ch], n)
			return most[ch]
		})
	}
}

// deaf withholds messages on one kind of channel from broker number which.
func deaf(which int, kind broker.Kind) wrapper {
	return numbered(func(n int, b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribe: wrapReceivers(b, func(r broker.Receiver) broker.Receiver {
			return &mutantReceiver{Receiver: r, onDeliver: func(ch broker.Channel, p []byte) {
				if n != which || ch.Kind() != kind {
					r.Deliver(ch, p)
				}
			}}
		})}
	})
}

// twofold subscribes to every room by a subscription of its own, so that what other filters select too arrives twice.
func twofold(b broker.Broker) subscribeFunc {
	split := func(filters []broker.Filter) (every, rest []broker.Filter) {
		for _, f := range filters {
			if f.IsEveryRoom() {
				every = append(every, f)
			} else {
				rest = append(rest, f)
			}
		}
		return every, rest
	}
	return func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
		every, rest := split(filters)
		one, err := b.Subscribe(ctx, r, rest...)
		if err != nil {
			return nil, err
		}
		two, err := b.Subscribe(ctx, r, every...)
		return &mutantSub{
			Subscription: one,
			onAdd: func(ctx context.Context, filters ...broker.Filter) error {
				every, rest := split(filters)
				return errors.Join(one.Add(ctx, rest...), two.Add(ctx, every...))
			},
			onRemove: func(ctx context.Context, filters ...broker.Filter) error {
				time.Sleep(20 * time.Millisecond)
				every, rest := split(filters)
				return errors.Join(one.Remove(ctx, rest...), two.Remove(ctx, every...))
			},
			onClose: func(ctx context.Context) error { return errors.Join(one.Close(ctx), two.Close(ctx)) },
		}, err
	}
}
