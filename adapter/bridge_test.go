package adapter_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// bridged is two servers on one link each, one of each generation, and servers on both links
// that forward their broadcasts. The first of those leads.
type bridged struct {
	generations
	opts     adapter.Options
	both     []*node
	new, old *node
	heard    [2]*socket // at new and at old
	sent     int        // messages of each, numbered from 1
	plain    bool       // none of them are alike
}

// bridge makes it, in a bubble, and waits until the leader forwards.
func bridge(t *testing.T, opts adapter.Options) *bridged {
	if opts.Bridge == nil {
		opts.Bridge = &adapter.Bridge{}
	}
	opts.Heartbeat, opts.PeerTimeout = time.Second, 3500*time.Millisecond
	b := &bridged{generations: newGenerations(), opts: opts}
	b.join(t)
	b.join(t)
	b.new, b.old = b.onV6(t), b.onV5(t)
	for i, n := range []*node{b.new, b.old} {
		b.heard[i] = &socket{id: fmt.Sprint("s", i), packets: make(chan *adapter.Packet, 1<<20), ended: make(chan bool, 1)}
		n.addSocket(t, b.heard[i], "room")
	}
	time.Sleep(4 * time.Second)
	return b
}

func (b *bridged) join(t *testing.T) {
	time.Sleep(time.Millisecond)
	b.both = append(b.both, b.onBoth(t, b.opts))
}

func second(n *node) *memorybroker.Broker { return n.Links()[1].Broker.(*memorybroker.Broker) }

// send has both servers emit numbered events for a while, 50 a second each. Some are alike.
func (b *bridged) send(t *testing.T, d time.Duration) {
	for range int(d / (20 * time.Millisecond)) {
		b.sent++
		for _, n := range []*node{b.new, b.old} {
			ok(t, n.ns.To("room").Emit(t.Context(), "n", b.sent))
			if b.sent%10 == 0 && !b.plain {
				ok(t, n.ns.Emit(t.Context(), "alike"))
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// result is what the bridge forwarded.
type result struct{ lost, repeated, disordered int }

// settle waits until no message is in transit, and returns what each socket received.
func (b *bridged) settle(t *testing.T) (out [2]result) {
	time.Sleep(20 * time.Second)
	synctest.Wait()
	for i, s := range b.heard {
		seen, last, alike := map[int64]bool{}, int64(0), 0
		var other []string
		for len(s.packets) > 0 {
			p := <-s.packets
			if p.Origin() == []*node{b.new, b.old}[i].UID() {
				continue
			}
			if p.Event() != "n" {
				if p.Event() == "alike" {
					alike++
				} else {
					other = append(other, p.Event())
				}
				continue
			}
			n := p.Args()[0].(int64)
			switch {
			case seen[n]:
				out[i].repeated++
			case n < last:
				out[i].disordered++
			}
			seen[n], last = true, max(last, n)
		}
		out[i].lost = b.sent - len(seen)
		if want := b.sent / 10; b.plain {
			out[i].lost += alike
		} else if alike < want {
			out[i].lost += want - alike
		} else {
			out[i].repeated += alike - want
		}
		assert.Empty(t, other, s.id)
	}
	return out
}

// reported returns how many messages the servers reported as lost on the way to a link.
func (b *bridged) reported(prefix string) (certain, uncertain int) {
	for _, n := range b.both {
		for _, err := range n.errors.all() {
			link, ok := errors.AsType[*adapter.LinkError](err)
			if !ok || link.Prefix != prefix {
				continue
			}
			loss, ok := link.Err.(*broker.LossError)
			switch {
			case !ok: // an interruption
			case errors.Is(loss, broker.ErrClosed): // reported by a node that was killed
			case loss.Uncertain:
				uncertain += loss.Messages
			default:
				certain += loss.Messages
			}
		}
	}
	return certain, uncertain
}

func (b *bridged) exact(t *testing.T) {
	t.Helper()
	assert.Equal(t, [2]result{}, b.settle(t), "%d messages each way", b.sent)
	for _, prefix := range []string{"v5", "v6"} {
		lost, doubtful := b.reported(prefix)
		assert.LessOrEqual(t, lost+doubtful, 0, "%s: %d and %d reported as lost", prefix, lost, doubtful)
	}
}

func TestBridgeHandsOver(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, b *bridged){
		"no change": func(*testing.T, *bridged) {},
		"closed":    func(t *testing.T, b *bridged) { ok(t, b.both[0].Close(t.Context())) },
		"closed, the namespace": func(t *testing.T, b *bridged) {
			ok(t, b.both[0].ns.Close(t.Context()))
		},
		"closed, and the next one too": func(t *testing.T, b *bridged) {
			b.join(t)
			b.send(t, 3*time.Second)
			ok(t, b.both[0].Close(t.Context()))
			b.send(t, 100*time.Millisecond)
			ok(t, b.both[1].Close(t.Context()))
		},
		"a follower is closed": func(t *testing.T, b *bridged) { ok(t, b.both[1].Close(t.Context())) },
		"another one joins":    func(t *testing.T, b *bridged) { b.join(t) },
		"killed": func(_ *testing.T, b *bridged) {
			memorytest.Kill(b.both[0].broker)
			memorytest.Kill(second(b.both[0]))
		},
		"killed, of three": func(t *testing.T, b *bridged) {
			b.join(t)
			b.send(t, 3*time.Second)
			memorytest.Kill(b.both[0].broker)
			memorytest.Kill(second(b.both[0]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bridge(t, adapter.Options{})
				b.send(t, 2*time.Second)
				change(t, b)
				b.send(t, 10*time.Second)
				b.exact(t)
			})
		})
	}
}

// In a planned change of the leader no message waits for a deadline.
func TestBridgeHandsOverAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bridge(t, adapter.Options{})
		ok(t, b.both[0].Close(t.Context()))
		ok(t, b.old.ns.To("room").Emit(t.Context(), "at once"))
		began := time.Now()
		p := b.heard[0].next(t)
		assert.Equal(t, "at once", p.Event())
		assert.Equal(t, b.both[1].UID(), p.Origin())
		assert.LessOrEqual(t, time.Since(began), 10*time.Millisecond, "it")
	})
}

