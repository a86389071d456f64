package backplane_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/peakheap"
	"github.com/crossroom/crossroom/internal/wire"
)

// light is a member without memory of its own messages.
type light struct {
	id    string
	about []byte
}

func (m *light) ID() string                 { return m.id }
func (m *light) Deliver(*backplane.Message) {}
func (m *light) Disconnect(bool)            {}
func (m *light) Describe() []byte           { return m.about }

// fill adds n members to a node: "m", its number and the member's. Each is in one of 7 rooms and in one of its own.
func (f *fleet) fill(node, n, size int) {
	f.t.Helper()
	for i := range n {
		id := fmt.Sprintf("m%d.%d", node, i)
		f.join(node, &light{id, make([]byte, size)}, fmt.Sprint("room", i%7), "own "+id)
	}
}

// gather reads a sequence to its end.
func gather[E any](seq iter.Seq2[E, error]) (list []E, err error) {
	for e, failed := range seq {
		if failed != nil {
			err = failed
			continue
		}
		list = append(list, e)
	}
	return list, err
}

func byID(a, b backplane.MemberInfo) int { return strings.Compare(a.ID, b.ID) }

// The loops have what the lists have, whatever the number of pages; foreign peers send whole lists.
func TestEachHasWhatTheListHas(t *testing.T) {
	for _, kind := range brokerKinds {
		t.Run(kind.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := trioOn(t, kind.wrap, backplane.Options{})
				for i, n := range []int{3, 2500, 1} {
					f.fill(i, n, 300)
				}
				ctx := t.Context()
				for _, to := range []backplane.Target{
					backplane.All(), backplane.To("room1"), backplane.To("room1", "room2", "m1.7").Except("m1.8"), backplane.All().InAll("room3").Remote(),
					backplane.All().Local(), backplane.To("nowhere"), backplane.To(),
				} {
					list, err := f.ns[0].MembersDetail(ctx, to)
					require.NoError(t, err)
					slices.SortFunc(list.List, byID)
					got, err := gather(f.ns[0].EachMember(ctx, to))
					require.NoError(t, err)
					slices.SortFunc(got, byID)
					require.Equal(t, len(list.List), len(got), "%v", to)
					for i, m := range list.List {
						require.ElementsMatch(t, m.Rooms, got[i].Rooms)
						m.Rooms, got[i].Rooms = nil, nil
						require.Equal(t, m, got[i])
					}
				}
				rooms, err := f.ns[0].AllRooms(ctx)
				require.NoError(t, err)
				got, err := gather(f.ns[0].EachRoom(ctx))
				require.NoError(t, err)
				require.Equal(t, rooms.List, got)
			})
		})
	}
}

// A node keeps nothing for a loop, whose body may take any time; members that stay are there once, whatever else changes.
func TestEachWithASlowBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		f.fill(1, 6000, 100)
		seen := map[string]int{}
		for m, err := range f.ns[0].EachMember(t.Context(), backplane.To("room3")) {
			require.NoError(t, err)
			seen[m.ID]++
			if len(seen)%100 == 0 {
				time.Sleep(10 * time.Minute)
				for i := range 300 { // others come and go
					id := fmt.Sprintf("m1.%d", 7*i+4)
					require.NoError(t, f.ns[1].Leave(t.Context(), id, "room4"))
					require.NoError(t, f.ns[1].Join(t.Context(), id, "room3"))
					require.NoError(t, f.ns[1].Leave(t.Context(), id, "room3"))
				}
			}
		}
		for i := 3; i < 6000; i += 7 {
			require.Equal(t, 1, seen[fmt.Sprintf("m1.%d", i)])
		}
	})
}

// A loop that ends early requests no more pages, and one whose body panics passes the panic on.
func TestEachThatEndsEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var sent atomic.Int64
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.addOn(f.bus.Broker(), func(b broker.Broker) broker.Broker { return &counted{Broker: b, requests: &sent} }, &backplane.Options{}, nil)
		for range 3 {
			f.add(&backplane.Options{}, nil)
		}
		f.meet()
		for i := range f.ns {
			f.fill(i, 3000, 100)
		}
		for _, to := range []backplane.Target{backplane.All(), backplane.All().Remote()} {
			for _, n := range []int{1, 2500, 10_000} {
				sent.Store(0)
				for _, err := range f.ns[0].EachMember(t.Context(), to) {
					require.NoError(t, err)
					if n--; n <= 0 {
						break
					}
				}
				assert.LessOrEqual(t, sent.Load(), int64(6))
			}
			assert.PanicsWithValue(t, "body", func() {
				for range f.ns[0].EachMember(t.Context(), to) {
					panic("body")
				}
			})
		}
		for range f.ns[0].EachRoom(t.Context()) {
			break
		}
		assert.PanicsWithValue(t, "body", func() {
			for range f.ns[0].EachRoom(t.Context()) {
				panic("body")
			}
		})
		_, err := f.ns[0].Members(t.Context(), backplane.All()) // nothing is locked
		require.NoError(t, err)
	})
}

