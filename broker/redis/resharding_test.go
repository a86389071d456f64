package redisbroker_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// reshardingFile has the table of TestResharding, which make resharding writes.
const reshardingFile = "../../docs/RESHARDING.md"

// nodePrefix is the prefix of the Node.js fleet on the same cluster.
const nodePrefix = "node"

// trial is one step, with two fleets on one cluster under load: a publisher and a subscriber of this package, and two
// Socket.IO servers with Node's sharded adapter.
type trial struct {
	*traffic
	js *nodeFleet // nil without Node.js
}

// step is something that happens to a cluster.
type step struct {
	name  string
	short bool // a part of make test
	do    func(x *trial)
}

var steps = []step{
	{"10 slots move, one by one, with pauses", false, func(x *trial) {
		for _, slot := range x.used(x.cluster.Nodes[0])[:10] {
			x.cluster.MoveSlots(x.cluster.Nodes[0], x.cluster.Nodes[1], slot)
			x.pause()
		}
	}},
	{"all slots of a master in use move at once", true, func(x *trial) {
		x.cluster.MoveSlots(x.cluster.Nodes[0], x.cluster.Nodes[2], x.used(x.cluster.Nodes[0])...)
	}},
	{"a replica takes over, as told (`CLUSTER FAILOVER`)", false, func(x *trial) {
		replica := x.cluster.Added[0]
		replica.Do("CLUSTER", "FAILOVER")
		x.until(func() bool { role, _ := replica.Do("ROLE").([]any); return role[0] == "master" })
	}},
	{"a master is killed, and its replica takes over after 1 s", true, func(x *trial) {
		x.cluster.Nodes[0].Kill()
		x.wait(time.Second)
		x.cluster.Added[0].Do("CLUSTER", "FAILOVER", "TAKEOVER")
	}},
	{"the same, while rooms are joined", false, func(x *trial) {
		x.cluster.Nodes[0].Kill()
		x.join(30)
		x.wait(time.Second)
		x.cluster.Added[0].Do("CLUSTER", "FAILOVER", "TAKEOVER")
	}},
	{"a master is added, and gets slots of another one", false, func(x *trial) {
		x.cluster.MoveSlots(x.cluster.Nodes[0], x.cluster.AddNode(x.t, nil), x.used(x.cluster.Nodes[0])...)
	}},
	{"a master gives its slots away, is removed and stopped", true, func(x *trial) {
		slots := make([]uint16, 0, 1<<14/3)
		for slot := range uint16(1 << 14 / 3) {
			slots = append(slots, slot)
		}
		x.cluster.MoveSlots(x.cluster.Nodes[0], x.cluster.Nodes[1], slots...)
		x.wait(time.Second)
		x.cluster.Nodes[0].Kill()
	}},
	{"two slots have no master for 1 s", false, func(x *trial) {
		for _, n := range x.cluster.Nodes {
			for _, slot := range x.two() {
				n.Do("CLUSTER", "DELSLOTS", slot)
			}
		}
		x.wait(time.Second)
		for _, slot := range x.two() {
			x.cluster.Nodes[1].Do("CLUSTER", "ADDSLOTS", slot)
		}
	}},
	{"the cluster is down for 1 s; `cluster-allow-pubsubshard-when-down yes`", false, func(x *trial) { x.down("yes") }},
	{"the same with `no`", false, func(x *trial) { x.down("no") }},
	{"for 1 s the user may use a sixth of the channels only (ACL)", false, func(x *trial) {
		for _, n := range x.cluster.Nodes {
			n.Do("ACL", "SETUSER", "default", "resetchannels", "&crossroom#/#room?1*", "&"+nodePrefix+"#/#room?1*")
		}
		x.wait(time.Second)
		for _, n := range x.cluster.Nodes {
			n.Do("ACL", "SETUSER", "default", "allchannels")
		}
	}},
	{"one master disconnects subscribers (`client-output-buffer-limit`)", false, func(x *trial) {
		owner := x.cluster.Nodes[0]
		owner.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100kb 0 0")
		slots := x.used(owner)
		for i, ch := range x.rooms {
			if slices.Contains(slots, x.slot(crossroomName(ch.Name()))) {
				x.big(i)
				break
			}
		}
		for _, ch := range x.rooms {
			if slices.Contains(slots, x.slot(nodePrefix+"#/#"+ch.Name()+"#")) {
				x.js.call("big", map[string]any{"room": ch.Name()})
				break
			}
		}
		x.wait(500 * time.Millisecond)
		owner.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
	}},
}

