package redisbroker_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// warnings collects the log.
type warnings struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *warnings) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// clock returns the time of a server's clock.
func clock(srv *servers.Redis) time.Time {
	parts, _ := srv.Do("TIME").([]any)
	seconds, _ := strconv.ParseInt(fmt.Sprint(parts[0]), 10, 64)
	return time.Unix(seconds, 0)
}

// TestLargestPayloadsApart: a server records for each connection when the soft limit was
// exceeded, and compares that when it is exceeded again, whatever was in between. A payload that
// exceeds it alone disconnects every subscriber the second time. Therefore the largest payload does
// not exceed it: neither by default, nor where the server's limits reduce a larger MaxPayload.
func TestLargestPayloadsApart(t *testing.T) {
	t.Parallel()
	twice := []broker.Filter{broker.SocketIO.EveryRoom("/"), broker.Exactly(room)}
	for _, c := range []struct {
		name    string
		max     int
		seconds string // for which the soft limit may be exceeded
		burst   int
		filters []broker.Filter
	}{
		{"default", 0, "1", 2, twice},
		{"64 MiB", 64 << 20, "1", 2, twice},
		{"zero seconds", 64 << 20, "0", 1, twice[1:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			largestApart(t, &redisbroker.Options{MaxPayload: c.max}, c.seconds, c.burst, c.filters)
		})
	}
}

func largestApart(t *testing.T, opts *redisbroker.Options, seconds string, burst int, filters []broker.Filter) {
	// The default limits, except for the time for which the soft one may be exceeded.
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--client-output-buffer-limit", "pubsub 32mb 8mb " + seconds}})
	sender := open(t, srv.URL(), opts)
	subscribe(t, sender, record(t), broker.Exactly(marker))
	var all []*recorder
	for range 3 {
		r := record(t)
		subscribe(t, open(t, srv.URL(), nil), r, filters...)
		all = append(all, r)
	}
	size := sender.Capabilities().MaxPayload
	if refused, ok := errors.AsType[*broker.PayloadError](sender.Publish(within(t, patience), room, make([]byte, size+1))); !ok {
		t.Fatal("a payload above the largest is accepted")
	} else {
		size = refused.Max
	}
	t.Logf("largest payload: %d bytes", size)
	largest := string(make([]byte, size))
	for range 2 {
		for range burst {
			publish(t, sender, room, largest)
			flush(t, sender)
		}
		for _, r := range all {
			for range burst {
				r.Want(room, largest)
			}
		}
		sent := clock(srv)
		eventually(t, func() error {
			if passed := clock(srv).Sub(sent); passed < 3*time.Second {
				return fmt.Errorf("only %v have elapsed on the server's clock", passed)
			}
			return nil
		})
	}
}

// TestServerLimits: payloads that the server does not allow are refused, and the log says why, once. A
// server that does not report its limits is assumed to allow every payload.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	const config = 40 << 20
	for _, c := range []struct {
		what   string
		max    int // Options.MaxPayload
		args   []string
		user   string // permissions
		least  int    // the limit is between these
		most   int
		logged string // in the log
	}{
		{"defaults", 0, nil, "+@all", 4 << 20, 4 << 20, ""},
		{"large payloads", config, nil, "+@all", 6 << 20, 7 << 20, "client-output-buffer-limit"},
		{"no limits", config, []string{"--client-output-buffer-limit", "pubsub 0 0 0"}, "+@all", config, config, ""},
		{"no soft limit", config, []string{"--client-output-buffer-limit", "pubsub 32mb 0 60"}, "+@all", 24 << 20, 28 << 20, "client-output-buffer-limit"},
		{"small limits", 0, []string{"--client-output-buffer-limit", "pubsub 100kb 0 0"}, "+@all", 64 << 10, 80 << 10, "client-output-buffer-limit"},
		{"small strings", 0, []string{"--proto-max-bulk-len", "1mb"}, "+@all", 1 << 20, 1 << 20, "proto-max-bulk-len"},
		{"no permission", config, nil, "+@all -config", config, config, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			srv := servers.StartRedis(t, &servers.RedisOptions{Args: c.args, Users: []string{"node on >n ~* &* " + c.user}})
			client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Username: "node", Password: "n"})
			defer client.Close()
			var log warnings
			b, err := redisbroker.New(client, &redisbroker.Options{MaxPayload: c.max, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
			require.NoError(t, err)
			closeLater(t, b)
			subscribe(t, b, record(t), broker.Exactly(marker))
			refused, ok := errors.AsType[*broker.PayloadError](b.Publish(within(t, patience), room, make([]byte, c.most+1)))
			require.True(t, ok, "%d bytes are accepted", c.most+1)
			assert.Equal(t, c.most+1, refused.Size)
			assert.GreaterOrEqual(t, refused.Max, c.least)
			assert.LessOrEqual(t, refused.Max, c.most)
			text := log.String()
			assert.Equal(t, min(len(c.logged), 1), strings.Count(text, "\n"), "the log")
			assert.Contains(t, text, c.logged, "the log")
		})
	}
}

// limitsOfEveryNode: each node of a cluster has its own limits.
func limitsOfEveryNode(t *testing.T, c *servers.RedisCluster) {
	c.Added[0].Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
	b := clusterBroker(t, c, *quick())
	_, err := b.Subscribers(within(t, patience), room)
	require.NoError(t, err)
	refused, ok := errors.AsType[*broker.PayloadError](b.Publish(within(t, patience), room, make([]byte, 1<<20)))
	require.True(t, ok, "a payload that one of the nodes does not allow: %v", refused)
	assert.Less(t, refused.Max, 1<<20, "a payload that one of the nodes does not allow: %v", refused)
}
