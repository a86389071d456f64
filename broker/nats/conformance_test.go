package natsbroker_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/conformance"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// conformOptions are smaller and faster than the defaults, so that the suite reaches
// the limits.
func conformOptions(prefix string, more ...nats.Option) *natsbroker.Options {
	return &natsbroker.Options{
		Prefix:        prefix,
		NATS:          more,
		QueueMessages: 2000,
		ReceiveBuffer: 1 << 20,
		ProbeInterval: 500 * time.Millisecond,
		ProbeTimeout:  1500 * time.Millisecond,
		BackoffMin:    5 * time.Millisecond,
		BackoffMax:    100 * time.Millisecond,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	h := single("nats", &servers.NATSOptions{Config: usersOf(nil)})
	conformance.Run(t, h)
	conformance.RunFleet(t, h)
}

// TestConformanceDynamic runs the suite with namespaces that subscribe to rooms.
func TestConformanceDynamic(t *testing.T) {
	t.Parallel()
	h := single("nats-dynamic", &servers.NATSOptions{Config: usersOf(nil)})
	h.Subscription = backplane.DynamicSubscription
	conformance.RunFleet(t, h)
}

func TestConformanceClusterDynamic(t *testing.T) {
	t.Parallel()
	h := clustered("nats-cluster-dynamic", servers.StartNATSCluster(t, &servers.NATSOptions{Config: usersOf(nil)}))
	h.Subscription = backplane.DynamicSubscription
	conformance.RunFleet(t, h)
}

// users is how many users with changeable permissions the servers have.
const users = 8

// usersOf returns the configuration of users that may do everything, except for those with
// permissions of their own.
func usersOf(permissions map[int]string) string {
	text := "authorization { users: ["
	for i := range users {
		text += fmt.Sprintf("\n{ user: node%d, password: pw, permissions: { %s } }", i, cmp.Or(permissions[i], everything))
	}
	return text + "\n] }"
}

// user gives a node a user whose permissions a case can change, on servers with usersOf as their
// configuration.
func user(n *conformance.Node, i int, all ...*servers.NATS) *conformance.Node {
	reload := func(permissions string) func(context.Context) error {
		return func(ctx context.Context) error {
			for _, srv := range all {
				err := srv.Reload(ctx, func(o *servers.NATSOptions) { o.Config = usersOf(map[int]string{i: permissions}) })
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	n.Deny = reload(`publish: ">", subscribe: { deny: ">" }`)
	n.DenyPublishing = reload(`publish: { deny: ">" }, subscribe: ">"`)
	n.Allow = reload(everything)
	n.Refused = func(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }
	return n
}

// TestSoak gives each run a server of its own, because a run takes long.
func TestSoak(t *testing.T) { conformance.Soak(t, single("nats", nil), brokertest.Soak(t, 0, 20)) }

// TestConformanceSecured is the first half alone, with a password and TLS. The specifics of a
// secured cluster are in TestServerOfClusterKilled.
func TestConformanceSecured(t *testing.T) {
	t.Parallel()
	conformance.Run(t, single("nats-tls", &servers.NATSOptions{User: "me", Password: "s3cret", TLS: true}))
}

// single runs every case on a server of its own.
func single(name string, opts *servers.NATSOptions) conformance.Harness {
	return conformance.Harness{
		Name: name,
		Open: func(tb testing.TB) conformance.System {
			srv := servers.StartNATS(tb, opts)
			var nodes atomic.Int64
			return conformance.System{
				Node: func(context.Context) (*conformance.Node, error) {
					proxy, err := tcpproxy.Listen(srv.Addr())
					if err != nil {
						return nil, err
					}
					tb.Cleanup(proxy.Close)
					more := []nats.Option{nats.IgnoreDiscoveredServers()}
					if srv.TLS() != nil {
						more = append(more, nats.RootCAs(srv.CA()))
					}
					i, known := int(nodes.Add(1)-1)%users, opts != nil && opts.Config != ""
					if known {
						more = append(more, nats.UserInfo(fmt.Sprint("node", i), "pw"))
					}
					b, err := natsbroker.Open(strings.Replace(srv.URL(), srv.Addr(), proxy.Addr(), 1), conformOptions("", more...))
					if err != nil {
						return nil, err
					}
					if n := conformance.OverTCP(b, proxy); known {
						return user(n, i, srv), nil
					} else {
						return n, nil
					}
				},
				Restart: func(context.Context) error {
					brokertest.Restart(srv)
					return nil
				},
			}
		},
	}
}

// detours is a dialer that connects to each server through a proxy.
type detours map[string]string

func (d detours) Dial(network, address string) (net.Conn, error) {
	by, ok := d[address]
	if !ok {
		return nil, fmt.Errorf("dial %s: not a server of the cluster", address)
	}
	return net.DialTimeout(network, by, 5*time.Second)
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	h := clustered("nats-cluster", servers.StartNATSCluster(t, &servers.NATSOptions{Config: usersOf(nil)}))
	conformance.Run(t, h)
	conformance.RunFleet(t, h)
}

// clustered connects the nodes of a case to the servers in turn. So nodes that communicate are
// mostly connected to different servers. The first server announces
// the others.
func clustered(name string, cluster *servers.NATSCluster) conformance.Harness {
	var cases atomic.Int64
	return conformance.Harness{
		Name: name,
		Open: func(tb testing.TB) conformance.System {
			// Each case has a prefix instead of a cluster, because starting a cluster takes seconds.
			prefix := fmt.Sprint("case", cases.Add(1))
			var nodes atomic.Int64
			return conformance.System{
				Node: func(context.Context) (*conformance.Node, error) {
					var proxies []*tcpproxy.Proxy
					by := detours{}
					for _, n := range cluster.Nodes {
						p, err := tcpproxy.Listen(n.Addr())
						if err != nil {
							return nil, err
						}
						tb.Cleanup(p.Close)
						proxies = append(proxies, p)
						by[n.Addr()] = p.Addr()
					}
					i := int(nodes.Add(1))
					first := cluster.Nodes[i%len(cluster.Nodes)]
					b, err := natsbroker.Open(first.URL(), conformOptions(prefix, nats.SetCustomDialer(by), nats.UserInfo(fmt.Sprint("node", i%users), "pw")))
					if err != nil {
						return nil, err
					}
					return user(conformance.OverTCP(b, proxies...), i%users, cluster.Nodes[:]...), nil
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

func dialBy(d detours) nats.Option { return nats.SetCustomDialer(d) }
