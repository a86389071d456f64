package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// watcher implements every Observer interface and records the calls. Each Start method stores a
// number in the context and expects it in the End method.
type watcher struct {
	observe.Nop
	mu    sync.Mutex
	last  int
	open  map[int]string
	ended []string
	bad   []string

	header func(wire.Header) wire.Header // for PublishStart and RequestStart
	panics bool                          // in every method
	null   bool                          // Start methods return nil
}

type watchKey struct{}

func (w *watcher) start(ctx context.Context, what string) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics {
		panic("observer: " + what)
	}
	if w.null {
		return nil
	}
	if w.open == nil {
		w.open = map[int]string{}
	}
	w.last++
	w.open[w.last] = what
	return context.WithValue(ctx, watchKey{}, w.last)
}

func (w *watcher) end(ctx context.Context, what, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics {
		panic("observer: end of " + what)
	}
	if w.null {
		return
	}
	n, _ := ctx.Value(watchKey{}).(int)
	if w.open[n] != what {
		w.bad = append(w.bad, fmt.Sprintf("end of %s, begun was %q", what, w.open[n]))
	}
	delete(w.open, n)
	w.ended = append(w.ended, what+" "+text)
}

func (w *watcher) PublishStart(ctx context.Context, d *observe.Publish) context.Context {
	if w.header != nil {
		d.Header = w.header(d.Header)
	}
	return w.start(ctx, "publish")
}

func (w *watcher) PublishEnd(ctx context.Context, d *observe.Publish) {
	w.end(ctx, "publish", fmt.Sprintf("%v %v delivered %d, %d bytes of %t, %v", d.Rooms, d.Except, d.Delivered, d.PayloadBytes, d.MessageBytes > d.PayloadBytes, d.Err))
}

func (w *watcher) DeliverStart(ctx context.Context, _ *observe.Delivery) context.Context {
	return w.start(ctx, "deliver")
}

func (w *watcher) DeliverEnd(ctx context.Context, d *observe.Delivery) {
	w.end(ctx, "deliver", fmt.Sprintf("%v %v matched %d, delivered %d, skipped %d, panicked %d, %v", d.Rooms, d.Except, d.Matched, d.Delivered, d.Skipped, d.Panicked, d.Header))
}

func (w *watcher) RequestStart(ctx context.Context, d *observe.Request) context.Context {
	if w.header != nil {
		d.Header = w.header(d.Header)
	}
	return w.start(ctx, "request "+d.Op)
}

func (w *watcher) RequestResponse(ctx context.Context, d *observe.Request, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics {
		panic("observer: answer")
	}
	if n, _ := ctx.Value(watchKey{}).(int); !w.null && w.open[n] != "request "+d.Op {
		w.bad = append(w.bad, "answer to what is not open")
	}
}

func (w *watcher) RequestEnd(ctx context.Context, d *observe.Request) {
	w.end(ctx, "request "+d.Op, fmt.Sprintf("%d of %d, %v", d.Responded, d.Expected, d.Err))
}

func (w *watcher) ServeStart(ctx context.Context, d *observe.Serve) context.Context {
	return w.start(ctx, "serve "+d.Op)
}

func (w *watcher) ServeEnd(ctx context.Context, d *observe.Serve) {
	w.end(ctx, "serve "+d.Op, fmt.Sprintf("%v %v", d.Header, d.Err))
}

func (w *watcher) Dropped(string, broker.Channel, observe.DropReason) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics {
		panic("observer: dropped")
	}
}

func (w *watcher) Interrupted(string, error)     { w.Dropped("", broker.Channel{}, 0) }
func (w *watcher) Resumed(string, time.Duration) { w.Dropped("", broker.Channel{}, 0) }
func (w *watcher) closed(t *testing.T) (list []string) { // all that was begun and ended since the last call
	t.Helper()
	settle()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, what := range w.open {
		t.Errorf("%s has not ended", what)
	}
	for _, what := range w.bad {
		t.Error(what)
	}
	list = w.ended
	w.ended = nil
	return list
}

