package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// slowBroker publishes responses slowly.
type slowBroker struct {
	broker.Broker
	delay *atomic.Int64
}

func (b slowBroker) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if k := ch.Kind(); k == broker.KindResponses || k == broker.KindNodeResponses {
		time.Sleep(time.Duration(b.delay.Load()))
	}
	return b.Broker.Publish(ctx, ch, payload)
}

// Every operation returns within RequestsTimeout, also an operation that sends several
// requests, if a server needs most of that time to respond to each of them.
func TestEveryOperationHasOneDeadline(t *testing.T) {
	const timeout = time.Second
	rooms := []string{"a", "b", "c", "d", "e"}
	operations := map[string]func(ctx context.Context, ns *adapter.Namespace) error{
		"Clients": func(ctx context.Context, ns *adapter.Namespace) error { _, err := ns.All().Clients(ctx); return err },
		"ClientRooms": func(ctx context.Context, ns *adapter.Namespace) error {
			_, err := ns.ClientRooms(ctx, "far1")
			return err
		},
		"AllRooms": func(ctx context.Context, ns *adapter.Namespace) error { _, err := ns.AllRooms(ctx); return err },
		"FetchSockets": func(ctx context.Context, ns *adapter.Namespace) error {
			_, err := ns.All().FetchSockets(ctx)
			return err
		},
		"FetchSockets, except": func(ctx context.Context, ns *adapter.Namespace) error {
			_, err := ns.All().Except("x").FetchSockets(ctx)
			return err
		},
		"Join":                      func(ctx context.Context, ns *adapter.Namespace) error { return ns.Join(ctx, "far1", rooms...) },
		"Leave":                     func(ctx context.Context, ns *adapter.Namespace) error { return ns.Leave(ctx, "far1", rooms...) },
		"Join of an unknown socket": func(ctx context.Context, ns *adapter.Namespace) error { return ns.Join(ctx, "unknown", rooms...) },
		"RemoteJoin":                func(ctx context.Context, ns *adapter.Namespace) error { return ns.Join(ctx, "far1", "a") },
		"RemoteLeave":               func(ctx context.Context, ns *adapter.Namespace) error { return ns.Leave(ctx, "far1", "a") },
		"SocketsJoin": func(ctx context.Context, ns *adapter.Namespace) error {
			return ns.All().Except("x").SocketsJoin(ctx, rooms...)
		},
		"SocketsLeave": func(ctx context.Context, ns *adapter.Namespace) error {
			return ns.All().Except("x").SocketsLeave(ctx, rooms...)
		},
		"DisconnectSockets": func(ctx context.Context, ns *adapter.Namespace) error { return ns.All().DisconnectSockets(ctx, false) },
		"Disconnect":        func(ctx context.Context, ns *adapter.Namespace) error { return ns.Disconnect(ctx, "far1", false) },
		"RemoteDisconnect":  func(ctx context.Context, ns *adapter.Namespace) error { return ns.Disconnect(ctx, "far2", false) },
		"CustomRequest":     func(ctx context.Context, ns *adapter.Namespace) error { _, err := ns.CustomRequest(ctx, 1); return err },
		"EmitWithAck": func(ctx context.Context, ns *adapter.Namespace) error {
			_, err := ns.All().EmitWithAck(ctx, "x")
			return err
		},
		"ServerSideEmitWithAck": func(ctx context.Context, ns *adapter.Namespace) error {
			_, err := ns.ServerSideEmitWithAck(ctx, "x")
			return err
		},
		"Emit":        func(ctx context.Context, ns *adapter.Namespace) error { return ns.All().Emit(ctx, "x") },
		"Peers":       func(ctx context.Context, ns *adapter.Namespace) error { _, err := ns.Peers(ctx); return err },
		"ServerCount": func(ctx context.Context, ns *adapter.Namespace) error { _, err := ns.ServerCount(ctx); return err },
	}
	for _, links := range [][]adapter.Dialect{{adapter.V6}, {adapter.V5}, {adapter.V6, adapter.V5}, {adapter.V5, adapter.V6}} {
		for name, operation := range operations {
			t.Run(fmt.Sprint(name, links), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					var delay atomic.Int64
					buses := make([]*memorybroker.Bus, len(links))
					for i := range buses {
						buses[i] = memorybroker.NewBus(nil)
					}
					start := func(slow bool) *adapter.Namespace {
						var list []adapter.Link
						for i, d := range links {
							var b broker.Broker = buses[i].Broker()
							t.Cleanup(func() { ok(t, b.Close(context.Background())) })
							if slow {
								b = slowBroker{b, &delay}
							}
							list = append(list, adapter.Link{Broker: b, Dialect: d})
						}
						s, err := adapter.New(list[0].Broker, &adapter.Options{
							Dialect: list[0].Dialect, Links: list[1:], RequestsTimeout: timeout, PeerTimeout: time.Hour,
						})
						ok(t, err)
						t.Cleanup(func() { ok(t, s.Close(context.Background())) })
						ns, err := s.Of(t.Context(), chat)
						ok(t, err)
						return ns
					}
					near, far := start(false), start(true)
					for _, id := range []string{"far1", "far2", "far3"} {
						s := newSocket(id)
						ok(t, far.Add(t.Context(), s))
						ok(t, far.Join(t.Context(), id, "x"+id))
					}
					time.Sleep(5 * time.Second) // all know each other
					delay.Store(int64(timeout * 9 / 10))
					began := time.Now()
					err := operation(t.Context(), near)
					assert.LessOrEqual(t, time.Since(began), timeout)
					if errors.Is(err, context.DeadlineExceeded) && err == context.DeadlineExceeded {
						t.Error("the context's error came without the context's end")
					}
					delay.Store(0)
				})
			})
		}
	}
}

// An error of the custom hook is reported, whether its own server or another one sent the
// request.
func TestOwnCustomHookFails(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		broken := errors.New("broken")
		for _, asker := range []int{0, 1} {
			nodes := fleet(t, 2, adapter.Options{Dialect: d})
			nodes[0].ns.OnCustomRequest(func(context.Context, *adapter.Namespace, json.RawMessage) (any, error) { return nil, broken })
			_, err := nodes[asker].ns.CustomRequest(t.Context(), nil)
			ok(t, err)
			eventually(t, "reported", func() bool { return len(nodes[0].errors.all()) > 0 })
			list := nodes[0].errors.all()
			if assert.Len(t, list, 1, "requests of node %d: reported", asker) {
				assert.ErrorIs(t, list[0], broken, "requests of node %d: reported", asker)
			}
		}
	})
}
