package backplane

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/interest"
	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/backplane/internal/serve"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Namespace is a node's part of one namespace: its local members, and the methods that reach all others. All methods
// are safe for concurrent use.
type Namespace struct {
	node     *Node
	name     string
	codec    wire.Codec
	protocol broker.Protocol
	rooms    *rooms.Registry[Member]
	opts     NamespaceOptions
	extra    wire.Options // options of package adapter

	seq      atomic.Uint64
	_        [64]byte // senders and receivers do not share a cache line
	inbound  arrivals
	sub      broker.Subscription
	interest *interest.Set  // which broadcasts sub brings
	workers  sync.WaitGroup // inbound workers, requests being served, that of interest
	desk     *serve.Desk[Member]
	ctx      context.Context
	cancel   context.CancelFunc // called by Close
	closing  atomic.Bool
	// duplicated is when a duplicate member was last reported.
	duplicated atomic.Pointer[time.Time]
	requests   *request.Table
}

func newNamespace(n *Node, name string, opts *NamespaceOptions, extra *wire.Options) *Namespace {
	ns := &Namespace{node: n, name: name}
	if opts != nil {
		ns.opts = *opts
	}
	if extra != nil {
		ns.extra = *extra
	}
	if ns.codec = ns.extra.Codec; ns.codec == nil {
		ns.codec = nativeCodec{}
	}
	if shared, ok := ns.extra.Rooms.(*rooms.Registry[Member]); ok {
		ns.rooms = shared
	} else {
		ns.rooms = rooms.New[Member]()
	}
	ns.protocol = ns.codec.Protocol()
	ns.ctx, ns.cancel = context.WithCancel(context.Background())
	ns.requests = request.NewTable(request.Options{
		Name: name, Node: n.id, Codec: ns.codec, Broker: n.broker, Members: n.members, Timeout: n.opts.RequestsTimeout,
	})
	ns.inbound.init(ns)
	ns.interest = interest.New(ns.interestOptions())
	ns.desk = serve.New(serve.Options[Member]{
		Namespace: name, Node: n.id, Codec: ns.codec, Broker: n.broker, Rooms: ns.rooms, Interest: ns.interest, Monitor: &n.monitor,
		Timeout: n.opts.RequestsTimeout, StallTimeout: n.opts.StallTimeout, Context: ns.ctx, Workers: &ns.workers, Budget: n.budget,
		OnRequest: ns.opts.OnRequest, OnEvent: ns.opts.OnEvent, Busy: ErrBusy, Failed: ns.notServed, Lost: ns.lost, Stalled: ns.stalled, Oversized: ns.oversized,
		Left: func(node string) bool { return n.members.Departed(node, ns.key()) },
	})
	return ns
}

func (ns *Namespace) start(ctx context.Context) error {
	ns.inbound.queue.Start()
	if !ns.extra.Shared {
		ns.rooms.Watch(ns.interest.Left)
		if ns.node.monitor.Observers.Change != nil {
			ns.rooms.WatchChanges(ns.roomChanged)
		}
	}
	sub, err := ns.node.broker.Subscribe(ctx, &ns.inbound.queue, append(ns.interest.Filters(),
		broker.Exactly(ns.protocol.Requests(ns.name)),
		broker.Exactly(ns.protocol.Responses(ns.name)),
		broker.Exactly(ns.protocol.NodeResponses(ns.name, ns.node.id)))...)
	if err != nil {
		ns.stop()
		return err
	}
	ns.sub = sub
	ns.interest.Start(ns.ctx, sub)
	return nil
}

// stop undoes start, except for the subscription.
func (ns *Namespace) stop() {
	ns.closing.Store(true)
	ns.interest.Close()
	ns.cancel()
	ns.inbound.queue.Close()
	ns.workers.Wait()
}

// abandon undoes start.
func (ns *Namespace) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), ns.node.opts.RequestsTimeout)
	defer cancel()
	_ = ns.sub.Close(ctx) // the caller has an error already
	ns.stop()
}

// failed returns err with a text that begins with the package that opened the namespace.
func (ns *Namespace) failed(err error) error {
	if ns.extra.Codec != nil {
		return fromAdapter(err)
	}
	return err
}

// notServed returns the error that reports why a request is not carried out, or its response is incomplete.
func (ns *Namespace) notServed(r *wire.Request, err error) error {
	return &OpError{Op: "respond to " + r.Op.String(), Namespace: ns.name, Name: r.Origin, Err: err}
}

// oversized reports a member that says too much of itself.
func (ns *Namespace) oversized(member string, size int) {
	err := &broker.PayloadError{Size: size, Max: MaxDescription}
	ns.node.monitor.Report(&OpError{Op: "describe", Namespace: ns.name, Name: member, Err: err})
}

// key is the namespace's key in membership.
func (ns *Namespace) key() membership.Namespace {
	return membership.Namespace{Protocol: ns.protocol, Name: ns.name}
}

// Name returns the namespace's name.
func (ns *Namespace) Name() string { return ns.name }