// watched is a fleet of two nodes, each with a watcher of its own.
func watched(t *testing.T, watchers ...*watcher) *fleet {
	f := newFleet(t, 0, backplane.Options{}, nil)
	for i, w := range watchers {
		o := &backplane.Options{Name: fmt.Sprint("n", i)}
		if w != nil {
			o.Observers = []observe.Observer{w}
		}
		f.add(o, answering(i))
	}
	f.meet()
	return f
}

func TestObserver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asker, server watcher
		f := watched(t, &asker, &server)
		f.socket(0, "a", "red")
		b := f.socket(1, "b", "red")
		asker.closed(t)
		server.closed(t)

		f.broadcast(0, "hello", backplane.To("red").Except("x"))
		assert.Equal(t, []string{"publish [red] [x] delivered 1, 5 bytes of true, <nil>"}, asker.closed(t), "publish")
		assert.Equal(t, []string{"deliver [red] [x] matched 1, delivered 1, skipped 0, panicked 0, map[]"}, server.closed(t), "deliver")
		f.broadcast(0, "hello", backplane.To("nowhere", "else"))
		assert.Equal(t, []string{"deliver [nowhere else] [] matched 0, delivered 0, skipped 0, panicked 0, map[]"}, server.closed(t), "deliver to no member")
		st := f.nodes[1].Stats()
		assert.EqualValues(t, 1, st.Unwanted, "stats %+v", st)
		f.broadcast(0, "hello", backplane.To("nowhere")) // not even decoded
		assert.Empty(t, server.closed(t), "not wanted")
		asker.closed(t)

		b.onDeliver = func() { panic("b") }
		f.broadcast(0, "hello", backplane.All())
		assert.Equal(t, []string{"deliver [] [] matched 1, delivered 0, skipped 0, panicked 1, map[]"}, server.closed(t), "deliver with a panic")
		release := make(chan struct{})
		b.onDeliver = func() { <-release }
		f.broadcast(0, "hello", backplane.All())
		time.Sleep(2 * time.Second)
		f.broadcast(0, "hello", backplane.All())
		assert.Equal(t, []string{
			"deliver [] [] matched 1, delivered 0, skipped 0, panicked 0, map[]",
			"deliver [] [] matched 1, delivered 0, skipped 1, panicked 0, map[]",
		}, server.closed(t), "deliver with a stall")
		close(release)
		settle()
		asker.closed(t)

		for _, q := range questions {
			_, _, err := q.ask(t.Context(), f.ns[0])
			require.NoError(t, err)
		}
		for _, m := range methods {
			if slices.Contains([]string{"RoomsOf", "Join", "Leave", "Disconnect", "Event"}, m.name) {
				require.NoError(t, m.call(t.Context(), f.ns[0]))
			}
		}
		asked, served := asker.closed(t), server.closed(t)
		var ops []string
		for _, s := range asked {
			if s == "request event 0 of 0, <nil>" { // the one that requests no response
				ops = append(ops, "event")
				continue
			}
			op, ok := strings.CutSuffix(strings.TrimPrefix(s, "request "), " 1 of 1, <nil>")
			assert.True(t, ok, "asked: %s", s)
			ops = append(ops, op)
		}
		var other []string
		for _, s := range served {
			if op, ok := strings.CutPrefix(s, "serve "); ok {
				other = append(other, strings.TrimSuffix(op, " map[] <nil>"))
			}
		}
		assert.ElementsMatch(t, ops, other, "served")

		// Requests that fail, and events that never get a response.
		b.onDeliver = nil
		memorytest.Freeze(f.brokers[1])
		f.ns[0].Members(t.Context(), backplane.All())
		assert.Equal(t, []string{"request members 0 of 1, <nil>"}, asker.closed(t), "asked")
		memorytest.Thaw(f.brokers[1])
		f.brokers[0].Close(t.Context())
		assert.ErrorIs(t, f.ns[0].Broadcast(t.Context(), nil, backplane.All()), broker.ErrClosed)
		assert.Equal(t, []string{"publish [] [] delivered 1, 0 bytes of true, broker closed"}, asker.closed(t), "publish")
		server.closed(t)
	})
}

