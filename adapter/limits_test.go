package adapter_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/peakheap"
	"github.com/crossroom/crossroom/internal/servers"
	"github.com/crossroom/crossroom/internal/wire"
)

// receiver is a client of the broker that is not a server.
type receiver func(ch broker.Channel, payload []byte)

func (f receiver) Deliver(ch broker.Channel, payload []byte) { f(ch, payload) }
func (receiver) Interrupted(error)                           {}
func (receiver) Resumed()                                    {}

// A Go node gets 256 requests at once, in the form of a Node.js server, whose responses have
// 10 MB each. It responds within its budget and serves ordinary requests meanwhile. On Redis,
// where a message has at most 4 MiB, a response has 2.5 MB.
func TestBudgetOfResponses(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) func() (broker.Broker, error){
		"memory": func(*testing.T) func() (broker.Broker, error) {
			bus := memorybroker.NewBus(&memorybroker.Options{MaxPayload: 64 << 20})
			return func() (broker.Broker, error) { return bus.Broker(), nil }
		},
		"redis": func(t *testing.T) func() (broker.Broker, error) {
			srv := servers.StartRedis(t, nil)
			return func() (broker.Broker, error) { return redisbroker.Open(srv.URL(), nil) }
		},
	} {
		each := 4000
		if name == "redis" {
			each = 1000
		}
		t.Run(name, func(t *testing.T) { budgetOfResponses(t, each, open(t)) })
	}
}

// budgetOfResponses runs the test with sockets of that many bytes of data each.
func budgetOfResponses(t *testing.T, each int, open func() (broker.Broker, error)) {
	const sockets, requests = 2500, 256
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var pair []*adapter.Namespace
	for range 2 {
		b, err := open()
		require.NoError(t, err)
		defer b.Close(context.Background())
		server, err := adapter.New(b, &adapter.Options{RequestsTimeout: 3 * time.Second})
		require.NoError(t, err)
		defer server.Close(context.Background())
		ns, err := server.Of(ctx, chat)
		require.NoError(t, err)
		pair = append(pair, ns)
	}
	about := adapter.Description{Data: strings.Repeat("x", each)}
	for i := range sockets {
		require.NoError(t, pair[1].Add(ctx, &talker{socket: &socket{id: fmt.Sprint("s", i)}, about: about}))
	}
	require.NoError(t, pair[1].Join(ctx, "s0", "one"))
	require.NoError(t, eventuallyNil(ctx, func() error {
		if list, err := pair[0].To("one").FetchSockets(ctx); err != nil || len(list.List) != 1 {
			return fmt.Errorf("%+v, %v", list, err)
		}
		return nil
	}))
	asker, err := open()
	require.NoError(t, err)
	defer asker.Close(context.Background())
	var bytes atomic.Int64
	_, err = asker.Subscribe(ctx, receiver(func(_ broker.Channel, payload []byte) { bytes.Add(int64(len(payload))) }),
		broker.Exactly(broker.SocketIO.NodeResponses(chat, "asker")))
	require.NoError(t, err)

	stop := peakheap.Measure()
	began := time.Now()
	for i := range requests {
		request := fmt.Sprintf(`{"uid":"asker","requestId":"r%d","type":5,"opts":{"rooms":[],"except":["none%d"]}}`, i, i)
		require.NoError(t, asker.Publish(ctx, broker.SocketIO.Requests(chat), []byte(request)))
	}
	failed := 0
	for range 10 {
		if list, err := pair[0].To("one").FetchSockets(ctx); err != nil || len(list.List) != 1 {
			t.Log(time.Since(began), err)
			failed++
		}
		time.Sleep(50 * time.Millisecond)
	}
	require.NoError(t, eventuallyNil(ctx, func() error {
		if bytes.Load() < int64(sockets*each) {
			return fmt.Errorf("%d bytes came", bytes.Load())
		}
		return nil
	}))
	peak := stop()
	t.Logf("at most %d MiB more, %d of 10 ordinary requests failed, %v; %d MiB came", peak>>20, failed, time.Since(began), bytes.Load()>>20)
	assert.Zero(t, failed)
	// Messages in the brokers of this process, and on their way to the requester, are not part of the budget.
	assert.Less(t, peak, int64(100+4*22)<<20)
}

// A response with an endless number of parts is cut on this wire too.
func TestEndlessResponse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		opts := adapter.Options{RequestsTimeout: time.Second}
		a, b := newNode(t, bus, opts), newNode(t, bus, opts)
		acquainted(t, a, b)
		b.add(t, "sound")
		codec := socketio.New(socketio.Options{})
		forger := bus.Broker()
		defer forger.Close(context.Background())
		sent := make(chan struct{})
		_, err := forger.Subscribe(t.Context(), receiver(func(ch broker.Channel, payload []byte) {
			r := new(wire.Request)
			if ch.Kind() != broker.KindRequests || codec.DecodeRequest(payload, chat, r) != nil {
				return
			}
			defer close(sent)
			for i := range 5000 {
				resp := &wire.Response{Request: r, RequestID: r.ID, Node: b.UID(), More: true, Members: []wire.MemberInfo{{ID: fmt.Sprint(i)}}}
				buf, err := codec.AppendResponse(nil, chat, resp)
				if err == nil {
					err = forger.Publish(t.Context(), codec.ResponseChannel(chat, resp), buf)
				}
				assert.NoError(t, err)
			}
		}), broker.SocketIO.Uncounted(chat))
		require.NoError(t, err)
		memorytest.Freeze(b.broker) // its own response does not arrive first
		defer memorytest.Thaw(b.broker)
		list, err := a.ns.All().FetchSockets(t.Context())
		<-sent
		require.ErrorIs(t, err, backplane.ErrTooLarge)
		assert.Equal(t, []observe.Missing{{Node: b.UID(), Count: 1, Reason: backplane.ErrTooLarge}}, list.Missing)
		assert.Len(t, list.List, 4096)
	})
}
