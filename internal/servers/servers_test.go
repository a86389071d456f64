package servers_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/servers"
)

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	return nc
}

// ping sends a request on an open connection and waits for the response until the deadline.
func ping(nc net.Conn, within time.Duration) error {
	nc.SetDeadline(time.Now().Add(within))
	if _, err := fmt.Fprint(nc, "PING\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		return err
	}
	if line != "+PONG\r\n" {
		return fmt.Errorf("answer %q", line)
	}
	return nil
}

// life takes a server through freeze, crash and restart. ask sends it a request.
func life(t *testing.T, srv *servers.Server, ask func(within time.Duration) error) {
	t.Helper()
	require.NoError(t, ask(5*time.Second))
	srv.Freeze()
	err := ask(100 * time.Millisecond)
	require.True(t, os.IsTimeout(err), "a paused server gave %v, want a timeout", err)
	srv.Thaw()
	srv.Kill()
	require.False(t, srv.Running(), "runs after Kill")
	_, err = net.Dial("tcp", srv.Addr())
	require.Error(t, err, "connected to a killed server")
	srv.Restart()
	require.NoError(t, ask(5*time.Second), "after Restart")
}

func TestRedisLife(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	require.Equal(t, "PONG", srv.Do("PING"))
	life(t, srv.Server, func(within time.Duration) error { return ping(dial(t, srv.Addr()), within) })
}

func TestRedisPasswordUsersAndTLS(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Password: "s3cret", Users: []string{"reader on >r resetchannels &news +subscribe"}, TLS: true})
	require.Equal(t, "PONG", srv.Do("PING"))
	got, ok := srv.Do("ACL", "LIST").([]any)
	require.True(t, ok, "ACL LIST")
	require.Len(t, got, 2, "ACL LIST")
	require.Equal(t, "rediss://default:s3cret@"+srv.Addr(), srv.URL())
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	slots, ok := c.Nodes[1].Do("CLUSTER", "SLOTS").([]any)
	require.True(t, ok, "CLUSTER SLOTS")
	require.Len(t, slots, 3, "CLUSTER SLOTS")
	c.Nodes[2].Kill()
	c.Nodes[2].Restart()
	c.WaitWhole(t)
}

func TestSentinelKnowsTheMaster(t *testing.T) {
	t.Parallel()
	s := servers.StartSentinel(t)
	nc := dial(t, s.Addr())
	fmt.Fprintf(nc, "SENTINEL GET-MASTER-ADDR-BY-NAME %s\r\n", s.Name)
	nc.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(nc)
	var got []string
	for range 5 {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		got = append(got, strings.TrimSpace(line))
	}
	require.Equal(t, s.Master.Addr(), net.JoinHostPort(got[2], got[4]))
}

// TestChildrenDieWithTheProcess runs this test binary again as a process that starts a server and is then killed.
func TestChildrenDieWithTheProcess(t *testing.T) {
	const env = "CROSSROOM_TEST_ORPHAN"
	if os.Getenv(env) != "" {
		srv := servers.StartRedis(t, nil)
		fmt.Printf("addr %s\n", srv.Addr())
		select {}
	}
	servers.Binary(t, "redis-server") // skips here rather than in the child
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildrenDieWithTheProcess$", "-test.v")
	cmd.Env = append(os.Environ(), env+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var addr string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "addr ")
		if !strings.Contains(addr, ":") || strings.Contains(addr, " ") {
			addr = ""
		}
	}
	if addr == "" {
		cmd.Process.Kill()
		t.Fatal("the process printed no address")
	}
	nc := dial(t, addr)
	require.NoError(t, ping(nc, 5*time.Second))
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	// The server's end of the connection closes exactly when the server terminates.
	nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err = nc.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, os.IsTimeout(err), "the server outlived the process")
}
