package redisbroker

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestJudgeNode: a node's view of its cluster decides whether a broker uses it.
func TestJudgeNode(t *testing.T) {
	const (
		self  = "a 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-5000\n"
		b     = "b 127.0.0.1:3@4 master - 0 0 2 connected 5001-10000\n"
		c     = "c 127.0.0.1:5@6,host master - 0 0 3 connected 10001-16383\n"
		noB   = "b 127.0.0.1:3@4 master,fail? - 0 0 2 disconnected 5001-10000\n"
		failB = "b 127.0.0.1:3@4 master,fail - 0 0 2 connected 5001-10000\n"
		farC  = "c 127.0.0.1:5@6 master - 0 0 3 disconnected 10001-16383\n"
		d     = "d 127.0.0.1:7@8 slave a 0 0 1 connected\n"
		other = "x 127.0.0.1:9@10 master - 0 0 1 connected 5001-16383\n"
	)
	known := map[string]bool{"a": true, "b": true, "c": true}
	for _, row := range []struct {
		name, nodes, role, why string // why: part of the reason; empty if it may be used
		known                  map[string]bool
	}{
		{name: "healthy", nodes: self + b + c + d, known: known},
		{name: "first time", nodes: self + b + c},
		{name: "one master suspected", nodes: self + noB + c, known: known},
		{name: "one master down", nodes: self + failB + c, known: known},
		{name: "alone in its partition", nodes: self + noB + farC, known: known, why: "reaches 1 of the 3"},
		{name: "links lost", nodes: self + strings.Replace(b, "connected", "disconnected", 1) + farC, known: known, why: "reaches 1 of the 3"},
		{name: "reset", nodes: "a 127.0.0.1:1@2 myself,master - 0 0 0 connected\n", known: known, why: "it knows no node that serves slots"},
		{name: "emptied", nodes: strings.TrimSuffix(self, " 0-5000\n") + "\n" + b + c, known: known, why: "serves no slots"},
		{name: "receives its first slot", nodes: strings.Replace(self, "0-5000", "[7-<-b]", 1) + b + c, known: known, why: "serves no slots"},
		{name: "replica", nodes: "a 127.0.0.1:1@2 myself,slave b 0 0 2 connected\n" + b + c, role: "replica", known: known, why: "replica"},
		{name: "in another cluster", nodes: self + other, known: known, why: "another cluster"},
		{name: "its cluster has grown", nodes: self + b, known: map[string]bool{"a": true}},
		{name: "its cluster has shrunk to itself", nodes: strings.Replace(self, "5000", "16383", 1), known: map[string]bool{"a": true}},
		{name: "no permission", nodes: "", known: known},
		{name: "not a list of nodes", nodes: "nonsense\nmore of it\n", known: known},
	} {
		n := &nodes{cluster: &redis.ClusterClient{}, ids: row.known}
		at := &conn{addr: "127.0.0.1:1"}
		err := n.judge(at, standing{mode: "cluster", role: row.role, view: viewOf(parseNodes(row.nodes))})
		var stray *MembershipError
		if (err == nil) != (row.why == "") || err != nil && (!errors.As(err, &stray) || !strings.Contains(err.Error(), row.why)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.why)
		}
	}
}
