package redisbroker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestParseNodes parses lines of CLUSTER NODES of several versions.
func TestParseNodes(t *testing.T) {
	t.Parallel()
	got := parseNodes("a 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5460\n" +
		"b 10.0.0.2:6379@16379,b.example slave a 0 0 1 connected\r\n" +
		"c 10.0.0.3:6379@16379,c.example,shard-id=0a master,fail - 0 0 2 disconnected 5461-16383 [1->-b]\n" +
		"d 2001:db8::1:6379@16379 master - 0 0 3 connected\n" + // IPv6 without brackets
		"e 10.0.0.5:6379 slave c 0 0 3 connected\n" + // before Redis 4
		"f :0@0 master,noaddr - 0 0 0 disconnected\n" +
		"g 10.0.0.7:6379@16379 handshake - 0 0 0 disconnected\n" +
		"\nnonsense\n")
	want := []clusterNode{
		{id: "a", addr: "10.0.0.1:6379", myself: true},
		{id: "b", addr: "10.0.0.2:6379", host: "b.example"},
		{id: "c", addr: "10.0.0.3:6379", host: "c.example", failed: true},
		{id: "d", addr: "[2001:db8::1]:6379"},
		{id: "e", addr: "10.0.0.5:6379"},
		{id: "f", joining: true},
		{id: "g", addr: "10.0.0.7:6379", joining: true},
	}
	require.Len(t, got, len(want))
	for i, n := range got {
		w := want[i]
		assert.Equal(t, w.id, n.id)
		assert.Equal(t, w.addr, n.addr, w.id)
		assert.Equal(t, w.host, n.host, w.id)
		assert.Equal(t, w.myself, n.myself, w.id)
		assert.Equal(t, w.failed, n.failed, w.id)
		assert.Equal(t, w.joining, n.joining, w.id)
	}
	for _, c := range []struct {
		n      int
		byName bool
		want   string
	}{{1, true, "b.example:6379"}, {1, false, "10.0.0.2:6379"}, {0, true, "10.0.0.1:6379"}, {5, true, ""}} {
		assert.Equal(t, c.want, got[c.n].preferred(c.byName), "%s by name %v", got[c.n].id, c.byName)
	}
}

func TestParseReplication(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]replication{
		"# Replication\r\nrole:master\r\nconnected_slaves:2\r\n" +
			"slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\n" +
			"slave1:ip=2001:db8::1,port=6380,state=wait_bgsave,offset=0,lag=0\r\n": {replicas: []string{"10.0.0.2:6379", "[2001:db8::1]:6380"}},
		"# Replication\r\nrole:slave\r\nmaster_host:h\r\nmaster_port:1\r\nslave_repl_offset:14\r\nconnected_slaves:1\r\n" +
			"slave0:ip=::1,port=2,state=online,offset=1,lag=0\r\n": {replicas: []string{"[::1]:2"}, primary: "h:1"},
		"# Replication\r\nrole:master\r\nmaster_host:former\r\nmaster_port:1\r\nslave0:ip=,port=0,state=online\r\n": {},
	} {
		got := parseReplication(text)
		if assert.NotNil(t, got, "%q", text) {
			assert.Equal(t, want.replicas, got.replicas, "%q", text)
			assert.Equal(t, want.primary, got.primary, "%q", text)
		}
	}
	assert.Nil(t, parseReplication("a 10.0.0.1:6379@16379 myself,master - 0 0 1 connected\n"), "a list of nodes as replication")
}

func TestPubsubLimit(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for value, want := range map[string]int{
		"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60":  8*mb*4/5 - 64<<10,
		"normal 0 0 0 replica 268435456 67108864 60 pubsub 33554432 8388608 0": 8*mb*4/5 - 64<<10,
		"normal 0 0 0 replica 268435456 67108864 60 pubsub 33554432 0 60":      32*mb*4/5 - 64<<10,
		"normal 0 0 0 slave 0 0 0 pubsub 0 0 0":                                0,
		"pubsub 1048576 2097152 1":                                             mb*4/5 - 64<<10,
		"pubsub 0 10000 10":                                                    7000,
		"normal 1 1 1":                                                         0,
		"pubsub x y z":                                                         0,
		"":                                                                     0,
	} {
		assert.Equal(t, want, pubsubLimit(value), "%q", value)
	}
}
