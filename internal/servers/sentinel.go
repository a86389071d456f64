package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Sentinel is one Redis Sentinel (quorum 1) that watches a master with one replica.
type Sentinel struct {
	*Server
	// Name of the master in Sentinel.
	Name string
	// Master and Replica at the start; a failover swaps their roles.
	Master, Replica *Redis
}

// StartSentinel starts a master, its replica and a Sentinel that notices an outage after about half a second, and
// waits until a failover would work.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	master := StartRedis(tb, nil)
	replica := StartRedis(tb, &RedisOptions{Args: []string{"--replicaof", "127.0.0.1 " + strconv.Itoa(master.port), "--repl-diskless-sync-delay", "0"}})
	s := &Sentinel{
		Server:  newServer(tb, "redis-sentinel", Binary(tb, "redis-server"), FreePort(tb)),
		Name:    "main",
		Master:  master,
		Replica: replica,
	}
	file := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\n"+
		"sentinel monitor %[3]s 127.0.0.1 %[4]d 1\n"+
		"sentinel down-after-milliseconds %[3]s 500\n"+
		"sentinel failover-timeout %[3]s 5000\n", s.port, s.dir, s.Name, master.port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.args = []string{file, "--sentinel"}
	s.ready = func(ctx context.Context) error {
		// A replica without a role cannot be promoted, so wait until it is known and in sync with its master.
		answer, err := exchange(ctx, s.Addr(), nil, []string{"SENTINEL", "REPLICAS", s.Name})
		if err != nil {
			return err
		}
		list, _ := answer.([]any)
		for _, entry := range list {
			fields, _ := entry.([]any)
			for i := 0; i+1 < len(fields); i += 2 {
				if fields[i] == "master-link-status" && fields[i+1] == "ok" {
					return nil
				}
			}
		}
		return fmt.Errorf("no replica in step among %d", len(list))
	}
	s.start()
	return s
}
