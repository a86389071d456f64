package presence

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

const (
	// looks is how often a node compares its peers with those that the node knows, in an Interval.
	looks = 5
	// maxRequests limits the nodes whose requests are kept: as many as backplane remembers.
	maxRequests = 4096
)

// wanted is what a peer has requested, and when it last got what is limited.
type wanted struct {
	want                   bool
	epoch, have            uint64
	snapshotAt, versionsAt time.Time
}

// receiver is the member by which other nodes reach this one. Its room has the node's id.
type receiver struct{ p *Presence }

func (r receiver) ID() string      { return r.p.own.node }
func (r receiver) Disconnect(bool) {}

// Deliver takes one message in. It runs on the namespace's worker, one call at a time.
func (r receiver) Deliver(m *backplane.Message) {
	p := r.p
	f, err := decode(m.Payload, m.Origin)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.stats.Received++
	from := p.peers[m.Origin]
	switch {
	case err != nil:
		p.stats.Malformed++
	case f.kind == frameRequest:
		p.requests(m.Origin, f)
	case from == nil:
		p.stats.Strangers++ // this node sends it a request when backplane knows it
	default:
		p.receive(from, f)
	}
}

// requests records what a peer requests. The caller holds mu.
func (p *Presence) requests(from string, f *frame) {
	a, known := p.requested[from]
	if !known && p.peers[from] == nil && len(p.requested) >= maxRequests {
		p.stats.Strangers++
		return
	}
	if f.heard != nil {
		p.contradict(f.heard)
	}
	a.want, a.epoch, a.have = true, f.epoch, f.number
	p.requested[from] = a
	p.rouse()
}

// contradict has all nodes get the number of this one, if another node has changes that this one has not made. The caller holds
// mu.
func (p *Presence) contradict(v *version) {
	if v.epoch != p.own.epoch || v.number > p.own.version || v.number == p.own.version && v.sum != p.own.sum {
		p.missed = true
		p.rouse()
	}
}

// receive takes a peer's frame in. The caller holds mu.
func (p *Presence) receive(from *replica, f *frame) {
	if f.epoch != from.epoch {
		p.reset(from, f.epoch)
	}
	switch f.kind {
	case frameBye:
		p.reset(from, 0)
		p.completed(from)
	case frameState:
		p.compare(from, f.number)
		p.verify(from, f.number, f.sum)
		p.respond(from, f.digest)
	case frameVersions:
		p.compare(from, f.number)
		for _, v := range f.versions {
			switch r := p.peers[v.node]; {
			case v.node == p.own.node:
				p.contradict(&v)
			case r != nil && (r.epoch != v.epoch || r.version < v.number || r.version == v.number && r.sum != v.sum):
				r.doubt = &doubt{v, time.Now()}
			}
		}
	case frameChanges:
		// While a first snapshot arrives, changes wait for its end.
		if waits := from.staged != nil && !from.complete; waits || !p.take(from, f) {
			p.postpone(from, f)
			if !waits {
				p.stats.Gaps++
				p.request(from)
			}
			return
		}
		p.verify(from, f.number+uint64(len(f.list)), f.sum)
		p.resume(from)
	case frameSnapshot:
		p.stage(from, f)
	}
}

// compare requests the changes of a peer that has a later number than is known here. The caller holds mu.
func (p *Presence) compare(r *replica, number uint64) {
	if number == 0 && r.version == 0 && !r.complete {
		p.completed(r)
	}
	if number < r.version {
		known := r.known()
		r.ahead, r.heard = true, &known
	}
	if !r.complete || number != r.version {
		p.request(r)
	}
}

// request has what is missing of a peer requested, at most once an Interval. It returns false if it is too early. The
// caller holds mu.
func (p *Presence) request(r *replica) bool {
	if time.Since(r.requestedAt) < p.interval {
		return false
	}
	r.requestedAt = time.Now()
	p.toRequest[r.node] = struct{}{}
	p.rouse()
	return true
}

// respond sends a peer the versions of all nodes, if they differ from what it has: at most twice an Interval, because its
// digests do not come at exact times. The caller holds mu.
func (p *Presence) respond(to *replica, digest uint64) {
	a := p.requested[to.node]
	if digest == 0 || time.Since(a.versionsAt) < p.interval/2 {
		return
	}
	if digest != p.digest(p.ring()) {
		a.versionsAt = time.Now()
		p.requested[to.node] = a
		p.toCompare[to.node] = struct{}{}
		p.rouse()
	}
}