// An event whose response is late or missing ends when OnEvent returns.
func TestObserverOfEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var server watcher
		f := newFleet(t, 1, backplane.Options{}, nil)
		f.add(&backplane.Options{Observers: []observe.Observer{&server}}, &nsOptions{
			OnEvent: func(_ context.Context, _ string, p []byte, reply func([]byte)) {
				switch string(p) {
				case "later":
					time.AfterFunc(100*time.Millisecond, func() { reply(nil) })
				case "now":
					reply(nil)
				case "panic":
					panic("x")
				}
			},
		})
		f.meet()
		for _, p := range []string{"later", "now", "never", "panic"} {
			f.ns[0].EventAck(t.Context(), []byte(p))
		}
		require.NoError(t, f.ns[0].Event(t.Context(), []byte("no answer")))
		assert.ElementsMatch(t, []string{
			"serve event map[] <nil>", "serve event map[] <nil>", "serve event map[] <nil>", "serve event map[] <nil>",
			"serve event map[] backplane: OnEvent panicked: x",
		}, server.closed(t), "served")
	})
}

// Headers that an observer sets arrive on the other nodes, and locally.
func TestObserverHeaders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		asker := watcher{header: func(h wire.Header) wire.Header {
			if h == nil {
				h = wire.Header{}
			}
			h["trace"] = "1"
			return h
		}}
		var server watcher
		f := watched(t, &asker, &server)
		a, b := f.socket(0, "a"), f.socket(1, "b")
		mine := wire.Header{"own": "2"}
		for _, to := range []backplane.Target{backplane.All(), backplane.All().Header(mine)} {
			want := "map[trace:1]"
			if backplane.SelectionOf(to).Header != nil {
				want = "map[own:2 trace:1]"
			}
			f.broadcast(0, "x", to)
			settle()
			for _, s := range []*socket{a, b} {
				assert.Equal(t, want, fmt.Sprint((<-s.got).Header), s.id)
			}
			list := server.closed(t)
			if assert.Len(t, list, 1, "delivered") {
				assert.True(t, strings.HasSuffix(list[0], want), "delivered")
			}
			_, err := f.ns[0].BroadcastAck(t.Context(), nil, to, 0)
			assert.NoError(t, err)
			for _, s := range []*socket{a, b} {
				assert.Equal(t, want, fmt.Sprint((<-s.got).Header), "%s with acknowledgement", s.id)
			}
			_, err = f.ns[0].Members(t.Context(), to)
			assert.NoError(t, err)
			for _, s := range server.closed(t) {
				assert.Contains(t, s, want, "served")
			}
		}
		assert.Len(t, mine, 1, "the caller's header was changed")
	})
}

// An observer that panics, or returns no context, changes nothing.
func TestRudeObserver(t *testing.T) {
	for _, w := range []*watcher{{panics: true}, {null: true}} {
		bubble(t, func(t *testing.T) {
			f := watched(t, w, w, nil)
			a, b := f.socket(0, "a"), f.socket(1, "b")
			for i := range 2 {
				f.broadcast(i, "x", backplane.All())
			}
			settle()
			assert.Equal(t, []string{"x", "x"}, a.all(), "a")
			assert.Equal(t, []string{"x", "x"}, b.all(), "b")
			for _, q := range questions {
				_, fleet, err := q.ask(t.Context(), f.ns[0])
				if assert.NoError(t, err, "%s: %+v", q.name, fleet) {
					assert.Len(t, fleet.Answered, 2, "%s: %+v", q.name, fleet)
				}
			}
			_, fleet, err := questions[0].ask(t.Context(), f.ns[2])
			if assert.NoError(t, err, "%+v", fleet) {
				assert.Len(t, fleet.Answered, 2, "%+v", fleet)
			}
			a.all()
			memorytest.Cut(f.brokers[0], nil)
			settle()
			memorytest.Heal(f.brokers[0])
			settle()
			f.broadcast(2, "y", backplane.All())
			f.wire("").send(broadcastChannel, []byte("unreadable"))
			settle()
			assert.Equal(t, []string{"y"}, a.all(), "a")
			panics := map[string]bool{}
			for _, err := range f.errs[0].take() {
				if p, ok := errors.AsType[*backplane.PanicError](err); ok {
					panics[p.What] = true
				}
			}
			var want []string
			if w.panics {
				want = []string{
					"DeliverEnd", "DeliverStart", "Dropped", "Interrupted", "PublishEnd", "PublishStart",
					"RequestEnd", "RequestResponse", "RequestStart", "Resumed", "ServeEnd", "ServeStart",
				}
			}
			assert.Equal(t, want, slices.Sorted(maps.Keys(panics)), "panics")
			st := f.nodes[0].Stats()
			assert.Equal(t, st.Panics > 0, w.panics, "stats %+v", st)
		})
	}
}

