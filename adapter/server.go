package adapter

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/errorlog"
	"github.com/crossroom/crossroom/internal/wire"
)

// Server is one node of a Socket.IO fleet: its namespaces with their sockets. All methods are safe for concurrent use.
type Server struct {
	opts    Options
	uid     string
	links   []*link
	reports reporter
	bridged atomic.Uint64
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	watcher sync.WaitGroup

	mu         sync.Mutex
	namespaces map[string]*opening
	watched    bool // watch is running
	closed     bool
}

// opening is a namespace that is being opened. Once done is closed, it is open, has failed to open, or has been left.
type opening struct {
	done chan struct{}
	ns   *Namespace
	err  error
}

// isDone reports whether ns and err are final.
func (o *opening) isDone() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// New makes a server on a broker of its own. It does no I/O. It returns a *backplane.OptionError. For a broker that
// another server of this process uses, the first call of Of returns the *backplane.OptionError.
func New(b broker.Broker, opts *Options) (*Server, error) {
	o := opts.withDefaults()
	if err := o.validate(b); err != nil {
		return nil, err
	}
	s := &Server{opts: o, namespaces: map[string]*opening{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.reports.start(errorlog.New("adapter", o.Logger, o.onError(), wire.PanicStack))
	links := o.links(b)
	keys := linkKeys(links)
	for i, l := range links {
		lk := &link{index: i, key: keys[i], broker: l.Broker, dialect: l.Dialect, timeout: o.RequestsTimeout, beat: o.heartbeat()}
		core := &backplane.Options{
			ID: s.uid, Name: o.Name, Observers: o.Observers, RequestsTimeout: o.RequestsTimeout,
			Heartbeat: o.Heartbeat, PeerTimeout: o.PeerTimeout, StallTimeout: o.StallTimeout,
			OnErrorContext: s.reportFrom(lk), Keys: o.Keys, Unsigned: o.Unsigned, UnsignedNodes: o.UnsignedNodes,
		}
		if s.uid != "" {
			core.Name = "" // the same node on one more link
		}
		on := l.Broker
		if l.Dialect >= Sharded {
			on = shardLayout{on}
		}
		node, err := backplane.New(on, core)
		if err != nil {
			return nil, multilink.First(wire.FromAdapter(err), s.Close(context.Background()))
		}
		lk.node, lk.door, s.uid = node, wire.NodeOf(node), node.ID()
		lk.door.Notes(s.noteFrom(lk))
		s.links = append(s.links, lk)
	}
	return s, nil
}

// reportFrom returns the core's OnError for a link.
func (s *Server) reportFrom(l *link) func(context.Context, error) {
	return func(ctx context.Context, err error) {
		_, interrupted := err.(*backplane.InterruptedError)
		_, lost := err.(*broker.LossError)
		if err = wire.FromAdapter(err); len(s.opts.Links) > 0 {
			err = &LinkError{Prefix: l.key, Err: err}
		}
		s.reports.pass(ctx, err, interrupted || lost)
	}
}

// noteFrom returns the function for the core's lines about outages of a link.
func (s *Server) noteFrom(l *link) func(error) {
	return func(note error) {
		if n := note.(*errorlog.Note); len(s.opts.Links) > 0 {
			n.Cause += " " + l.key
			n.Attrs = append(n.Attrs, slog.String("link", errorlog.Printable(l.key, 300)))
		}
		s.report(note)
	}
}

func (s *Server) report(err error) { s.reports.report(context.Background(), err) }

// reportIn is report for an operation in a context.
func (s *Server) reportIn(ctx context.Context, err error) { s.reports.report(ctx, err) }

// UID returns this server's id on the wire and in Coverage and Peers. It is unique and the same on all links.
func (s *Server) UID() string { return s.uid }

// Broker returns the broker given to New.
func (s *Server) Broker() broker.Broker { return s.links[0].broker }

// Links returns all brokers in use with their dialects, the one given to New first.
func (s *Server) Links() []Link {
	all := make([]Link, len(s.links))
	for i, l := range s.links {
		all[i] = Link{Broker: l.broker, Dialect: l.dialect}
	}
	return all
}

// NodeName returns the readable part of a server's uid in Coverage, Peers and RemoteSocket: the Options.Name of that
// server, or the name of its host. It returns "" for a uid without such a part.
func NodeName(uid string) string {
	name, _, found := strings.Cut(uid, "~")
	if !found {
		return ""
	}
	return name
}

// Prefix returns the prefix of the channel names (socket.io-redis calls it key) on
// the broker given to New; empty if it has none.
func (s *Server) Prefix() string { return s.Broker().Capabilities().Prefix }

// RequestsTimeout returns how long a request to the fleet waits for responses.
func (s *Server) RequestsTimeout() time.Duration { return s.opts.RequestsTimeout }

// Of returns a namespace. It is live: later messages of other nodes arrive, until a reported interruption. The first
// call opens it; later calls return the same value, until it is closed. Like in Socket.IO, "chat" is "/chat", and "" is
// "/".
//
// If an outage has interrupted a namespace of this server, the first call waits for the end of the outage. Otherwise,
// such as for the first namespace, it may return the failure of one attempt to connect: call it again. In dialect v5 Of
// also finds out whether newer servers are connected, which takes a RequestsTimeout if they are. In dialect v6 it
// probes the versions of servers without a response channel of their own, for at most half of RequestsTimeout. On a
// broker that cannot count, the first call also waits until this server and the others know each other, for at most 250
// ms, or a quarter of RequestsTimeout if that is shorter. The first server of a fleet waits for this whole time.
//
// It returns a *broker.NameError or *backplane.NameError for an unusable name, such as one with a comma, a
// *broker.PayloadError for one that is too long for a message of the broker, a *backplane.OptionError for a broker that
// another server uses, a mode that the broker does not have or an unknown operation in the result of Refuse,
// backplane.ErrClosed, and the broker's or the context's error. After the last two the next call tries again.
func (s *Server) Of(ctx context.Context, name string) (*Namespace, error) {
	if s.namespaces == nil {
		return nil, errNoServer
	}
	if err := wire.ContextErr(ctx); err != nil {
		return nil, err
	}
	name = rooted(name)
	if err := checkNamespace(name); err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, backplane.ErrClosed
		}
		o, found := s.namespaces[name]
		if !found {
			if !s.watched {
				s.watched = true
				s.watcher.Go(s.watch)
			}
			o = &opening{done: make(chan struct{})}
			s.namespaces[name] = o
			s.mu.Unlock()
			return s.open(ctx, name, o)
		}
		s.mu.Unlock()
		select {
		case <-o.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if o.err == nil {
			return o.ns, nil
		}
		// The call that opened it may have had less time, so continue where it stopped.
		s.mu.Lock()
		if s.namespaces[name] == o {
			s.namespaces[name] = &opening{done: make(chan struct{}), ns: o.ns}
			o = s.namespaces[name]
			s.mu.Unlock()
			return s.open(ctx, name, o)
		}
		s.mu.Unlock()
	}
}

// open opens o's namespace, or continues to open it.
func (s *Server) open(ctx context.Context, name string, o *opening) (*Namespace, error) {
	if o.ns == nil {
		o.ns = newNamespace(s, name)
	}
	o.err = o.ns.open(ctx)
	s.mu.Lock()
	late := s.closed // Close did not wait for this
	if late && o.err == nil {
		o.err = backplane.ErrClosed
	}
	o.ns.live.Store(o.err == nil)
	o.ns.shared.SetLive(o.err == nil)
	close(o.done)
	if o.err != nil && s.namespaces[name] == o && !o.ns.begun() {
		delete(s.namespaces, name) // names may come from clients
	}
	s.mu.Unlock()
	if late {
		o.ns.shared.Close(s.ctx)
	}
	if o.err != nil {
		return nil, o.err
	}
	return o.ns, nil
}

// leave removes an open namespace from the list. Until the returned function is called, calls of Of with its name
// wait.
func (s *Server) leave(ns *Namespace) (left func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.namespaces[ns.name]
	if o == nil || !o.isDone() || o.ns != ns {
		return func() {} // it was closed before
	}
	o = &opening{done: make(chan struct{}), err: backplane.ErrClosed}
	s.namespaces[ns.name] = o
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.namespaces, ns.name)
		close(o.done)
	}
}

