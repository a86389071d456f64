package servers_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

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
	if line, err := greeting(t, srv.Addr(), 5*time.Second); err != nil || !strings.Contains(line, `"max_payload":12345`) {
		t.Fatalf("greeting %q, %v", line, err)
	}
	srv.Pause()
	if _, err := greeting(t, srv.Addr(), 100*time.Millisecond); !os.IsTimeout(err) {
		t.Fatalf("a paused server gave %v, want a timeout", err)
	}
	srv.Continue()
	srv.Kill()
	if srv.Running() {
		t.Fatal("runs after Kill")
	}
	if _, err := net.Dial("tcp", srv.Addr()); err == nil {
		t.Fatal("connected to a killed server")
	}
	srv.Restart()
	if _, err := greeting(t, srv.Addr(), 5*time.Second); err != nil {
		t.Fatalf("after Restart: %v", err)
	}
}

func TestNATSPasswordAndTLS(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{User: "me", Password: "s3cret", TLS: true})
	line, err := greeting(t, srv.Addr(), 5*time.Second)
	if err != nil || !strings.Contains(line, `"auth_required":true`) || !strings.Contains(line, `"tls_required":true`) {
		t.Fatalf("greeting %q, %v", line, err)
	}
	if want := "tls://me:s3cret@" + srv.Addr(); srv.URL() != want {
		t.Fatalf("URL %q, want %q", srv.URL(), want)
	}
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
	if err := c.Nodes[0].Monitor(context.Background(), "/varz", &about); err != nil || about.Cluster.Name != "fleet" {
		t.Fatalf("/varz: %+v, %v", about, err)
	}
}
