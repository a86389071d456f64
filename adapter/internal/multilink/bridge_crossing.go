package multilink

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/broker"
)

// crossing is one direction between two links. Its window is filled by the worker of the
// link that it comes from and emptied by the worker of the other one, which brings other
// nodes' copies, or by carry while this node leads.
type crossing struct {
	b        *bridge
	from, to *Link

	mu   sync.Mutex
	work sync.Cond
	// What was heard and is not known to be passed on: first that of which this node may
	// not have heard the copies, then the rest.
	doubtful, window bridgeWindow

	seq     uint64                    // of the last message heard
	early   map[bridgeSum]earlyCopies // copies that were heard before their originals
	upTo    map[string]uint64         // by sender: the latest message that another node passed on
	dropped bridgeWindow              // what did not stay in the window, without payloads
	missed  loss                      // what did not stay in dropped
	losses  []broker.Loss             // not reported yet
	unheard bool                      // the link to is interrupted
	certain time.Time                 // copies of messages that come after this are heard

	// Who leads.
	leading bool
	passing *waiting             // what next returned last
	terms   [2]time.Time         // of the leases on both links
	retired map[string]time.Time // leaders that have handed over, and until when they rest; zero: for good
	handed  bool                 // a leader has retired
	rest    bool                 // this node is to hand over, because it may miss messages
	resting time.Time            // until when it does not lead
	first   bool                 // this node is the oldest
	became  time.Time
	older   time.Time // when an older node was seen while this one leads
	others  int       // nodes that could lead
	rivaled bool      // another node may have led before

	closing bool
	last    uint64 // what is passed on before closing
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

// add puts a message that was heard into the window.
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
	if c.unheard || now.Before(c.certain) {
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

// held is how many messages are kept.
func (c *crossing) held() int { return c.doubtful.len + c.window.len }

// head returns the oldest message that is kept, or nil.
func (c *crossing) head() *waiting {
	if c.doubtful.head != nil {
		return c.doubtful.head
	}
	return c.window.head
}

// oldest returns the oldest message that is kept and is not being sent.
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
	return e // there is no other
}

// copied takes in that another node passed a message on.
func (c *crossing) copied(by string, sum bridgeSum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rivaled = true
	delete(c.retired, by) // it has not handed over: somebody else said so
	e := c.window.find(sum)
	if e == nil {
		e = c.doubtful.find(sum)
	}
	if e != nil {
		e.remove()
		// The leader lives: what it did not pass on of earlier ones, it has reported.
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

// passedBefore notes that another node has passed on a sender's message. Earlier ones of
// that sender which stay in the window were left out by it.
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

// evict drops a message from the window. If this node leads it is lost. A follower has
// lost it only if the leader does not pass it on either, and remembers it until a copy says
// so.
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

// lost adds a loss to what is reported next: losses with one reason together, and beyond
// maxCauses all others.
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

// expire drops what is too old.
func (c *crossing) expire(now time.Time) {
	for e := c.head(); e != nil && now.Sub(e.at) > c.b.opts.Age && !(c.leading && e == c.passing); e = c.head() {
		c.evict(e, errBridgeOld)
	}
}

// deaf notes that copies cannot be heard, or can again.
func (c *crossing) deaf(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unheard = on
	c.certain = time.Now().Add(c.b.opts.Heartbeat)
	for e := c.window.head; e != nil; e = c.window.head {
		e.remove()
		c.doubtful.push(e)
	}
}

// missing notes that originals are missed from here on, or not any more. Both times this
// node stands back for others, which may have heard them: as the leader it would pass on
// later ones, and the others would then take the missed ones for left out.
func (c *crossing) missing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.early) // their originals may have been missed
	if c.others > 0 {
		c.rest = true
		c.work.Signal()
	}
}

// retire notes that a node has handed over, for good or for a while.
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
}

// elect decides whether this node leads. Of the nodes on both links the one that was made
// first does.
//
//	3 heartbeats   it has heard itself for so long: all nodes know each other
//	1 heartbeat    it has been the first for so long, or the one before has handed over
//	1 heartbeat    a leader goes on for so long when an older node comes back, which then
//	               hears the copies of all messages
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
		there := slices.ContainsFunc(rivals, func(r candidate) bool { return r.id == uid })
		if until.IsZero() && !there || !until.IsZero() && now.After(until) {
			delete(c.retired, uid)
		}
	}
	resting, first := now.Before(c.resting), true
	for _, r := range rivals {
		until, retired := c.retired[r.id]
		switch {
		case !retired && r.before(self):
			first, c.rivaled = false, true
		case resting && (!retired || !until.IsZero() && r.before(self)):
			first = false // if all rest, the oldest leads
		}
	}
	if first && !c.first {
		if c.became = now.Add(c.b.opts.Heartbeat); c.handed {
			c.became = now
		}
	}
	if first {
		c.older = time.Time{}
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
	case !c.leading && !now.Before(c.became) && !now.Before(later(since1, since2, c.b.opened).Add(3*c.b.opts.Heartbeat)):
		if c.terms = terms; c.holds(terms) {
			c.lead()
		}
	}
}

func later(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// holds reports whether both leases hold.
func (c *crossing) holds(terms [2]time.Time) bool {
	return c.from.Node.Holds(terms[0]) && c.to.Node.Holds(terms[1])
}

// drop takes out a message that this node does not pass on, because a leader before did or
// may have done, or left it out.
func (c *crossing) drop(e *waiting) {
	doubtful, skipped := e.in == &c.doubtful, c.skipped(e)
	e.remove()
	l := broker.Loss{Messages: 1, Bytes: e.bytes, Uncertain: true, Err: errBridgeDoubt}
	switch {
	case doubtful && skipped:
		// It was passed on: so were later ones of the sender. If not, that leader has
		// reported it.
		return
	case skipped:
		l.Err = errBridgeSkipped
	}
	c.lost(l)
}

// yield ends this node's lead because others may have taken it for dead.
func (c *crossing) yield() {
	c.leading = false
	c.rivaled = c.rivaled || c.others > 0
}

// unkept forgets what was dropped and not passed on by a leader, and adds it up.
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

// end has carry pass on what has been heard up to here, and then end.
func (c *crossing) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing, c.last = true, c.seq
	c.work.Signal()
}