// Stats are the counters of a server since New.
type Stats struct {
	// Links has the counters of each link, in the order of Server.Links.
	Links []observe.Stats
	// Unreported counts errors for which OnError was too slow, or on which it panicked. It includes those of Links.
	Unreported uint64
	// Bridged counts broadcasts forwarded to another link, in all namespaces.
	Bridged uint64
}

// Stats returns the counters of the server. The brokers have counters of their own.
func (s *Server) Stats() Stats {
	st := Stats{Unreported: s.reports.lost.Load(), Bridged: s.bridged.Load()}
	for _, l := range s.links {
		core := l.node.Stats()
		st.Links = append(st.Links, core)
		st.Unreported += core.Unreported
	}
	return st
}

// Close sends a goodbye to the other nodes, closes all namespaces and waits for running calls and callbacks, until ctx
// ends. Section "The end" of package backplane says how long that takes. The context's error is its only one. It neither
// disconnects sockets nor closes brokers: disconnect the sockets first, and close the brokers of all links afterwards.
// It is idempotent; a second call waits for the first. After Close every operation that needs the fleet returns
// backplane.ErrClosed; methods about local state still work.
//
// Close waits for callbacks of all kinds, including OnError. A callback that calls it waits for itself, until ctx
// ends: call it on another goroutine there.
func (s *Server) Close(ctx context.Context) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	s.mu.Lock()
	s.closed = true
	s.cancel()
	all := s.opened()
	s.mu.Unlock()
	for _, ns := range all {
		ns.shared.Close(ctx)
	}
	s.watcher.Wait() // at once: its waits end with s.ctx
	errs := multilink.Each(s.links, func(l *link) error { return l.node.Close(ctx) })
	return multilink.First(append(errs, s.reports.close(ctx))...)
}

// opened lists the namespaces that are open, or were opened in part. The caller holds s.mu.
func (s *Server) opened() (all []*Namespace) {
	for _, o := range s.namespaces {
		if o.isDone() { // if s is closed, the calls of Of for the others will fail
			all = append(all, o.ns)
		}
	}
	return all
}

// watch checks the generations at intervals, until Close.
func (s *Server) watch() {
	beat := s.opts.Heartbeat
	if beat <= 0 {
		beat = time.Second
	}
	tick := time.NewTicker(2 * beat)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		all := s.opened()
		s.mu.Unlock()
		for _, ns := range all {
			if !ns.live.Load() {
				continue // still being opened
			}
			for _, l := range ns.legs {
				l.look(s.ctx, ns.name, s.report)
			}
		}
	}
}