// A leader that was stopped forwards none of the messages that it finds when it continues.
func TestBridgeLeaderStops(t *testing.T) {
	for _, stop := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 3400 * time.Millisecond, 7 * time.Second, 20 * time.Second} {
		t.Run(stop.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bridge(t, adapter.Options{})
				b.send(t, 2*time.Second)
				leader := b.both[0]
				memorytest.Freeze(leader.broker)
				memorytest.Freeze(second(leader))
				b.send(t, stop)
				memorytest.Thaw(second(leader))
				memorytest.Thaw(leader.broker)
				b.send(t, 10*time.Second)
				b.exact(t)
			})
		})
	}
}

// A leader loses its link to the other side. Its broker sends the queued messages, at most
// ten, when the link returns, although the next leader has sent them.
func TestBridgeLeaderCutOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bridge(t, adapter.Options{})
		b.plain = true
		b.send(t, 2*time.Second)
		memorytest.Cut(b.both[0].broker, errors.New("cable"))
		b.send(t, 10*time.Second)
		memorytest.Heal(b.both[0].broker)
		b.send(t, 10*time.Second)
		got := b.settle(t)
		assert.Equal(t, result{}, got[1])
		assert.LessOrEqual(t, got[0].lost, 0)
		assert.LessOrEqual(t, got[0].repeated, 10)
		assert.LessOrEqual(t, got[0].disordered, 0)
	})
}

// A leader that may miss messages hands over to a node that receives them, and takes over
// again later.
func TestBridgeLeaderMisses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bridge(t, adapter.Options{})
		b.send(t, time.Second)
		for range 3 {
			memorytest.Cut(b.both[0].broker, errors.New("cable"))
			b.send(t, 500*time.Millisecond)
			memorytest.Heal(b.both[0].broker)
			b.send(t, 10*time.Second)
		}
		before := b.both[0].Stats().Bridged
		b.send(t, time.Second)
		synctest.Wait()
		assert.NotEqual(t, before, b.both[0].Stats().Bridged, "it does not lead again")
		assert.Equal(t, [2]result{}, b.settle(t), "%d messages each way", b.sent)
		// A message whose copy arrived first, when the link had just returned, is in doubt.
		lost, doubtful := b.reported("v5")
		assert.LessOrEqual(t, lost, 0)
		assert.LessOrEqual(t, doubtful, 3)
	})
}

