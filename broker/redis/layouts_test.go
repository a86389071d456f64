package redisbroker_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// have returns an error unless as many lines have a text.
func (l *lines) have(n int, text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := strings.Count(l.text.String(), text); got != n {
		return fmt.Errorf("%d lines with %q, want %d:\n%s", got, text, n, l.text.String())
	}
	return nil
}

const (
	mixedLayouts = "others use this prefix with another setting of Sharded"
	oneLayout    = "all who use this prefix have the same setting of Sharded"
)

// logged returns options of a broker that counts the other layout often, and its log.
func logged(sharded bool) (*redisbroker.Options, *lines) {
	log := &lines{}
	o := quick()
	o.Sharded, o.Logger, o.ProbeInterval = sharded, slog.New(slog.NewTextHandler(log, nil)), 20*time.Millisecond
	return o, log
}

// TestOtherLayout has subscribers of one prefix in both layouts. Each broker logs that once, and once more when they come
// again, by whatever shows it.
func TestOtherLayout(t *testing.T) {
	t.Parallel()
	cluster := "redis+cluster://" + strings.Join(servers.StartRedisCluster(t).Addrs(), ",")
	single := servers.StartRedis(t, nil).URL()
	control := []broker.Filter{broker.Exactly(broker.Control())}
	for name, c := range map[string]struct {
		url              string
		classic, sharded []broker.Filter
	}{
		"nodes":                  {single, control, control},
		"nodes on a cluster":     {cluster, control, control},
		"Socket.IO":              {single, []broker.Filter{broker.Exactly(broker.SocketIO.Requests("/n"))}, []broker.Filter{broker.Exactly(broker.SocketIO.Broadcast("/n"))}},
		"Socket.IO on a cluster": {cluster, []broker.Filter{broker.Exactly(broker.SocketIO.Requests("/n"))}, []broker.Filter{broker.Exactly(broker.SocketIO.Broadcast("/n"))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			classicOptions, classicLog := logged(false)
			shardedOptions, shardedLog := logged(true)
			classicOptions.Prefix = strings.ReplaceAll(name, " ", "")
			shardedOptions.Prefix = classicOptions.Prefix
			classic, sharded := open(t, c.url, classicOptions), open(t, c.url, shardedOptions)
			subscribe(t, classic, record(t), c.classic...)
			sub := subscribe(t, sharded, record(t), c.sharded...)
			eventually(t, func() error { return classicLog.have(1, mixedLayouts) })
			eventually(t, func() error { return shardedLog.have(1, mixedLayouts) })
			require.NoError(t, sub.Close(within(t, patience)))
			eventually(t, func() error { return classicLog.have(1, oneLayout) })
			require.NoError(t, classicLog.have(1, mixedLayouts))
			subscribe(t, sharded, record(t), c.sharded...)
			eventually(t, func() error { return classicLog.have(2, mixedLayouts) })
			require.NoError(t, shardedLog.have(1, mixedLayouts))
			require.NoError(t, shardedLog.have(0, oneLayout))
		})
	}
}

// TestOneLayout: brokers of one setting, and those of another prefix, log nothing, and a user that may not count sees no
// more than one refusal.
func TestOneLayout(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"few on >few allchannels -@all +ssubscribe +sunsubscribe +ping +hello"}})
	options, log := logged(true)
	one := open(t, srv.URL(), options)
	subscribe(t, one, record(t), broker.Exactly(broker.Control()), broker.Exactly(broker.SocketIO.Broadcast("/n")))
	other, _ := logged(false)
	other.Prefix = "other"
	subscribe(t, open(t, srv.URL(), other), record(t), broker.Exactly(broker.Control()), broker.Exactly(broker.SocketIO.Requests("/n")))
	few, _ := logged(true)
	b := open(t, strings.Replace(srv.URL(), "redis://", "redis://few:few@", 1), few)
	subscribe(t, b, record(t), broker.Exactly(broker.Control()))
	counts := func() (n, refused int) {
		stats, _ := srv.Do("INFO", "commandstats").(string)
		for _, line := range strings.Split(stats, "\r\n") {
			if strings.HasPrefix(line, "cmdstat_pubsub|numsub:") {
				_, rest, _ := strings.Cut(line, "calls=")
				_, _ = fmt.Sscanf(rest, "%d", &n)
				_, rest, _ = strings.Cut(line, "rejected_calls=")
				_, _ = fmt.Sscanf(rest, "%d", &refused)
			}
		}
		return n, refused
	}
	eventually(t, func() error {
		if n, refused := counts(); n < 4 || refused == 0 {
			return fmt.Errorf("counted %d times, refused %d times", n, refused)
		}
		return nil
	})
	_, refused := counts()
	require.Equal(t, 1, refused)
	require.NoError(t, log.have(0, mixedLayouts))
}
