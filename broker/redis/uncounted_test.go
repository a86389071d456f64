package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// member is a socket of the adapter that drops its messages.
type member string

func (m member) ID() string            { return string(m) }
func (member) Deliver(*adapter.Packet) {}
func (member) Disconnect(bool)         {}

// plain is the same for backplane.
type plain struct{ member }

func (plain) Deliver(*backplane.Message) {}

// endLater closes a server or node at the end of the test.
func endLater(t *testing.T, s interface{ Close(context.Context) error }) {
	t.Helper()
	t.Cleanup(func() {
		assert.NoError(t, s.Close(within(t, patience)))
	})
}

// crowd opens n servers with one socket each, on the Socket.IO wire.
func crowd(t *testing.T, n int, open func() *redisbroker.Broker) []*adapter.Namespace {
	t.Helper()
	var all []*adapter.Namespace
	var nodes []*adapter.Server
	for i := range n {
		s, err := adapter.New(open(), &adapter.Options{RequestsTimeout: patience})
		require.NoError(t, err)
		endLater(t, s)
		ns, err := s.Of(within(t, patience), "/")
		require.NoError(t, err)
		require.NoError(t, ns.Add(t.Context(), member(fmt.Sprint("socket", i))))
		nodes, all = append(nodes, s), append(all, ns)
	}
	for _, s := range nodes {
		eventually(t, func() error {
			if got := len(s.KnownPeers()); got != n-1 {
				return fmt.Errorf("knows %d peers", got)
			}
			return nil
		})
	}
	return all
}

// TestWithoutCountPermission revokes the permission to count while nodes work, and restores it.
func TestWithoutCountPermission(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"node on >n ~* &* +@all -pubsub"}})
	open := func() *redisbroker.Broker {
		client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Username: "node", Password: "n"})
		t.Cleanup(func() { client.Close() })
		b, err := redisbroker.New(client, nil)
		require.NoError(t, err)
		closeLater(t, b)
		return b
	}
	socketIO := crowd(t, 3, open)

	// On the native wire all peers are known, so nothing is missing.
	var native []*backplane.Namespace
	for i := range 2 {
		n, err := backplane.New(open(), &backplane.Options{RequestsTimeout: patience})
		require.NoError(t, err)
		endLater(t, n)
		ns, err := n.Namespace(within(t, patience), "/native", nil)
		require.NoError(t, err)
		require.NoError(t, ns.Add(t.Context(), plain{member(fmt.Sprint("native", i))}))
		native = append(native, ns)
	}
	b := open()
	for _, rights := range []string{"-pubsub", "+pubsub", "-pubsub", "+pubsub"} {
		srv.Do("ACL", "SETUSER", "node", rights)
		denied := rights == "-pubsub"
		inexact := func(what string, err error) {
			t.Helper()
			var i *broker.InexactError
			var refused *redisbroker.ServerError
			if errors.As(err, &i) != denied || denied && (!errors.As(err, &refused) || refused.Code() != "NOPERM" || refused.Command != "PUBSUB") || !denied && err != nil {
				t.Errorf("%s: %s: %v", rights, what, err)
			}
		}
		counts, err := b.Subscribers(within(t, patience), broker.SocketIO.Requests("/"))
		inexact("Subscribers", err)
		if denied != (counts == nil) || !denied && counts[0] != 3 {
			t.Errorf("%s: Subscribers: %v", rights, counts)
		}
		ids, err := b.Responders(within(t, patience), broker.SocketIO, "/")
		inexact("Responders", err)
		if denied != (ids == nil) || !denied && len(ids) != 3 {
			t.Errorf("%s: Responders: %v", rights, ids)
		}

		began := time.Now()
		sockets, err := socketIO[0].All().FetchSockets(within(t, patience))
		inexact("FetchSockets", err)
		if sockets == nil || len(sockets.List) != 3 || denied != (sockets.Uncounted != nil) {
			t.Errorf("%s: FetchSockets: %+v", rights, sockets)
		}
		rooms, err := socketIO[1].AllRooms(within(t, patience))
		inexact("AllRooms", err)
		if assert.NotNil(t, rooms, "%s: AllRooms", rights) {
			assert.GreaterOrEqual(t, len(rooms.List), 3, "%s: AllRooms", rights)
		}
		assert.NoError(t, socketIO[0].Join(within(t, patience), "socket2", "room"), "%s: RemoteJoin", rights)
		err = socketIO[0].Join(within(t, patience), "absent", "room")
		assert.NotEqual(t, denied, errors.Is(err, backplane.ErrNoSuchMember), "%s: RemoteJoin of an unknown member: %v", rights, err)
		count, err := socketIO[0].ServerCount(within(t, patience))
		inexact("ServerCount", err)
		assert.Equal(t, 3, count, "%s: ServerCount", rights)
		eventually(t, func() error {
			m, err := native[0].Members(within(t, patience), backplane.All())
			if err == nil && len(m.List) != 2 {
				err = fmt.Errorf("%d members", len(m.List))
			}
			return err
		})
		assert.LessOrEqual(t, time.Since(began), patience/2, "%s: queries although every known peer responds", rights)
	}
}
