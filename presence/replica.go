package presence

import "time"

const (
	// logChanges and logBytes limit the own changes that are kept for peers that missed them.
	logChanges = 8192
	logBytes   = 4 << 20
	// pendingChanges and pendingBytes limit a peer's changes that came before their turn.
	pendingChanges = 4096
	pendingBytes   = 4 << 20
)

// key identifies a member on its node.
type key struct{ room, id string }

// replica is what is known of one node's members. Presence.mu guards it.
type replica struct {
	node     string
	epoch    uint64 // of the node's Presence; another one has other members
	version  uint64 // number of the last change that was applied
	sum      uint64 // of all changes up to it
	complete bool   // members are all of the node's at that number
	ahead    bool   // the node has said a lower number: that was overtaken, or it has not made these changes
	refused  int    // members that exceeded a limit, and are not stored
	crowded  bool   // some were refused because of all other nodes' members
	members  map[key]*Member
	bytes    int
	roomsOf  map[string]map[string]struct{} // only of the own node

	requestedAt time.Time
	doubt       *doubt
	heard       *version // what the next request says that another node has
	pending     []*frame // changes that came before their turn
	waiting     int      // their number
	waitingSize int
	staged      *staging
}

// doubt is what another node has of this replica's node, if that is not the same. It may be in flight to this node.
type doubt struct {
	version
	since time.Time
}

// staging is a snapshot of which not all parts have come.
type staging struct {
	id, number, part uint64
	seen             map[key]struct{}
	bytes, refused   int
	crowded          bool
}

func newReplica(node string) *replica {
	return &replica{node: node, members: map[key]*Member{}, roomsOf: map[string]map[string]struct{}{}}
}

func (r *replica) known() version { return version{r.node, r.epoch, r.version, r.sum} }

// exceeds returns which limit of one node so many members and bytes exceed.
func exceeds(members, bytes int) (what string, limit int) {
	switch {
	case members > MaxMembers:
		return "members of one node", MaxMembers
	case bytes > MaxBytes:
		return "bytes of members of one node", MaxBytes
	}
	return "", 0
}

// with returns the number and bytes of the members with one more, or with another one in its place.
func (r *replica) with(c *change) (members, bytes int) {
	members, bytes = len(r.members)+1, r.bytes+c.size()
	if old := r.members[c.key]; old != nil {
		members, bytes = members-1, bytes-old.size(c.key.room)
	}
	return members, bytes
}

// put stores a member, or removes it if m is nil. It returns the one that was there. The caller holds mu.
func (p *Presence) put(r *replica, k key, m *Member) (old *Member) {
	before := r.bytes
	if old = r.members[k]; old != nil {
		r.bytes -= old.size(k.room)
		delete(r.members, k)
	}
	if m != nil {
		r.bytes += m.size(k.room)
		r.members[k] = m
	}
	if r == p.own {
		r.index(k, m != nil)
	} else {
		p.stored += r.bytes - before
	}
	return old
}

// roomState is a room over all nodes.
type roomState struct {
	members  map[member]*Member
	users    map[string]int // connections of each
	watchers map[*watcher]struct{}
}

type member struct{ node, id string }

// at returns a room, which it makes if it is not there. tidy removes it again. The caller of both holds mu.
func (p *Presence) at(name string) *roomState {
	s := p.rooms[name]
	if s == nil {
		s = &roomState{members: map[member]*Member{}, users: map[string]int{}, watchers: map[*watcher]struct{}{}}
		p.rooms[name] = s
	}
	return s
}

func (p *Presence) tidy(name string) {
	if s := p.rooms[name]; s != nil && len(s.members) == 0 && len(s.watchers) == 0 {
		delete(p.rooms, name)
	}
}

// apply makes a change to a node's members, and reports it to the watchers of the room. The caller holds mu.
func (p *Presence) apply(r *replica, c change) {
	m := c.member
	if c.left {
		m = nil
	}
	if old := r.members[c.key]; m != nil && old != nil && old.equal(m) {
		return
	}
	old := p.put(r, c.key, m)
	if old == nil && m == nil {
		return
	}
	s := p.at(c.key.room)
	at := member{r.node, c.key.id}
	if old != nil && m != nil && old.User == m.User {
		s.members[at] = m
		s.report(Updated, m)
		return
	}
	if old != nil {
		delete(s.members, at)
		if s.users[old.User]--; s.users[old.User] == 0 {
			delete(s.users, old.User)
		}
		s.report(Left, old)
	}
	if m != nil {
		s.members[at] = m
		s.users[m.User]++
		s.report(Joined, m)
	}
	p.tidy(c.key.room)
}

// admit is apply for a change of a peer. A member that exceeds a limit is not stored, and neither is what it replaces,
// because that has changed.
func (p *Presence) admit(r *replica, c change) {
	if !c.left {
		members, bytes := r.with(&c)
		what, _ := exceeds(members, bytes)
		crowded := p.stored+bytes-r.bytes > p.remoteBytes
		if crowded || what != "" {
			r.refused++
			p.stats.Refused++
			r.crowded = r.crowded || crowded
			c = change{left: true, key: c.key, member: c.member}
		}
	}
	p.apply(r, c)
}

