package multilink

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/broker"
)

// crossing is one direction between two links. The worker of the link from fills its window.
// The worker of the link to removes messages when it receives other nodes' copies, and carry
// removes them while this node leads.
type crossing struct {
	b        *bridge
	from, to *Link

	mu   sync.Mutex
	work sync.Cond
	// Messages that were received and not forwarded, as far as this node knows. doubtful
	// holds older ones: this node may have missed their copies.
	doubtful, window bridgeWindow

	seq     uint64                    // of the last message received
	early   map[bridgeSum]earlyCopies // copies that were received before their originals
	upTo    map[string]uint64         // by sender: the latest message that another node forwarded
	dropped bridgeWindow              // messages evicted from the window, without payloads
	missed  loss                      // messages evicted from dropped
	losses  []broker.Loss             // not reported yet
	toDown  bool                      // the link to is interrupted
	certain time.Time                 // this node receives the copies of messages that arrive after this

	// State of the election.
	leading bool
	passing *waiting             // the last result of next
	terms   [2]time.Time         // of the leases on both links
	retired map[string]time.Time // leaders that have handed over, and the end of their rest; zero: for good
	handed  bool                 // a leader has retired since the last election
	elder   string               // the only older node in the last election that this node lost; empty if there were several
	rest    bool                 // this node must hand over, because it may miss messages
	resting time.Time            // this node does not lead before this
	first   bool                 // this node is the oldest
	became  time.Time            // since first; the lead starts no earlier
	older   time.Time            // when an older node was seen while this one leads
	others  int                  // number of nodes that could lead
	rivaled bool                 // another node may have led before

	closing bool
	last    uint64 // the last message to forward before closing
	ended   bool
}

type earlyCopies struct {
	count int
	at    time.Time
}

// maxSenders is how many senders upTo distinguishes.
const maxSenders = 4096

func newCrossing(b *bridge, from, to *Link) *crossing {
	c := &crossing{
		b: b, from: from, to: to, early: map[bridgeSum]earlyCopies{}, upTo: map[string]uint64{},
		retired: map[string]time.Time{}, certain: b.opened.Add(b.opts.Heartbeat),
	}
	c.work.L = &c.mu
	return c
}

// add adds a received message to the window.
func (c *crossing) add(m *bridged, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.expire(now)
	c.seq++
	if e, ok := c.early[m.id]; ok {
		if e.count--; e.count == 0 {
			delete(c.early, m.id)
		} else {
			c.early[m.id] = e
		}
		return
	}
	w := &c.window
	if c.toDown || now.Before(c.certain) {
		w = &c.doubtful
	}
	e := &waiting{bridged: m, sum: m.id, bytes: len(m.payload), seq: c.seq, at: now, size: m.size()}
	w.push(e)
	for c.held() > c.b.opts.Messages || c.doubtful.bytes+c.window.bytes > c.b.opts.Bytes {
		c.evict(c.oldest(), errBridgeFull)
	}
	if c.leading && c.held() == 1 {
		c.work.Signal()
	}
}

// held returns the number of messages in both windows.
func (c *crossing) held() int { return c.doubtful.len + c.window.len }

// head returns the oldest message in both windows, or nil.
func (c *crossing) head() *waiting {
	if c.doubtful.head != nil {
		return c.doubtful.head
	}
	return c.window.head
}

// oldest returns the oldest message that is not being sent, if there is one.
func (c *crossing) oldest() *waiting {
	e := c.head()
	if !c.leading || e != c.passing {
		return e
	}
	if e.next != nil {
		return e.next
	}
	if e.in == &c.doubtful && c.window.head != nil {
		return c.window.head
	}
	return e // the only one
}