// counted counts the requests that a node publishes, and the largest message.
type counted struct {
	broker.Broker
	requests, largest *atomic.Int64
}

func (c *counted) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if c.requests != nil && (ch.Kind() == broker.KindRequests || ch.Kind() == broker.KindNodeResponses) {
		c.requests.Add(1)
	}
	if c.largest != nil {
		for {
			if old := c.largest.Load(); old >= int64(len(payload)) || c.largest.CompareAndSwap(old, int64(len(payload))) {
				break
			}
		}
	}
	return c.Broker.Publish(ctx, ch, payload)
}

// A node that crashes, or that closes the namespace, during the loop is missing at the end, by name; so are nodes when
// the context ends.
func TestEachOfNodesThatAreLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, how := range []string{"crash", "close", "cancel"} {
			for _, what := range []string{"members", "rooms"} {
				f := newFleet(t, 3, backplane.Options{}, nil)
				f.fill(1, 20, 10)
				f.fill(2, 15_000, 100)
				ctx, cancel := context.WithCancel(t.Context())
				n := 0
				body := func(err error) error {
					if n++; n != 100 {
						return err
					}
					switch how {
					case "crash":
						memorytest.Kill(f.brokers[2])
					case "close":
						require.NoError(t, f.ns[2].Close(t.Context()))
					case "cancel":
						cancel()
					}
					return err
				}
				var end error
				if what == "members" {
					for _, err := range f.ns[0].EachMember(ctx, backplane.All()) {
						end = body(err)
					}
				} else {
					for _, err := range f.ns[0].EachRoom(ctx) {
						end = body(err)
					}
				}
				var partial *backplane.PartialError
				require.ErrorAs(t, end, &partial, "%s %s", how, what)
				assert.Equal(t, f.ids(1), partial.Coverage.Answered)
				require.Len(t, partial.Coverage.Missing, 1)
				assert.Equal(t, f.nodes[2].ID(), partial.Coverage.Missing[0].Node)
				switch how {
				case "cancel":
					assert.ErrorIs(t, end, context.Canceled)
				default:
					assert.ErrorIs(t, partial.Coverage.Missing[0].Reason, backplane.ErrPeerLost)
				}
				assert.Greater(t, n, 100)
				cancel()
			}
		}
	})
}

// What a hostile peer sends in place of pages ends with that peer missing.
func TestHostilePages(t *testing.T) {
	page := func(from, n int, rest bool) wire.Response {
		r := wire.Response{Rest: rest}
		for i := range n {
			name := fmt.Sprintf("x%09d", from+i)
			r.Members, r.Rooms = append(r.Members, wire.MemberInfo{ID: name}), append(r.Rooms, name)
		}
		return r
	}
	for _, attack := range []struct {
		name   string
		page   func(i int, r *wire.Request) wire.Response
		reason error
		most   int // elements that the loop gets
	}{
		{"the same page", func(int, *wire.Request) wire.Response { return page(0, 10, true) }, nil, 30},
		{"empty pages", func(int, *wire.Request) wire.Response { return page(0, 0, true) }, nil, 0},
		{"backwards", func(i int, _ *wire.Request) wire.Response { return page(1_000_000-i*10, 10, true) }, nil, 30},
		{"no end", func(i int, _ *wire.Request) wire.Response { return page(i*2, 2, true) }, backplane.ErrTooLarge, 9000},
		{"a large page", func(i int, _ *wire.Request) wire.Response { return page(i*50_000, 50_000, true) }, backplane.ErrTooLarge, 0},
	} {
		t.Run(attack.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 1, backplane.Options{}, nil)
				w := f.wire("liar")
				w.control(full, "liar", 1, 1, chat)
				settle()
				var mu sync.Mutex
				i := 0
				reply := func(r *wire.Request) {
					mu.Lock()
					resp := attack.page(i, r)
					i++
					mu.Unlock()
					w.answer(r, "liar", resp)
				}
				w.onRequest(reply)
				w.onAsk = reply
				for _, rooms := range []bool{false, true} {
					i = 0
					n, end := 0, error(nil)
					if rooms {
						var list []string
						list, end = gather(f.ns[0].EachRoom(t.Context()))
						n = len(list)
						require.True(t, slices.IsSorted(list))
						require.Len(t, slices.Compact(list), n)
					} else {
						list, err := gather(f.ns[0].EachMember(t.Context(), backplane.All()))
						n, end = len(list), err
					}
					var partial *backplane.PartialError
					require.ErrorAs(t, end, &partial)
					require.Len(t, partial.Coverage.Missing, 1)
					require.Equal(t, "liar", partial.Coverage.Missing[0].Node)
					if attack.reason != nil {
						require.ErrorIs(t, partial.Coverage.Missing[0].Reason, attack.reason)
					}
					require.LessOrEqual(t, n, attack.most)
				}
			})
		})
	}
}