func (r *replica) index(k key, joined bool) {
	if !joined {
		delete(r.roomsOf[k.id], k.room)
		if len(r.roomsOf[k.id]) == 0 {
			delete(r.roomsOf, k.id)
		}
		return
	}
	if r.roomsOf[k.id] == nil {
		r.roomsOf[k.id] = map[string]struct{}{}
	}
	r.roomsOf[k.id][k.room] = struct{}{}
}

func (s *roomState) report(kind Kind, m *Member) {
	for w := range s.watchers {
		w.add(Change{Kind: kind, Member: *m, Connections: s.users[m.User]})
	}
}

// reset forgets a node's members. The caller holds mu.
func (p *Presence) reset(r *replica, epoch uint64) {
	for k, m := range r.members {
		p.apply(r, change{left: true, key: k, member: m})
	}
	p.stored -= r.waitingSize
	*r = replica{node: r.node, epoch: epoch, members: r.members, roomsOf: r.roomsOf, requestedAt: r.requestedAt}
}

// take applies the part of a frame of changes that is new. It returns false if changes before it are missing.
func (p *Presence) take(r *replica, f *frame) bool {
	if f.number > r.version {
		return false
	}
	end := f.number + uint64(len(f.list))
	if end <= r.version {
		return true
	}
	for _, c := range f.list[r.version-f.number:] {
		p.admit(r, c)
		r.sum = c.after(r.sum)
	}
	r.version = end
	if f.number == 0 {
		p.completed(r)
	}
	return true
}

// verify compares a replica with the sum of its node at a number. If another one is at that number, then not all changes of the
// replica were the node's. The caller holds mu.
func (p *Presence) verify(r *replica, number, sum uint64) {
	if number != r.version || !r.complete {
		return
	}
	r.ahead = false
	if sum != r.sum {
		r.complete = false
		p.request(r)
	}
}

// postpone keeps changes that came before their turn, up to a limit.
func (p *Presence) postpone(r *replica, f *frame) {
	if r.waiting+len(f.list) <= pendingChanges && r.waitingSize+f.size <= pendingBytes && p.stored+f.size <= p.remoteBytes {
		r.pending = append(r.pending, f)
		p.keep(r, len(f.list), f.size)
	}
}

func (p *Presence) keep(r *replica, changes, size int) {
	r.waiting += changes
	r.waitingSize += size
	p.stored += size
}

// resume takes the changes whose turn has come.
func (p *Presence) resume(r *replica) {
	for again := true; again; {
		again = false
		rest := r.pending[:0]
		for _, f := range r.pending {
			if p.take(r, f) {
				p.keep(r, -len(f.list), -f.size)
				again = true
			} else {
				rest = append(rest, f)
			}
		}
		clear(r.pending[len(rest):])
		r.pending = rest
	}
	if len(r.pending) == 0 {
		r.requestedAt = time.Time{} // the response has come
	}
}

// stage takes one part of a snapshot in. Parts come in order, because one goroutine sends them to one channel. A gap ends
// the snapshot; the node requests it again. Changes that arrive between the parts are applied after the last part, so a member
// never returns to an earlier state.
func (p *Presence) stage(r *replica, f *frame) {
	if f.part == 0 {
		r.staged = &staging{id: f.id, number: f.number, seen: map[key]struct{}{}}
	}
	s := r.staged
	if s == nil || s.id != f.id || s.number != f.number || s.part != f.part || r.complete && !r.ahead && r.version >= s.number {
		r.staged = nil
		return
	}
	s.part++
	r.requestedAt = time.Now() // the response is arriving
	for _, c := range f.list {
		if _, twice := s.seen[c.key]; twice || c.left {
			continue
		}
		// What of the earlier state has not been removed yet does not count, so a node may have twice as much for a moment.
		what, _ := exceeds(len(s.seen)+1, s.bytes+c.size())
		_, bytes := r.with(&c)
		crowded := p.stored+bytes-r.bytes > p.remoteBytes
		if crowded || what != "" {
			s.refused++
			p.stats.Refused++
			s.crowded = s.crowded || crowded
			continue
		}
		s.seen[c.key] = struct{}{}
		s.bytes += c.size()
		p.apply(r, c)
	}
	if !f.last {
		return
	}
	for k, m := range r.members {
		if _, ok := s.seen[k]; !ok {
			p.apply(r, change{left: true, key: k, member: m})
		}
	}
	r.staged, r.version, r.sum, r.refused, r.crowded = nil, s.number, f.sum, s.refused, s.crowded
	p.completed(r)
	p.resume(r)
}

// completed records that a node's members are known. The caller holds mu.
func (p *Presence) completed(r *replica) {
	r.complete, r.ahead, r.requestedAt = true, false, time.Time{}
	p.progress()
}

// progress wakes AwaitSync. The caller holds mu.
func (p *Presence) progress() {
	close(p.synced)
	p.synced = make(chan struct{})
}