// ring returns the ids of all nodes, sorted. Each compares what it has with the next one. The caller holds mu.
func (p *Presence) ring() []string {
	ids := slices.AppendSeq([]string{p.own.node}, maps.Keys(p.peers))
	slices.Sort(ids)
	return ids
}

// digest returns a value that is the same on nodes that have the same versions; never zero. The caller holds mu.
func (p *Presence) digest(ring []string) uint64 {
	var b []byte
	for _, id := range ring {
		v := version{id, p.own.epoch, p.sent, p.sentSum}
		if r := p.peers[id]; r != nil {
			v = r.known()
		}
		b = append(binary.AppendUvarint(b, uint64(len(id))), id...)
		for _, n := range []uint64{v.epoch, v.number, v.sum} {
			b = binary.BigEndian.AppendUint64(b, n)
		}
	}
	sum := sha256.Sum256(b)
	return max(1, binary.BigEndian.Uint64(sum[:]))
}

// rouse wakes the sender.
func (p *Presence) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// look compares the peers with those that the node knows, and requests members that are not known, or in doubt.
func (p *Presence) look() {
	known := p.node.KnownPeers()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	present := make(map[string]struct{}, len(known))
	for _, k := range known {
		if !slices.Contains(k.Namespaces, p.ns.Name()) {
			continue
		}
		present[k.ID] = struct{}{}
		if p.peers[k.ID] == nil {
			p.peers[k.ID] = newReplica(k.ID)
		}
	}
	for id, r := range p.peers {
		if _, ok := present[id]; !ok {
			p.reset(r, 0)
			delete(p.peers, id)
			delete(p.requested, id)
			p.progress()
			continue
		}
		if r.crowded && p.stored < p.remoteBytes/8*7 {
			r.complete, r.crowded = false, false // it may fit in
		}
		if !r.complete {
			p.request(r)
		}
		// A change that was in flight when another node already had it has arrived after one look.
		if d := r.doubt; d != nil && time.Since(d.since) >= p.interval/looks {
			same := r.epoch == d.epoch && (r.version > d.number || r.version == d.number && r.sum == d.sum)
			if same || p.request(r) {
				r.doubt = nil
			}
			if !same {
				r.heard = &d.version
			}
		}
	}
}

// run is the one goroutine that sends, so that messages to one channel keep their order.
func (p *Presence) run() {
	looking, comparing := time.NewTicker(p.interval/looks), time.NewTicker(p.interval)
	defer looking.Stop()
	defer comparing.Stop()
	for {
		select {
		case <-p.life.Done():
			return
		case <-p.wake:
		case <-looking.C:
			p.look()
		case <-comparing.C:
			p.sendDigest()
		}
		p.sendChanges()
		p.sendRequests()
		p.sendVersions()
		p.sendResponses()
	}
}

// send publishes a frame, and returns how much of its list was in it. A message that cannot be sent is missing, which
// the next digest shows.
func (p *Presence) send(f *frame, to backplane.Target) int {
	payload, n := f.append(nil)
	if p.ns.Broadcast(p.life, payload, to.Remote()) == nil {
		p.mu.Lock()
		p.stats.Sent++
		p.mu.Unlock()
	}
	return n
}

// frame returns a frame of this node's published state. The caller holds mu.
func (p *Presence) frame(kind frameKind) frame {
	return frame{kind: kind, epoch: p.own.epoch, number: p.sent, sum: p.sentSum}
}

// sendDigest has the next node compare what it has with what this one has. All nodes form a ring: if one lacks a change,
// it has a next node that lacks it too or that notices, and the owner itself has the change.
func (p *Presence) sendDigest() {
	p.mu.Lock()
	for id := range p.requested {
		if p.peers[id] == nil {
			delete(p.requested, id) // it sends its request again
		}
	}
	ring := p.ring()
	f := p.frame(frameState)
	f.digest = p.digest(ring)
	next := ring[(slices.Index(ring, p.own.node)+1)%len(ring)]
	p.mu.Unlock()
	if next != p.own.node {
		p.send(&f, backplane.To(next))
	}
}

