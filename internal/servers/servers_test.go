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

	"github.com/crossroom/crossroom/internal/servers"
)

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// ping asks on an open connection and waits for the answer until the deadline.
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

// life takes a server through pause, death and restart. ask asks it something.
func life(t *testing.T, srv *servers.Server, ask func(within time.Duration) error) {
	t.Helper()
	if err := ask(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	srv.Freeze()
	if err := ask(100 * time.Millisecond); !os.IsTimeout(err) {
		t.Fatalf("a paused server gave %v, want a timeout", err)
	}
	srv.Thaw()
	srv.Kill()
	if srv.Running() {
		t.Fatal("runs after Kill")
	}
	if _, err := net.Dial("tcp", srv.Addr()); err == nil {
		t.Fatal("connected to a killed server")
	}
	srv.Restart()
	if err := ask(5 * time.Second); err != nil {
		t.Fatalf("after Restart: %v", err)
	}
}

func TestRedisLife(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	if got := srv.Do("PING"); got != "PONG" {
		t.Fatalf("PING: %v", got)
	}
	life(t, srv.Server, func(within time.Duration) error { return ping(dial(t, srv.Addr()), within) })
}

func TestRedisPasswordUsersAndTLS(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Password: "s3cret", Users: []string{"reader on >r resetchannels &news +subscribe"}, TLS: true})
	if got := srv.Do("PING"); got != "PONG" {
		t.Fatalf("PING: %v", got)
	}
	if got, ok := srv.Do("ACL", "LIST").([]any); !ok || len(got) != 2 {
		t.Fatalf("ACL LIST: %v", got)
	}
	if want := "rediss://default:s3cret@" + srv.Addr(); srv.URL() != want {
		t.Fatalf("URL %q, want %q", srv.URL(), want)
	}
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	slots, ok := c.Nodes[1].Do("CLUSTER", "SLOTS").([]any)
	if !ok || len(slots) != 3 {
		t.Fatalf("CLUSTER SLOTS: %v", slots)
	}
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
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(line))
	}
	if addr := net.JoinHostPort(got[2], got[4]); addr != s.Master.Addr() {
		t.Fatalf("master %s, want %s", addr, s.Master.Addr())
	}
}

// TestChildrenDieWithTheProcess runs this test binary again as a process that
// starts a server and is then killed.
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
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addr string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "addr ")
		if !strings.Contains(addr, ":") || strings.Contains(addr, " ") {
			addr = ""
		}
	}
	if addr == "" {
		cmd.Process.Kill()
		t.Fatal("the process said no address")
	}
	nc := dial(t, addr)
	if err := ping(nc, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	// The server's end of the connection closes when, and only when, it is gone.
	nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Fatalf("the server outlived the process: %v", err)
	}
}
