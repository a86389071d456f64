package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// fleet is a set of backplane nodes, each on a broker of its own.
type fleet struct {
	env    *env
	spaces []string
	opts   fleetOptions
	nodes  []*fleetNode
	people []*fleetMember
	step   int // number of broadcasts that shape has sent
}

// fleetOptions are the options of a fleet. The zero value means the defaults.
type fleetOptions struct {
	// subscription is the mode of the namespaces; nil means that of the harness.
	subscription *backplane.SubscriptionMode
	// spaces are the namespaces of all nodes; nil means one.
	spaces []string
	// timeout is that of requests. Zero means longTimeout.
	timeout time.Duration
	// heartbeat and peerTimeout are the nodes' options; zero means the same as timeout.
	heartbeat, peerTimeout time.Duration
	// keys of the nodes; nil means those of the harness.
	keys *backplane.Keyring
	// id returns the id of each node; nil means generated ids.
	id func(node int) string
	// observer returns the observer of each node; nil means none.
	observer func(node int) observe.Observer
	// request handles requests and events. Nil means a response with the node's number, a colon and the payload.
	request func(ctx context.Context, node int, from string, payload []byte) ([]byte, error)
}

// longTimeout is a timeout that a correct broker never reaches.
const longTimeout = 20 * time.Second

// fleetNode is one node of a fleet.
type fleetNode struct {
	*Node
	number int
	node   *backplane.Node
	spaces map[string]*backplane.Namespace
	killed bool

	mu       sync.Mutex
	reported []error
}

func (m *fleetNode) report(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reported = append(m.reported, err)
}

func (m *fleetNode) reports() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.reported)
}

const onlySpace = "/fleet"

// assemble makes a fleet of n nodes and waits until all know each other.
func (e *env) assemble(ctx context.Context, n int, opts fleetOptions) (*fleet, error) {
	c := &fleet{env: e, spaces: opts.spaces, opts: opts}
	if c.spaces == nil {
		c.spaces = []string{onlySpace}
	}
	e.mu.Lock()
	e.last = append(e.last, c.close)
	e.mu.Unlock()
	for range n {
		if _, err := c.add(ctx); err != nil {
			return nil, err
		}
	}
	return c, c.awaitPeers(ctx)
}

// add starts one more node, which the others may not know yet.
func (c *fleet) add(ctx context.Context) (*fleetNode, error) {
	n, err := c.env.node(ctx)
	if err != nil {
		return nil, err
	}
	m := &fleetNode{Node: n, number: len(c.nodes), spaces: map[string]*backplane.Namespace{}}
	opts := backplane.Options{
		Keys: cmp.Or(c.opts.keys, c.env.sys.keys),
		Name: fmt.Sprintf("n%d", m.number), OnError: m.report, StallTimeout: -1,
		RequestsTimeout: c.opts.timeout, Heartbeat: c.opts.heartbeat, PeerTimeout: c.opts.peerTimeout,
	}
	if opts.RequestsTimeout == 0 {
		opts.RequestsTimeout = longTimeout
	}
	if opts.PeerTimeout == 0 {
		opts.PeerTimeout = max(longTimeout, 4*opts.Heartbeat)
	}
	if c.opts.id != nil {
		opts.ID = c.opts.id(m.number)
	}
	if c.opts.observer != nil {
		if o := c.opts.observer(m.number); o != nil {
			opts.Observers = []observe.Observer{o}
		}
	}
	if m.node, err = backplane.New(n.Broker, &opts); err != nil {
		return nil, setup("making a node of a fleet", err)
	}
	c.nodes = append(c.nodes, m)
	for _, name := range c.spaces {
		if m.spaces[name], err = m.node.Namespace(ctx, name, c.hooks(m)); err != nil {
			return nil, fail(f1, "node %d: Namespace(%q) failed without a fault: %v", m.number, name, err)
		}
	}
	return m, nil
}

func (c *fleet) hooks(m *fleetNode) *backplane.NamespaceOptions {
	request := c.opts.request
	if request == nil {
		request = func(_ context.Context, node int, _ string, p []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%d:%s", node, p), nil
		}
	}
	return &backplane.NamespaceOptions{
		Subscription: *cmp.Or(c.opts.subscription, &c.env.sys.subscription),
		OnRequest: func(ctx context.Context, from string, p []byte) ([]byte, error) {
			return request(ctx, m.number, from, p)
		},
		OnEvent: func(ctx context.Context, from string, p []byte, reply func([]byte)) {
			if response, err := request(ctx, m.number, from, p); err == nil && reply != nil {
				reply(response)
			}
		},
	}
}

