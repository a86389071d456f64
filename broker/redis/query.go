package redisbroker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// namesPerQuery bounds one PUBSUB NUMSUB.
const namesPerQuery = 1000

// querier sends queries to servers, over connections that it keeps. Each server gets one query
// at a time.
type querier struct {
	nodes *nodes
	names *naming
	opts  *Options

	life  context.Context // until close
	end   context.CancelFunc
	works sync.WaitGroup

	mu     sync.Mutex
	lines  map[string]*line // by address
	known  []place          // the servers that the last survey found
	closed bool
}

// line is the connection to one server.
type line struct {
	token chan struct{} // holds one token; only its holder may use c
	c     *conn         // nil if there is none; guarded by querier.mu too

	// Guarded by querier.mu.
	replied time.Time // the last reply; zero if there was none
	removed bool      // the server does not belong to the system any more
	reached bool      // it was connected at least once
	logged  bool      // the log says that it cannot be reached
	failed  error     // why it timed out; nil if it has been connected since
	retry   time.Time // when to try again
}

func newQuerier(n *nodes, names *naming, opts *Options) *querier {
	q := &querier{nodes: n, names: names, opts: opts, lines: map[string]*line{}}
	q.life, q.end = context.WithCancel(context.Background())
	return q
}

// subscribers sums PUBSUB NUMSUB over all servers, because each server knows its own clients only.
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
	return q.count(ctx, q.names.counting("NUMSUB"), names)
}

// count sums the answers of all servers to a PUBSUB command that counts the subscribers of names.
func (q *querier) count(ctx context.Context, word string, names []string) ([]int, error) {
	sums := make([]int, len(names))
	var unseen error
	for first := 0; first < len(names); first += namesPerQuery {
		part := names[first:min(first+namesPerQuery, len(names))]
		err := q.each(ctx, append([]string{"PUBSUB", word}, part...), func(answer []string) error {
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

// responders lists the ids in the names of the response channels of single nodes.
func (q *querier) responders(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := q.names.check(w.Responses(ns)); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	ids := []string{}
	err := q.each(ctx, []string{"PUBSUB", q.names.counting("CHANNELS"), q.names.responders(w, ns)}, func(answer []string) error {
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

// partError reports that some of the servers did not respond.
type partError struct{ err error }

func (e *partError) Error() string { return e.err.Error() }

// query sends the preface and the command to one server. A kept connection may have failed
// meanwhile, or lead to a server that does not belong to the fleet any more. Therefore query
// tries a new connection after a failure. For a server that timed out before, query hardly
// waits: a goroutine tries to connect to it.
func (q *querier) query(ctx context.Context, p place, preface, command []string) *finding {
	f := &finding{place: p}
	l := q.line(p)
	if f.err = q.failure(ctx, p, l); f.err != nil {
		return f
	}
	select {
	case <-l.token:
	case <-ctx.Done():
		f.err = ctx.Err()
		return f
	}
	defer func() { l.token <- struct{}{} }()
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
			q.heard(l)
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

// keptWait returns how long a server may take to reply on a kept connection, before the query
// goes to a new connection. The link may be dead, which only the missing reply shows. The wait
// is a small part of the deadline. If the server is slow, a new connection would wait as well.
func keptWait(ctx context.Context, c *conn, most time.Duration) time.Duration {
	wait := max(4*c.trip, 250*time.Millisecond)
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/4)
	}
	return min(wait, most)
}

// start runs f in a goroutine that close waits for. It returns false if the querier is closed.
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
		l = &line{token: make(chan struct{}, 1)}
		l.token <- struct{}{}
		q.lines[p.addr] = l
	}
	return l
}

// failure returns why a server timed out, or nil if it has been connected since. When a retry
// is due, one caller starts it and waits for it for at most an eighth of the remaining time.
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
	if !q.start(func() { q.reconnect(p, l); close(tried) }) {
		return broker.ErrClosed
	}
	wait := q.opts.ProbeTimeout
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/8)
	}
	select {
	case <-tried:
	case <-time.After(wait):
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return l.failed
}

// reconnect tries to connect to a server that timed out.
func (q *querier) reconnect(p place, l *line) {
	select {
	case <-l.token:
	case <-q.life.Done():
		return
	}
	defer func() { l.token <- struct{}{} }()
	c, err := q.nodes.dial(q.life, p.opt, q.opts.ProbeTimeout, p.use())
	if err == nil {
		_ = q.keep(l, c) // an error means that the querier is closed or the server removed
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l.retry = time.Now().Add(q.opts.BackoffMax)
	if late, ok := errors.AsType[net.Error](err); !ok || !late.Timeout() {
		l.failed = nil // it refuses at once, so queries need not wait for it
	}
}

// fail records that a server timed out. It does nothing for the client's own single server:
// every query waits for that, because there is no result without it.
func (q *querier) fail(p place, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lines[p.addr]; l != nil && l.failed == nil && !p.root {
		l.failed, l.retry = err, time.Time{}
	}
}

// heard records a reply of a server.
func (q *querier) heard(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.replied = time.Now()
}

// silence returns for how long a server has responded to no query.
func (q *querier) silence(addr string) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lines[addr]; l != nil {
		return time.Since(l.replied)
	}
	return math.MaxInt64
}

// hidden reports whether a finding is the failure of a replica that this broker has never
// reached. Clients probably cannot reach it, as with many managed services.
func (q *querier) hidden(f *finding) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[f.addr]
	if f.err == nil || f.root || l == nil || l.reached {
		return false
	}
	if !l.logged {
		l.logged = true
		q.opts.Logger.Warn("redis broker: count subscribers: a replica cannot be reached, so its subscribers are not counted", "addr", f.addr, "err", f.err)
	}
	return true
}

// keep sets a line's connection, which close and remember then find. It closes the connection
// and returns an error if the querier is closed or the server was removed.
func (q *querier) keep(l *line, c *conn) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var err error
	switch {
	case q.closed:
		err = broker.ErrClosed
	case l.removed:
		err = errRemoved
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

// errRemoved ends the query of a server that another survey has found removed from the system.
var errRemoved = errors.New("the server does not belong to the system any more")

// remember keeps the connections to the known servers and closes the others. If all servers are
// known, the next survey begins with them.
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
		l.removed = true
		if l.c != nil {
			l.c.close(errRemoved)
			q.nodes.limits.forget(l.c)
		}
	}
}

// close closes all connections. Running queries fail.
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

// exchange sends a preface and a command, and reads both replies. The reply to the command is a
// list. If the last examination of the server is older than a ProbeInterval, exchange examines
// it first.
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

// readList reads a list of strings and numbers from a connection.
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
			return nil, protocolError("a list with an element that is neither a string nor a number")
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		list = append(list, string(text[:size]))
	}
	return list, nil
}
