package redisbroker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// stuckVault is a provider of credentials that does not return until it is opened, whatever its context says.
type stuckVault struct {
	asked chan struct{} // has a value for each call, up to its capacity
	open  chan struct{}
}

func (v *stuckVault) get() (user, password string) {
	select {
	case v.asked <- struct{}{}:
	default:
	}
	<-v.open
	return "", ""
}

// Subscribe implements auth.StreamingCredentialsProvider.
func (v *stuckVault) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	return auth.NewBasicCredentials(v.get()), nil, nil
}

// TestStuckCredentials: every call ends with its context while a provider of credentials does not return, and few calls
// of the provider run at once [B20].
func TestStuckCredentials(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(o *redis.Options, v *stuckVault){
		"streaming": func(o *redis.Options, v *stuckVault) { o.StreamingCredentialsProvider = v },
		"with context": func(o *redis.Options, v *stuckVault) {
			o.CredentialsProviderContext = func(context.Context) (string, string, error) {
				user, password := v.get()
				return user, password, nil
			}
		},
		"plain": func(o *redis.Options, v *stuckVault) { o.CredentialsProvider = v.get },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &stuckVault{asked: make(chan struct{}, 1000), open: make(chan struct{})}
			t.Cleanup(func() { close(v.open) })
			o := &redis.Options{Addr: servers.StartRedis(t, nil).Addr()}
			set(o, v)
			client := redis.NewClient(o)
			t.Cleanup(func() { client.Close() })
			opts := quick()
			opts.ProbeTimeout = 20 * time.Millisecond // so that many attempts fail
			b, err := redisbroker.New(client, opts)
			require.NoError(t, err)
			ends := func(what string, call func(ctx context.Context) error) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				returned := make(chan error, 1)
				go func() { returned <- call(ctx) }()
				select {
				case err := <-returned:
					require.Error(t, err, what)
				case <-time.After(patience):
					require.Fail(t, "a call outlasts its context", what)
				}
			}
			for range 10 {
				ends("Subscribe", func(ctx context.Context) error {
					_, err := b.Subscribe(ctx, record(t), broker.Exactly(room))
					return err
				})
				ends("Subscribers", func(ctx context.Context) error {
					_, err := b.Subscribers(ctx, room)
					return err
				})
				require.NoError(t, b.Publish(t.Context(), room, []byte("waits")))
				ends("Flush", b.Flush)
			}
			require.Eventually(t, func() bool { // on a busy machine the server too may be late
				_, err := b.Subscribers(within(t, patience), room)
				return err != nil && strings.Contains(err.Error(), "the credentials provider has not returned")
			}, patience, time.Millisecond)
			ends("Close", b.Close)
			assert.LessOrEqual(t, len(v.asked), 8, "calls of the provider at once")
		})
	}
}
