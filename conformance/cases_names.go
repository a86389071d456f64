package conformance

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/crossroom/crossroom/broker"
)

var nameCases = []Case{
	{Name: "B04_CrossTalk", Clauses: []Clause{4, 5}, run: caseCrossTalk},
	{Name: "B05_HostileNames", Clauses: []Clause{5, 4}, run: caseHostile},
	{Name: "B05_Refused", Clauses: []Clause{5}, run: caseRefused},
	{Name: "B05_AllOrNothing", Clauses: []Clause{5, 19}, run: caseAllOrNothing},
}

func asType[T error](err error, target *T) bool { return errors.As(err, target) }

// kinds makes one channel of each kind from a name, as namespace and as room or node.
func kinds(name string) []broker.Channel {
	var list []broker.Channel
	for _, w := range []broker.Protocol{native, socketIO} {
		list = append(list,
			w.Broadcast(name), w.Room(name, name), w.Room(name, "r"), w.Room("/ns", name),
			w.Requests(name), w.Responses(name), w.NodeResponses(name, name), w.NodeResponses("/ns", name))
	}
	return list
}

// caseCrossTalk distributes many similar channels among several subscriptions, leaves some without a subscription, and
// publishes on all of them, several times. Every message names its channel. The recorders report a message that no
// filter matches.
func caseCrossTalk(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	channels := []broker.Channel{broker.Control(), broker.NodeControl("b"), broker.NodeControl("/a"), broker.NodeControl("*")}
	for _, ns := range neighbours {
		for _, w := range []broker.Protocol{native, socketIO} {
			channels = append(channels, w.Broadcast(ns), w.Requests(ns), w.Responses(ns), w.NodeResponses(ns, "b"),
				w.Room(ns, ""), w.Room(ns, "b"), w.Room(ns, "/a"), w.Room(ns, "b#"), w.Room(ns, "*"))
		}
	}
	if channels, err = carried(ctx, b, channels); err != nil {
		return err
	}
	for round := range 3 {
		if err := e.crossTalk(ctx, a, b, channels, byte(round)); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) crossTalk(ctx context.Context, a, b *Node, channels []broker.Channel, round byte) error {
	const hands = 4
	filters := make([][]broker.Filter, hands)
	for _, ch := range channels {
		every := ch.Protocol().EveryRoom(ch.Namespace())
		if hand := deal(ch.String(), round) % (hands + 1); hand < hands {
			filters[hand] = append(filters[hand], broker.Exactly(ch))
		}
		if ch.Kind() == broker.KindBroadcast {
			if hand := deal(every.String(), round) % (2 * hands); hand < hands {
				filters[hand] = append(filters[hand], every)
			}
		}
	}
	var subs []*sub
	for _, hand := range filters {
		s, err := e.subscribe(ctx, b, hand...)
		if err != nil {
			return err
		}
		subs = append(subs, s)
	}
	streams := make([]*stream, len(channels))
	for i, ch := range channels {
		streams[i] = e.from(a, ch)
	}
	for range 2 { // the second message is the marker of the first, on every channel
		for _, st := range streams {
			if err := st.must(ctx, 1); err != nil {
				return err
			}
		}
		for _, s := range subs {
			for _, st := range streams {
				if !s.wants(st.ch) {
					continue
				}
				if err := s.all(ctx, 4, st); err != nil {
					return err
				}
			}
		}
	}
	for _, s := range subs {
		if err := s.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

// deal returns a pseudo-random number that is the same in every run.
func deal(name string, round byte) uint32 {
	h := fnv.New32a()
	h.Write([]byte{round})
	h.Write([]byte(name))
	return h.Sum32() >> 8
}

func (s *sub) wants(ch broker.Channel) bool {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	return selects(s.rec.may, ch)
}

func mustCarry(ctx context.Context, n *Node, channels ...broker.Channel) []broker.Channel {
	list, _ := carried(ctx, n, channels)
	return list
}

// carried returns the channels that the broker does not refuse, and fails if Publish and Subscribe disagree.
func carried(ctx context.Context, n *Node, channels []broker.Channel) ([]broker.Channel, error) {
	var list []broker.Channel
	for _, ch := range channels {
		publishErr := n.Broker.Publish(ctx, ch, encode(nil, probe, 1, 0))
		filters := []broker.Filter{broker.Exactly(ch)}
		if ch.Kind() == broker.KindBroadcast && !n.Broker.Capabilities().OnlyExactly {
			filters = append(filters, ch.Protocol().EveryRoom(ch.Namespace()))
		}
		for _, f := range filters {
			sub, err := n.Broker.Subscribe(ctx, ignore{}, f)
			if err == nil {
				if err := sub.Close(ctx); err != nil {
					return nil, fail(11, "a subscription's Close failed without a fault: %v", err)
				}
			}
			switch {
			case err == nil && publishErr == nil:
			case isRefusal(err) && isRefusal(publishErr):
			default:
				return nil, fail(5, "for %v, Publish returned %s and Subscribe to %v %s",
					clip(ch), errText(publishErr), clip(f), errText(err))
			}
		}
		if publishErr == nil {
			list = append(list, ch)
		}
	}
	return list, nil
}

func clip(v fmt.Stringer) string { return fmt.Sprintf("%.120s", v.String()) }

func errText(err error) string {
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("%T (%.200s)", err, err.Error())
}

// ignore is a receiver that discards everything.
type ignore struct{}

func (ignore) Deliver(broker.Channel, []byte) {}
func (ignore) Interrupted(error)              {}
func (ignore) Resumed()                       {}

func caseHostile(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	for _, name := range hostileNames {
		usable, err := carried(ctx, b, kinds(name))
		if err != nil {
			return err
		}
		if len(usable) == 0 {
			continue
		}
		var filters []broker.Filter
		for _, ch := range usable {
			filters = append(filters, broker.Exactly(ch))
		}
		exact, err := e.subscribe(ctx, b, filters...)
		if err != nil {
			return err
		}
		every, err := e.subscribe(ctx, b)
		if err != nil {
			return err
		}
		for _, w := range []broker.Protocol{native, socketIO} {
			for _, ns := range []string{name, "/ns"} {
				if len(mustCarry(ctx, b, w.Broadcast(ns))) == 0 {
					continue
				}
				if err := every.add(ctx, w.EveryRoom(ns)); err != nil {
					return err
				}
			}
		}
		var streams []*stream
		for _, ch := range usable {
			st := e.from(a, ch)
			if err := st.must(ctx, 1); err != nil {
				return err
			}
			streams = append(streams, st)
		}
		for _, st := range streams {
			if err := exact.all(ctx, 5, st); err != nil {
				return err
			}
			if every.wants(st.ch) {
				if err := every.all(ctx, 5, st); err != nil {
					return err
				}
			}
		}
		if err := exact.end(ctx); err != nil {
			return err
		}
		if err := every.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

// badNames are names that every broker must refuse.
var badNames = map[string]string{
	"invalid UTF-8":            "/a\xff",
	"a cut character":          "\xe6\x97",
	"a surrogate":              "\xed\xa0\x80",
	"one byte over MaxNameLen": strings.Repeat("n", broker.MaxNameLen+1),
	"64 KiB":                   strings.Repeat("n", 64<<10),
}

func caseRefused(ctx context.Context, e *env) error {
	n, err := e.node(ctx)
	if err != nil {
		return err
	}
	s, err := e.subscribe(ctx, n)
	if err != nil {
		return err
	}
	try := func(what string, channels ...broker.Channel) error {
		for _, ch := range channels {
			filters := []broker.Filter{broker.Exactly(ch)}
			if ch.Kind() == broker.KindBroadcast {
				filters = append(filters, ch.Protocol().EveryRoom(ch.Namespace()))
			}
			if err := n.Broker.Publish(ctx, ch, nil); !isRefusal(err) {
				return fail(5, "Publish on %s, with %s, returned %s", clip(ch), what, errText(err))
			}
			for _, f := range filters {
				if _, err := n.Broker.Subscribe(ctx, ignore{}, f); !isRefusal(err) {
					return fail(5, "Subscribe to %s, with %s, returned %s", clip(f), what, errText(err))
				}
				if err := s.Add(ctx, f); !isRefusal(err) {
					return fail(5, "Add of %s, with %s, returned %s", clip(f), what, errText(err))
				}
			}
		}
		return nil
	}
	for what, name := range badNames {
		if err := try(what, native.Broadcast(name), native.Room(name, "r"), native.Room("/a", name),
			socketIO.Requests(name), socketIO.Responses(name), socketIO.NodeResponses("/a", name)); err != nil {
			return err
		}
	}
	if err := try("no constructor", broker.Channel{}); err != nil {
		return err
	}
	// The longest name is carried or refused on both sides.
	_, err = carried(ctx, n, kinds(strings.Repeat("n", broker.MaxNameLen)))
	return err
}

// caseAllOrNothing passes good filters together with one that must be refused.
func caseAllOrNothing(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	good, live := broker.Exactly(native.Room("/all", "good")), broker.Exactly(native.Room("/all", "live"))
	bad := broker.Exactly(native.Room("/all", "\xff"))
	if _, err := e.trySubscribe(ctx, b, good, bad); !isRefusal(err) {
		return fail(5, "Subscribe to a good and a bad channel returned %s", errText(err))
	}
	s, err := e.subscribe(ctx, b, live)
	if err != nil {
		return err
	}
	s.rec.blameLate(5)
	if err := s.tryAdd(ctx, good, bad); !isRefusal(err) {
		return fail(5, "Add of a good and a bad channel returned %s", errText(err))
	}
	return e.noDelivery(ctx, a, good.Channel(), b, s, live.Channel())
}

// noDelivery publishes on a channel without subscribers in this case, after a check that the channel reaches the node.
// Then it publishes markers to s. The recorders report unexpected messages.
func (e *env) noDelivery(ctx context.Context, from *Node, quiet broker.Channel, on *Node, s *sub, marker broker.Channel) error {
	witness, err := e.subscribe(ctx, on, broker.Exactly(quiet))
	if err != nil {
		return err
	}
	for range 3 {
		if err := e.one(ctx, witness, from, quiet); err != nil {
			return err
		}
		if s != nil {
			if err := e.one(ctx, s, from, marker); err != nil {
				return err
			}
		}
	}
	return witness.end(ctx)
}
