package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// crew is a fleet of backplane nodes, each on a broker of its own.
type crew struct {
	env    *env
	spaces []string
	opts   crewOptions
	nodes  []*mate
	people []*person
	step   int // of shape
}

// crewOptions say what is special about a crew; the zero value is good.
type crewOptions struct {
	// spaces are the namespaces that all nodes serve; nil: one.
	spaces []string
	// timeout of questions. Zero: so long that nothing correct runs into it.
	timeout time.Duration
	// heartbeat and peerTimeout are the nodes' options; zero: as long as that.
	heartbeat, peerTimeout time.Duration
	// id of each node; nil: made up.
	id func(node int) string
	// observer of each node; nil: none.
	observer func(node int) observe.Observer
	// request answers requests and events; nil: with the node's number, a colon and
	// the payload.
	request func(ctx context.Context, node int, from string, payload []byte) ([]byte, error)
}

// ample is a timeout that is not meant to be over.
const ample = 20 * time.Second

// mate is one node of a crew.
type mate struct {
	*Node
	number int
	node   *backplane.Node
	spaces map[string]*backplane.Namespace
	killed bool

	mu       sync.Mutex
	reported []error
}

func (m *mate) report(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reported = append(m.reported, err)
}

func (m *mate) reports() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.reported)
}

const onlySpace = "/fleet"

// assemble makes a fleet of n nodes and waits until all know each other.
func (e *env) assemble(ctx context.Context, n int, opts crewOptions) (*crew, error) {
	c := &crew{env: e, spaces: opts.spaces, opts: opts}
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
	return c, c.meet(ctx)
}

// add starts one more node, which the others may not know yet.
func (c *crew) add(ctx context.Context) (*mate, error) {
	n, err := c.env.node(ctx)
	if err != nil {
		return nil, err
	}
	m := &mate{Node: n, number: len(c.nodes), spaces: map[string]*backplane.Namespace{}}
	opts := backplane.Options{
		Name: fmt.Sprintf("n%d", m.number), OnError: m.report, StallTimeout: -1,
		RequestsTimeout: c.opts.timeout, Heartbeat: c.opts.heartbeat, PeerTimeout: c.opts.peerTimeout,
	}
	if opts.RequestsTimeout == 0 {
		opts.RequestsTimeout = ample
	}
	if opts.PeerTimeout == 0 {
		opts.PeerTimeout = max(ample, 4*opts.Heartbeat)
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
			return nil, fail(f1, "node %d: Namespace(%q) failed with nothing wrong: %v", m.number, name, err)
		}
	}
	return m, nil
}

func (c *crew) hooks(m *mate) *backplane.NamespaceOptions {
	request := c.opts.request
	if request == nil {
		request = func(_ context.Context, node int, _ string, p []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%d:%s", node, p), nil
		}
	}
	return &backplane.NamespaceOptions{
		OnRequest: func(ctx context.Context, from string, p []byte) ([]byte, error) {
			return request(ctx, m.number, from, p)
		},
		OnEvent: func(ctx context.Context, from string, p []byte, reply func([]byte)) {
			if answer, err := request(ctx, m.number, from, p); err == nil && reply != nil {
				reply(answer)
			}
		},
	}
}

// meet waits until every node knows what every other one serves.
func (c *crew) meet(ctx context.Context) error {
	return eventually(ctx, func() error {
		for _, m := range c.nodes {
			if err := c.knows(m, c.ids(m)); err != nil {
				return err
			}
		}
		return nil
	})
}

