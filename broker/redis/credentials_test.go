package redisbroker_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// vault provides changing credentials, by each of the interfaces of go-redis.
type vault struct {
	mu       sync.Mutex
	password string
	err      error
	asked    int
	open     int // subscriptions not ended
}

func (v *vault) set(password string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.password, v.err = password, err
}

func (v *vault) counts() (asked, open int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked, v.open
}

func (v *vault) get() (user, password string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	return "node", v.password, v.err
}

// Subscribe implements auth.StreamingCredentialsProvider.
func (v *vault) Subscribe(l auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	user, password, err := v.get()
	if err != nil {
		return nil, nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open++
	return auth.NewBasicCredentials(user, password), func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.open--
		return nil
	}, nil
}

// TestChangingCredentials: every new connection uses the credentials of that
// moment, and a provider without credentials causes an error.
func TestChangingCredentials(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		set  func(o *redis.Options, v *vault)
	}{
		{"streaming", func(o *redis.Options, v *vault) { o.StreamingCredentialsProvider = v }},
		{"with context", func(o *redis.Options, v *vault) {
			o.CredentialsProviderContext = func(context.Context) (string, string, error) { return v.get() }
		}},
		{"plain", func(o *redis.Options, v *vault) {
			o.CredentialsProvider = func() (string, string) {
				user, password, _ := v.get()
				return user, password
			}
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{
				"node on >first resetchannels &* -@all +publish +ping +subscribe +unsubscribe +psubscribe +pubsub",
			}})
			v := &vault{password: "wrong"}
			// A provider takes precedence over these options.
			o := &redis.Options{Addr: srv.Addr(), Username: "unused", Password: "nothing"}
			way.set(o, v)
			client := redis.NewClient(o)
			defer client.Close()
			b, err := redisbroker.New(client, quick())
			require.NoError(t, err)
			closeLater(t, b)
			var refused *redisbroker.ServerError
			_, err = b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
			require.ErrorAs(t, err, &refused)
			require.Equal(t, "WRONGPASS", refused.Code(), "Subscribe with a wrong password")
			v.set("first", nil)
			r := record(t)
			subscribe(t, b, r, broker.Exactly(room))
			publish(t, b, room, "first")
			r.Want(room, "first")
			counts, err := b.Subscribers(within(t, patience), room)
			require.NoError(t, err, "Subscribers: %v", counts)
			require.Equal(t, 1, counts[0], "Subscribers: %v", counts)

			srv.Do("ACL", "SETUSER", "node", "resetpass", ">second")
			v.set("second", nil)
			srv.Do("CLIENT", "KILL", "USER", "node")
			r.WantCall("interrupted")
			r.WantCall("resumed")
			// The server also closed the publish connection; a message written then does not arrive.
			eventually(t, func() error {
				publish(t, b, room, "second")
				return b.Flush(within(t, patience))
			})
			r.Want(room, "second")
			counts, err = b.Subscribers(within(t, patience), room)
			require.NoError(t, err, "Subscribers: %v", counts)
			require.Equal(t, 1, counts[0], "Subscribers: %v", counts)

			if way.name != "plain" { // which cannot fail
				empty := errors.New("the vault is closed")
				v.set("", empty)
				other, err := redisbroker.New(client, quick())
				require.NoError(t, err)
				closeLater(t, other)
				_, err = other.Subscribe(within(t, patience), record(t), broker.Exactly(room))
				require.ErrorIs(t, err, empty, "Subscribe without credentials")
			}
			asked, open := v.counts()
			assert.GreaterOrEqual(t, asked, 7)
			assert.Zero(t, open)
		})
	}
}