// A leader is killed while the next one misses messages, or has just missed them. A third
// node has received all. No message is lost in the direction in which the next leader missed
// some, although it could lead again soon.
func TestBridgeNextLeaderMisses(t *testing.T) {
	for _, cut := range []time.Duration{300 * time.Millisecond, 2 * time.Second, 3300 * time.Millisecond, 8 * time.Second} {
		for _, kill := range []time.Duration{0, 200 * time.Millisecond} { // before it is back
			t.Run(fmt.Sprint(cut, kill), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := bridge(t, adapter.Options{})
					b.plain = true
					b.join(t)
					b.send(t, 5*time.Second)
					memorytest.Cut(b.both[1].broker, errors.New("cable"))
					b.send(t, cut-kill)
					memorytest.Kill(b.both[0].broker)
					memorytest.Kill(second(b.both[0]))
					b.send(t, kill)
					memorytest.Heal(b.both[1].broker)
					b.send(t, 15*time.Second)
					assert.Equal(t, result{}, b.settle(t)[1])
				})
			})
		}
	}
}

// All nodes lose both links at once, as when Redis restarts. Exactly one of them continues.
func TestBridgeAllMiss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bridge(t, adapter.Options{})
		b.plain = true
		b.send(t, 5*time.Second)
		for _, n := range b.both {
			memorytest.Cut(n.broker, errors.New("cable"))
			memorytest.Cut(second(n), errors.New("cable"))
		}
		time.Sleep(2 * time.Second)
		for _, n := range b.both {
			memorytest.Heal(n.broker)
			memorytest.Heal(second(n))
		}
		b.send(t, 15*time.Second)
		for i, got := range b.settle(t) {
			lost, doubtful := b.reported([]string{"v6", "v5"}[i])
			assert.LessOrEqual(t, got.lost, lost+doubtful, "%+v, reported %d", got, lost)
			assert.LessOrEqual(t, doubtful, 1, "%+v, reported %d", got, lost)
			assert.LessOrEqual(t, got.repeated+got.disordered, 0, "%+v, reported %d", got, lost)
		}
	})
}

// Messages that exceed the window are counted, and the rest arrives once and in order.
func TestBridgeWindow(t *testing.T) {
	for name, limit := range map[string]adapter.Bridge{
		"messages": {Messages: 125},
		"bytes":    {Bytes: 50_000},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bridge(t, adapter.Options{Bridge: &limit})
				memorytest.Kill(b.both[0].broker)
				memorytest.Kill(second(b.both[0]))
				b.send(t, 12*time.Second)
				got := b.settle(t)
				for i, prefix := range []string{"v6", "v5"} {
					lost, doubtful := b.reported(prefix)
					assert.NotZero(t, lost, prefix)
					assert.Equal(t, result{lost: lost}, got[i], prefix)
					assert.LessOrEqual(t, doubtful, 0, prefix)
				}
			})
		})
	}
}

// Messages that wait longer than Age while the other link is down are counted, too.
func TestBridgeAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bridge(t, adapter.Options{Bridge: &adapter.Bridge{Age: 6 * time.Second}})
		b.plain = true
		ok(t, b.both[1].Close(t.Context()))
		memorytest.Freeze(second(b.both[0]))
		b.send(t, 10*time.Second)
		memorytest.Thaw(second(b.both[0]))
		b.send(t, 10*time.Second)
		got := b.settle(t)
		lost, doubtful := b.reported("v5")
		assert.GreaterOrEqual(t, lost, 250)
		assert.Equal(t, result{lost: lost}, got[1])
		assert.Equal(t, result{}, got[0])
		assert.LessOrEqual(t, doubtful, 0)
	})
}

