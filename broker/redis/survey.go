package redisbroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker"
)

// A survey sends one command to each server to which subscribers may be connected: to all nodes
// of a cluster, masters and replicas, with and without slots; or to a single server and the
// replicas that it passes messages on to. In the same round trip each server says which other
// servers it knows. A survey begins with the servers of the last one, and continues while it
// finds more.

// place is a server that may have subscribers.
type place struct {
	addr string
	opt  *redis.Options
	root bool // the client's own server; false in a cluster
}

// use is the purpose of a connection to the place.
func (p place) use() use {
	if p.root {
		return forQueries
	}
	return forSurveys
}

// finding is the response of one server.
type finding struct {
	place
	duplicate bool          // the connection leads to a server that has another finding
	remote    string        // address at the other end of the connection
	id        string        // a cluster node's own id; empty if the user may not read it
	nodes     []clusterNode // as that node sees them; nil if it did not say
	repl      *replication  // of a server outside a cluster; nil if the user may not read it
	data      []string      // the response to the command
	err       error         // why there is no response
	noted     error         // why the server did not say which others it knows
}

const (
	// viewers is how many nodes of a cluster send their list of nodes in one survey. A list is
	// long, and one up-to-date list is enough.
	viewers = 4
	// surveyRounds limits how often a survey continues with newly found servers.
	surveyRounds = 8
)

// read evaluates the response to the preface.
func (f *finding) read(answer any) {
	text, ok := answer.(string)
	switch refused, _ := answer.(*ServerError); {
	case refused != nil:
		f.noted = fmt.Errorf("redis %s: %w", f.addr, refused)
	case !ok:
	case strings.ContainsRune(text, '\n'):
		if f.repl = parseReplication(text); f.repl != nil {
			return
		}
		// The list of a node that knows no node with slots is ignored: that node was removed
		// from its cluster, or is not part of it yet.
		nodes := parseNodes(text)
		for _, n := range nodes {
			if n.myself {
				f.id = n.id
			}
			if n.slots {
				f.nodes = nodes
			}
		}
	default:
		f.id = text
	}
}

// survey is one survey while it runs.
type survey struct {
	q        *querier
	command  []string
	began    time.Time
	findings map[string]*finding // by address
	views    int                 // nodes that said which nodes there are
}

// each sends command to all servers and calls f with each response, one by one. A *partError
// reports that some servers did not respond. A *broker.InexactError reports that all refused.
func (q *querier) each(ctx context.Context, command []string, f func([]string) error) error {
	running, cancel := context.WithCancel(ctx) // ends the queries that the survey gave up
	defer cancel()
	defer context.AfterFunc(q.life, cancel)()
	s := &survey{q: q, command: command, began: time.Now(), findings: map[string]*finding{}}
	places, err := q.places(ctx)
	if err != nil {
		return err
	}
	for range surveyRounds {
		s.query(running, places)
		switch err := ended(ctx); {
		case err != nil:
			return err
		case q.life.Err() != nil:
			return broker.ErrClosed
		}
		if places = s.unqueried(); len(places) == 0 {
			break
		}
	}
	return s.conclude(f)
}

