package redisbroker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// namesPerQuery bounds one PUBSUB NUMSUB.
const namesPerQuery = 1000

// querier sends queries to servers, one at a time to each, over connections that it keeps.
type querier struct {
	nodes *nodes
	names *naming
	opts  *Options

	life  context.Context // until close
	end   context.CancelFunc
	works sync.WaitGroup

	mu     sync.Mutex
	lines  map[string]*line // by address
	known  []place          // the servers, as the last survey found them
	closed bool
}

// line is the connection to one server.
type line struct {
	turn chan struct{} // holds one token: whoever has it may use c
	c    *conn         // nil if there is none; guarded by querier.mu too

	// Guarded by querier.mu.
	gone    bool      // the server is none of the system any more
	reached bool      // it was connected once
	logged  bool      // the log says that it was not
	failed  error     // why it timed out; nil if it has been connected since
	retry   time.Time // when to try again
}

func newQuerier(n *nodes, names *naming, opts *Options) *querier {
	q := &querier{nodes: n, names: names, opts: opts, lines: map[string]*line{}}
	q.life, q.end = context.WithCancel(context.Background())
	return q
}

// subscribers sums PUBSUB NUMSUB over all servers: each knows its own clients only.
func (q *querier) subscribers(ctx context.Context, channels []broker.Channel) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names := make([]string, len(channels))
	for i, ch := range channels {
		if err := q.names.check(ch); err != nil {
			return nil, err
		}
		names[i] = q.names.name(ch)
	}
	sums := make([]int, len(channels))
	var unseen error
	for first := 0; first < len(names); first += namesPerQuery {
		part := names[first:min(first+namesPerQuery, len(names))]
		err := q.each(ctx, append([]string{"PUBSUB", "NUMSUB"}, part...), func(answer []string) error {
			if len(answer) != 2*len(part) {
				return protocolError(fmt.Sprintf("PUBSUB NUMSUB of %d names gave %d parts", len(part), len(answer)))
			}
			counts := make([]int, len(part))
			for i := range part {
				var err error
				if counts[i], err = strconv.Atoi(answer[2*i+1]); err != nil {
					return protocolError("PUBSUB NUMSUB: " + err.Error())
				}
			}
			for i, n := range counts {
				sums[first+i] += n
			}
			return nil
		})
		var some *partError
		switch {
		case errors.As(err, &some):
			unseen = &broker.InexactError{Err: some.err}
		case err != nil:
			return nil, err
		}
	}
	return sums, unseen
}

// responders lists the ids in the names of response channels of single nodes.
func (q *querier) responders(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := q.names.check(w.Responses(ns)); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	ids := []string{}
	err := q.each(ctx, []string{"PUBSUB", "CHANNELS", q.names.responders(w, ns)}, func(answer []string) error {
		for _, name := range answer {
			ch, ok := q.names.parse(name)
			if !ok || ch.Kind() != broker.KindNodeResponses || ch.Namespace() != ns || ch.Protocol() != w || seen[ch.Name()] {
				continue
			}
			seen[ch.Name()] = true
			ids = append(ids, ch.Name())
		}
		return nil
	})
	var some *partError
	switch {
	case errors.As(err, &some):
		return ids, &broker.InexactError{Err: some.err}
	case err != nil:
		return nil, err
	}
	return ids, nil
}

// partError says that some of the servers did not respond.
type partError struct{ err error }

func (e *partError) Error() string { return e.err.Error() }

// ask sends the preface and the command to one server. A kept connection may have failed
// meanwhile, or lead to a server that is none of the fleet's any more, so after a failure it
// tries a new one. A server that timed out before is hardly waited for: a goroutine tries it.
func (q *querier) ask(ctx context.Context, p place, preface, command []string) *finding {
	f := &finding{place: p}
	l := q.line(p)
	if f.err = q.failure(ctx, p, l); f.err != nil {
		return f
	}
	select {
	case <-l.turn:
	case <-ctx.Done():
		f.err = ctx.Err()
		return f
	}
	defer func() { l.turn <- struct{}{} }()
	kept := l.c != nil
	var err error
	for {
		wait := q.opts.ProbeTimeout
		if l.c != nil {
			wait = keptWait(ctx, l.c, wait)
		} else {
			c, err := q.nodes.dial(ctx, p.opt, q.opts.ProbeTimeout, p.use())
			if err == nil {
				err = q.keep(l, c)
			}
			if err != nil {
				f.err = err
				break
			}
		}
		f.remote = l.c.RemoteAddr().String()
		var answer any
		answer, f.data, err = q.exchange(ctx, l.c, wait, preface, command)
		if refused, ok := errors.AsType[*ServerError](err); err == nil || ok && refused.Command == command[0] {
			f.err = err
			f.read(answer)
			break
		}
		l.c.close(err)
		_ = q.keep(l, nil)
		if !kept || ctx.Err() != nil {
			f.err = fmt.Errorf("redis %s: %s: %w", p.addr, command[0], err)
			break
		}
		kept = false
	}
	if late, ok := errors.AsType[net.Error](f.err); ok && late.Timeout() && ended(ctx) == nil {
		q.fail(p, f.err)
	}
	return f
}

// keptWait returns how long a connection that was kept has to answer before a new one
// is asked: the link may be dead, which shows only now. That costs little of a deadline,
// and most often nothing if the server is slow, since a new connection waits as well.
func keptWait(ctx context.Context, c *conn, most time.Duration) time.Duration {
	wait := max(4*c.trip, 250*time.Millisecond)
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/4)
	}
	return min(wait, most)
}