// copied records that another node forwarded a message.
func (c *crossing) copied(by string, sum bridgeSum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rivaled = true
	delete(c.retired, by) // it has not handed over: that mark was forged
	e := c.window.find(sum)
	if e == nil {
		e = c.doubtful.find(sum)
	}
	if e != nil {
		e.remove()
		// The leader is running: it has reported the earlier messages that it did not forward.
		c.dropped.empty()
		c.missed = loss{}
		c.passedBefore(e.origin, e.seq)
		return
	}
	if e = c.dropped.find(sum); e != nil {
		for c.dropped.head != e {
			c.dropped.head.remove()
		}
		e.remove()
		c.missed = loss{}
		return
	}
	if len(c.early) < c.b.opts.Messages {
		e := c.early[sum]
		c.early[sum] = earlyCopies{e.count + 1, time.Now()}
	}
}

// passedBefore records that another node has forwarded a sender's message. That node left
// out the earlier messages of the sender that are still in the window.
func (c *crossing) passedBefore(sender string, seq uint64) {
	switch {
	case c.held() == 0:
		clear(c.upTo)
		return
	case len(sender) > socketio.MaxUID:
		return
	case len(c.upTo) >= maxSenders:
		clear(c.upTo)
	}
	c.upTo[strings.Clone(sender)] = seq
}

func (c *crossing) skipped(e *waiting) bool { return e.seq < c.upTo[e.origin] }

// evict drops a message from the window. If this node leads, the message is lost. If it
// follows, the leader may still forward the message: the follower remembers it until a copy
// arrives, or until it leads and reports the loss.
func (c *crossing) evict(e *waiting, err error) {
	skipped := c.skipped(e)
	e.remove()
	switch {
	case c.leading:
		c.lost(broker.Loss{Messages: 1, Bytes: e.bytes, Err: err})
		return
	case skipped:
		return
	}
	e.bridged = nil
	c.dropped.push(e)
	for c.dropped.len > c.b.opts.Messages {
		c.missed.add(c.dropped.head.bytes)
		c.dropped.head.remove()
	}
}

// lost adds a loss to the next report. Losses with the same reason are added up. Beyond
// maxCauses reasons the last one includes all others.
func (c *crossing) lost(l broker.Loss) {
	i := slices.IndexFunc(c.losses, func(o broker.Loss) bool {
		return o.Uncertain == l.Uncertain && (o.Err == l.Err || o.Err.Error() == l.Err.Error())
	})
	switch {
	case i < 0 && len(c.losses) < maxCauses:
		c.losses = append(c.losses, l)
		return
	case i < 0:
		i = len(c.losses) - 1
	}
	c.losses[i].Messages += l.Messages
	c.losses[i].Bytes += l.Bytes
}

const maxCauses = 16

// expire drops messages that are older than Age.
func (c *crossing) expire(now time.Time) {
	for e := c.head(); e != nil && now.Sub(e.at) > c.b.opts.Age && !(c.leading && e == c.passing); e = c.head() {
		c.evict(e, errBridgeOld)
	}
}

// copiesMissed records that this node misses copies, or, with false, that it receives them
// again.
func (c *crossing) copiesMissed(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toDown = on
	c.certain = time.Now().Add(c.b.opts.Heartbeat)
	for e := c.window.head; e != nil; e = c.window.head {
		e.remove()
		c.doubtful.push(e)
	}
}

// originalsMissed records the start or the end of a time in which this node misses
// originals. Both times it leaves the lead to others, which may have received them. As the
// leader it would forward later messages, and the others would then drop the missed ones.
func (c *crossing) originalsMissed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.early) // this node may have missed their originals
	if c.others > 0 {
		c.rest = true
		c.work.Signal()
	}
}

// retire records that a node has handed over, for good or for a while.
func (c *crossing) retire(uid string, forGood bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var until time.Time
	if !forGood {
		until = time.Now().Add(c.b.rests())
	}
	if len(c.retired) < maxSenders && len(uid) <= socketio.MaxUID {
		c.retired[strings.Clone(uid)] = until
	}
	c.handed = true
	if c.first && forGood && uid == c.elder {
		c.became = time.Now() // its goodbye came before this mark
	}
}

