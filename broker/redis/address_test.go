package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// TestSecretsAreNotPrinted opens addresses whose user and password contain, unescaped, each
// character that has a meaning in an address. It searches for these secrets in everything that is
// printed from then on.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	// No server listens at this port, so an address that can be parsed fails as well.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := l.Addr().String()
	l.Close()
	const part = "Hush" // every piece of a secret is this and a number
	var secrets []string
	pieces := []string{part + "1", "7141592", part + "2"}
	for _, special := range []string{
		"/", "?", "#", "@", ":", "%", "=", "&", "+", " ", ",", ";", "!", "$", "'", "(", "*", "\\", "\"", "<", "[", "]", "{", "|", "^", "`", "~", "\t", "\n", "\x00",
		"\xff", "ü", "密", "://", "//", "/0", "?db=", "%zz", "%2", "%40", "%2F", "@h/", "@h:1/", ":1/", "redis://", "/..", "?#", "[::1]", "a=b&c=",
	} {
		for _, order := range [][]int{{0, 1}, {1, 0}, {0, 2}, {1, 1}} {
			secrets = append(secrets, pieces[order[0]]+special+pieces[order[1]])
		}
	}
	var addresses []string
	for _, s := range secrets {
		for _, form := range []string{
			"redis://:%s@" + closed, "redis://user:%s@" + closed, "redis://%s:x@" + closed, "rediss://%s@" + closed + "/0",
			"user:%s@" + closed, ":%s@" + closed, "%s@" + closed, "unix://user:%s@/nowhere.sock", "redis:%s@" + closed, "REDIS://user:%s@" + closed,
			"redis://user:%s@" + closed + "," + closed, "redis://a:%[1]s@" + closed + ",b:%[1]s@" + closed, "//user:%s@" + closed, "%s://user:%[1]s@" + closed,
			"redis://" + closed + "?password=%s", "redis://" + closed + "?read_timeout=%s", "redis://" + closed + "?%s=1", "redis://user:x@" + closed + "/%s",
			" redis://user:%s@" + closed, "redis://user:%s@[::1", "redis://user:%s@" + closed + "x",
		} {
			addresses = append(addresses, fmt.Sprintf(form, s))
		}
	}
	require.GreaterOrEqual(t, len(addresses), 1000, "addresses")
	look := func(address, text string) {
		t.Helper()
		for _, piece := range pieces {
			assert.NotContains(t, text, piece, "%q: printed", address)
		}
	}
	parsed, r := 0, record(t)
	for _, address := range addresses {
		var log brokertest.Log
		opts := &redisbroker.Options{
			Logger: log.Logger(), QueueAge: time.Millisecond, ProbeTimeout: 50 * time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
		}
		b, err := redisbroker.Open(address, opts)
		if err != nil {
			look(address, fmt.Sprintf("%v %+v %#v", err, err, err))
			for ; err != nil; err = errors.Unwrap(err) {
				look(address, fmt.Sprintf("%v %#v", err, err))
			}
			continue
		}
		parsed++
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		_, err = b.Subscribe(ctx, r, broker.Exactly(room))
		look(address, fmt.Sprintf("%v %+v", err, err))
		_, err = b.Subscribers(ctx, room)
		look(address, fmt.Sprintf("%v %+v", err, err))
		b.OnLoss(func(l broker.Loss) { look(address, fmt.Sprintf("%v %+v", l.Err, l)) })
		b.Publish(ctx, room, nil)
		err = b.Flush(ctx)
		look(address, fmt.Sprintf("%v %+v", err, err))
		look(address, fmt.Sprintf("%+v %+v", b.Stats(), b.Capabilities()))
		err = b.Close(ctx)
		look(address, fmt.Sprintf("%v", err))
		cancel()
		look(address, log.String())
	}
	assert.GreaterOrEqual(t, parsed, 50, "too few of %d addresses can be parsed to test later output", len(addresses))
	t.Logf("%d addresses, %d of which can be parsed", len(addresses), parsed)
}

// TestAuthIsNotRepeated: a server that does not know AUTH repeats the command's arguments.
func TestAuthIsNotRepeated(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() { // until l is closed
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.Write([]byte("-ERR unknown command 'AUTH', with args beginning with: 'Hush1' 'Hush2'\r\n-WRONG Hush2 is not Hush1\r\n"))
			defer nc.Close()
		}
	}()
	for _, address := range []string{"redis://Hush1:Hush2@" + l.Addr().String(), "redis://:Hush2@" + l.Addr().String()} {
		b := open(t, address, quick())
		_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
		var refused *redisbroker.ServerError
		if !errors.As(err, &refused) || strings.Contains(err.Error(), "Hush") || strings.Contains(refused.Reply, "Hush") {
			t.Errorf("Subscribe: %v", err)
		}
	}
}

// TestClientsWithURLs: go-redis accepts a URL in place of host:port, and repeats it in
// its errors.
func TestClientsWithURLs(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"redis://user:Hush1@127.0.0.1:1", "redis://:Hush1/x@127.0.0.1:1", "user:Hush1@127.0.0.1:1", "127.0.0.1:1/Hush1"} {
		single := redis.NewClient(&redis.Options{Addr: addr})
		cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1", addr}})
		fine := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		for _, c := range []redis.UniversalClient{single, cluster, fine} {
			opts := &redisbroker.Options{}
			if c == fine {
				opts.SubscribeClient = single
			}
			var refused *redisbroker.ClientError
			_, err := redisbroker.New(c, opts)
			if assert.ErrorAs(t, err, &refused, "%T to %q", c, addr) {
				assert.NotContains(t, err.Error(), "Hush", "%T to %q", c, addr)
			}
			c.Close()
		}
		// The addresses of Sentinels are known only to go-redis.
		sentinel := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}, MaxRetries: -1, DialerRetries: 1})
		var log brokertest.Log
		b, err := redisbroker.New(sentinel, &redisbroker.Options{Logger: log.Logger()})
		require.NoError(t, err)
		_, err = b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
		if assert.Error(t, err, "Sentinel at %q", addr) {
			assert.NotContains(t, err.Error(), "Hush", "Sentinel at %q", addr)
			assert.NotContains(t, log.String(), "Hush", "Sentinel at %q", addr)
		}
		b.Close(within(t, patience))
		sentinel.Close()
	}
}