// Prepare and OnBroadcast: their arguments, their rights, and their panics.
func TestPrepareAndOnBroadcast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		prepared := 0
		var seen, ended []string
		var server watcher
		f := newFleet(t, 1, backplane.Options{}, nil)
		f.add(&backplane.Options{Observers: []observe.Observer{&server}}, &nsOptions{
			Prepare: func(m *backplane.Message) {
				if prepared++; string(m.Payload) == "bad" {
					panic("prepare")
				}
				m.Value = "value of " + string(m.Payload)
			},
			OnBroadcast: func(b *wire.Broadcast) bool {
				seen = append(seen, string(b.Payload))
				if string(b.Payload) == "worse" {
					panic("onbroadcast")
				}
				return string(b.Payload) != "no"
			},
			OnBroadcastEnd: func() {
				last := seen[len(seen)-1]
				if ended = append(ended, last); last == "3" {
					panic("end")
				}
			},
		})
		f.meet()
		a, b, c := f.socket(0, "a"), f.socket(1, "b"), f.socket(1, "c")
		for _, p := range []string{"1", "no", "bad", "worse", "2"} {
			f.broadcast(0, p, backplane.All())
		}
		f.broadcast(0, "3", backplane.To("nowhere")) // seen, but not prepared
		settle()
		for _, s := range []*socket{b, c} {
			for _, want := range []string{"1", "2"} {
				m := <-s.got
				assert.Equal(t, want, string(m.Payload), s.id)
				assert.Equal(t, "value of "+want, m.Value, s.id)
			}
			assert.Empty(t, s.all(), s.id)
		}
		assert.Equal(t, []string{"1", "no", "bad", "worse", "2", "3"}, seen, "seen")
		assert.Equal(t, []string{"1", "bad", "2", "3"}, ended, "ended")
		assert.Equal(t, 3, prepared, "prepared messages")
		var panics []string
		for _, err := range f.errs[1].take() {
			if p, ok := errors.AsType[*backplane.PanicError](err); ok {
				panics = append(panics, p.What)
			}
		}
		assert.Equal(t, []string{"Prepare", "OnBroadcast", "OnBroadcastEnd"}, panics, "panics")
		st := f.nodes[1].Stats()
		assert.EqualValues(t, 3, st.Panics)
		assert.EqualValues(t, 4, st.Deliveries)
		assert.EqualValues(t, 2, st.Unwanted)
		a.all()

		// Own broadcasts are prepared too. If that panics, the other nodes still get them.
		f.broadcast(1, "own", backplane.All())
		assert.Equal(t, "value of own", (<-b.got).Value)
		c.all()
		f.broadcast(1, "bad", backplane.All())
		settle()
		assert.Equal(t, []string{"own", "bad"}, a.all(), "a")
		assert.Empty(t, b.all(), "b")

		// With acknowledgement the call does not wait for a member that did not get the message.
		for i := range 2 {
			began := time.Now()
			acks, err := f.ns[i].BroadcastAck(t.Context(), []byte("bad"), backplane.All(), 0)
			if err != nil || acks.Expected != 1 || len(acks.Values) != 1 || time.Since(began) > 0 {
				t.Errorf("%+v, %v after %v", acks, err, time.Since(began))
			}
		}
		assert.Empty(t, b.all(), "b")
		server.closed(t)
	})
}
