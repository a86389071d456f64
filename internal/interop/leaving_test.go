package interop_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// departures is how often a Go node leaves, for each Node.js server.
const departures = 10

// asked are the requests that each Node.js server sends, in turn.
var asked = map[interop.Generation][]operation{
	interop.V5:  {{"allRooms", nil}, {"clients", args{"rooms": []any{}}}, {"customRequest", args{"data": 1}}},
	interop.V60: {{"allRooms", nil}, {"allSockets", nil}},
	interop.V6:  {{"allRooms", nil}, {"fetchSockets", nil}, {"allSockets", nil}},
	interop.V8: {
		{"allRooms", nil}, {"fetchSockets", nil}, {"serverSideEmitWithAck", args{"event": "x", "args": []any{}}},
		{"emitWithAck", args{"event": "x", "args": []any{}, "timeout": 2000}},
	},
}

type operation struct {
	name string
	args args
}

// TestGoNodeLeaves: a Go node repeatedly leaves a fleet while a Node.js server
// sends a request each millisecond. The Go node responds to each request that it got, so none of the
// requests times out.
func TestGoNodeLeaves(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for g, operations := range asked {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			prefix := "leaving-" + string(g)
			peer := interop.Start(t, interop.Config{
				Generation: g, Name: string(g), Redis: redis.URL(), Prefix: prefix, RequestsTimeout: 2 * time.Second,
			})
			const nsp = "/leaving"
			_, err := peer.Call(ctx, "namespace", args{"nsp": nsp})
			require.NoError(t, err)
			var requests, late atomic.Int64
			failed := 0
			for range departures {
				before := late.Load()
				leave(ctx, t, redis.URL(), prefix, nsp, func() {
					o := operations[requests.Add(1)%int64(len(operations))]
					if _, err := peer.Call(ctx, o.name, with(args{"nsp": nsp}, o.args)); err != nil && late.Add(1) == 1 {
						t.Logf("the first that failed: %v", err)
					}
				})
				if late.Load() > before {
					failed++
				}
			}
			t.Logf("%d departures, %d requests: %d of them timed out, in %d departures", departures, requests.Load(), late.Load(), failed)
			assert.LessOrEqual(t, failed, 0, "%d departures made a request time out", departures)
		})
	}
}

// leave starts a Go node and closes it while ask is called each millisecond.
func leave(ctx context.Context, t *testing.T, url, prefix, nsp string, ask func()) {
	t.Helper()
	b := openBroker(t, url, prefix)
	s, err := adapter.New(b, nil)
	require.NoError(t, err)
	_, err = s.Of(ctx, nsp)
	require.NoError(t, err)
	var asking sync.WaitGroup
	left := make(chan struct{})
	asking.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				asking.Go(ask)
			case <-left:
				return
			}
		}
	})
	time.Sleep(20 * time.Millisecond) // not a condition: it allows some requests before the node leaves
	assert.NoError(t, s.Close(ctx))
	assert.NoError(t, b.Close(ctx))
	close(left)
	asking.Wait()
}