// ended returns the error of a context that has ended. It treats a context as ended when its
// deadline has elapsed: an I/O deadline may fire slightly before the context's own.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && time.Until(deadline) <= 0 {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// places returns the servers of the last survey, or those that the client knows.
func (q *querier) places(ctx context.Context) ([]place, error) {
	q.mu.Lock()
	known := q.known
	q.mu.Unlock()
	if len(known) > 0 {
		return known, nil
	}
	masters, err := q.nodes.masters(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, m := range masters {
		known = append(known, place{m.Options().Addr, m.Options(), q.nodes.cluster == nil})
	}
	return known, nil
}

// query sends the command to some servers at the same time. It gives up those that have responded
// to no query for half of the time, if others have responded. When three quarters of the time
// have elapsed, it gives up those with too many queries before this one too. It never gives up the
// client's own single server.
func (s *survey) query(ctx context.Context, places []place) {
	results := make(chan *finding, len(places))
	waiting := map[string]place{}
	for i, at := range rand.Perm(len(places)) {
		p := places[at]
		waiting[p.addr] = p
		view := s.views+i < viewers
		if !s.q.start(func() { results <- s.q.query(ctx, p, s.preface(view), s.command) }) {
			return
		}
	}
	wait, last := s.q.opts.ProbeTimeout, time.Duration(math.MaxInt64)
	if deadline, ok := ctx.Deadline(); ok {
		all := deadline.Sub(s.began)
		wait, last = min(wait, all/2), all-all/4
	}
	alarm := time.NewTimer(time.Until(s.began.Add(wait)))
	defer alarm.Stop()
	for late := false; len(waiting) > 0; {
		select {
		case r := <-results:
			delete(waiting, r.addr)
			s.findings[r.addr] = r
			if r.nodes != nil {
				s.views++
			}
		case <-alarm.C:
			late = true
		case <-ctx.Done():
			return
		}
		if late && s.responded() {
			alarm.Reset(s.giveUp(waiting, wait, last))
		}
	}
}

// giveUp takes out of waiting each server that has responded to no query for as long as wait, and
// all of them once last has elapsed. It returns when to look again.
func (s *survey) giveUp(waiting map[string]place, wait, last time.Duration) (again time.Duration) {
	elapsed := time.Since(s.began)
	again = min(wait, last-elapsed)
	for addr, p := range waiting {
		silent := min(elapsed, s.q.silence(addr))
		if silent < wait && elapsed < last {
			again = min(again, wait-silent)
			continue
		}
		err := timedOut(addr, elapsed)
		if silent >= wait {
			s.q.fail(p, err)
		}
		s.findings[addr] = &finding{place: p, err: err}
		delete(waiting, addr)
	}
	return again
}

// responded reports whether the survey may give up the servers that have not responded.
func (s *survey) responded() bool {
	for _, f := range s.findings {
		if f.err == nil && (f.root || s.q.nodes.cluster != nil) {
			return true
		}
	}
	return false
}

// preface returns the command by which a server says which other servers it knows, or at least
// which node it is.
func (s *survey) preface(view bool) []string {
	switch {
	case s.q.nodes.cluster == nil:
		return []string{"INFO", "replication"}
	case view:
		return []string{"CLUSTER", "NODES"}
	}
	return []string{"CLUSTER", "MYID"}
}

// unqueried returns the servers that were found and not queried yet. If no node of a cluster
// has sent its list of nodes, unqueried returns some that responded, to get their lists.
func (s *survey) unqueried() (list []place) {
	if s.q.nodes.cluster == nil {
		_, list = s.chain()
		return list
	}
	members, _ := s.members()
	for id, n := range members {
		if s.seen(id, n.addr) == nil && s.findings[n.addr] == nil {
			list = append(list, place{n.addr, s.options(n.addr), false})
		}
	}
	if s.views == 0 {
		for _, f := range s.findings {
			if f.err == nil && f.noted == nil && len(list) < viewers {
				list = append(list, f.place)
			}
		}
	}
	return list
}

func hasPlace(list []place, addr string) bool {
	for _, p := range list {
		if p.addr == addr {
			return true
		}
	}
	return false
}

// options returns the client's options for another node of its cluster.
func (s *survey) options(addr string) *redis.Options {
	for _, f := range s.findings {
		opt := *f.opt
		opt.Addr = addr
		return &opt
	}
	return nil
}

// sentinelAddr is the address in the options of a client by Sentinel. Its dialer ignores addresses
// and connects to the master.
const sentinelAddr = "FailoverClient"

// replicaOptions returns the client's options for a replica of its server.
func (s *survey) replicaOptions(addr string) *redis.Options {
	opt := *s.q.nodes.single.Options()
	if opt.Addr == sentinelAddr {
		opt.Dialer = dialerOf(opt.TLSConfig, opt.DialTimeout)
	}
	opt.Network, opt.Addr = "tcp", addr
	return &opt
}

// members returns the nodes of the cluster by id: those that another node lists, or the only
// one. A node's entry about itself does not count, because a removed node still lists itself.
// err is why a node did not say which others it knows.
func (s *survey) members() (members map[string]clusterNode, err error) {
	byName := false
	for _, f := range s.findings {
		host, _, _ := net.SplitHostPort(f.addr)
		for _, n := range f.nodes {
			byName = byName || n.host != "" && n.host == host
		}
		err = cmp.Or(err, f.noted)
	}
	members = map[string]clusterNode{}
	for _, f := range s.findings {
		for _, n := range f.nodes {
			if n.joining || n.myself && s.views > 1 {
				continue
			}
			if n.addr = n.preferred(byName); n.myself {
				n.addr = f.addr
			}
			if n.addr == "" {
				continue
			}
			n.failed = n.failed || members[n.id].failed
			members[n.id] = n
		}
	}
	return members, err
}

// seen returns the response of a node. It finds it by id, or by address if the user may not read
// ids.
func (s *survey) seen(id, addr string) *finding {
	for _, f := range s.findings {
		if f.err == nil && (f.id == id || f.id == "" && f.addr == addr) {
			return f
		}
	}
	return nil
}

// chain returns the findings of the servers that a message may reach: the client's own server,
// its primaries, and all their replicas. It also returns those of them that were not queried
// yet. It marks duplicates: servers with two addresses, or behind a dialer that ignores addresses.
func (s *survey) chain() (queried []*finding, unqueried []place) {
	met, ends := map[string]bool{}, map[string]bool{}
	var visit func(addr string, up bool)
	visit = func(addr string, up bool) {
		if met[addr] {
			return
		}
		met[addr] = true
		f := s.findings[addr]
		if f == nil {
			unqueried = append(unqueried, place{addr, s.replicaOptions(addr), false})
			return
		}
		f.duplicate = f.err == nil && ends[f.remote]
		ends[f.remote] = true
		if queried = append(queried, f); f.duplicate || f.repl == nil {
			return
		}
		if up && f.repl.primary != "" {
			visit(f.repl.primary, true)
		}
		for _, replica := range f.repl.replicas {
			visit(replica, false)
		}
	}
	for _, f := range s.findings {
		if f.root {
			visit(f.addr, true)
		}
	}
	return queried, unqueried
}

// conclude calls f with the response of each server once, and returns the errors of the others.
func (s *survey) conclude(f func([]string) error) error {
	var unseen, hidden, root error
	answered, refused := 0, 0
	var known []place
	take := func(r *finding) {
		known = append(known, r.place)
		err := r.err
		if err == nil {
			err = f(r.data)
		}
		if err == nil {
			answered++
			return
		}
		if no, ok := errors.AsType[*ServerError](err); ok && no.Command == s.command[0] {
			refused++
		}
		if r.root {
			root = err
		}
		unseen = errors.Join(unseen, err)
	}
	if s.q.nodes.cluster == nil {
		queried, unqueried := s.chain()
		for _, p := range unqueried {
			unseen = errors.Join(unseen, fmt.Errorf("redis %s: too many levels of replicas", p.addr))
		}
		for _, r := range queried {
			if r.duplicate || s.q.hidden(r) {
				known = append(known, r.place)
			} else {
				take(r)
			}
		}
	} else if members, err := s.members(); len(members) == 0 {
		for _, r := range s.findings {
			take(r)
		}
		if no, ok := errors.AsType[*ServerError](err); ok && no.Code() == "NOPERM" {
			hidden = err // without the nodes' lists only the client's masters are known
		}
	} else {
		for id, n := range members {
			r := s.seen(id, n.addr)
			if r == nil {
				r = s.findings[n.addr]
			}
			switch {
			case r == nil:
				r = &finding{place: place{n.addr, s.options(n.addr), false}, err: fmt.Errorf("redis %s: found after the last round of queries", n.addr)}
			case r.err == nil && r.id != "" && r.id != id:
				r = &finding{place: r.place, err: fmt.Errorf("redis %s: another node of the cluster responds at this address", n.addr)}
			case r.err != nil && n.failed && errors.Is(r.err, syscall.ECONNREFUSED):
				known = append(known, r.place)
				continue // it is not running, so it has no subscribers
			}
			take(r)
		}
	}
	s.q.remember(known, s.q.nodes.cluster == nil || s.views > 0)
	unseen = errors.Join(unseen, hidden)
	switch {
	case unseen == nil:
		return nil
	case root != nil && refused == 0:
		return root
	case answered > 0:
		return &partError{unseen}
	case refused > 0:
		return &broker.InexactError{Err: unseen}
	}
	return unseen
}
