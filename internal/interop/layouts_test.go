package interop_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestInteropLayouts has the classic and the sharded adapter on one prefix and in one namespace, with a Go node beside one
// of them. The two fleets work as if the other one did not exist, no process is harmed, and the Go node logs once that
// there is another setting, whichever was there first.
func TestInteropLayouts(t *testing.T) {
	interop.Require(t)
	single, cluster := servers.StartRedis(t, nil), servers.StartRedisCluster(t)
	urls := map[string]string{"single": single.URL(), "cluster": "redis+cluster://" + strings.Join(cluster.Addrs(), ",")}
	t.Run("all", func(t *testing.T) {
		for where, url := range urls {
			for _, sharded := range []bool{false, true} {
				for _, last := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, sharded %v, last %v", where, sharded, last), func(t *testing.T) {
						t.Parallel()
						mixLayouts(t, url, cluster.Nodes[0].URL(), sharded, last)
					})
				}
			}
		}
	})
}

// mixLayouts has a Go node of one setting, with a server beside it, and a server of the other one. last says that the Go
// node comes last.
func mixLayouts(t *testing.T, url, one string, sharded, last bool) {
	prefix := fmt.Sprint("layouts-", scenes.Add(1))
	fleet := func(n *goNode, g interop.Generation) (play func(nsp string)) {
		at := url
		if g == interop.V8 && strings.HasPrefix(at, "redis+cluster") {
			at = one // the Node.js program's classic client is for one server, which passes messages on to all others
		}
		js := startPeer(t, g, "js-"+string(g), at, prefix)
		all := []node{js}
		return func(nsp string) {
			if n != nil {
				all = []node{js, n}
			}
			for _, asker := range all {
				t.Run(nsp+" "+asker.Name(), func(t *testing.T) {
					s := stage(t, g, nsp, asker, all...)
					s.unordered = at != one
					for _, n := range all {
						s.connect(n, t.Name(), nil, "red")
					}
					s.ask("emit", args{"rooms": []any{"red"}, "event": "news", "args": []any{1}})
					s.expect(in("red"), "news", 1)
					if at == url || asker != node(js) { // else it counts on its own server only
						s.equal("the servers", s.ask("serverCount", nil), len(all))
					}
				})
			}
		}
	}
	own, other := interop.V8, interop.Sharded
	if sharded {
		own, other = other, own
	}
	log := &layoutLog{}
	strange := func(string) {}
	if last {
		strange = fleet(nil, other)
		strange("/both")
	}
	n := startLogged(t, "go", url, prefix, sharded, log)
	play := fleet(n, own)
	if !last {
		play("/both")
		assert.Zero(t, log.count(), "%s", log)
		strange = fleet(nil, other)
	}
	strange("/both")
	play("/both")
	for end := time.Now().Add(deadline); log.count() == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	strange("/more")
	play("/more")
	assert.Equal(t, 1, log.count(), "%s", log)
}

// layoutLog is the log of a broker.
type layoutLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *layoutLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *layoutLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *layoutLog) count() int {
	return strings.Count(l.String(), "others use this prefix with another setting of Sharded")
}

// startLogged is startGo with a broker that has a log, and counts the other layout often.
func startLogged(t *testing.T, name, url, prefix string, sharded bool, log *layoutLog) *goNode {
	t.Helper()
	b, err := redisbroker.Open(url, &redisbroker.Options{
		Prefix: prefix, Sharded: sharded, ProbeInterval: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	n := &goNode{name: name, sessions: map[string]*goSocket{}}
	n.server, err = adapter.New(b, &adapter.Options{
		Name: name, RequestsTimeout: 5 * time.Second, OnError: n.faults.add, Heartbeat: 50 * time.Millisecond, PeerTimeout: deadline,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		assert.NoError(t, n.server.Close(ctx))
		assert.NoError(t, b.Close(ctx))
		assert.Empty(t, n.Faults(), name)
	})
	return n
}
