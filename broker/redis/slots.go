package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// clusterSlots is the number of slots of every Redis Cluster.
const clusterSlots = 1 << 14

// slotOf returns the slot of a name: CRC-16/XMODEM of what stands between the first '{' and the next '}', if that is not
// empty, or else of the whole name.
func slotOf(name string) uint16 {
	if i := strings.IndexByte(name, '{'); i >= 0 {
		if j := strings.IndexByte(name[i+1:], '}'); j > 0 {
			name = name[i+1 : i+1+j]
		}
	}
	var crc uint16
	for i := range len(name) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^name[i]]
	}
	return crc % clusterSlots
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

// slots knows which master of a cluster serves which slot. It may be out of date. That does no harm: a server refuses
// what it does not serve, and says which server does (learn).
type slots struct {
	nodes *nodes

	mu      sync.Mutex
	table   *slotTable    // nil before the first one
	loading chan struct{} // closed when the running look-up ends; nil if none is running
	err     error         // of the last look-up
	changed []chan struct{}
}

// slotTable is immutable.
type slotTable struct {
	addrs  []string             // of the masters
	owners [clusterSlots]uint16 // index of addrs, plus one; zero: no master serves the slot
}

func (t *slotTable) owner(slot uint16) string {
	if i := t.owners[slot]; i > 0 {
		return t.addrs[i-1]
	}
	return ""
}

func (t *slotTable) set(slot uint16, addr string) {
	for i, a := range t.addrs {
		if a == addr {
			t.owners[slot] = uint16(i + 1)
			return
		}
	}
	t.addrs = append(t.addrs[:len(t.addrs):len(t.addrs)], addr)
	t.owners[slot] = uint16(len(t.addrs))
}

// serves reports whether a master serves slots.
func (t *slotTable) serves(addr string) bool {
	for i, a := range t.addrs {
		if a == addr {
			for _, o := range t.owners {
				if int(o) == i+1 {
					return true
				}
			}
		}
	}
	return false
}

// slots returns the slots of a cluster in the sharded layout; nil for any other.
func (n *nodes) slots() *slots {
	if n.cluster == nil || !n.sharded {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.table == nil {
		n.table = &slots{nodes: n}
	}
	return n.table
}

// notify returns a channel that gets a value when the table has changed, or a look-up has failed.
func (s *slots) notify() <-chan struct{} {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = append(s.changed, ch)
	return ch
}

// raise wakes the receivers of notify. The caller holds mu.
func (s *slots) raise() {
	for _, ch := range s.changed {
		lifecycle.Raise(ch)
	}
}

// now returns the table, nil if there is none yet, and the error of the last look-up.
func (s *slots) now() (*slotTable, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table, s.err
}

// learn records that another server serves a slot, as a server has said.
func (s *slots) learn(slot uint16, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table == nil || s.table.owner(slot) == addr {
		return
	}
	next := *s.table
	next.set(slot, addr)
	s.table = &next
	s.raise()
}

// refresh starts a look-up, unless one is running, and returns a channel that is closed when it ends.
func (s *slots) refresh() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loading == nil {
		s.loading = make(chan struct{})
		// go-redis ends it by its own timeouts: it heeds a context only in part.
		go s.load(s.loading)
	}
	return s.loading
}

// await looks the table up, and returns the error of that.
func (s *slots) await(ctx context.Context) error {
	patience := time.NewTimer(mastersWait)
	defer patience.Stop()
	select {
	case <-s.refresh():
		_, err := s.now()
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return fmt.Errorf("redis cluster: no list of slots within %v", mastersWait)
	}
}

func (s *slots) load(done chan struct{}) {
	table, err := s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.table = table
	}
	s.loading = nil
	s.raise()
	close(done)
}

// look asks nodes of the cluster for the slots. go-redis chooses the node, which may be one that was removed and knows
// none.
func (s *slots) look() (*slotTable, error) {
	for range looks {
		//lint:ignore SA1019 CLUSTER SHARDS does not say which address a client is to use.
		ranges, err := s.nodes.cluster.ClusterSlots(context.Background()).Result()
		if err != nil {
			return nil, err
		}
		if len(ranges) == 0 {
			continue
		}
		t := &slotTable{}
		for _, r := range ranges {
			if len(r.Nodes) == 0 || r.Start < 0 || r.End >= clusterSlots {
				continue
			}
			addr := s.nodes.hosted(r.Nodes[0].Addr, "")
			for slot := r.Start; slot <= r.End; slot++ {
				t.set(uint16(slot), addr)
			}
		}
		return t, nil
	}
	return nil, errors.New("redis cluster: no master serves slots")
}

// hosted completes an address without a host, which then is that of the server that named it; or of the cluster's first
// address.
func (n *nodes) hosted(addr, server string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "" {
		return addr
	}
	if server == "" && len(n.cluster.Options().Addrs) > 0 {
		server = n.cluster.Options().Addrs[0]
	}
	host, _, _ = net.SplitHostPort(server)
	return net.JoinHostPort(host, port)
}

// movedTo reads a reply such as "MOVED 3999 127.0.0.1:6381".
func movedTo(reply string) (slot uint16, addr string, ok bool) {
	words := strings.Fields(reply)
	if len(words) != 3 || words[0] != "MOVED" {
		return 0, "", false
	}
	n, err := strconv.ParseUint(words[1], 10, 16)
	i := strings.LastIndexByte(words[2], ':')
	if err != nil || n >= clusterSlots || i < 0 {
		return 0, "", false
	}
	return uint16(n), net.JoinHostPort(strings.Trim(words[2][:i], "[]"), words[2][i+1:]), true
}

// only is the server of a connection that can be no other: a master of a cluster, by its address.
type only struct {
	nodes *nodes
	slots *slots
	addr  string
	use   use

	foreign int // attempts that led to a node of another cluster, one after another
}

// foreignDials is how many such attempts make the other cluster that of the fleet.
const foreignDials = 3

func (o *only) dial(ctx context.Context, timeout time.Duration) (*conn, error) {
	opt, err := o.nodes.optionsFor(ctx, o.addr)
	if err != nil {
		return nil, err
	}
	c, err := o.nodes.dial(ctx, opt, timeout, o.use)
	if err != nil {
		o.slots.refresh() // another one may serve its slots
	}
	if _, foreign := errors.AsType[*foreignError](err); !foreign {
		o.foreign = 0
	} else if o.foreign++; o.foreign >= foreignDials {
		o.foreign = 0
		o.nodes.forget() // the cluster was probably set up anew
	}
	return c, err
}

func (o *only) left(error) { o.slots.refresh() }

// optionsFor returns those by which the client connects to a node of its cluster.
func (n *nodes) optionsFor(ctx context.Context, address string) (*redis.Options, error) {
	masters, err := n.masters(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, m := range masters {
		if addr(m) == address {
			return m.Options(), nil
		}
	}
	opt := *masters[0].Options()
	opt.Addr = address
	return &opt, nil
}