// Protocol returns the protocol of the namespace's channels.
func (ns *Namespace) Protocol() broker.Protocol { return ns.protocol }

// Node returns the node.
func (ns *Namespace) Node() *Node { return ns.node }

// Member returns the member of this node with that id.
func (ns *Namespace) Member(id string) (Member, bool) { return ns.rooms.Member(id) }

// Len returns the number of members of this node.
func (ns *Namespace) Len() int { return ns.rooms.Len() }

// LocalRooms returns the rooms that have local members, including those named by members' ids, in no order. The caller
// owns the slice. AllRooms queries the fleet.
func (ns *Namespace) LocalRooms() []string { return ns.rooms.Names() }

// LocalRoomsOf returns the rooms of a local member, its own id's first, and false if this node does not have the
// member. The caller owns the slice. RoomsOf queries the fleet.
func (ns *Namespace) LocalRoomsOf(id string) ([]string, bool) { return ns.rooms.RoomsOf(id) }

// Close leaves the namespace. The members are not disconnected; they stay registered, but receive nothing more. Pending
// requests end with a *PartialError that wraps ErrClosed. Close takes as long as Node.Close, which section "The end" of
// the package documentation describes. When ctx ends first, Close stops waiting and returns the context's error. It is
// idempotent. Afterwards Node.Namespace can open a namespace of that name again, without members.
func (ns *Namespace) Close(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	ns.node.forget(ns, true)
	return ns.shut(ctx)
}

func (ns *Namespace) shut(ctx context.Context) error {
	ns.node.forget(ns, false)
	first := !ns.closing.Swap(true)
	var err error
	if first {
		ns.requests.Fail(ErrClosed)
		ns.interest.Close()
		err = ns.drain(ctx)
		ns.cancel()
	}
	if werr := wait(ctx, &ns.workers); werr != nil {
		return werr
	}
	return err
}

// shutAll closes namespaces concurrently.
func shutAll(ctx context.Context, all []*Namespace) []error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, ns := range all {
		wg.Go(func() { errs[i] = ns.shut(ctx) })
	}
	wg.Wait()
	return errs
}

// ready returns the error of an ended context or a closed namespace.
func (ns *Namespace) ready(ctx context.Context) error {
	if err := wire.ContextErr(ctx); err != nil {
		return err
	}
	if ns.closing.Load() {
		return ErrClosed
	}
	return nil
}

// Add registers a local member, in no room except that of its id. In dynamic mode it waits until the broker has
// subscribed to that room. It returns, without effect, a *NameError for a nil member, and for an empty or unusable id;
// an *OpError with ErrMemberExists if the id is taken on this node, or with the reason if the room cannot be subscribed
// to; ErrClosed; or the context's error if it had ended before the call. It does not check whether another node has the
// same id.
func (ns *Namespace) Add(ctx context.Context, m Member) error {
	if err := ns.ready(ctx); err != nil {
		return err
	}
	id, err := checkID(m)
	if err != nil {
		return ns.failed(err)
	}
	added := false
	if _, exists := ns.rooms.Member(id); !exists {
		if err := ns.enter(ctx, "add", id, []string{id}, func() { added = ns.rooms.Add(m, id) }); err != nil {
			return err
		}
	}
	if !added {
		return ns.failed(&OpError{Op: "add", Namespace: ns.name, Name: id, Err: ErrMemberExists})
	}
	return nil
}

// enterable refuses rooms that a member may not enter. id is empty for several members.
func (ns *Namespace) enterable(id string, rooms []string) error {
	if err := checkNames("room", rooms); err != nil {
		return err
	}
	return ns.open(id, rooms)
}

// open refuses rooms of other members' ids.
func (ns *Namespace) open(id string, rooms []string) error {
	if ns.opts.IsID == nil {
		return nil
	}
	for _, room := range rooms {
		if room != id && ns.isID(room) {
			return &NameError{What: "room", Name: room, Reason: "is another member's id"}
		}
	}
	return nil
}

// isID calls NamespaceOptions.IsID. If it panics, the room stays closed.
func (ns *Namespace) isID(room string) (is bool) {
	is = true
	defer ns.recovered("IsID")
	return ns.opts.IsID(room)
}

// LocalMembers iterates over the members of this node that t selects, in no order. They are a snapshot of the moment at
// which the loop begins: members may be removed meanwhile. No lock is held while the loop runs. A Target that is Remote
// has none.
func (ns *Namespace) LocalMembers(t Target) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		if t.sel.RemoteOnly || t.sel.Nobody() {
			return
		}
		var d selection
		d.Find(ns.rooms, filterOf(t.sel.Rooms, t.sel.All, t.sel.Except))
		for _, e := range d.List {
			if !e.Gone() && !yield(e.Member) {
				return
			}
		}
	}
}

// Remove removes a local member and reports whether it existed. It does no I/O, and does not call the member. A message
// that is being delivered at this moment may still reach it.
func (ns *Namespace) Remove(id string) bool { return ns.rooms.Remove(id) }
