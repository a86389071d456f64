package backplane_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// shortsighted is a broker that counts all nodes, only some, or none.
type shortsighted struct {
	broker.Broker
	sight *atomic.Int32
}

const (
	seesAll = iota
	seesSome
	seesNone
)

var errSight = &broker.InexactError{Err: errors.New("a server did not respond")}

func (s shortsighted) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	counts, err := s.Broker.Subscribers(ctx, channels...)
	switch {
	case err != nil || s.sight.Load() == seesAll:
		return counts, err
	case s.sight.Load() == seesNone:
		return nil, errSight
	}
	counts[0], counts[1] = 1, 1 // the requester itself
	for i := range counts[2:] {
		counts[2+i] = 0
	}
	return counts, errSight
}

// foreign is a codec of a protocol that foreign peers speak too.
type foreign struct{ wire.Codec }

func (foreign) Protocol() broker.Protocol { return broker.SocketIO }

func (foreign) ResponseChannel(ns string, r *wire.Response) broker.Channel {
	return broker.SocketIO.NodeResponses(ns, r.Request.Origin)
}

func (foreign) BroadcastChannel(ns string, _ *wire.Broadcast) broker.Channel {
	return broker.SocketIO.Broadcast(ns)
}

// Expect of an operation on a selection: foreign peers do not respond to it.
func (foreign) Expect(_ string, r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if r.Op == wire.OpJoin && !r.ByID {
		return wire.Expected{Silent: p.Total}, nil
	}
	return wire.Expected{Answers: p.Total}, nil
}

// If a broker could not count all subscribers, queries wait for the known peers. In a protocol that
// foreign peers speak, the result then says that it may be incomplete.
func TestInexactCount(t *testing.T) {
	for name, codec := range map[string]wire.Codec{"native": backplane.NativeCodec(), "foreign": foreign{backplane.NativeCodec()}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var sight atomic.Int32
				f := newFleet(t, 0, backplane.Options{}, nil)
				wrap := func(b broker.Broker) broker.Broker { return shortsighted{b, &sight} }
				for range 3 {
					f.addOn(f.bus.Broker(), wrap, &backplane.Options{}, &nsOptions{
						Codec: codec, OnRequest: func(context.Context, string, []byte) ([]byte, error) { return nil, nil },
					})
				}
				f.meet()
				f.socket(1, "b")
				f.socket(2, "c")
				for _, sees := range []int32{seesAll, seesSome, seesNone, seesAll} {
					sight.Store(sees)
					said := name == "foreign" && sees != seesAll
					inexact := func(what string, err error, uncounted error) {
						t.Helper()
						var p *backplane.PartialError
						var i *broker.InexactError
						switch {
						case !said && (err != nil || uncounted != nil):
							t.Errorf("sight %d: %s: %v, uncounted %v", sees, what, err, uncounted)
						case said && (!errors.As(err, &p) || !errors.As(err, &i) || len(p.Coverage.Missing) != 0 || p.Coverage.Uncounted == nil):
							t.Errorf("sight %d: %s: %v does not say that others may be missing", sees, what, err)
						}
					}
					time.Sleep(time.Second) // introductions have ended
					began := time.Now()
					m, err := f.ns[0].Members(t.Context(), backplane.All())
					if assert.Len(t, m.List, 2, "sight %d: Members", sees) {
						assert.Len(t, m.Answered, 2, "sight %d: Members", sees)
					}
					inexact("Members", err, m.Uncounted)
					r, err := f.ns[0].Request(t.Context(), nil)
					assert.Len(t, r.List, 2, "sight %d: Request: %+v", sees, r)
					inexact("Request", err, r.Uncounted)
					acks, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), 0)
					assert.Len(t, acks.Values, 2, "sight %d: BroadcastAck: %+v", sees, acks)
					inexact("BroadcastAck", err, acks.Uncounted)
					assert.NoError(t, f.ns[0].Join(t.Context(), "c", "room"), "sight %d: Join", sees)
					if _, err := f.ns[0].JoinAll(t.Context(), backplane.All(), "room"); err != nil {
						t.Errorf("sight %d: JoinAll: %v", sees, err)
					}
					_, err = f.ns[0].RoomsOf(t.Context(), "unknown")
					assert.NotEqual(t, said, errors.Is(err, backplane.ErrNoSuchMember), "sight %d: RoomsOf of an unknown member: %v", sees, err)
					var count *backplane.OpError
					if n, err := serversOf(t.Context(), f.ns[0]); n != 3 || errors.As(err, &count) != said {
						t.Errorf("sight %d: Count: %d, %v", sees, n, err)
					}
					p, err := f.ns[0].Peers(t.Context())
					if assert.Len(t, p.List, 2, "sight %d: Peers: %+v, %v", sees, p, err) {
						assert.Equal(t, sees == seesAll, p.Counted, "sight %d: Peers: %+v, %v", sees, p, err)
						assert.Equal(t, said, errors.As(err, &count), "sight %d: Peers: %+v, %v", sees, p, err)
					}
					assert.LessOrEqual(t, time.Since(began), 100*time.Millisecond, "sight %d: waited although no known node is missing", sees)
				}
			})
		})
	}
}

// revealing is a broker that calls a function after it has counted.
type revealing struct {
	broker.Broker
	after func()
}

func (b *revealing) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	counts, err := b.Broker.Subscribers(ctx, channels...)
	if f := b.after; f != nil && channels[0].Kind() == broker.KindRequests {
		b.after = nil
		f()
	}
	return counts, err
}

// A node that introduces itself directly after it was counted is not taken for a foreign peer,
// which would not be waited for.
func TestIntroducedWhileCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		asker := &revealing{}
		f.addOn(f.bus.Broker(), func(b broker.Broker) broker.Broker { asker.Broker = b; return asker }, &backplane.Options{},
			&nsOptions{Codec: foreign{backplane.NativeCodec()}})
		w := f.wire("late")
		if _, err := w.b.Subscribe(t.Context(), w, broker.Exactly(broker.SocketIO.Requests(chat)), broker.Exactly(broker.SocketIO.NodeResponses(chat, "late"))); err != nil {
			t.Fatal(err)
		}
		w.onRequest(func(r *wire.Request) {
			buf, err := backplane.NativeCodec().AppendResponse(nil, chat, &wire.Response{Request: r, RequestID: r.ID, Node: "late", Count: 1})
			assert.NoError(t, err)
			w.send(broker.SocketIO.NodeResponses(chat, r.Origin), buf)
		})
		asker.after = func() {
			w.send(broker.Control(), pack([]any{1, hello, "late", 5, 1, []any{[]any{broker.SocketIO.String(), chat, "native/1"}}}))
			settle()
		}
		m, err := f.ns[0].JoinAll(t.Context(), backplane.All(), "x")
		assert.Equal(t, []string{"late"}, m.Answered, "answered")
		require.NoError(t, err, "%+v", m.Coverage)
		assert.Zero(t, m.Unconfirmed, "%+v", m.Coverage)
	})
}
