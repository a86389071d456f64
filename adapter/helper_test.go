package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// patience is how long a test waits for an event that should happen at once.
const patience = 10 * time.Second

// heartbeat of the tests' servers.
const heartbeat = 50 * time.Millisecond

// socket is a client's connection that records its packets.
type socket struct {
	id      string
	packets chan *adapter.Packet
	ended   chan bool // Disconnect(close)
}

func newSocket(id string) *socket {
	return &socket{id: id, packets: make(chan *adapter.Packet, 1024), ended: make(chan bool, 16)}
}

func (s *socket) ID() string                { return s.id }
func (s *socket) Deliver(p *adapter.Packet) { s.packets <- p }
func (s *socket) Disconnect(close bool)     { s.ended <- close }

// next returns the next packet.
func (s *socket) next(t testing.TB) *adapter.Packet {
	t.Helper()
	select {
	case p := <-s.packets:
		return p
	case <-time.After(patience):
		t.Fatalf("socket %s got nothing", s.id)
		return nil
	}
}

// until returns the names of the events up to and without marker.
func (s *socket) until(t testing.TB, marker string) (events []string) {
	t.Helper()
	for {
		p := s.next(t)
		if p.Event() == marker {
			return events
		}
		events = append(events, p.Event())
	}
}

// talker is a socket whose client acknowledges, with a description.
type talker struct {
	*socket
	answer func(p *adapter.Packet, ack func(args ...any))
	about  adapter.Description
}

func (s *talker) DeliverWithAck(p *adapter.Packet, ack func(args ...any)) {
	s.packets <- p
	if s.answer != nil {
		s.answer(p, ack)
	}
}

func (s *talker) Describe() adapter.Description { return s.about }

// errorList collects the errors of OnError.
type errorList struct {
	mu   sync.Mutex
	list []error
}

func (l *errorList) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, err)
}

func (l *errorList) all() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// node is a server with one open namespace.
type node struct {
	*adapter.Server
	ns     *adapter.Namespace
	broker *memorybroker.Broker
	errors *errorList
}

const chat = "/chat"

func newNode(t testing.TB, bus *memorybroker.Bus, opts adapter.Options) *node {
	t.Helper()
	n := &node{broker: bus.Broker(), errors: &errorList{}}
	// Servers check each other often, but on a busy machine no server may expire.
	if opts.Heartbeat == 0 {
		opts.Heartbeat = heartbeat
	}
	if opts.PeerTimeout == 0 {
		opts.PeerTimeout = max(patience, 2*opts.Heartbeat)
	}
	if opts.RequestsTimeout == 0 {
		opts.RequestsTimeout = patience
	}
	if opts.OnError == nil {
		opts.OnError = n.errors.add
	}
	var err error
	n.Server, err = adapter.New(n.broker, &opts)
	require.NoError(t, err)
	n.ns, err = n.Of(t.Context(), chat)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, n.Close(ctx))
		for _, l := range n.Links() {
			assert.NoError(t, l.Broker.Close(ctx))
		}
	})
	return n
}

// add adds a socket to the node, in rooms.
func (n *node) add(t testing.TB, id string, rooms ...string) *socket {
	t.Helper()
	s := newSocket(id)
	n.addSocket(t, s, rooms...)
	return s
}

func (n *node) addSocket(t testing.TB, s adapter.Socket, rooms ...string) {
	t.Helper()
	require.NoError(t, n.ns.Add(t.Context(), s))
	require.NoError(t, n.ns.Join(t.Context(), s.ID(), rooms...))
}

// fleet is several nodes on one bus that know each other.
func fleet(t testing.TB, size int, opts adapter.Options) []*node {
	t.Helper()
	bus := memorybroker.NewBus(nil)
	nodes := make([]*node, size)
	for i := range nodes {
		nodes[i] = newNode(t, bus, opts)
	}
	acquainted(t, nodes...)
	return nodes
}

// acquainted waits until all nodes know all others in the namespace.
func acquainted(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, fmt.Sprintf("node %s knows the others", n.UID()), func() bool {
			known := 0
			for _, p := range n.KnownPeers() {
				if slices.Contains(p.Namespaces, chat) {
					known++
				}
			}
			return known == len(nodes)-1
		})
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	require.NoError(t, err)
}

// ids of sockets.
func ids(list []adapter.RemoteSocket) (out []string) {
	for _, s := range list {
		out = append(out, s.ID)
	}
	return out
}

// bubble runs a test with virtual time, which stands still while any goroutine runs. Waiting
// for a deadline takes no real time, and no deadline passes because the machine is busy.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// inBothDialects runs a test in a bubble for each dialect.
func inBothDialects(t *testing.T, f func(t *testing.T, d adapter.Dialect)) {
	for _, d := range []adapter.Dialect{adapter.V6, adapter.V5} {
		t.Run(d.String(), func(t *testing.T) { bubble(t, func(t *testing.T) { f(t, d) }) })
	}
}

// roomsOf returns the rooms of a local socket.
func roomsOf(ns *adapter.Namespace, id string) []string {
	rooms, _ := ns.LocalRoomsOf(id)
	return rooms
}

// unsupported reports whether err says that a dialect has no form for an operation.
func unsupported(err error, operation string) bool {
	return errors.Is(err, errors.ErrUnsupported) && strings.Contains(err.Error(), operation+" is not possible in dialect ")
}