// start runs f in a goroutine that close waits for, unless the querier is closed.
func (q *querier) start(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.works.Go(f)
	}
	return !q.closed
}

func (q *querier) line(p place) *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[p.addr]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		q.lines[p.addr] = l
	}
	return l
}

// failure returns why a server timed out, unless it has been connected since. From time to
// time one caller starts another attempt, and waits an eighth of its time for that.
func (q *querier) failure(ctx context.Context, p place, l *line) error {
	q.mu.Lock()
	failed, due := l.failed, l.failed != nil && time.Now().After(l.retry)
	if due {
		l.retry = time.Now().Add(q.opts.ProbeTimeout + q.opts.BackoffMax)
	}
	q.mu.Unlock()
	if !due {
		return failed
	}
	tried := make(chan struct{})
	if !q.start(func() { q.again(p, l); close(tried) }) {
		return broker.ErrClosed
	}
	patience := q.opts.ProbeTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/8)
	}
	select {
	case <-tried:
	case <-time.After(patience):
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return l.failed
}

// again tries to connect to a server that timed out.
func (q *querier) again(p place, l *line) {
	select {
	case <-l.turn:
	case <-q.life.Done():
		return
	}
	defer func() { l.turn <- struct{}{} }()
	c, err := q.nodes.dial(q.life, p.opt, q.opts.ProbeTimeout, p.use())
	if err == nil {
		_ = q.keep(l, c) // which may be closed already: then there is nothing left to do
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l.retry = time.Now().Add(q.opts.BackoffMax)
	if late, ok := errors.AsType[net.Error](err); !ok || !late.Timeout() {
		l.failed = nil // it says at once that it is not there
	}
}

// fail records that a server timed out. It does nothing for the client's own single server,
// which every query waits for: without it there is no result.
func (q *querier) fail(p place, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lines[p.addr]; l != nil && l.failed == nil && !p.root {
		l.failed, l.retry = err, time.Time{}
	}
}

// hidden reports whether a finding is of a replica that this broker never reached. Then it
// is most likely one that clients cannot reach, as behind many a managed primary.
func (q *querier) hidden(f *finding) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[f.addr]
	if f.err == nil || f.root || l == nil || l.reached {
		return false
	}
	if !l.logged {
		l.logged = true
		q.opts.Logger.Warn("redis broker: a replica cannot be reached, so nobody is counted there", "addr", f.addr, "err", f.err)
	}
	return true
}

// keep sets a line's connection, where close and prune find it, unless there was one
// of these.
func (q *querier) keep(l *line, c *conn) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var err error
	switch {
	case q.closed:
		err = broker.ErrClosed
	case l.gone:
		err = errNoServer
	}
	if err != nil && c != nil {
		c.close(err)
		c = nil
	}
	if l.c = c; c != nil {
		l.reached, l.failed = true, nil
	}
	return err
}

// errNoServer ends a survey's query of a server that another survey has just seen to be none
// of the system any more.
var errNoServer = errors.New("not a server of the system any more")

// remember keeps the connections to the known servers, with which the next survey begins if
// all are known, and ends those to others.
func (q *querier) remember(known []place, all bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.known = known; !all {
		q.known = nil
	}
	for addr, l := range q.lines {
		if hasPlace(known, addr) {
			continue
		}
		delete(q.lines, addr)
		l.gone = true
		if l.c != nil {
			l.c.close(errNoServer)
			q.nodes.limits.forget(l.c)
		}
	}
}

// close ends all connections; questions that are underway fail.
func (q *querier) close() {
	defer q.works.Wait()
	q.end()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.lines {
		if l.c != nil {
			l.c.close(broker.ErrClosed)
		}
	}
}

// exchange sends a preface and a command and reads both answers. That to the command is a
// list. If the server was not examined for a ProbeInterval, it is examined as well.
func (q *querier) exchange(ctx context.Context, c *conn, timeout time.Duration, preface, command []string) (answer any, list []string, err error) {
	stop := context.AfterFunc(ctx, func() { c.close(ctx.Err()) })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, nil, err
	}
	var out []byte
	due := time.Since(c.examined) >= q.opts.ProbeInterval
	if due {
		out = append(out, c.exam.encoded...)
	}
	if _, err := c.Conn.Write(appendCommand(appendCommand(out, preface...), command...)); err != nil {
		return nil, nil, err
	}
	if due {
		if err := q.nodes.examined(c); err != nil {
			return nil, nil, err
		}
	}
	if answer, err = readReply(c.r, preface[0]); err != nil {
		return nil, nil, err
	}
	list, err = readList(c.r, command[0])
	return answer, list, err
}

// readList reads a list of strings and numbers.
func readList(r *bufio.Reader, command string) ([]string, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if line[0] == '-' {
		return nil, &ServerError{Command: command, Reply: string(line[1:])}
	}
	if line[0] != '*' {
		return nil, protocolError(fmt.Sprintf("line %.40q", line))
	}
	n, err := number(line)
	if err != nil {
		return nil, err
	}
	var list []string
	for range n {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if line[0] == ':' {
			list = append(list, string(line[1:]))
			continue
		}
		size, err := number(line)
		if err != nil || line[0] != '$' || size < 0 {
			return nil, protocolError("list of something else than strings and numbers")
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		list = append(list, string(text[:size]))
	}
	return list, nil
}
