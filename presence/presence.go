package presence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

// Options configure a Presence. Nil means all defaults. New copies them.
type Options struct {
	// Namespace on the node that carries the messages. It must have no other use, and be the same on all nodes. Empty means
	// "presence".
	Namespace string
	// Interval at which each node compares what it has with another node, and so finds changes that it missed. All nodes
	// should have the same. Zero means 1 s, and less than 10 ms is an error.
	Interval time.Duration
	// MaxRemoteBytes limits what this node stores of all other nodes' members, counted as MaxBytes is. Zero means 1 GiB, and
	// negative is an error.
	MaxRemoteBytes int
}

// Presence is one node's view of all members, and the owner of those that were joined here. All methods are safe for
// concurrent use, also from inside a Watch loop.
type Presence struct {
	interval    time.Duration
	remoteBytes int
	node        *backplane.Node
	ns          *backplane.Namespace
	life        context.Context // ends with Close
	end         context.CancelFunc
	wake        chan struct{}
	workers     sync.WaitGroup

	// mu is a leaf: no call of another package is made under it.
	mu        sync.Mutex
	closed    bool
	own       *replica
	log       []change  // the latest own changes
	start     uint64    // number before the first change in log
	size      int       // of log, in bytes
	sent      uint64    // number of the last change that was published
	sentSum   uint64    // its sum
	snapshots uint64    // how many were made
	missed    bool      // a peer has missed a change, and the others do not know yet
	announced time.Time // when all peers got the last number
	peers     map[string]*replica
	stored    int // bytes of the peers' members
	rooms     map[string]*roomState
	toRequest map[string]struct{} // peers to send a request
	toCompare map[string]struct{} // peers that get the versions of all nodes
	requested map[string]wanted   // what peers have requested
	synced    chan struct{}       // closed when a peer's state has become complete, or a peer is lost
	stats     Stats
}

// Stats are counters since New, except Members and Rooms, which are current numbers.
type Stats struct {
	// Members and Rooms on all nodes, as this node knows them now.
	Members, Rooms int
	// Sent and Received count messages.
	Sent, Received uint64
	// Gaps counts messages that showed that earlier ones are missing. Snapshots counts the snapshots that nodes requested.
	Gaps, Snapshots uint64
	// Malformed counts messages that could not be read, and Strangers those of nodes that were not known. Refused counts
	// members of other nodes that exceeded a limit.
	Malformed, Strangers, Refused uint64
}

