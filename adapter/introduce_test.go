package adapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/fleettest"
)

// mute is a broker that loses the first announcements of its node.
type mute struct {
	broker.Broker
	left *atomic.Int32
}

func (m mute) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if ch.Kind() == broker.KindControl && m.left.Add(-1) >= 0 {
		return ctx.Err()
	}
	return m.Broker.Publish(ctx, ch, payload)
}

// whole calls all operations that query other nodes, and returns those whose result is not
// complete. others is the number of other nodes, each of which has one socket, named by its
// number.
func whole(t *testing.T, ns *adapter.Namespace, others ...int) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, got int, f backplane.Coverage, err error) {
		t.Helper()
		if assert.NoError(t, err, what) {
			assert.Equal(t, len(others), got, what)
			assert.Len(t, f.Answered, len(others), what)
			assert.Zero(t, f.Unconfirmed, what)
			assert.Empty(t, f.Missing, what)
		}
	}
	for _, i := range others {
		id := fmt.Sprint("socket", i)
		assert.NoError(t, ns.Join(ctx, id, "room"))
		rooms, err := ns.ClientRooms(ctx, id)
		if assert.NoError(t, err, "ClientRooms: %v", rooms) {
			assert.GreaterOrEqual(t, len(rooms), 2, "ClientRooms: %v", rooms)
		}
		assert.NoError(t, ns.Leave(ctx, id, "room"))
		assert.NoError(t, ns.Disconnect(ctx, id, false))
	}
	own := ns.Len()
	c, err := ns.All().Clients(ctx)
	check("Clients", len(c.IDs)-own, c.Coverage, err)
	s, err := ns.All().FetchSockets(ctx)
	check("FetchSockets", len(s.List)-own, s.Coverage, err)
	r, err := ns.AllRooms(ctx)
	check("AllRooms", len(r.List)-own, r.Coverage, err)
	q, err := ns.CustomRequest(ctx, "x")
	if q == nil { // it was refused
		q = new(adapter.Replies)
	}
	check("CustomRequest", len(q.List)-1, q.Coverage, err)
	assert.NoError(t, ns.All().SocketsJoin(ctx, "new"))
	assert.NoError(t, ns.All().SocketsLeave(ctx, "new"))
	n, err := ns.ServerCount(ctx)
	require.NoError(t, err)
	assert.Equal(t, len(others)+1, n)
}

// As soon as Of returns, the queries of this server and of all others are complete, in any
// namespace and dialect, whether or not the broker counts.
func TestQueryRightAfterOf(t *testing.T) {
	for _, uncounted := range []bool{false, true} {
		for _, d := range []adapter.Dialect{adapter.V5, adapter.V6} {
			for _, lost := range []int32{0, 1, 2} {
				t.Run(fmt.Sprintf("uncounted %t, %v, %d lost", uncounted, d, lost), func(t *testing.T) {
					fleettest.Run(t, &fleettest.Options{Uncounted: uncounted}, func(t *testing.T, f *fleettest.Fleet) {
						hook := func(context.Context, *adapter.Namespace, json.RawMessage) (any, error) { return 1, nil }
						var servers []*adapter.Server
						for i := range 4 {
							p := f.Broker(fmt.Sprint("n", i))
							var left atomic.Int32
							left.Store(lost)
							s, err := adapter.New(mute{p.Broker, &left}, &adapter.Options{Dialect: d, Heartbeat: time.Minute, CustomHook: hook})
							require.NoError(t, err)
							t.Cleanup(func() {
								assert.NoError(t, s.Close(context.Background()))
							})
							servers = append(servers, s)
							var others []int
							for k := range i {
								others = append(others, k)
							}
							for _, name := range []string{"/", "/chat"} {
								ns, err := s.Of(t.Context(), name)
								require.NoError(t, err)
								whole(t, ns, others...)
								require.NoError(t, ns.Add(t.Context(), newSocket(fmt.Sprint("socket", i))))
								if i == 0 {
									continue
								}
								first, err := servers[0].Of(t.Context(), name)
								require.NoError(t, err)
								whole(t, first, append(others[1:], i)...)
							}
						}
					})
				})
			}
		}
	}
}

// A connected but unknown server is never reported as lost, or not to have
// its socket.
func TestUnknownIsNotGone(t *testing.T) {
	for _, uncounted := range []bool{false, true} {
		for _, d := range []adapter.Dialect{adapter.V5, adapter.V6} {
			fleettest.Run(t, &fleettest.Options{Uncounted: uncounted}, func(t *testing.T, f *fleettest.Fleet) {
				first := f.Server("first", &adapter.Options{Dialect: d})
				ns, err := first.Of(t.Context(), "/")
				require.NoError(t, err)
				var left atomic.Int32
				left.Store(1 << 30)
				p := f.Broker("mute")
				s, err := adapter.New(mute{p.Broker, &left}, &adapter.Options{Dialect: d})
				require.NoError(t, err)
				other, err := s.Of(t.Context(), "/")
				require.NoError(t, err)
				require.NoError(t, other.Add(t.Context(), newSocket("socket")))
				began := time.Now()
				err = ns.Join(t.Context(), "socket", "room")
				t.Logf("uncounted %t, %v: %v after %v", uncounted, d, err, time.Since(began))
				switch {
				case uncounted: // no node can know that server
				case err != nil:
					t.Errorf("RemoteJoin: %v", err)
				}
				assert.LessOrEqual(t, time.Since(began), 250*time.Millisecond, "RemoteJoin")
				assert.NotErrorIs(t, err, backplane.ErrPeerLost, "RemoteJoin")
				// Refused, incomplete, or whole.
				if r, err := ns.CustomRequest(t.Context(), 1); !uncounted && err == nil && len(r.List) < 2 {
					t.Errorf("%v: CustomRequest: %+v without an error", d, r)
				}
				assert.NoError(t, s.Close(context.Background()))
			})
		}
	}
}
