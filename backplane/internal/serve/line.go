package serve

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// errand is one piece of work: a request, or several that get the same response.
type errand[M any] struct {
	list []*Request[M]
	key  string          // equal for requests that can share it; empty: none
	ids  map[string]bool // names of the requests in list; nil: list has one request
	work func([]*Request[M])
	due  time.Time // the end of its wait, if the line has a patience
}

// line is a bounded queue of errands, with a number of goroutines that end when it is empty.
type line[M any] struct {
	desk     *Desk[M]
	limit    int           // number of goroutines
	patience time.Duration // how long a request waits before it is refused; zero: no limit

	mu             sync.Mutex
	running        int // number of goroutines; the limit while errands wait
	queue          []*errand[M]
	byKey          map[string]*errand[M]
	waiting, bytes int // requests in queue, and their memory
	timer          *time.Timer
}

// has reports whether the errand has a request, and records the request.
func (e *errand[M]) has(s *Request[M]) bool {
	if e.ids == nil {
		e.ids = map[string]bool{e.list[0].name(): true}
	}
	name := s.name()
	had := e.ids[name]
	e.ids[name] = true
	return had
}

// name identifies a request.
func (s *Request[M]) name() string { return s.req.Origin + "\x00" + s.req.ID }

// put queues a request. It returns false if the queue is full. A request that is received
// again while it waits gets one response.
func (l *line[M]) put(s *Request[M], key string, work func([]*Request[M])) bool {
	taken, again := l.take(s, key, work)
	if again {
		s.done(nil)
	}
	return taken
}

func (l *line[M]) take(s *Request[M], key string, work func([]*Request[M])) (taken, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running < l.limit {
		l.running++
		first := &errand[M]{list: []*Request[M]{s}, work: work}
		l.desk.o.Workers.Go(func() { l.run(first) })
		return true, false
	}
	cost := s.size + waitingSize
	if l.waiting >= MaxWaiting || l.bytes+cost > MaxWaitingBytes {
		return false, false
	}
	same := l.byKey[key]
	if same != nil && same.has(s) {
		return true, true
	}
	l.waiting++
	l.bytes += cost
	if same != nil {
		same.list = append(same.list, s)
		return true, false
	}
	e := &errand[M]{list: []*Request[M]{s}, key: strings.Clone(key), work: work}
	l.queue = append(l.queue, e)
	if key != "" {
		if l.byKey == nil {
			l.byKey = make(map[string]*errand[M])
		}
		l.byKey[key] = e
	}
	if l.patience > 0 {
		e.due = time.Now().Add(l.patience)
		if len(l.queue) == 1 {
			l.alarm(l.patience)
		}
	}
	return true, false
}

// run is a goroutine of the line.
func (l *line[M]) run(e *errand[M]) {
	for e != nil {
		e.work(e.list)
		l.mu.Lock()
		if e = l.pop(); e == nil {
			l.running--
		}
		l.mu.Unlock()
	}
}

// pop removes the first errand from the queue; nil if there is none. The caller holds mu.
func (l *line[M]) pop() *errand[M] {
	if len(l.queue) == 0 {
		l.queue = nil // release its memory
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

// alarm arranges a call of expire. The caller holds mu.
func (l *line[M]) alarm(d time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.expire)
	} else {
		l.timer.Reset(d)
	}
}

// expire refuses requests that have waited too long.
func (l *line[M]) expire() {
	now := time.Now()
	l.mu.Lock()
	var late []*errand[M]
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
	l.desk.o.Workers.Add(1) // while errands wait, other goroutines are running
	l.mu.Unlock()
	defer l.desk.o.Workers.Done()
	for _, e := range late {
		for _, s := range e.list {
			l.desk.refuse(s)
		}
	}
}

// key is the same for queries with the same response.
func (s *Request[M]) key() string {
	r := s.req
	b := make([]byte, 0, 64)
	b = append(b, byte(r.Op), r.Form)
	for _, bit := range [...]bool{r.Native, r.Detail, r.CountOnly} {
		b = strconv.AppendBool(b, bit)
	}
	b = strconv.AppendInt(b, int64(r.Page), 10)
	for _, list := range [...][]string{{r.Member, r.After}, r.Rooms, r.All, r.Except} {
		b = strconv.AppendInt(append(b, '/'), int64(len(list)), 10)
		for _, name := range list {
			b = strconv.AppendInt(append(b, ' '), int64(len(name)), 10)
			b = append(append(b, ' '), name...)
		}
	}
	return string(b)
}
