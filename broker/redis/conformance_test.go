package redisbroker_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// conformOptions are smaller and faster than the defaults, so that the suite meets
// the limits.
func conformOptions(prefix string) *redisbroker.Options {
	return &redisbroker.Options{
		Prefix:        prefix,
		QueueMessages: 2000,
		MaxPayload:    1<<20 + 1000,
		ReceiveBuffer: 1 << 20,
		ProbeInterval: 500 * time.Millisecond,
		ProbeTimeout:  1500 * time.Millisecond,
		BackoffMin:    5 * time.Millisecond,
		BackoffMax:    100 * time.Millisecond,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.Run(t, single())
	conformance.RunFleet(t, single())
}

// Every run has a server of its own, and takes its time.
func TestSoak(t *testing.T) { conformance.Soak(t, single(), brokertest.Soak(t, 1, 20)) }

func single() conformance.Harness {
	return conformance.Harness{
		Name: "redis",
		Open: func(tb testing.TB) conformance.System {
			srv := servers.StartRedis(tb, nil)
			return conformance.System{
				Node: func(context.Context) (*conformance.Node, error) {
					proxy, err := tcpproxy.Listen(srv.Addr())
					if err != nil {
						return nil, err
					}
					tb.Cleanup(proxy.Close)
					b, err := redisbroker.Open(proxy.Addr(), conformOptions(""))
					if err != nil {
						return nil, err
					}
					return conformance.OverTCP(b, proxy), nil
				},
				Restart: func(context.Context) error {
					brokertest.Restart(srv)
					return nil
				},
			}
		},
	}
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	h := clustered(servers.StartRedisCluster(t))
	conformance.Run(t, h)
	conformance.RunFleet(t, h)
}

func clustered(cluster *servers.RedisCluster) conformance.Harness {
	var cases atomic.Int64
	return conformance.Harness{
		Name: "redis-cluster",
		Open: func(tb testing.TB) conformance.System {
			// A prefix for each case: making a cluster takes seconds.
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
					b, err := redisbroker.New(client, conformOptions(prefix))
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