// elect decides whether this node leads. The oldest of the nodes on both links leads. It
// waits for:
//
//	3 heartbeats   since it receives its own announcements: then all nodes know each other
//	1 heartbeat    since it is the oldest, or until the leader before it has handed over
//
// A leader continues for 1 heartbeat after an older node returned. The older node then
// receives the copies of all messages.
func (c *crossing) elect(now time.Time) {
	self, rivals := c.b.rivals(c.from, c.to)
	since1, _ := c.from.Node.Lease()
	since2, _ := c.to.Node.Lease()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	for sum, e := range c.early {
		if now.Sub(e.at) > c.b.opts.PeerTimeout {
			delete(c.early, sum)
		}
	}
	if c.closing {
		return
	}
	for uid, until := range c.retired {
		known := slices.ContainsFunc(rivals, func(r candidate) bool { return r.id == uid })
		if until.IsZero() && !known || !until.IsZero() && now.After(until) {
			delete(c.retired, uid)
		}
	}
	resting, first := now.Before(c.resting), true
	var elders []string
	for _, r := range rivals {
		until, retired := c.retired[r.id]
		switch {
		case !retired && r.before(self):
			first, c.rivaled = false, true
			elders = append(elders, r.id)
		case resting && (!retired || !until.IsZero() && r.before(self)):
			first = false // if all rest, the oldest leads
		}
	}
	if first && !c.first {
		if c.became = now.Add(c.b.opts.Heartbeat); c.handed {
			c.became = now
		}
	}
	switch {
	case first:
		c.older = time.Time{}
	case len(elders) == 1:
		c.elder = elders[0]
	default:
		c.elder = ""
	}
	c.first, c.handed, c.others = first, false, len(rivals)
	terms := [2]time.Time{since1, since2}
	switch {
	case !first && !c.leading:
	case !first && c.older.IsZero():
		c.older = now
	case !first && now.Sub(c.older) >= c.b.opts.Heartbeat:
		c.leading = false
	case !first:
	case c.leading && (c.terms != terms || !c.holds(terms)):
		c.yield()
	case !c.leading && !now.Before(c.became) && !now.Before(latest(since1, since2, c.b.opened).Add(3*c.b.opts.Heartbeat)):
		if c.terms = terms; c.holds(terms) {
			c.lead()
		}
	}
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// holds reports whether both leases hold.
func (c *crossing) holds(terms [2]time.Time) bool {
	return c.from.Node.Holds(terms[0]) && c.to.Node.Holds(terms[1])
}

// drop removes a message that this node does not forward, because an earlier leader
// forwarded it, may have forwarded it, or left it out.
func (c *crossing) drop(e *waiting) {
	doubtful, skipped := e.in == &c.doubtful, c.skipped(e)
	e.remove()
	l := broker.Loss{Messages: 1, Bytes: e.bytes, Uncertain: true, Err: errBridgeDoubt}
	switch {
	case doubtful && skipped:
		// That leader forwarded later messages of the sender. It forwarded this one too, or
		// has reported its loss.
		return
	case skipped:
		l.Err = errBridgeSkipped
	}
	c.lost(l)
}

// yield ends this node's lead: its lease has expired, and others may consider it dead.
func (c *crossing) yield() {
	c.leading = false
	c.rivaled = c.rivaled || c.others > 0
}

// unkept returns the sum of the messages that were dropped and that no leader forwarded, and
// forgets them.
func (c *crossing) unkept() loss {
	l := c.dropped.empty()
	l.messages += c.missed.messages
	l.bytes += c.missed.bytes
	c.missed = loss{}
	return l
}

func (c *crossing) lead() {
	if l := c.unkept(); l.messages > 0 {
		c.lost(broker.Loss{Messages: l.messages, Bytes: l.bytes, Err: errBridgeFull})
	}
	for e := c.doubtful.head; e != nil && c.rivaled && !c.b.opts.Repeat; e = c.doubtful.head {
		c.drop(e)
	}
	c.rivaled, c.rest, c.leading = false, false, true
	c.work.Signal()
}

// finish makes carry forward the messages received until now, and then return.
func (c *crossing) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing, c.last = true, c.seq
	c.work.Signal()
}