// awaitPeers waits until every node knows the namespaces of every other node.
func (c *fleet) awaitPeers(ctx context.Context) error {
	return eventually(ctx, func() error {
		for _, m := range c.nodes {
			if err := c.knows(m, c.ids(m)); err != nil {
				return err
			}
		}
		return nil
	})
}

// knows reports whether a node lists exactly these peers, with all their namespaces.
func (c *fleet) knows(m *fleetNode, ids []string) error {
	want := slices.Sorted(slices.Values(c.spaces))
	var listed []string
	for _, p := range m.node.KnownPeers() {
		if slices.Equal(p.Namespaces, want) {
			listed = append(listed, p.ID)
		}
	}
	if !slices.Equal(listed, ids) {
		return fail(f8, "node %d lists %v instead of %v as the peers that serve %q", m.number, listed, ids, want)
	}
	return nil
}

// ids lists the ids of all nodes except but, sorted.
func (c *fleet) ids(but ...*fleetNode) []string {
	list := []string{}
	for _, m := range c.nodes {
		if !slices.Contains(but, m) {
			list = append(list, m.node.ID())
		}
	}
	slices.Sort(list)
	return list
}

// ns returns a node's only namespace.
func (c *fleet) ns(node int) *backplane.Namespace { return c.nodes[node].spaces[c.spaces[0]] }

// last returns the number of the last node.
func (c *fleet) last() int { return len(c.nodes) - 1 }

// noReports checks that no node has reported an error.
func (c *fleet) noReports() error {
	for _, m := range c.nodes {
		if list := m.reports(); len(list) > 0 {
			return fail(f3, "without a fault, OnError of node %d reported: %v", m.number, list[0])
		}
	}
	return nil
}

// close closes the nodes and ignores the results, which concern few cases. The env closes their brokers.
func (c *fleet) close(ctx context.Context) {
	var all sync.WaitGroup
	for _, m := range c.nodes {
		all.Go(func() {
			timeout := time.Second
			if m.killed { // a killed node cannot send a goodbye
				timeout = shortWait
			}
			short, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			_ = m.node.Close(short)
		})
	}
	all.Wait()
}

// fleetMember is a member of a fleet's node. It records its messages.
type fleetMember struct {
	id    string
	at    *fleetNode
	ns    *backplane.Namespace
	rooms []string // as the case knows them
	stays bool     // ignores Disconnect
	noAck bool     // does not acknowledge

	mu          sync.Mutex
	got         []string
	keeps       map[string]bool // rooms, as Joined and Left say
	disconnects []bool          // the argument of each Disconnect
	reason      string          // of the last one
	changed     chan struct{}
}

// join makes a member of a node in its first namespace.
func (c *fleet) join(ctx context.Context, node int, id string, rooms ...string) (*fleetMember, error) {
	p := &fleetMember{id: id, rooms: rooms}
	return p, c.enter(ctx, node, c.spaces[0], p)
}

func (c *fleet) enter(ctx context.Context, node int, space string, p *fleetMember) error {
	p.at, p.ns, p.changed = c.nodes[node], c.nodes[node].spaces[space], make(chan struct{})
	p.Joined(p.rooms)
	if err := p.ns.Add(ctx, p); err != nil {
		return fail(f15, "adding a member called %.60q failed: %v", p.id, err)
	}
	if err := p.ns.Join(ctx, p.id, p.rooms...); err != nil {
		return fail(f5, "Join of a local member failed: %v", err)
	}
	c.people = append(c.people, p)
	return nil
}

// ID implements backplane.Member.
func (p *fleetMember) ID() string { return p.id }

// Deliver implements backplane.Member.
func (p *fleetMember) Deliver(m *backplane.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, string(m.Payload))
	p.event()
}

// Disconnect implements backplane.Member, whose DisconnectFor is called instead.
func (p *fleetMember) Disconnect(bool) {}

// DisconnectFor implements backplane.ReasonMember.
func (p *fleetMember) DisconnectFor(reason string, close bool) {
	p.mu.Lock()
	p.disconnects, p.reason = append(p.disconnects, close), reason
	p.event()
	p.mu.Unlock()
	if !p.stays {
		p.ns.Remove(p.id)
	}
}

