//go:build linux

package outage_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// system is a kind of broker system.
type system struct {
	name string
	// start starts a server, and returns its URL.
	start func(tb testing.TB) (srv *servers.Server, url string)
	// counts: the system counts subscribers, and so notices a lost node.
	counts bool
}

var systems = []system{
	{"redis", func(tb testing.TB) (*servers.Server, string) {
		r := servers.StartRedis(tb, nil)
		return r.Server, r.URL()
	}, true},
	{"nats", func(tb testing.TB) (*servers.Server, string) {
		n := servers.StartNATS(tb, nil)
		return n.Server, n.URL()
	}, false},
}

// cluster is not one of the systems: it continues when one of its servers is killed.
var cluster = system{name: "nats-cluster"}

// open makes a node's broker. It notices outages soon, but does not mistake a busy machine for one.
func open(name, url string) (broker.Broker, error) {
	switch name {
	case "redis":
		return redisbroker.Open(url, &redisbroker.Options{ProbeTimeout: 5 * time.Second, BackoffMax: 100 * time.Millisecond})
	case "nats", cluster.name:
		return natsbroker.Open(url, &natsbroker.Options{ProbeTimeout: 5 * time.Second, BackoffMax: 100 * time.Millisecond})
	}
	return nil, fmt.Errorf("no broker %q", name)
}

// onEach runs a test for each system, at the same time.
func onEach(t *testing.T, test func(t *testing.T, s system)) {
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}
