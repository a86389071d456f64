package interop_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestServersThatJoin measures a race that the protocol does not let a node
// exclude: a server of another generation subscribes after a Go node has
// counted the servers, and before its request, or the last response to it, is sent. To
// provoke it, the Go node sends requests without a pause, which no application does. Run it with
// -v for the figures.
func TestServersThatJoin(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	const joins = 20
	for _, c := range []struct {
		what         string
		among, comes interop.Generation
		dialect      adapter.Dialect
		ask          func(ctx context.Context, ns *adapter.Namespace) error
	}{
		{"custom requests of v5", interop.V5, interop.V6, adapter.V5, func(ctx context.Context, ns *adapter.Namespace) error {
			_, err := ns.CustomRequest(ctx, 1)
			return err
		}},
		{"EmitWithAck", interop.V8, interop.V6, adapter.V6, func(ctx context.Context, ns *adapter.Namespace) error {
			_, err := ns.All().Timeout(300*time.Millisecond).EmitWithAck(ctx, "question")
			return err
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			prefix := fmt.Sprint(c.dialect)
			among := startPeer(t, c.among, "among", redis.URL(), prefix)
			goes := startGo(t, "go", redis.URL(), prefix, c.dialect, func(o *adapter.Options) {
				o.RequestsTimeout = 300 * time.Millisecond
				o.OnError = func(error) {} // the test mixes two generations on purpose
			})
			var comes *interop.Peer
			died := 0
			var cycle time.Duration // of a request, without a pause
			for i := range joins {
				if comes == nil {
					comes = interop.StartDoomed(t, interop.Config{Generation: c.comes, Name: "comes", Redis: redis.URL(), Prefix: prefix})
				}
				nsp := fmt.Sprint("/join-", i)
				if _, err := among.Call(ctx, "namespace", args{"nsp": nsp}); err != nil {
					t.Fatal(err)
				}
				if c.among == interop.V8 {
					client := args{"nsp": nsp, "name": fmt.Sprint("client-", i), "answers": args{"question": "yes"}}
					_, err := among.Call(ctx, "connect", client)
					require.NoError(t, err)
				}
				ns, err := goes.server.Of(ctx, nsp)
				require.NoError(t, err)
				began := time.Now()
				const before = 10
				for range before {
					require.NoError(t, c.ask(ctx, ns))
				}
				cycle += time.Since(began) / before / joins
				var loop sync.WaitGroup
				joined := make(chan struct{})
				loop.Go(func() {
					for {
						select {
						case <-joined:
							return
						default:
						}
						_ = c.ask(ctx, ns) // refused or partial when the server has subscribed
					}
				})
				_, err = comes.Call(ctx, "namespace", args{"nsp": nsp})
				close(joined)
				loop.Wait()
				if err == nil {
					_, err = comes.Call(ctx, "serverCount", args{"nsp": nsp}) // it has not crashed
				}
				if err != nil {
					died++
					comes.Stop()
					comes = nil
				}
				assert.NoError(t, ns.Close(ctx))
			}
			t.Logf("%d servers came while a request was made every %v: %d of them ended; at one request a second that is a chance of %.6f for each server that comes",
				joins, cycle.Round(time.Microsecond), died, float64(died)/joins*cycle.Seconds())
			assert.LessOrEqual(t, died, joins/2, "%d servers that came were ended", joins)
		})
	}
}
