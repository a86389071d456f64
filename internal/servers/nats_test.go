package servers_test

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/servers"
)

// greeting reads the first line of a fresh connection.
func greeting(t *testing.T, addr string, within time.Duration) (string, error) {
	t.Helper()
	nc := dial(t, addr)
	nc.SetDeadline(time.Now().Add(within))
	return bufio.NewReader(nc).ReadString('\n')
}

func TestNATSLife(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{MaxPayload: 12345})
	life(t, srv.Server, func(within time.Duration) error {
		line, err := greeting(t, srv.Addr(), within)
		if err == nil && !strings.Contains(line, `"max_payload":12345`) {
			err = errors.New(line)
		}
		return err
	})
}

func TestNATSPasswordAndTLS(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{User: "me", Password: "s3cret", TLS: true})
	line, err := greeting(t, srv.Addr(), 5*time.Second)
	if err != nil || !strings.Contains(line, `"auth_required":true`) || !strings.Contains(line, `"tls_required":true`) {
		t.Fatalf("greeting %q, %v", line, err)
	}
	require.Equal(t, "tls://me:s3cret@"+srv.Addr(), srv.URL())
}

func TestNATSCluster(t *testing.T) {
	t.Parallel()
	c := servers.StartNATSCluster(t, nil)
	c.Nodes[2].Kill()
	c.Nodes[2].Restart()
	c.WaitWhole(t)
	var about struct {
		Cluster struct{ Name string } `json:"cluster"`
	}
	require.NoError(t, c.Nodes[0].Monitor(context.Background(), "/varz", &about), "/varz: %+v", about)
	require.Equal(t, "fleet", about.Cluster.Name, "/varz: %+v", about)
}