func crossroomName(room string) string { return "crossroom#/#" + room + "#" }

func (x *trial) wait(d time.Duration) { time.Sleep(d) }

func (x *trial) pause() { x.wait(50 * time.Millisecond) }

func (x *trial) until(done func() bool) {
	eventually(x.t, func() error {
		if !done() {
			return fmt.Errorf("not done")
		}
		return nil
	})
}

func (x *trial) slot(name string) uint16 {
	for _, n := range x.cluster.Nodes[1:] {
		return uint16(n.Do("CLUSTER", "KEYSLOT", name).(int64))
	}
	return 0
}

// used returns the slots of the rooms of both fleets that a master serves.
func (x *trial) used(owner *servers.Redis) []uint16 {
	slots := x.slots(owner)
	admin := redis.NewClient(&redis.Options{Addr: owner.Addr()})
	defer admin.Close()
	for _, ch := range x.rooms {
		slot := x.slot(nodePrefix + "#/#" + ch.Name() + "#")
		if x.js != nil && slot < 1<<14/3 && owner == x.cluster.Nodes[0] && !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// two returns a slot of each fleet.
func (x *trial) two() []string {
	a, b := x.slot(crossroomName(x.rooms[0].Name())), x.slot(nodePrefix+"#/#"+x.rooms[0].Name()+"#")
	return []string{strconv.Itoa(int(a)), strconv.Itoa(int(b))}
}

// join puts both subscribers into more rooms.
func (x *trial) join(n int) {
	var names []string
	var filters []broker.Filter
	for i := range n {
		names = append(names, fmt.Sprint("added ", i))
		filters = append(filters, broker.Exactly(broker.Native.Room("/", names[i])))
	}
	var joining sync.WaitGroup
	joining.Go(func() { assert.NoError(x.t, x.sub.Add(within(x.t, patience), filters...)) })
	x.js.call("join", map[string]any{"rooms": names})
	joining.Wait()
}

// down has a slot without a master, and full coverage required.
func (x *trial) down(allow string) {
	for _, n := range x.cluster.Nodes {
		n.Do("CONFIG", "SET", "cluster-allow-pubsubshard-when-down", allow)
		n.Do("CONFIG", "SET", "cluster-require-full-coverage", "yes")
		n.Do("CLUSTER", "DELSLOTS", "0")
	}
	x.wait(time.Second)
	x.cluster.Nodes[0].Do("CLUSTER", "ADDSLOTS", "0")
	for _, n := range x.cluster.Nodes {
		n.Do("CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
}

// big publishes a message that is larger than a master's limit.
func (x *trial) big(room int) {
	ch := x.rooms[room]
	x.mu.Lock()
	x.sent[ch]++
	n := x.sent[ch]
	x.mu.Unlock()
	require.NoError(x.t, x.from.Publish(within(x.t, patience), ch, append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 300<<10)...)))
}

// nodeFleet is the program of two Node.js servers.
type nodeFleet struct {
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Scanner
	last nodeReport
}

type nodeReport struct {
	Sent, Delivered, Deaf, Rejections int
	Errors                            [][2]any
}

func startNodeFleet(t *testing.T, c *servers.RedisCluster, rooms []string) *nodeFleet {
	dir := interop.Require(t)
	config, err := json.Marshal(map[string]any{"addrs": c.Addrs(), "prefix": nodePrefix, "rooms": rooms, "ms": patience.Milliseconds()})
	require.NoError(t, err)
	cmd := exec.Command("node", "resharding.js", string(config))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	f := &nodeFleet{t: t}
	f.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	f.out = bufio.NewScanner(out)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		f.in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	f.read()
	require.Zero(t, f.last.Deaf, "the Node.js fleet does not work before the step")
	return f
}

func (f *nodeFleet) read() {
	require.True(f.t, f.out.Scan(), "the Node.js fleet has exited: %v", f.out.Err())
	require.NoError(f.t, json.Unmarshal(f.out.Bytes(), &f.last), "%s", f.out.Text())
}

func (f *nodeFleet) call(op string, a map[string]any) {
	if f == nil {
		return
	}
	if a == nil {
		a = map[string]any{}
	}
	a["op"] = op
	text, err := json.Marshal(a)
	require.NoError(f.t, err)
	_, err = f.in.Write(append(text, '\n'))
	require.NoError(f.t, err)
	f.read()
}

// row is what became of the messages of a step.
type row struct {
	sent, delivered, lost uint64
	unreported            uint64
	refused               uint64 // lost or uncertain at the publisher
	interruptions         int
	affected, rooms       int
	js                    nodeReport
}

// TestResharding does to a cluster under load what operators and accidents do to it, with Node's sharded adapter beside
// this package. Every message that this package did not deliver must be accounted for: its room was interrupted, or the
// publisher counts it as lost or uncertain. Afterwards every room receives again. What Node's adapter does is recorded
// only. With CROSSROOM_RESHARDING=full all steps run, and the table is written.
func TestResharding(t *testing.T) {
	full := os.Getenv("CROSSROOM_RESHARDING") == "full"
	rows := make([]*row, len(steps))
	for i, s := range steps {
		if !full && !s.short {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			if !full {
				t.Parallel()
			}
			rows[i] = s.run(t, full)
		})
	}
	if full && !t.Failed() {
		writeResharding(t, rows)
	}
}

func (s step) run(t *testing.T, full bool) *row {
	c := servers.StartRedisCluster(t)
	if strings.Contains(s.name, "replica") || strings.Contains(s.name, "joined") {
		c.AddNode(t, c.Nodes[0])
	}
	const rooms = 60
	r := flow(t, c, rooms)
	r.lenient = true
	x := &trial{traffic: r}
	var names []string
	for _, ch := range r.rooms {
		names = append(names, ch.Name())
	}
	if _, err := interop.Available(); err == nil || os.Getenv("CROSSROOM_REQUIRE_SERVERS") != "" {
		x.js = startNodeFleet(t, c, names)
	}
	stop := r.load()
	x.js.call("load", nil)
	x.wait(300 * time.Millisecond)
	s.do(x)
	x.wait(500 * time.Millisecond)
	stop()
	x.js.call("stop", nil)
	if strings.Contains(s.name, "joined") {
		for i := range 30 {
			r.rooms = append(r.rooms, broker.Native.Room("/", fmt.Sprint("added ", i)))
		}
	}
	r.settle()
	wait := 15 * time.Second // for Node's adapter, of whose rooms some often get nothing any more
	if !full {
		wait = 0
	}
	x.js.call("settle", map[string]any{"ms": wait.Milliseconds()})
	return x.result()
}

// result accounts for the messages.
func (x *trial) result() *row {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.from.Stats()
	out := &row{refused: s.Lost + s.Uncertain, interruptions: len(x.gaps), affected: len(x.affected), rooms: len(x.rooms), delivered: x.received}
	for _, ch := range x.rooms {
		out.sent, out.lost = out.sent+x.sent[ch], out.lost+x.missed[ch]
	}
	if x.unexplained > out.refused {
		out.unreported = x.unexplained - out.refused
	}
	assert.Zero(x.t, out.unreported, "lost, and neither counted by the publisher nor in an interruption")
	assert.Equal(x.t, out.sent, out.delivered+out.lost, "accounted for")
	assert.Equal(x.t, len(x.gaps), x.resumed, "interruptions and their ends")
	assert.Equal(x.t, s.Accepted, s.Sent+s.Lost+s.Uncertain, "%+v", s)
	if x.js != nil {
		out.js = x.js.last
	}
	x.t.Logf("%+v", *out)
	return out
}

const (
	reshardingBegin = "<!-- Written by: make resharding -->\n"
	reshardingEnd   = "<!-- End of what is written by the test. -->"
)

func writeResharding(t *testing.T, rows []*row) {
	var b strings.Builder
	b.WriteString("\n| step | sent | delivered | lost | of these reported | interruptions | rooms in them | Node.js: sent | delivered | lost | errors | rejections | rooms without messages 15 s later |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, s := range steps {
		r := rows[i]
		errors := 0
		for _, e := range r.js.Errors {
			errors += int(e[1].(float64))
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d of %d | %d | %d | %d | %d | %d | %d of %d |\n", s.name, r.sent, r.delivered, r.lost, r.lost-r.unreported,
			r.interruptions, r.affected, r.rooms, r.js.Sent, r.js.Delivered, r.js.Sent-r.js.Delivered, errors, r.js.Rejections, r.js.Deaf, r.rooms)
	}
	b.WriteString("\n")
	text, err := os.ReadFile(reshardingFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), reshardingBegin)
	_, after, ok2 := strings.Cut(rest, reshardingEnd)
	require.True(t, ok && ok2, "%s has no place for the table", reshardingFile)
	require.NoError(t, os.WriteFile(reshardingFile, []byte(before+reshardingBegin+b.String()+reshardingEnd+after), 0o644))
}
