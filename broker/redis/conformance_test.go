package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// conformOptions are smaller and faster than the defaults, so that the suite reaches
// the limits.
func conformOptions(prefix string, with ...func(*redisbroker.Options)) *redisbroker.Options {
	o := &redisbroker.Options{
		Prefix:        prefix,
		QueueMessages: 2000,
		MaxPayload:    1<<20 + 1000,
		ReceiveBuffer: 1 << 20,
		ProbeInterval: 500 * time.Millisecond,
		ProbeTimeout:  1500 * time.Millisecond,
		BackoffMin:    5 * time.Millisecond,
		BackoffMax:    100 * time.Millisecond,
	}
	for _, f := range with {
		f(o)
	}
	return o
}

func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.Run(t, single())
	conformance.RunFleet(t, single())
}

// TestConformanceSharded runs no fleet: that of TestConformanceShardedCluster has the same wire, and more that can fail.
func TestConformanceSharded(t *testing.T) {
	t.Parallel()
	h := single(sharded)
	h.Name = "redis-sharded"
	conformance.Run(t, h)
}

func TestConformanceShardedCluster(t *testing.T) {
	t.Parallel()
	h := clustered(servers.StartRedisCluster(t), sharded)
	h.Name = "redis-sharded-cluster"
	conformance.Run(t, h)
	conformance.RunFleet(t, h)
}

// sharded selects sharded pub/sub.
func sharded(o *redisbroker.Options) { o.Sharded = true }

// TestConformanceDynamic runs the suite with namespaces that subscribe to rooms.
func TestConformanceDynamic(t *testing.T) {
	t.Parallel()
	h := single()
	h.Name, h.Subscription = "redis-dynamic", backplane.DynamicSubscription
	conformance.RunFleet(t, h)
}

// TestSoak gives each run a server of its own, because a run takes long.
func TestSoak(t *testing.T) { conformance.Soak(t, single(), brokertest.Soak(t, 0, 20)) }

func single(with ...func(*redisbroker.Options)) conformance.Harness {
	return conformance.Harness{
		Name: "redis",
		Open: func(tb testing.TB) conformance.System {
			// With a file of users, the users made below survive a restart.
			srv, next := servers.StartRedis(tb, &servers.RedisOptions{Users: []string{"unused off"}}), startPrimary(tb)
			first, second := admin(tb, srv.Addr()), admin(tb, next.Addr())
			var mu sync.Mutex
			var links []*tcpproxy.Proxy
			target := srv.Addr()
			return conformance.System{
				Node: func(ctx context.Context) (*conformance.Node, error) {
					mu.Lock()
					defer mu.Unlock()
					proxy := tcpproxy.Start(tb, target)
					links = append(links, proxy)
					// Each node has a user, whose permissions can be revoked.
					user := fmt.Sprint("node", len(links))
					rights := func(words ...any) func(context.Context) error {
						return func(ctx context.Context) error {
							command := append([]any{"ACL", "SETUSER", user}, words...)
							return errors.Join(first.Do(ctx, command...).Err(), first.Do(ctx, "ACL", "SAVE").Err(), second.Do(ctx, command...).Err())
						}
					}
					allow := rights("on", ">pw", "~*", "&*", "+@all")
					if err := allow(ctx); err != nil {
						return nil, err
					}
					b, err := redisbroker.Open("redis://"+user+":pw@"+proxy.Addr(), conformOptions("", with...))
					if err != nil {
						return nil, err
					}
					n := conformance.OverTCP(b, proxy)
					n.Deny, n.DenyPublishing, n.DenyCounting, n.Allow = rights("resetchannels"), rights("-publish", "-spublish"), rights("-pubsub"), allow
					n.Refused = func(err error) bool {
						var refused *redisbroker.ServerError
						return errors.As(err, &refused) && refused.Code() == "NOPERM"
					}
					return n, nil
				},
				Restart: func(context.Context) error {
					brokertest.Restart(srv)
					return nil
				},
				Supersede: func(ctx context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					target = next.Addr()
					for _, l := range links {
						l.Retarget(target)
					}
					host, port, err := net.SplitHostPort(target)
					if err != nil {
						return err
					}
					return first.ReplicaOf(ctx, host, port).Err()
				},
			}
		},
	}
}

// admin is a client by which the suite administers a server.
func admin(tb testing.TB, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr})
	tb.Cleanup(func() { client.Close() })
	return client
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	h := clustered(servers.StartRedisCluster(t))
	conformance.Run(t, h)
	conformance.RunFleet(t, h)
}

func TestConformanceClusterDynamic(t *testing.T) {
	t.Parallel()
	h := clustered(servers.StartRedisCluster(t))
	h.Name, h.Subscription = "redis-cluster-dynamic", backplane.DynamicSubscription
	conformance.RunFleet(t, h)
}

func clustered(cluster *servers.RedisCluster, with ...func(*redisbroker.Options)) conformance.Harness {
	var cases atomic.Int64
	return conformance.Harness{
		Name: "redis-cluster",
		Open: func(tb testing.TB) conformance.System {
			// Each case has a prefix instead of a cluster, because starting a cluster takes seconds.
			prefix := fmt.Sprint("case", cases.Add(1))
			return conformance.System{
				Node: func(context.Context) (*conformance.Node, error) {
					var proxies []*tcpproxy.Proxy
					by := map[string]string{}
					for _, addr := range cluster.Addrs() {
						p, err := tcpproxy.Listen(addr)
						if err != nil {
							return nil, err
						}
						tb.Cleanup(p.Close)
						proxies = append(proxies, p)
						by[addr] = p.Addr()
					}
					client := redis.NewClusterClient(&redis.ClusterOptions{
						Addrs:        cluster.Addrs(),
						ReadTimeout:  time.Second,
						MaxRedirects: 1,
						Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
							var d net.Dialer
							return d.DialContext(ctx, network, by[addr])
						},
					})
					tb.Cleanup(func() { client.Close() })
					b, err := redisbroker.New(client, conformOptions(prefix, with...))
					if err != nil {
						return nil, err
					}
					return conformance.OverTCP(b, proxies...), nil
				},
				Restart: func(context.Context) error {
					brokertest.Restart(cluster.Nodes[:]...)
					cluster.WaitWhole(tb)
					return nil
				},
			}
		},
	}
}