// On a node's own channel only pages can be requested.
func TestOnlyPagesAreAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		m := f.socket(0, "m")
		w := f.wire("w")
		to := f.nodes[0].ID()
		for op := wire.OpMembers; op <= wire.OpBroadcast; op++ {
			for _, page := range []int{0, 1} {
				r := wire.Request{ID: fmt.Sprint(op, page), Op: op, Origin: "w", Native: true, Member: "m", Targets: []string{"r"}, Page: page}
				buf, err := backplane.NativeCodec().AppendRequest(nil, chat, &r)
				require.NoError(t, err)
				w.answer(&wire.Request{Origin: to, ID: r.ID}, "w", wire.Response{Ask: true, Payload: buf})
			}
		}
		w.answer(&wire.Request{Origin: to, ID: "bad"}, "w", wire.Response{Ask: true, Payload: []byte("bad")})
		settle()
		assert.Len(t, w.saw(broker.KindNodeResponses), 2, "members and rooms")
		assert.Equal(t, []string{"m"}, f.ns[0].LocalRooms())
		assert.Empty(t, m.all())
		assert.Empty(t, m.gone)
	})
}

// A fleet of 64 nodes with 100,000 members: messages are bounded, and the loop's memory is that of some pages.
func TestEachOfALargeFleet(t *testing.T) {
	nodes, members := 64, 100_000
	if raceEnabled { // it slows a large fleet down too much
		nodes, members = 16, 20_000
	}
	var largest, sent atomic.Int64
	f := newFleet(t, 0, backplane.Options{}, nil)
	for range nodes {
		f.addOn(f.bus.Broker(), func(b broker.Broker) broker.Broker { return &counted{Broker: b, requests: &sent, largest: &largest} },
			&backplane.Options{RequestsTimeout: time.Minute, PeerTimeout: 10 * time.Minute}, nil)
	}
	f.meet()
	about := make([]byte, 600)
	for i := range members { // most of them on one node
		node := i % nodes
		if i%2 == 0 {
			node = 1
		}
		f.join(node, &light{fmt.Sprintf("member-%06d", i), about}, "all")
	}
	sent.Store(0)
	n := 0
	before, peak := peakheap.Live(), int64(0)
	for _, err := range f.ns[0].EachMember(t.Context(), backplane.All()) {
		require.NoError(t, err)
		if n++; n%5000 == 0 {
			peak = max(peak, peakheap.Live()-before)
		}
	}
	t.Logf("members: %d MiB at most, %d messages, the largest of %d bytes", peak>>20, sent.Load(), largest.Load())
	assert.Equal(t, members, n)
	assert.Less(t, peak, int64(40<<20)) // the list takes more than 100 MiB
	assert.LessOrEqual(t, largest.Load(), int64(512<<10))
	assert.Less(t, sent.Load(), int64(1000))

	largest.Store(0)
	sent.Store(0)
	n = 0
	for _, err := range f.ns[0].EachRoom(t.Context()) {
		require.NoError(t, err)
		n++
	}
	t.Logf("rooms: %d messages, the largest of %d bytes", sent.Load(), largest.Load())
	assert.Equal(t, members+1, n)
	assert.LessOrEqual(t, largest.Load(), int64(512<<10))
	count, err := f.ns[0].Count(t.Context(), backplane.All())
	require.NoError(t, err)
	assert.Equal(t, members, count.Total)
}