// sendVersions sends the versions of all nodes to peers that have others.
func (p *Presence) sendVersions() {
	p.mu.Lock()
	to := slices.Collect(maps.Keys(p.toCompare))
	clear(p.toCompare)
	whole := p.frame(frameVersions)
	if len(to) > 0 {
		for _, r := range p.peers {
			if r.complete { // else this node requests what it lacks
				whole.versions = append(whole.versions, r.known())
			}
		}
	}
	p.mu.Unlock()
	for _, id := range to {
		for f := whole; len(f.versions) > 0 && p.life.Err() == nil; {
			f.versions = f.versions[p.send(&f, backplane.To(id)):]
		}
	}
}

// since returns the logged changes after a number, and false if they are not all kept. The caller holds mu, and may use the
// result without it, because entries of the log are not changed.
func (p *Presence) since(number uint64) ([]change, bool) {
	switch {
	case p.closed:
		return nil, true
	case number < p.start || number > p.own.version:
		return nil, false
	}
	return slices.Clone(p.log[number-p.start:]), true
}

// sendChanges publishes the changes since the last call: as a snapshot if more came at once than are kept.
func (p *Presence) sendChanges() {
	p.mu.Lock()
	f := p.frame(frameChanges)
	list, kept := p.since(p.sent)
	p.sent, p.sentSum = p.own.version, p.own.sum
	f.list = list
	alone := len(p.peers) == 0
	if !kept && !alone {
		f = p.snapshot()
	}
	p.mu.Unlock()
	switch {
	case alone: // a node that starts sends a request
	case kept:
		p.sendList(f, backplane.All())
	default:
		p.sendSnapshot(f, backplane.All())
	}
}

// sendList sends changes in frames of a limited size.
func (p *Presence) sendList(f frame, to backplane.Target) {
	for len(f.list) > 0 && p.life.Err() == nil {
		n := p.send(&f, to)
		f.number += uint64(n)
		f.list = f.list[n:]
	}
}

func (p *Presence) sendRequests() {
	p.mu.Lock()
	var frames []frame
	var to []string
	for id := range p.toRequest {
		if r := p.peers[id]; r != nil {
			f := frame{kind: frameRequest, epoch: r.epoch, number: r.version, heard: r.heard}
			if !r.complete {
				f.epoch = 0
			}
			r.heard = nil
			frames, to = append(frames, f), append(to, id)
		}
	}
	clear(p.toRequest)
	p.mu.Unlock()
	for i := range frames {
		p.send(&frames[i], backplane.To(to[i]))
	}
}

// sendResponses sends peers what they have requested. A peer that requests snapshots too often waits. If a peer has missed a
// change, others may have missed it too: they get the number of the last one, at most twice an Interval.
func (p *Presence) sendResponses() {
	p.mu.Lock()
	var responses []frame
	var to []string
	var snapshot frame
	for id, a := range p.requested {
		if !a.want || p.peers[id] == nil {
			continue
		}
		p.missed = p.missed || a.epoch != 0 && (a.epoch != p.own.epoch || a.have < p.sent)
		f := frame{kind: frameChanges, epoch: p.own.epoch, number: a.have}
		list, kept := p.since(a.have)
		if f.list = list; !kept || a.epoch != p.own.epoch {
			if time.Since(a.snapshotAt) < p.interval {
				continue // until a later look
			}
			a.snapshotAt = time.Now()
			if snapshot.kind == 0 {
				snapshot = p.snapshot()
			}
			f = snapshot
			p.stats.Snapshots++
		}
		a.want = false
		p.requested[id] = a
		responses, to = append(responses, f), append(to, id)
	}
	state := p.frame(frameState)
	announce := p.missed && time.Since(p.announced) >= p.interval/2
	if announce {
		p.missed, p.announced = false, time.Now()
	}
	p.mu.Unlock()
	if announce {
		p.send(&state, backplane.All())
	}
	for i, f := range responses {
		if f.kind == frameSnapshot {
			p.sendSnapshot(f, backplane.To(to[i]))
		} else {
			p.sendList(f, backplane.To(to[i]))
		}
	}
}

// snapshot returns a frame with all own members. The caller holds mu.
func (p *Presence) snapshot() frame {
	p.snapshots++
	f := frame{kind: frameSnapshot, epoch: p.own.epoch, number: p.own.version, sum: p.own.sum, id: p.snapshots}
	for k, m := range p.own.members {
		f.list = append(f.list, change{key: k, member: m})
	}
	return f
}

func (p *Presence) sendSnapshot(f frame, to backplane.Target) {
	for last := false; !last && p.life.Err() == nil; f.part++ {
		n := p.send(&f, to)
		f.list = f.list[n:]
		last = len(f.list) == 0
	}
}
