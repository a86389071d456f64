package backplane

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/internal/wire"
)

// desk carries out what other nodes ask for and the inbound worker does not do itself. It
// has three lines: queries about members and rooms, calls of the application's callbacks,
// and answers that only need to be published. Each line works on a few requests at a time;
// the others wait in its bounded queue. A request for which the queue has no room is
// refused.
type desk struct {
	ns                      *Namespace
	queries, calls, answers line
	held                    held // while the namespace closes
}

const (
	// maxCalls limits the calls of OnRequest and OnEvent that are running at a time.
	maxCalls = 256
	// maxQueries limits the queries that are being answered at a time. Few are faster than
	// many, and need less memory.
	maxQueries = 4
	maxAnswers = 16
	// maxWaiting and maxWaitingBytes limit the requests that wait in one line. Each counts
	// with waitingSize bytes besides its own.
	maxWaiting      = 1 << 16
	maxWaitingBytes = 64 << 20
	waitingSize     = 512
)

func (d *desk) init(ns *Namespace) {
	d.ns = ns
	d.queries = line{ns: ns, limit: maxQueries}
	// A callback that does not return keeps its place. What waits behind it is refused in
	// time for its asker to hear so, if that has the same timeout.
	d.calls = line{ns: ns, limit: maxCalls, patience: ns.node.opts.RequestsTimeout * 3 / 4}
	d.answers = line{ns: ns, limit: maxAnswers}
}

// query has a query answered. Identical ones that wait get the answer of one.
func (d *desk) query(s *served) {
	if d.later(s, func() { d.enquire(s) }) {
		return
	}
	d.enquire(s)
}

// later keeps a request for later if its asker counts answers and the namespace closes.
func (d *desk) later(s *served, work func()) bool {
	return !s.req.Native && s.wanted() && d.held.hold(s.size, work)
}

func (d *desk) enquire(s *served) {
	if !d.queries.put(s, s.key(), queryAll) {
		d.refuse(s)
	}
}

// call has OnRequest or OnEvent called.
func (d *desk) call(s *served) {
	held := func() {
		s.ctx = context.WithoutCancel(s.ctx) // which ends soon
		d.callBack(s)
	}
	if d.later(s, held) {
		return
	}
	d.callBack(s)
}

func (d *desk) callBack(s *served) {
	work := (*served).custom
	if s.req.Op == wire.OpEvent {
		work = (*served).event
	}
	if !d.calls.put(s, "", func(list []*served) { work(list[0]) }) {
		d.refuse(s)
	}
}

// answer publishes the answer to a request that has been carried out, so that a full
// queue of the broker does not hold up the inbound worker; only if too many answers wait
// for that does it.
func (d *desk) answer(s *served) {
	if s.req.Op == wire.OpBroadcast && d.later(s, s.end) {
		return
	}
	if !s.wanted() || !d.answers.put(s, "", func(list []*served) { list[0].end() }) {
		s.end()
	}
}

// refuse reports a request that is not carried out, and answers it as far as its form has
// an answer for that.
func (d *desk) refuse(s *served) {
	s.refused()
	d.answer(s)
}

func (s *served) refused() {
	n := s.ns.node
	n.counters.refused.Add(1)
	n.reports.reportIn(s.ctx, &OpError{Op: "respond to " + s.req.Op.String(), Namespace: s.ns.name, Name: s.req.Origin, Err: ErrBusy})
	s.resp.Busy, s.resp.Err, s.data.Err = true, ErrBusy.Error(), ErrBusy
}

// key is the same for queries that have the same answer.
func (s *served) key() string {
	r := s.req
	b := make([]byte, 0, 64)
	b = append(b, byte(r.Op), r.Form)
	for _, bit := range [...]bool{r.Native, r.Detail} {
		b = strconv.AppendBool(b, bit)
	}
	for _, list := range [...][]string{{r.Member}, r.Rooms, r.Except} {
		b = strconv.AppendInt(append(b, '/'), int64(len(list)), 10)
		for _, name := range list {
			b = strconv.AppendInt(append(b, ' '), int64(len(name)), 10)
			b = append(append(b, ' '), name...)
		}
	}
	return string(b)
}

// errand is one piece of work: a request, or several that get the same answer.
type errand struct {
	list []*served
	key  string // of requests that can share it; empty: none
	work func([]*served)
	due  time.Time // when its wait ends, if the line has a patience
}

// line is a bounded queue of errands, and a number of goroutines that end when it is
// empty.
type line struct {
	ns       *Namespace
	limit    int           // goroutines
	patience time.Duration // how long a request waits before it is refused; zero: for ever

	mu             sync.Mutex
	running        int // goroutines; all of them, if anything waits
	queue          []*errand
	byKey          map[string]*errand
	waiting, bytes int // requests in queue, and what they count
	timer          *time.Timer
}

// put takes in a request. It returns false if there is no room.
func (l *line) put(s *served, key string, work func([]*served)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running < l.limit {
		l.running++
		first := &errand{list: []*served{s}, work: work}
		l.ns.workers.Go(func() { l.run(first) })
		return true
	}
	cost := s.size + waitingSize
	if l.waiting >= maxWaiting || l.bytes+cost > maxWaitingBytes {
		return false
	}
	l.waiting++
	l.bytes += cost
	if key != "" {
		if e := l.byKey[key]; e != nil {
			e.list = append(e.list, s)
			return true
		}
	}
	e := &errand{list: []*served{s}, key: strings.Clone(key), work: work}
	l.queue = append(l.queue, e)
	if key != "" {
		if l.byKey == nil {
			l.byKey = make(map[string]*errand)
		}
		l.byKey[key] = e
	}
	if l.patience > 0 {
		e.due = time.Now().Add(l.patience)
		if len(l.queue) == 1 {
			l.alarm(l.patience)
		}
	}
	return true
}

// run is a goroutine of the line.
func (l *line) run(e *errand) {
	for e != nil {
		e.work(e.list)
		l.mu.Lock()
		if e = l.pop(); e == nil {
			l.running--
		}
		l.mu.Unlock()
	}
}

// pop takes the first errand out of the queue; nil if there is none. mu is held.
func (l *line) pop() *errand {
	if len(l.queue) == 0 {
		l.queue = nil // let go of its memory
		return nil
	}
	e := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if e.key != "" {
		delete(l.byKey, e.key)
	}
	l.waiting -= len(e.list)
	for _, s := range e.list {
		l.bytes -= s.size + waitingSize
	}
	return e
}

// alarm has expire called. mu is held.
func (l *line) alarm(d time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.expire)
	} else {
		l.timer.Reset(d)
	}
}

// expire refuses what has waited too long.
func (l *line) expire() {
	now := time.Now()
	l.mu.Lock()
	var late []*errand
	for len(l.queue) > 0 && !l.queue[0].due.After(now) {
		late = append(late, l.pop())
	}
	if len(l.queue) > 0 {
		l.alarm(l.queue[0].due.Sub(now))
	}
	if len(late) == 0 {
		l.mu.Unlock()
		return
	}
	l.ns.workers.Add(1) // while something waits, others are running
	l.mu.Unlock()
	defer l.ns.workers.Done()
	for _, e := range late {
		for _, s := range e.list {
			l.ns.desk.refuse(s)
		}
	}
}