// A node that may have missed copies does not forward messages that another node may have
// forwarded, unless Repeat is set.
func TestBridgeInDoubt(t *testing.T) {
	for _, repeat := range []bool{false, true} {
		t.Run(fmt.Sprintf("repeat=%v", repeat), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bridge(t, adapter.Options{Bridge: &adapter.Bridge{Repeat: repeat}})
				b.plain = true
				next := b.both[1]
				memorytest.Cut(second(next), errors.New("cable"))
				b.send(t, 500*time.Millisecond) // forwarded by the leader, missed by the next one
				memorytest.Kill(b.both[0].broker)
				memorytest.Kill(second(b.both[0]))
				memorytest.Heal(second(next))
				b.send(t, 10*time.Second)
				got := b.settle(t)
				lost, doubtful := b.reported("v5")
				// The next leader is in doubt for a heartbeat more, of 50 messages.
				want, reported := result{lost: 50}, 75
				if repeat {
					want, reported = result{repeated: 25}, 0
				}
				assert.Equal(t, result{}, got[0])
				assert.Equal(t, want, got[1])
				assert.Zero(t, lost)
				assert.Equal(t, reported, doubtful)
			})
		})
	}
}

// A burst is forwarded or counted, also if the leader is killed during it.
func TestBridgeBurst(t *testing.T) {
	for _, limit := range []int{0, 500} {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprintf("limit=%d,kill=%v", limit, kill), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := bridge(t, adapter.Options{Bridge: &adapter.Bridge{Messages: limit}})
					b.sent, b.plain = 4000, true
					for n := range b.sent {
						ok(t, b.old.ns.To("room").Emit(t.Context(), "n", n+1))
						ok(t, b.new.ns.To("room").Emit(t.Context(), "n", n+1))
						if kill && n == b.sent/2 {
							memorytest.Kill(b.both[0].broker)
							memorytest.Kill(second(b.both[0]))
						}
					}
					got := b.settle(t)
					for i, prefix := range []string{"v6", "v5"} {
						lost, doubtful := b.reported(prefix)
						if kill && got[i].lost < lost {
							// Both report the messages that the leader had dropped
							// before it was killed.
							lost = got[i].lost
						}
						if got[i] != (result{lost: lost}) || doubtful > 0 && !kill {
							t.Errorf("%s: %+v, reported %d and %d", prefix, got[i], lost, doubtful)
						}
					}
				})
			})
		}
	}
}

// A single node on both links has no peer that may have forwarded anything.
func TestBridgeAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		opts := adapter.Options{Bridge: &adapter.Bridge{}, Heartbeat: time.Second, PeerTimeout: 3500 * time.Millisecond}
		b := &bridged{generations: newGenerations(), opts: opts}
		b.new, b.old = b.onV6(t), b.onV5(t)
		b.join(t)
		for i, n := range []*node{b.new, b.old} {
			b.heard[i] = &socket{id: fmt.Sprint("s", i), packets: make(chan *adapter.Packet, 1<<20), ended: make(chan bool, 1)}
			n.addSocket(t, b.heard[i], "room")
		}
		b.send(t, time.Second)
		leader := b.both[0]
		memorytest.Freeze(leader.broker)
		memorytest.Freeze(second(leader))
		b.send(t, 5*time.Second)
		memorytest.Thaw(leader.broker)
		memorytest.Thaw(second(leader))
		b.send(t, 5*time.Second)
		b.exact(t)
		ok(t, leader.Close(t.Context()))
	})
}

func TestBridgeOptions(t *testing.T) {
	var bad *backplane.OptionError
	for what, opt := range map[string]adapter.Bridge{
		"negative messages": {Messages: -1}, "negative bytes": {Bytes: -1}, "negative age": {Age: -1},
		"age that no change of the leader keeps": {Age: 5 * time.Second},
	} {
		s, err := adapter.New(memorybroker.New(nil), &adapter.Options{
			Bridge: &opt, Links: []adapter.Link{{Broker: memorybroker.New(nil), Dialect: adapter.V5}},
		})
		if assert.ErrorAs(t, err, &bad, what) {
			assert.Equal(t, "Bridge", bad.Option, what)
			assert.Nil(t, s, what)
		}
	}
}
