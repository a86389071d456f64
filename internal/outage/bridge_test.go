//go:build linux

package outage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/child"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// envLong is the number of messages of each side in the long form (make changeover), which has the default intervals
// and a process that is stopped for seven seconds.
const envLong = "CROSSROOM_CHANGEOVER"

// doubts is how many forwarded messages may be reported as lost: those whose copies arrived first, directly after a
// link was restored.
const doubts = 3

// changeOver is a fault of the Go node that forwards messages between two fleets.
type changeOver struct {
	name   string
	happen func(c *crossing)
	long   bool // in the long form only
}

var changeOvers = []changeOver{
	{"no change", func(*crossing) {}, true},
	{"planned: Close of the leader", func(c *crossing) {
		c.leader.tell("close")
		c.leader.wait("closed")
	}, false},
	{"kill -9 of the leader", func(c *crossing) { c.leader.kill() }, false},
	{"SIGSTOP of the leader for %v, SIGCONT", func(c *crossing) {
		c.leader.Freeze()
		time.Sleep(c.stop)
		c.leader.Signal(syscall.SIGCONT)
	}, false},
	{"the leader's subscriptions are cut off by Redis, twice", func(c *crossing) {
		for range 2 {
			for _, id := range c.subscribed() {
				c.redis.Do("CLIENT", "KILL", "ID", id)
			}
			time.Sleep(c.config.PeerTimeout + 3*c.config.Heartbeat) // it leads again
		}
	}, false},
	{"kill -9 of the follower, and of the leader when another has joined", func(c *crossing) {
		c.nodes[1].kill()
		c.join("third")
		time.Sleep(4 * c.config.Heartbeat)
		c.leader.kill()
	}, true},
}

// crossing is a namespace with two Go nodes on both prefixes.
type crossing struct {
	t      *testing.T
	config bridgeConfig
	stop   time.Duration
	redis  *servers.Redis
	leader *speaker
	nodes  []*speaker // the leader is the first
}

// subscribed lists the ids of the leader's connections with subscriptions.
func (c *crossing) subscribed() (ids []string) {
	ports := c.leader.ports()
	for line := range strings.Lines(c.redis.Do("CLIENT", "LIST", "TYPE", "pubsub").(string)) {
		var id, port string
		for _, field := range strings.Fields(line) {
			if v, ok := strings.CutPrefix(field, "id="); ok {
				id = v
			}
			if v, ok := strings.CutPrefix(field, "addr="); ok {
				_, port, _ = net.SplitHostPort(v)
			}
		}
		if ports[port] {
			ids = append(ids, id)
		}
	}
	assert.Len(c.t, ids, 2, "connections of the leader")
	return ids
}

func (c *crossing) join(name string) { c.nodes = append(c.nodes, c.config.start(c.t, name)) }

// Two fleets of Node.js servers, of socket.io-redis 5.4.0 and of @socket.io/redis-adapter 8.3.0, under a prefix each,
// and two Go nodes that forward messages between them. No message is lost, repeated or out of order, whatever happens
// to the forwarding node.
func TestBridgeChangeOvers(t *testing.T) {
	dir := interop.Require(t)
	// Node.js servers read a burst more slowly than it arrives.
	redis := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--client-output-buffer-limit", "pubsub 512mb 512mb 60"}})
	count, burst, stop := 600, 20_000, 2*time.Second
	heartbeat, timeout := 200*time.Millisecond, 1200*time.Millisecond
	text, long := os.LookupEnv(envLong)
	if long {
		var err error
		count, err = strconv.Atoi(text)
		require.NoError(t, err)
		burst, stop, heartbeat, timeout = 200_000, 7*time.Second, time.Second, 3500*time.Millisecond
	}
	peers := []*speaker{
		startStream(t, dir, redis.URL(), interop.V5, prefixOld),
		startStream(t, dir, redis.URL(), interop.V8, prefixNew),
	}
	scene := func(name string) *crossing {
		c := &crossing{t: t, stop: stop, redis: redis, config: bridgeConfig{
			URL: redis.URL(), Namespace: name, Heartbeat: heartbeat, PeerTimeout: timeout,
		}}
		for _, p := range peers {
			p.t = t
			p.do("open", name, nil)
			p.wait("open")
		}
		c.join("first")
		c.join("second")
		c.leader = c.nodes[0]
		time.Sleep(4 * heartbeat) // until it leads: messages before that are delayed
		return c
	}
	row := func(what string, sent int, got said, to string, lost said) {
		line := fmt.Sprintf("%-68s %-7s %6d %6d %8d %12d %8d %7d %8d ms", what, to,
			sent, sent-got.Received, got.Repeated, got.Disordered, lost.Lost, lost.Uncertain, got.Gap)
		if long {
			fmt.Println(line)
			return
		}
		t.Log(line)
		t.Attr("outcome", "bridge: "+strings.Join(strings.Fields(line), " "))
	}
	if long {
		fmt.Printf("%-68s %-7s %6s %6s %8s %12s %8s %7s %11s\n", "what happens", "to", "sent", "lost", "repeated", "out of order", "reported", "perhaps", "longest gap")
	}
	run := func(c *crossing, what string, count, rate int, happen func(*crossing)) {
		t.Helper()
		for _, p := range peers {
			p.do("send", c.config.Namespace, map[string]any{"count": count, "rate": rate})
		}
		if happen != nil {
			time.Sleep(time.Duration(count/3) * time.Second / time.Duration(rate))
			happen(c)
		}
		for _, p := range peers {
			p.wait("sent")
		}
		reports := [2]said{}
		for i, p := range peers {
			reports[i] = p.settled(c.config.Namespace, count, 2*timeout+4*heartbeat)
		}
		lost := map[string]*said{prefixOld: {}, prefixNew: {}}
		for _, n := range c.nodes {
			n.tell("close")
			for _, l := range n.rest() {
				if l.What == "lost" {
					lost[l.Prefix].Lost += l.Lost
					lost[l.Prefix].Uncertain += l.Uncertain
				}
				if l.Text != "" {
					t.Logf("%s: %s", n.name, l.Text)
				}
			}
		}
		for i, to := range []string{prefixOld, prefixNew} {
			got := reports[i]
			row(what, count, got, to, *lost[to])
			if count-got.Received != lost[to].Lost || got.Repeated > 0 || got.Disordered > 0 || rate > 0 && (lost[to].Lost > 0 || lost[to].Uncertain > doubts) {
				t.Errorf("%s: to %s: not exact", what, to)
			}
		}
	}
	for i, change := range changeOvers {
		if change.long && !long {
			continue
		}
		name := change.name
		if strings.Contains(name, "%") {
			name = fmt.Sprintf(name, stop)
		}
		run(scene(fmt.Sprint("/", i)), name, count, 400, change.happen)
	}
	run(scene("/burst"), "a burst", burst, 0, nil)
}

