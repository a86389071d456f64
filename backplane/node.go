package backplane

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/backplane/internal/serve"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Node is one server of a fleet: its namespaces, and its knowledge of the other nodes. All methods are safe for
// concurrent use.
type Node struct {
	id       string
	since    time.Time
	given    broker.Broker // to New
	broker   broker.Broker // the same, or one that signs
	limit    int           // largest payload; 0: no limit
	caps     broker.Capabilities
	opts     Options
	monitor  monitor.Monitor
	members  *membership.Membership
	guard    *guard // nil: nothing is verified
	stopLoss func()
	health   health
	draining atomic.Bool // Drain has been called

	// startMu guards starting and closing, and is held during calls of the broker. mu guards the fields below it and
	// is not.
	startMu chan struct{}
	started bool
	workers sync.WaitGroup
	stop    chan struct{}

	// life ends when Close begins. After that the node announces nothing but its goodbye, and a namespace being
	// started is given up.
	life context.Context
	die  context.CancelFunc

	mu         sync.Mutex
	closed     bool
	namespaces map[membership.Namespace]*Namespace

	budget *serve.Budget // of answers
}

// New makes a node on a broker that no other node may use: Node.Namespace checks that within the process. New does no
// I/O. It copies opts; nil means all defaults. The caller closes the broker, after the node. The error is an
// *OptionError, also for a nil broker.
func New(b broker.Broker, opts *Options) (*Node, error) {
	if wire.IsNil(b) {
		return nil, &OptionError{Option: "Broker", Reason: "nil"}
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{
		id:         o.ID,
		since:      time.Now(),
		given:      b,
		broker:     b,
		opts:       o,
		startMu:    make(chan struct{}, 1),
		stop:       make(chan struct{}),
		namespaces: make(map[membership.Namespace]*Namespace),
		budget:     serve.NewBudget(),
	}
	n.sign()
	n.caps = n.broker.Capabilities()
	n.life, n.die = context.WithCancel(context.Background())
	n.limit = n.caps.MaxPayload
	if n.id == "" {
		n.id = randomID()
		if o.Name != "" {
			n.id = o.Name + "~" + n.id
		}
	}
	if !n.monitor.Init(monitor.Options{
		Node: n.id, Broker: b, Observers: o.Observers, OnError: o.onError(), Logger: o.Logger, Panic: newPanicError, Stack: panicStack, Cause: causeOf, Merge: merged, Folded: foldedError,
	}) {
		return nil, &OptionError{Option: "Observers", Reason: "one is nil"}
	}
	verify := n.verifiedControl
	if n.guard == nil {
		verify = nil
	}
	n.health.outage.log = n.monitor.Report
	n.members = membership.New(membership.Options{
		Broker: n.broker, Verify: verify, ID: n.id, Since: n.since, Life: n.life,
		Heartbeat: o.Heartbeat, PeerTimeout: o.PeerTimeout, RequestsTimeout: o.RequestsTimeout,
		NoteArrivals: n.monitor.Observers.Node != nil, Events: nodeEvents{n}, Changed: n.peerChanged(),
	})
	return n, nil
}

// randomID returns 19 letters and digits: 95 bits.
func randomID() string { return rand.Text()[:19] }

// ID returns the node's id, unique in the fleet.
func (n *Node) ID() string { return n.id }

// Broker returns the broker given to New.
func (n *Node) Broker() broker.Broker { return n.given }

// Stats returns what the node has counted since New.
func (n *Node) Stats() observe.Stats { return n.monitor.Stats() }

// Namespace joins the fleet in a namespace. When it returns nil, the namespace is live: it receives later messages of
// other nodes, until a reported interruption. ctx limits only the call. If an outage has interrupted a namespace of
// this node, the call waits for the end of the outage. Otherwise, such as for the first namespace, it may return the
// failure of one attempt to connect: call it again. Calls of one node run one at a time. An error leaves nothing
// behind. It is ErrClosed, an *OptionError, the context's error, or an *OpError. The *OptionError is also the error if
// another node of this process has opened a namespace on the broker and is not closed. The *OpError wraps
// ErrNamespaceExists if this node already has the namespace, a *broker.NameError, a *broker.PayloadError if the
// announcement is too large for the broker, or another error of the broker.
//
// On a broker that cannot count, or may not, the call also waits until this node and the others know each other: at
// most 250 ms, or a quarter of Options.RequestsTimeout if that is shorter. The first node of a fleet waits for this
// whole time.
func (n *Node) Namespace(ctx context.Context, name string, opts *NamespaceOptions) (*Namespace, error) {
	return n.namespace(ctx, name, opts, nil)
}

func (n *Node) namespace(ctx context.Context, name string, opts *NamespaceOptions, extra *wire.Options) (*Namespace, error) {
	ns, revision, err := n.open(ctx, name, opts, extra)
	if err != nil {
		return nil, err
	}
	n.members.Meet(ctx, revision)
	return ns, nil
}

// open is Namespace, except that it does not wait for other nodes. It returns the first revision of the list that has
// the namespace.
func (n *Node) open(ctx context.Context, name string, opts *NamespaceOptions, extra *wire.Options) (*Namespace, uint64, error) {
	if err := n.lock(ctx); err != nil {
		return nil, 0, err
	}
	defer n.unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	ns := newNamespace(n, name, opts, extra)
	if err := opts.check(n.caps); err != nil {
		return nil, 0, ns.failed(err)
	}
	key := ns.key()
	if !n.started {
		if err := n.claim(); err != nil {
			return nil, 0, ns.failed(err)
		}
		defer func() {
			if !n.started {
				n.unclaim()
			}
		}()
	}
	n.mu.Lock()
	closed, exists := n.closed, n.namespaces[key] != nil
	n.mu.Unlock()
	switch {
	case closed:
		return nil, 0, ErrClosed
	case exists:
		return nil, 0, ns.failed(&OpError{Op: "open", Namespace: name, Err: ErrNamespaceExists})
	}
	err := n.members.Announceable(key, ns.codec.Hello())
	if err == nil {
		err = ns.start(ctx)
	}
	if err == nil {
		if err = n.start(ctx); err != nil {
			ns.abandon()
		}
	}
	switch {
	case err == nil:
	case n.life.Err() != nil:
		return nil, 0, ErrClosed
	case errors.Is(err, ctx.Err()):
		return nil, 0, err
	default:
		return nil, 0, ns.failed(&OpError{Op: "open", Namespace: name, Err: err})
	}
	n.mu.Lock()
	n.namespaces[key] = ns
	revision := n.members.Open(key, ns.codec.Hello())
	n.mu.Unlock()
	n.health.changed()
	return ns, revision, nil
}

// start starts the node's goroutines, with its first namespace.
func (n *Node) start(ctx context.Context) error {
	if n.started {
		return nil
	}
	if err := n.members.Start(ctx, &n.workers); err != nil {
		return err
	}
	n.started = true
	n.stopLoss = n.broker.OnLoss(func(l broker.Loss) {
		n.health.lost(l)
		n.monitor.Report(&broker.LossError{Loss: l})
	})
	n.workers.Go(n.monitor.Run)
	if n.monitor.Observers.Change != nil {
		n.workers.Go(n.monitor.RunChanges)
	}
	if o := n.monitor.Observers.Node; o != nil {
		n.monitor.Observed("NodeStart", func() { o.NodeStart(observedNode{n}) })
	}
	return nil
}

// Close sends a goodbye to the fleet, closes the namespaces and waits for the node's goroutines and callbacks. When
// ctx ends first, Close stops waiting and returns the context's error, its only one. Members are not disconnected, and
// the broker stays open: close it next. Section "The end" of the package documentation says how long Close takes. Close
// is idempotent; a second call waits for the first.
func (n *Node) Close(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	n.mu.Lock()
	again := n.closed
	n.closed = true
	n.mu.Unlock()
	n.die()
	if again {
		if err := n.lock(ctx); err != nil {
			return err
		}
		n.unlock()
		return nil
	}
	// Lock it also with an ended context, because otherwise nothing could be closed at once. A namespace being started
	// gives up now.
	n.startMu <- struct{}{}
	defer n.unlock()
	if !n.started {
		return nil
	}
	defer n.unclaim()
	n.health.quiet()
	all := n.live()
	var errs []error
	n.members.Goodbye(ctx)
	errs = append(errs, shutAll(ctx, all)...)
	errs = append(errs, n.members.Close(ctx))
	close(n.stop)
	n.stopLoss()
	if o := n.monitor.Observers.Node; o != nil {
		n.monitor.Observed("NodeEnd", func() { o.NodeEnd(observedNode{n}) })
	}
	n.monitor.Close()
	errs = append(errs, wait(ctx, &n.workers))
	// The broker's losses, or that it is closed already, are not errors of this node.
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) })
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// Namespaces returns the names of the node's namespaces, sorted.
func (n *Node) Namespaces() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := make([]string, 0, len(n.namespaces))
	for k := range n.namespaces {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}

// forget removes a closed namespace from the list. If now is set, other nodes are notified at once, not by the
// goodbye.
func (n *Node) forget(ns *Namespace, now bool) {
	n.health.resumed(ns.key())
	n.mu.Lock()
	defer n.mu.Unlock()
	if key := ns.key(); n.namespaces[key] == ns {
		delete(n.namespaces, key)
		n.members.Withdraw(key, now)
	}
}

func (n *Node) live() []*Namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*Namespace, 0, len(n.namespaces))
	for _, ns := range n.namespaces {
		all = append(all, ns)
	}
	return all
}

// lock is a mutex whose wait ends with a context.
func (n *Node) lock(ctx context.Context) error {
	if err := wire.ContextErr(ctx); err != nil {
		return err
	}
	select {
	case n.startMu <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) unlock() { <-n.startMu }

// wait waits for wg until ctx ends.
func wait(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { // ends with the last user of wg
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		select {
		case <-done:
			return nil
		default:
			return ctx.Err()
		}
	}
}
