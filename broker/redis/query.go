package redisbroker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker"
)

// namesPerQuery bounds one PUBSUB NUMSUB.
const namesPerQuery = 1000

// querier asks servers questions, one at a time each, over connections that it keeps.
type querier struct {
	nodes *nodes
	names *naming
	opts  *Options

	mu     sync.Mutex
	lines  map[string]*line // by address
	closed bool
}

// line is the connection to one server.
type line struct {
	turn chan struct{} // holds one token: whoever has it may use c
	c    *conn         // nil if there is none; guarded by querier.mu too
	gone bool          // the server is no master any more; guarded by querier.mu
}

func newQuerier(n *nodes, names *naming, opts *Options) *querier {
	return &querier{nodes: n, names: names, opts: opts, lines: map[string]*line{}}
}

// subscribers sums PUBSUB NUMSUB over all masters: each knows its own clients only.
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
func (q *querier) responders(ctx context.Context, w broker.Wire, ns string) ([]string, error) {
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
			if !ok || ch.Kind() != broker.KindNodeResponses || ch.Namespace() != ns || ch.Wire() != w || seen[ch.Name()] {
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

// partError says that some of the servers did not answer.
type partError struct{ err error }

func (e *partError) Error() string { return e.err.Error() }

// each asks all masters the same at the same time and hands the answers to f one by one.
// A *partError says that some did not answer, and a *broker.InexactError that none
// was allowed to.
func (q *querier) each(ctx context.Context, command []string, f func([]string) error) error {
	masters, err := q.nodes.masters(ctx, false)
	if err != nil {
		return err
	}
	q.prune(masters)
	type result struct {
		answer []string
		err    error
	}
	results := make(chan result, len(masters))
	for _, m := range masters {
		// The results are waited for below, whatever they are.
		go func() {
			answer, err := q.ask(ctx, m, command)
			results <- result{answer, err}
		}()
	}
	answered, refused := 0, 0
	for range masters {
		r := <-results
		if r.err == nil {
			r.err = f(r.answer)
		}
		if r.err == nil {
			answered++
		} else if no, ok := errors.AsType[*ServerError](r.err); ok && no.Command == command[0] {
			refused++
		}
		err = errors.Join(err, r.err)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case answered > 0 && !errors.Is(err, broker.ErrClosed):
		return &partError{err}
	case refused == len(masters):
		return &broker.InexactError{Err: err}
	}
	return err
}

// ask asks one server. A kept connection may have died meanwhile, so a failure on
// one is tried again on a new one.
func (q *querier) ask(ctx context.Context, server *redis.Client, command []string) ([]string, error) {
	l, err := q.line(server.Options().Addr)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { l.turn <- struct{}{} }()
	kept := l.c != nil
	for {
		if l.c == nil {
			c, err := dial(ctx, server, q.opts.ProbeTimeout)
			if err != nil {
				return nil, err
			}
			if err := q.keep(l, c); err != nil {
				return nil, err
			}
		}
		answer, err := exchange(ctx, l.c, q.opts.ProbeTimeout, command)
		var refused *ServerError
		if err == nil || errors.As(err, &refused) {
			return answer, err
		}
		l.c.close(err)
		_ = q.keep(l, nil)
		if !kept || ctx.Err() != nil {
			return nil, fmt.Errorf("redis %s: %s: %w", server.Options().Addr, command[0], err)
		}
		kept = false
	}
}

func (q *querier) line(addr string) (*line, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, broker.ErrClosed
	}
	l := q.lines[addr]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		q.lines[addr] = l
	}
	return l, nil
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
		err = errNoMaster
	}
	if err != nil && c != nil {
		c.close(err)
		c = nil
	}
	l.c = c
	return err
}

// errNoMaster ends a question to a server that another question has just seen to be no
// master any more.
var errNoMaster = errors.New("not a master of the cluster any more")

// prune ends the connections to servers that are no masters any more.
func (q *querier) prune(masters []*redis.Client) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for addr, l := range q.lines {
		if slices.ContainsFunc(masters, func(m *redis.Client) bool { return m.Options().Addr == addr }) {
			continue
		}
		delete(q.lines, addr)
		l.gone = true
		if l.c != nil {
			l.c.close(errNoMaster)
		}
	}
}

// close ends all connections; questions that are underway fail.
func (q *querier) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.lines {
		if l.c != nil {
			l.c.close(broker.ErrClosed)
		}
	}
}

// exchange sends a command and reads its answer, a list.
func exchange(ctx context.Context, c *conn, timeout time.Duration, command []string) ([]string, error) {
	stop := context.AfterFunc(ctx, func() { c.close(ctx.Err()) })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	if _, err := c.Conn.Write(appendCommand(nil, command...)); err != nil {
		return nil, err
	}
	return readList(c.r, command[0])
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
