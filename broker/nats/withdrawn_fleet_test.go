package natsbroker_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// TestFleetWithoutAPermission: a node whose permissions are withdrawn reports that. No query omits it
// without an error. When the permissions are restored, everything works again.
func TestFleetWithoutAPermission(t *testing.T) {
	t.Parallel()
	for name, denied := range map[string]string{
		"to subscribe":        `publish: ">", subscribe: { allow: ">", deny: "crossroom.>" }`,
		"to publish":          `publish: { allow: ">", deny: "crossroom.>" }, subscribe: ">"`,
		"to receive requests": `publish: ">", subscribe: { allow: ">", deny: "crossroom.*.request.>" }`,
		"to send requests":    `publish: { allow: ">", deny: "crossroom.*.request.>" }, subscribe: ">"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGuarded(t)
			ctx := within(t, time.Minute)
			seen := make(chan string, 100)
			var mu sync.Mutex
			var heard []error
			var chats []*adapter.Namespace
			for i, user := range []string{"node", "all"} {
				server, err := adapter.New(g.open(user, quick()), &adapter.Options{
					RequestsTimeout: 500 * time.Millisecond, Heartbeat: 50 * time.Millisecond, PeerTimeout: time.Minute,
					OnError: func(err error) {
						mu.Lock()
						defer mu.Unlock()
						if i == 0 {
							heard = append(heard, err)
						}
					},
				})
				require.NoError(t, err)
				t.Cleanup(func() { server.Close(within(t, 2*time.Second)) })
				chat, err := server.Of(ctx, "/chat")
				require.NoError(t, err)
				require.NoError(t, chat.Add(ctx, &client{fmt.Sprint("socket", i), chat, seen}))
				chats = append(chats, chat)
			}
			whole := func() error {
				for i, chat := range chats {
					if s, err := chat.All().FetchSockets(ctx); err != nil || len(s.List) != 2 {
						return fmt.Errorf("node %d: %v", i, err)
					}
				}
				return nil
			}
			eventually(t, whole)
			g.reload(denied)
			eventually(t, func() error {
				chats[0].All().FetchSockets(ctx) // only a node that publishes notices the missing permission
				mu.Lock()
				defer mu.Unlock()
				if !errors.Is(errors.Join(heard...), nats.ErrPermissionViolation) {
					return fmt.Errorf("OnError was called with %v", heard)
				}
				return nil
			})
			failed := 0
			for i, chat := range chats {
				s, err := chat.All().FetchSockets(ctx)
				var partial *backplane.PartialError
				switch {
				case err == nil && len(s.List) != 2:
					t.Errorf("node %d lists %d sockets, and no error", i, len(s.List))
				case err != nil && !errors.As(err, &partial):
					t.Errorf("node %d: %v, want a *PartialError", i, err)
				case err != nil:
					failed++
				}
			}
			assert.NotZero(t, failed, "no query was partial")
			g.reload(everything)
			eventually(t, whole)
		})
	}
}
