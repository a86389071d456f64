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

// warnings keeps what is logged.
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

// clock returns a server's own time.
func clock(srv *servers.Redis) time.Time {
	parts, _ := srv.Do("TIME").([]any)
	seconds, _ := strconv.ParseInt(fmt.Sprint(parts[0]), 10, 64)
	return time.Unix(seconds, 0)
}

// TestLargestPayloadsApart: a server notes for each connection when the soft limit was
// exceeded, and compares when it is exceeded again, whatever was in between. A payload that
// exceeds it alone disconnects every subscriber the second time, so the largest one does
// not: by default, and of those that the server's limits leave of a larger MaxPayload.
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
		{"no time", 64 << 20, "0", 1, twice[1:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			largestApart(t, &redisbroker.Options{MaxPayload: c.max}, c.seconds, c.burst, c.filters)
		})
	}
}

func largestApart(t *testing.T, opts *redisbroker.Options, seconds string, burst int, filters []broker.Filter) {
	// The default limits, but for the time in which the soft one may be exceeded.
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
		t.Fatal("more than the largest payload is not refused")
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
				return fmt.Errorf("%v have passed for the server", passed)
			}
			return nil
		})
	}
}

// TestServerLimits: what a server does not allow is refused, and the log says why, once. A
// server that does not say what it allows, allows everything.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	const config = 40 << 20
	for _, c := range []struct {
		what  string
		max   int // Options.MaxPayload
		args  []string
		user  string // rights
		least int    // the limit is between these
		most  int
		told  string // in the log
	}{
		{"defaults", 0, nil, "+@all", 4 << 20, 4 << 20, ""},
		{"large payloads", config, nil, "+@all", 6 << 20, 7 << 20, "client-output-buffer-limit"},
		{"no limits", config, []string{"--client-output-buffer-limit", "pubsub 0 0 0"}, "+@all", config, config, ""},
		{"no soft limit", config, []string{"--client-output-buffer-limit", "pubsub 32mb 0 60"}, "+@all", 24 << 20, 28 << 20, "client-output-buffer-limit"},
		{"small limits", 0, []string{"--client-output-buffer-limit", "pubsub 100kb 0 0"}, "+@all", 64 << 10, 80 << 10, "client-output-buffer-limit"},
		{"small strings", 0, []string{"--proto-max-bulk-len", "1mb"}, "+@all", 1 << 20, 1 << 20, "proto-max-bulk-len"},
		{"no right", config, nil, "+@all -config", config, config, ""},
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
			require.True(t, ok, "%d bytes are not refused", c.most+1)
			assert.Equal(t, c.most+1, refused.Size)
			assert.GreaterOrEqual(t, refused.Max, c.least)
			assert.LessOrEqual(t, refused.Max, c.most)
			text := log.String()
			assert.Equal(t, min(len(c.told), 1), strings.Count(text, "\n"), "the log")
			assert.Contains(t, text, c.told, "the log")
		})
	}
}

// limitsOfEveryNode: the nodes of a cluster have limits of their own.
func limitsOfEveryNode(t *testing.T, c *servers.RedisCluster) {
	c.Added[0].Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
	b := clusterBroker(t, c, *quick())
	_, err := b.Subscribers(within(t, patience), room)
	require.NoError(t, err)
	refused, ok := errors.AsType[*broker.PayloadError](b.Publish(within(t, patience), room, make([]byte, 1<<20)))
	require.True(t, ok, "a payload that one of the nodes does not allow: %v", refused)
	assert.Less(t, refused.Max, 1<<20, "a payload that one of the nodes does not allow: %v", refused)
}
