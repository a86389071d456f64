package servers

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// NATSCluster is a cluster of three nats-servers.
type NATSCluster struct {
	Nodes [3]*NATS
}

// StartNATSCluster starts three servers and waits until each is connected with the
// others. nil options mean the zero NATSOptions; all three get the same.
func StartNATSCluster(tb testing.TB, opts *NATSOptions) *NATSCluster {
	tb.Helper()
	c := &NATSCluster{}
	var ports [len(c.Nodes)]int
	var routes []string
	for i := range ports {
		ports[i] = FreePort(tb)
		routes = append(routes, strconv.Quote("nats://127.0.0.1:"+strconv.Itoa(ports[i])))
	}
	for i := range c.Nodes {
		c.Nodes[i] = newNATS(tb, opts, fmt.Sprintf("server_name: node%d\ncluster { name: fleet, listen: \"127.0.0.1:%d\", routes: [%s] }",
			i, ports[i], strings.Join(routes, ", ")))
		c.Nodes[i].start()
	}
	c.WaitWhole(tb)
	return c
}

// URLs returns the addresses of the servers, separated by commas.
func (c *NATSCluster) URLs() string {
	urls := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		urls[i] = n.URL()
	}
	return strings.Join(urls, ",")
}

// WaitWhole waits until every server has all of its connections to all the others.
func (c *NATSCluster) WaitWhole(tb testing.TB) {
	tb.Helper()
	await(tb, "whole", c.whole)
}

// routesEach is the number of connections between two servers: a pool of three, and one for the system account.
const routesEach = 4

func (c *NATSCluster) whole(ctx context.Context) error {
	for _, n := range c.Nodes {
		var answer struct {
			Routes []struct {
				Remote string `json:"remote_id"`
			} `json:"routes"`
		}
		if err := n.Monitor(ctx, "/routez", &answer); err != nil {
			return err
		}
		with := map[string]int{}
		for _, r := range answer.Routes {
			with[r.Remote]++
		}
		if len(with) != len(c.Nodes)-1 {
			return fmt.Errorf("%s is connected with %d servers", n.Addr(), len(with))
		}
		for id, routes := range with {
			if routes < routesEach {
				return fmt.Errorf("%s has %d connections to %s", n.Addr(), routes, id)
			}
		}
	}
	return nil
}
