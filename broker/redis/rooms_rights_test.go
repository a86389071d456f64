package redisbroker_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestRoomsThatMayNotBeSubscribedTo: a user may subscribe to some rooms only, and to no pattern.
func TestRoomsThatMayNotBeSubscribedTo(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	srv.Do("ACL", "SETUSER", "node", "on", ">pw", "~*", "+@all", "resetchannels",
		"&crossroom#/#", "&crossroom#/##", "&crossroom#/#fine*", "&crossroom#/#m#",
		"&crossroom-re*", "&crossroom-control#*")
	for _, mode := range []backplane.SubscriptionMode{backplane.StaticSubscription, backplane.DynamicSubscription} {
		b, err := redisbroker.Open("redis://node:pw@"+srv.Addr(), nil)
		require.NoError(t, err)
		endLater(t, b)
		n, err := backplane.New(b, nil)
		require.NoError(t, err)
		endLater(t, n)
		ns, err := n.Namespace(within(t, patience), "/", &backplane.NamespaceOptions{Subscription: mode})
		var refused *redisbroker.ServerError
		if mode == backplane.StaticSubscription {
			require.ErrorAs(t, err, &refused)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, ns.Add(within(t, patience), plain{"m"}))
		require.NoError(t, ns.Join(within(t, patience), "m", "fine1", "fine2"))
		err = ns.Join(within(t, patience), "m", "fine3", "secret")
		var op *backplane.OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, "join", op.Op)
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, "NOPERM", refused.Code())
		rooms, _ := ns.LocalRoomsOf("m")
		assert.ElementsMatch(t, []string{"m", "fine1", "fine2"}, rooms, "after a Join that was refused")
		assert.ErrorAs(t, ns.Add(within(t, patience), plain{"other"}), &refused)
		assert.Equal(t, 1, ns.Len())
		require.NoError(t, ns.Join(within(t, patience), "m", "fine4"))
	}
}
