package interop_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestOlderServersInV8 has a Go node in dialect v8 ask beside servers of 5.4.0 and 6.0.1,
// which do not answer all that newer ones do: nothing waits for the answers that they cannot
// give, and what 6.0.1 can do is used.
func TestOlderServersInV8(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, with := range [][]interop.Generation{{interop.V5}, {interop.V60}, {interop.V60, interop.V6}, {interop.V5, interop.V60, interop.V8}} {
		t.Run(fmt.Sprint(with), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			prefix := fmt.Sprint(with)
			var want []string
			six := ""
			for _, g := range with {
				p := interop.StartDoomed(t, interop.Config{Generation: g, Name: string(g), Redis: redis.URL(), Prefix: prefix})
				if _, err := p.Call(ctx, "namespace", args{"nsp": guests}); err != nil {
					t.Fatal(err)
				}
				id, err := p.Call(ctx, "connect", args{"nsp": guests, "name": "client of " + string(g), "rooms": []any{"room"}})
				if err != nil {
					t.Fatal(err)
				}
				if g != interop.V5 {
					want = append(want, id.(string))
				}
				if g == interop.V60 {
					six = id.(string)
				}
			}
			slices.Sort(want)
			const timeout = 5 * time.Second
			goes := startGo(t, "go", redis.URL(), prefix, adapter.V8, func(o *adapter.Options) {
				o.RequestsTimeout, o.OnError = timeout, func(error) {}
			})
			ns, err := goes.server.Of(ctx, guests)
			if err != nil {
				t.Fatal(err)
			}
			quick := func(what string, f func() error) {
				t.Helper()
				began := time.Now()
				if err := f(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if took := time.Since(began); took > timeout/2 {
					t.Errorf("%s took %v", what, took)
				}
			}
			quick("Clients", func() error {
				c, err := ns.Clients(ctx, "room")
				if err == nil && !slices.Equal(c.IDs, want) {
					t.Errorf("Clients returned %v, want %v", c.IDs, want)
				}
				return err
			})
			quick("AllRooms", func() error { _, err := ns.AllRooms(ctx); return err })
			for what, list := range map[string]func(context.Context) (*adapter.Sockets, error){
				"FetchSockets":         ns.FetchSockets,
				"FetchSockets, except": ns.Except("nobody's").FetchSockets,
			} {
				quick(what, func() error {
					s, err := list(ctx)
					if err != nil {
						return err
					}
					var got []string
					for _, r := range s.List {
						got = append(got, r.ID)
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s returned %v, want %v", what, got, want)
					}
					return nil
				})
			}
			if six == "" {
				return
			}
			quick("Join", func() error { return ns.Join(ctx, six, "new") })
			quick("Clients of the new room", func() error {
				c, err := ns.Clients(ctx, "new")
				if err == nil && !slices.Equal(c.IDs, []string{six}) {
					t.Errorf("Clients returned %v, want %v", c.IDs, six)
				}
				return err
			})
			quick("Leave", func() error { return ns.Leave(ctx, six, "new") })
			quick("Disconnect", func() error { return ns.Disconnect(ctx, six, false) })
		})
	}
}
