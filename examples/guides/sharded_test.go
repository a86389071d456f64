package guides_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// Two nodes of package backplane on sharded pub/sub work with the guide's permissions, and nothing is reported.
func TestPermissionsOfShardedNodes(t *testing.T) {
	srv := servers.StartRedis(t, nil)
	setUsers(t, srv, "", []string{""}, true)
	// As the guide says of fleets of package backplane.
	srv.Do("ACL", "SETUSER", "node", "resetchannels", "&crossroom#/chat#*", "&crossroom-request#/chat#",
		"&crossroom-response#/chat#*", "&crossroom-control#*")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var spaces []*backplane.Namespace
	for _, name := range []string{"north", "south"} {
		b, err := redisbroker.Open("redis://node:secret@"+srv.Addr(), &redisbroker.Options{Sharded: true})
		require.NoError(t, err)
		node, err := backplane.New(b, &backplane.Options{Name: name, OnError: func(err error) { assert.NoError(t, err, "reported by %s", name) }})
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, errors.Join(node.Close(context.Background()), b.Close(context.Background())))
		})
		ns, err := node.Namespace(ctx, "/chat", nil)
		require.NoError(t, err)
		spaces = append(spaces, ns)
	}
	bob := make(member, 1)
	require.NoError(t, errors.Join(spaces[1].Add(ctx, bob), spaces[1].Join(ctx, "bob", "lobby")))
	require.NoError(t, spaces[0].Broadcast(ctx, []byte("hello"), backplane.To("lobby")))
	assert.Equal(t, "hello", <-bob)
	found, err := spaces[0].Members(ctx, backplane.All())
	require.NoError(t, err)
	assert.Len(t, found.List, 1)
}

type member chan string

func (m member) ID() string                     { return "bob" }
func (m member) Deliver(msg *backplane.Message) { m <- string(msg.Payload) }
func (m member) Disconnect(bool)                {}