// DeliverAck implements backplane.AckMember.
func (p *fleetMember) DeliverAck(m *backplane.Message, ack func([]byte)) {
	p.Deliver(m)
	if !p.noAck {
		ack([]byte("from " + p.id))
	}
}

// Joined implements backplane.RoomMember.
func (p *fleetMember) Joined(rooms []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keeps == nil {
		p.keeps = map[string]bool{}
	}
	for _, room := range rooms {
		p.keeps[room] = true
	}
}

// Left implements backplane.RoomMember.
func (p *fleetMember) Left(rooms []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, room := range rooms {
		delete(p.keeps, room)
	}
}

// keepsRooms checks that Joined and Left have reported exactly the rooms of a member.
func (p *fleetMember) keepsRooms(clause Clause) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	got, want := slices.Sorted(maps.Keys(p.keeps)), slices.Sorted(slices.Values(p.rooms))
	if !slices.Equal(got, want) {
		return fail(clause, "the rooms reported to member %q of node %d are %q instead of %q", p.id, p.at.number, got, want)
	}
	return nil
}

// Describe implements backplane.Describer.
func (p *fleetMember) Describe() []byte { return []byte("this is " + p.id) }

// event wakes the waiting goroutines. The caller holds mu.
func (p *fleetMember) event() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// count returns how often a message arrived.
func (p *fleetMember) count(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.got {
		if s == text {
			n++
		}
	}
	return n
}

// orders returns the arguments of Disconnect.
func (p *fleetMember) orders() []bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.disconnects)
}

// why returns the reason of the last disconnect.
func (p *fleetMember) why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}

// receives waits for a message. At intervals it calls poke, which may be nil.
func (p *fleetMember) receives(ctx context.Context, clause Clause, text string, poke func() error) error {
	ticker := time.NewTicker(pokeInterval)
	defer ticker.Stop()
	for {
		p.mu.Lock()
		ok, changed := slices.Contains(p.got, text), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ticker.C:
			if poke == nil {
				continue
			}
			if err := poke(); err != nil && ctx.Err() == nil {
				return fail(clause, "Broadcast failed while waiting: %v", err)
			}
		case <-ctx.Done():
			return fail(clause, "%q did not reach member %.60q of node %d", text, p.id, p.at.number)
		}
	}
}

// orEmpty returns an empty result if a call returned nil because of an error.
func orEmpty[T any](result *T, err error) (*T, error) {
	if result == nil {
		result = new(T)
	}
	return result, err
}

// partial returns the *PartialError of an incomplete result.
func partial(err error) (*backplane.PartialError, bool) {
	var p *backplane.PartialError
	ok := errors.As(err, &p)
	return p, ok
}

// missing describes the missing nodes in a text.
func missing(f backplane.Coverage) string {
	var list []string
	for _, m := range f.Missing {
		name := m.Node
		if name == "" {
			name = fmt.Sprintf("%d unnamed", m.Count)
		}
		list = append(list, fmt.Sprintf("%s (%v)", name, m.Reason))
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, ", ")
}

// whole reports whether a result has the responses of all other nodes and no error.
func (c *fleet) whole(clause Clause, what string, asker *fleetNode, f backplane.Coverage, err error) error {
	if err != nil {
		return fail(clause, "%s, requested by node %d without a fault, returned %v", what, asker.number, err)
	}
	if want := c.ids(asker); !slices.Equal(f.Answered, want) || len(f.Missing) > 0 || f.Foreign > 0 {
		return fail(clause, "%s, requested by node %d: responses of %v and %d foreign peers, missing %s; want %v",
			what, asker.number, f.Answered, f.Foreign, missing(f), want)
	}
	return nil
}

// patiently tries with a short timeout for requests, and after a failure with longer ones. A busy machine may need the
// longer time; a violation fails with the longest too.
func (e *env) patiently(ctx context.Context, try func(timeout time.Duration) error) error {
	var err error
	for _, timeout := range []time.Duration{300 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second} {
		var failure *Failure
		if err = try(timeout); !errors.As(err, &failure) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// isTooLarge reports whether a broker refused a message for its size.
func isTooLarge(err error) bool {
	var size *broker.PayloadError
	return errors.As(err, &size)
}