// knows says whether a node lists exactly those others, with all their namespaces.
func (c *crew) knows(m *mate, ids []string) error {
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

// ids lists all nodes but those, sorted.
func (c *crew) ids(but ...*mate) []string {
	list := []string{}
	for _, m := range c.nodes {
		if !slices.Contains(but, m) {
			list = append(list, m.node.ID())
		}
	}
	slices.Sort(list)
	return list
}

// ns is a node's part of the only namespace.
func (c *crew) ns(node int) *backplane.Namespace { return c.nodes[node].spaces[c.spaces[0]] }

// last is the number of the last node.
func (c *crew) last() int { return len(c.nodes) - 1 }

// calm says whether no node has reported anything.
func (c *crew) calm() error {
	for _, m := range c.nodes {
		if list := m.reports(); len(list) > 0 {
			return fail(f3, "with nothing wrong, OnError of node %d was told: %v", m.number, list[0])
		}
	}
	return nil
}

// close ends the nodes; their brokers are the env's. What they say is no concern of
// most cases.
func (c *crew) close(ctx context.Context) {
	var all sync.WaitGroup
	for _, m := range c.nodes {
		all.Go(func() {
			patience := time.Second
			if m.killed { // has nobody to say goodbye to
				patience = brief
			}
			short, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			_ = m.node.Close(short)
		})
	}
	all.Wait()
}

// person is a member of a crew's node, which keeps what it gets.
type person struct {
	id     string
	at     *mate
	ns     *backplane.Namespace
	rooms  []string // as the case knows them
	stays  bool     // does not leave when told to
	silent bool     // gives no acknowledgements

	mu      sync.Mutex
	got     []string
	told    []bool // close of each Disconnect
	changed chan struct{}
}

// join makes a member of a node in its first namespace.
func (c *crew) join(ctx context.Context, node int, id string, rooms ...string) (*person, error) {
	p := &person{id: id, rooms: rooms}
	return p, c.enter(ctx, node, c.spaces[0], p)
}

func (c *crew) enter(ctx context.Context, node int, space string, p *person) error {
	p.at, p.ns, p.changed = c.nodes[node], c.nodes[node].spaces[space], make(chan struct{})
	if err := p.ns.Add(p); err != nil {
		return fail(f15, "adding a member called %.60q failed: %v", p.id, err)
	}
	if err := p.ns.Join(ctx, p.id, p.rooms...); err != nil {
		return fail(f5, "Join of an own member failed: %v", err)
	}
	c.people = append(c.people, p)
	return nil
}

// ID implements backplane.Member.
func (p *person) ID() string { return p.id }

// Deliver implements backplane.Member.
func (p *person) Deliver(m *backplane.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, string(m.Payload))
	p.event()
}

// Disconnect implements backplane.Member.
func (p *person) Disconnect(close bool) {
	p.mu.Lock()
	p.told = append(p.told, close)
	p.event()
	p.mu.Unlock()
	if !p.stays {
		p.ns.Remove(p.id)
	}
}

// DeliverAck implements backplane.AckMember.
func (p *person) DeliverAck(m *backplane.Message, ack func([]byte)) {
	p.Deliver(m)
	if !p.silent {
		ack([]byte("from " + p.id))
	}
}

// Describe implements backplane.Describer.
func (p *person) Describe() []byte { return []byte("this is " + p.id) }

// event wakes those who wait. mu is held.
func (p *person) event() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// count is how often a message came.
func (p *person) count(text string) int {
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

// orders lists what Disconnect was told.
func (p *person) orders() []bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

// hears waits for a message, and calls poke now and then, which may be nil.
func (p *person) hears(ctx context.Context, clause Clause, text string, poke func() error) error {
	ticker := time.NewTicker(nudge)
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

// orEmpty gives an empty answer where nothing was asked, which the error says.
func orEmpty[T any](answer *T, err error) (*T, error) {
	if answer == nil {
		answer = new(T)
	}
	return answer, err
}

// partial gives what is known if an answer is not complete.
func partial(err error) (*backplane.PartialError, bool) {
	var p *backplane.PartialError
	ok := errors.As(err, &p)
	return p, ok
}

// missing describes who is missing, for people.
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
		return "nobody"
	}
	return strings.Join(list, ", ")
}

// whole says whether an answer has all of the others in it and no error.
func (c *crew) whole(clause Clause, what string, asker *mate, f backplane.Coverage, err error) error {
	if err != nil {
		return fail(clause, "%s, asked by node %d with nothing wrong, returned %v", what, asker.number, err)
	}
	if want := c.ids(asker); !slices.Equal(f.Answered, want) || len(f.Missing) > 0 || f.Foreign > 0 {
		return fail(clause, "%s, asked by node %d: answered %v and %d unnamed, missing %s; want %v",
			what, asker.number, f.Answered, f.Foreign, missing(f), want)
	}
	return nil
}

// patiently tries with a short timeout for questions, and if that fails with longer
// ones: a busy machine may need its time, but what is broken fails with the longest too.
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

// isTooLarge reports whether a broker refused for size.
func isTooLarge(err error) bool {
	var size *broker.PayloadError
	return errors.As(err, &size)
}