// speaker is a process that reads and writes lines.
type speaker struct {
	*child.Process
	t      *testing.T
	name   string
	events chan said
	dead   bool
	stderr bytes.Buffer
}

func speak(t *testing.T, name string, cmd *exec.Cmd) *speaker {
	t.Helper()
	p := &speaker{t: t, name: name, events: make(chan said, 1<<16)}
	cmd.Stderr = &p.stderr
	var err error
	p.Process, err = child.Start(cmd, func(output io.Reader) {
		defer close(p.events)
		in := json.NewDecoder(output)
		for {
			var s said
			if in.Decode(&s) != nil {
				return
			}
			p.events <- s
		}
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Signal(syscall.SIGCONT)
		p.Input.Close()
		go func() { // ends with the process
			for range p.events {
			}
		}()
		if err := p.Finish(); err != nil && !p.dead {
			t.Errorf("%s: %v\n%s", name, err, &p.stderr)
		}
	})
	p.wait("ready")
	return p
}

func (c bridgeConfig) start(t *testing.T, name string) *speaker {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envBridge+"="+string(text))
	return speak(t, name, cmd)
}

func startStream(t *testing.T, dir, url string, g interop.Generation, prefix string) *speaker {
	t.Helper()
	text, err := json.Marshal(map[string]any{"generation": g, "name": prefix, "prefix": prefix, "redis": url, "requestsTimeout": 5000})
	require.NoError(t, err)
	cmd := exec.Command("node", "stream.js", string(text))
	cmd.Dir = dir
	return speak(t, "node "+string(g), cmd)
}

// ports lists the local ports of the process's TCP connections.
func (p *speaker) ports() map[string]bool {
	p.t.Helper()
	inodes := map[string]bool{}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Pid()))
	for _, f := range files {
		if link, err := os.Readlink(f); err == nil && strings.HasPrefix(link, "socket:[") {
			inodes[strings.Trim(link, "socket:[]")] = true
		}
	}
	table, err := os.ReadFile("/proc/net/tcp")
	require.NoError(p.t, err)
	ports := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 10 || !inodes[fields[9]] {
			continue
		}
		_, port, _ := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseUint(port, 16, 16); err == nil {
			ports[fmt.Sprint(n)] = true
		}
	}
	return ports
}

// tell writes a line to the process. It does nothing if the process has terminated.
func (p *speaker) tell(line string) { _, _ = fmt.Fprintln(p.Input, line) }

// do makes a Node.js process do something in a namespace.
func (p *speaker) do(op, nsp string, args map[string]any) {
	p.t.Helper()
	all := map[string]any{"op": op, "nsp": nsp}
	for k, v := range args {
		all[k] = v
	}
	line, err := json.Marshal(all)
	require.NoError(p.t, err)
	p.tell(string(line))
}

// wait waits until the process writes that line.
func (p *speaker) wait(what string) said {
	p.t.Helper()
	var passed []said
	defer func() {
		for _, s := range passed {
			p.events <- s
		}
	}()
	end := time.After(2 * patience)
	for {
		select {
		case s, ok := <-p.events:
			switch {
			case !ok:
				passed = nil
				p.t.Fatalf("%s ended: %v\n%s", p.name, p.Err(), &p.stderr)
			case s.What == what:
				return s
			case s.What == "fault":
				p.t.Errorf("%s: %s", p.name, s.Text)
			default:
				passed = append(passed, s)
			}
		case <-end:
			p.t.Fatalf("%s does not write %q", p.name, what)
		}
	}
}

// settled waits until the process has received that many messages, or no more arrive for a while, and returns its
// report.
func (p *speaker) settled(nsp string, count int, quiet time.Duration) (s said) {
	p.t.Helper()
	for changed := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		p.do("report", nsp, nil)
		now := p.wait("report")
		if now.Received != s.Received {
			changed = time.Now()
		}
		s = now
		// Wait a moment for duplicates after the last message.
		if d := time.Since(changed); d > quiet || s.Received == count && d > quiet/3 {
			return s
		}
	}
}

// rest returns the remaining lines of the process.
func (p *speaker) rest() (all []said) {
	for s := range p.events {
		all = append(all, s)
	}
	return all
}

// kill kills the process and waits for it.
func (p *speaker) kill() {
	p.dead = true
	p.Signal(syscall.SIGKILL)
	<-p.Exited()
}
