package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

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

// whole tries all that asks other nodes, right now, and names what is not complete. others
// is how many other nodes with one socket each, called by their number, there are.
func whole(t *testing.T, ns *adapter.Namespace, others ...int) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, got int, f backplane.Coverage, err error) {
		t.Helper()
		if err != nil || got != len(others) || len(f.Answered) != len(others) || f.Unconfirmed != 0 || len(f.Missing) != 0 {
			t.Errorf("%s: %d of %d, %+v, %v", what, got, len(others), f, err)
		}
	}
	for _, i := range others {
		id := fmt.Sprint("socket", i)
		if err := ns.RemoteJoin(ctx, id, "room"); err != nil {
			t.Errorf("RemoteJoin: %v", err)
		}
		if rooms, err := ns.ClientRooms(ctx, id); err != nil || len(rooms) < 2 {
			t.Errorf("ClientRooms: %v, %v", rooms, err)
		}
		if err := ns.RemoteLeave(ctx, id, "room"); err != nil {
			t.Errorf("RemoteLeave: %v", err)
		}
		if err := ns.RemoteDisconnect(ctx, id, false); err != nil {
			t.Errorf("RemoteDisconnect: %v", err)
		}
	}
	own := ns.Len()
	c, err := ns.Clients(ctx)
	check("Clients", len(c.IDs)-own, c.Coverage, err)
	s, err := ns.FetchSockets(ctx)
	check("FetchSockets", len(s.List)-own, s.Coverage, err)
	r, err := ns.AllRooms(ctx)
	check("AllRooms", len(r.Rooms)-own, r.Coverage, err)
	q, err := ns.CustomRequest(ctx, "x")
	if q == nil { // it was refused
		q = new(adapter.Replies)
	}
	check("CustomRequest", len(q.List)-1, q.Coverage, err)
	if err := ns.SocketsJoin(ctx, "new"); err != nil {
		t.Errorf("SocketsJoin: %v", err)
	}
	if err := ns.SocketsLeave(ctx, "new"); err != nil {
		t.Errorf("SocketsLeave: %v", err)
	}
	if n, err := ns.ServerCount(ctx); err != nil || n != len(others)+1 {
		t.Errorf("ServerCount: %d, %v", n, err)
	}
}

// As soon as Of returns, the server's own queries and those of all others are complete,
// in any namespace and dialect, whether or not the broker counts.
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
							if err != nil {
								t.Fatal(err)
							}
							t.Cleanup(func() {
								if err := s.Close(context.Background()); err != nil {
									t.Error(err)
								}
							})
							servers = append(servers, s)
							var others []int
							for k := range i {
								others = append(others, k)
							}
							for _, name := range []string{"/", "/chat"} {
								ns, err := s.Of(t.Context(), name)
								if err != nil {
									t.Fatal(err)
								}
								whole(t, ns, others...)
								if err := ns.Add(newSocket(fmt.Sprint("socket", i))); err != nil {
									t.Fatal(err)
								}
								if i == 0 {
									continue
								}
								first, err := servers[0].Of(t.Context(), name)
								if err != nil {
									t.Fatal(err)
								}
								whole(t, first, append(others[1:], i)...)
							}
						}
					})
				})
			}
		}
	}
}

// A server that is there and that nobody knows is never said to be gone, or not to have
// its socket.
func TestUnknownIsNotGone(t *testing.T) {
	for _, uncounted := range []bool{false, true} {
		for _, d := range []adapter.Dialect{adapter.V5, adapter.V6} {
			fleettest.Run(t, &fleettest.Options{Uncounted: uncounted}, func(t *testing.T, f *fleettest.Fleet) {
				first := f.Server("first", &adapter.Options{Dialect: d})
				ns, err := first.Of(t.Context(), "/")
				if err != nil {
					t.Fatal(err)
				}
				var left atomic.Int32
				left.Store(1 << 30)
				p := f.Broker("mute")
				s, err := adapter.New(mute{p.Broker, &left}, &adapter.Options{Dialect: d})
				if err != nil {
					t.Fatal(err)
				}
				other, err := s.Of(t.Context(), "/")
				if err != nil {
					t.Fatal(err)
				}
				if err := other.Add(newSocket("socket")); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = ns.RemoteJoin(t.Context(), "socket", "room")
				t.Logf("uncounted %t, %v: %v after %v", uncounted, d, err, time.Since(began))
				switch {
				case uncounted: // no node can know of it
				case err != nil:
					t.Errorf("RemoteJoin: %v", err)
				}
				if d := time.Since(began); d > 250*time.Millisecond {
					t.Errorf("RemoteJoin took %v", d)
				}
				if errors.Is(err, backplane.ErrPeerLost) {
					t.Errorf("RemoteJoin: %v", err)
				}
				// Refused, incomplete, or whole.
				if r, err := ns.CustomRequest(t.Context(), 1); !uncounted && err == nil && len(r.List) < 2 {
					t.Errorf("%v: CustomRequest: %+v without an error", d, r)
				}
				if err := s.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