// New starts presence on a node. It opens a namespace of its own, and waits for that as Node.Namespace does; ctx limits only
// the call. It returns an *OptionError, or the errors of Node.Namespace: backplane.ErrNamespaceExists if the node already has
// one of that name.
func New(ctx context.Context, node *backplane.Node, opts *Options) (*Presence, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if node == nil {
		return nil, &OptionError{"node", "nil"}
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.MaxRemoteBytes == 0 {
		o.MaxRemoteBytes = 1 << 30
	}
	if o.Namespace == "" {
		o.Namespace = "presence"
	}
	limit := node.Broker().Capabilities().MaxPayload
	switch {
	case o.Interval < 10*time.Millisecond:
		return nil, &OptionError{"Interval", "less than 10 ms"}
	case o.MaxRemoteBytes < 0:
		return nil, &OptionError{"MaxRemoteBytes", "negative"}
	case limit > 0 && limit < maxFrame:
		return nil, &OptionError{"node", fmt.Sprintf("its broker takes only %d bytes in a message, and %d are needed", limit, maxFrame)}
	}
	// The member's own room is the only way to one node, so the subscription is for rooms, and no other node may take the member
	// out of it.
	ns, err := node.Namespace(ctx, o.Namespace, &backplane.NamespaceOptions{
		Subscription: backplane.DynamicSubscription, Refuse: backplane.AllOperations &^ backplane.Broadcasts,
	})
	if err != nil {
		return nil, fmt.Errorf("presence: new: %w", err)
	}
	p := &Presence{
		interval: o.Interval, remoteBytes: o.MaxRemoteBytes, node: node, ns: ns, wake: make(chan struct{}, 1),
		own: newReplica(node.ID()), peers: map[string]*replica{}, rooms: map[string]*roomState{},
		toRequest: map[string]struct{}{}, toCompare: map[string]struct{}{}, requested: map[string]wanted{}, synced: make(chan struct{}),
	}
	p.own.epoch, p.own.complete = max(1, rand.Uint64()), true
	p.life, p.end = context.WithCancel(context.Background())
	if err := ns.Add(ctx, receiver{p}); err != nil {
		p.end()
		ns.Close(ctx)
		return nil, fmt.Errorf("presence: new: %w", err)
	}
	p.look()
	p.workers.Go(p.run)
	return p, nil
}

// Join puts a connection into a room, or updates it. It does no I/O: other nodes learn of it a moment later. It returns a
// *NameError, a *LimitError or ErrClosed, and then has changed nothing.
func (p *Presence) Join(room string, m Member) error {
	if m.User == "" {
		m.User = m.ID
	}
	if err := m.check(room); err != nil {
		return err
	}
	m.Node, m.State = p.own.node, slices.Clone(m.State)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	k := key{room, m.ID}
	if old := p.own.members[k]; old != nil && old.equal(&m) {
		return nil
	}
	c := change{key: k, member: &m}
	if what, limit := exceeds(p.own.with(&c)); what != "" {
		return &LimitError{what, limit}
	}
	p.change(c)
	return nil
}

// Leave takes a connection of this node out of a room, and reports whether it was there.
func (p *Presence) Leave(room, id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leave(key{room, id})
}

func (p *Presence) leave(k key) bool {
	m := p.own.members[k]
	if m == nil || p.closed {
		return false
	}
	p.change(change{left: true, key: k, member: &Member{ID: k.id, Node: m.Node}})
	return true
}

// Remove takes a connection of this node out of all rooms, as when it has ended. It returns the number of rooms.
func (p *Presence) Remove(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for room := range p.own.roomsOf[id] {
		if p.leave(key{room, id}) {
			n++
		}
	}
	return n
}

// change makes a change to the own members and logs it. The caller holds mu.
func (p *Presence) change(c change) {
	p.apply(p.own, c)
	p.own.version++
	p.own.sum = c.after(p.own.sum)
	c.sum = p.own.sum
	p.log = append(p.log, c)
	p.size += c.size()
	for len(p.log) > logChanges || p.size > logBytes {
		p.size -= p.log[0].size()
		p.log[0] = change{}
		p.log = p.log[1:]
		p.start++
	}
	p.rouse()
}

// Room returns the members of a room on all nodes, as this node knows them. It does no I/O. After Close the room is empty.
func (p *Presence) Room(name string) Room {
	p.mu.Lock()
	r := p.room(name)
	p.mu.Unlock()
	sortMembers(r.Members)
	return r
}

// room is Room, unsorted. The caller holds mu.
func (p *Presence) room(name string) Room {
	r := Room{Name: name, Missing: p.missing()}
	if s := p.rooms[name]; s != nil {
		r.Members = make([]Member, 0, len(s.members))
		for _, m := range s.members {
			r.Members = append(r.Members, *m)
		}
	}
	return r
}

// Count returns the number of users and of members in a room. It costs the same in rooms of any size.
func (p *Presence) Count(room string) (users, members int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.rooms[room]; s != nil {
		return len(s.users), len(s.members)
	}
	return 0, 0
}

// Connections returns the number of connections that a user has in a room, on all nodes; zero if the user is not there. It
// costs the same in rooms of any size.
func (p *Presence) Connections(room, user string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.rooms[room]; s != nil {
		return s.users[user]
	}
	return 0
}

// Rooms returns the names of all rooms with members, sorted. The caller owns the slice.
func (p *Presence) Rooms() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name, s := range p.rooms {
		if len(s.members) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// AwaitSync waits until this node has the members of all nodes that Namespace.Peers of package backplane returns. It
// returns ErrClosed, also if the node or the namespace is closed, or the context's error if that takes longer:
// Room.Missing then names nodes whose members are missing. While another node's members exceed a limit, or Peers returns
// another error, only the end of ctx ends the wait.
func (p *Presence) AwaitSync(ctx context.Context) error {
	for {
		peers, err := p.ns.Peers(ctx)
		p.look()
		p.mu.Lock()
		if errors.Is(err, backplane.ErrClosed) {
			p.mu.Unlock()
			return ErrClosed
		}
		synced := err == nil && peers.Foreign == 0 && len(p.missing()) == 0
		for i := 0; synced && i < len(peers.List); i++ {
			synced = p.peers[peers.List[i].ID] != nil
		}
		progress := p.synced
		p.mu.Unlock()
		if ctx.Err() == nil && p.life.Err() == nil && synced {
			return nil
		}
		select {
		case <-progress:
		case <-time.After(p.interval / looks):
		case <-p.life.Done():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// missing returns the nodes whose members are not all known. The caller holds mu.
func (p *Presence) missing() []string {
	var list []string
	for id, r := range p.peers {
		if !r.complete || r.refused > 0 {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

// Stats returns counters since New, and current numbers.
func (p *Presence) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Members, s.Rooms = len(p.own.members), 0
	for _, r := range p.peers {
		s.Members += len(r.members)
	}
	for _, r := range p.rooms {
		if len(r.members) > 0 {
			s.Rooms++
		}
	}
	return s
}

// Close removes the members of this node on all others, ends all Watch loops, and closes the namespace. It waits until
// ctx ends, or for a few round trips to the broker. Call it before Node.Close: otherwise the other nodes remove the
// members when the node leaves. It returns the errors of Namespace.Close of package backplane, wrapped. A second call
// returns nil at once, without waiting for the first.
func (p *Presence) Close(ctx context.Context) error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	if !again {
		clear(p.rooms)
		clear(p.peers)
		p.stored, p.log = 0, nil
		p.own.members, p.own.roomsOf = nil, nil
	}
	p.mu.Unlock()
	p.end()
	p.workers.Wait()
	if again {
		return nil
	}
	bye, _ := (&frame{kind: frameBye, epoch: p.own.epoch}).append(nil)
	_ = p.ns.Broadcast(ctx, bye, backplane.All().Remote()) // if it is lost, the closed namespace is noticed
	if err := p.ns.Close(ctx); err != nil {
		return fmt.Errorf("presence: close: %w", err)
	}
	return nil
}
