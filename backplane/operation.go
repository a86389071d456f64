package backplane

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/errorlog"
	"github.com/crossroom/crossroom/internal/wire"
)

// Operations is a set of kinds of messages of other nodes, for Options.Unsigned and NamespaceOptions.Refuse.
type Operations uint16

const (
	// Broadcasts deliver messages to members.
	Broadcasts Operations = 1 << iota
	// AckBroadcasts deliver messages that members acknowledge.
	AckBroadcasts
	// Queries list members and rooms.
	Queries
	// Joins put members into rooms.
	Joins
	// Leaves take members out of rooms.
	Leaves
	// Disconnects disconnect members.
	Disconnects
	// Requests call OnRequest. In package adapter these are custom requests.
	Requests
	// Events call OnEvent. In package adapter these are server-side emits.
	Events
	// Responses are those to requests of this node. NamespaceOptions.Refuse does not refuse them.
	Responses

	// AllOperations are all of these.
	AllOperations = Broadcasts | AckBroadcasts | Queries | Joins | Leaves | Disconnects | Requests | Events | Responses
)

var operationNames = [...]string{"broadcasts", "ack-broadcasts", "queries", "joins", "leaves", "disconnects", "requests", "events", "responses"}

// String returns the names of the kinds, separated by commas, or "none".
func (o Operations) String() string {
	var names []string
	for i, name := range operationNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if o&^AllOperations != 0 {
		names = append(names, "unknown")
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

var operationKinds = [...]Operations{
	wire.OpMembers: Queries, wire.OpRoomsOf: Queries, wire.OpRooms: Queries, wire.OpJoin: Joins, wire.OpLeave: Leaves,
	wire.OpDisconnect: Disconnects, wire.OpCustom: Requests, wire.OpEvent: Events, wire.OpBroadcast: AckBroadcasts,
}

// kindOf returns the kind of a request; zero for one that does not exist.
func kindOf(op wire.Op) Operations {
	if int(op) < len(operationKinds) {
		return operationKinds[op]
	}
	return 0
}

// Operation is a message of another node that is about to be carried out here. It is valid during the call of
// NamespaceOptions.OnOperation, with its slices.
type Operation struct {
	// Kind is one of the constants.
	Kind      Operations
	Namespace string
	// Origin is the id of the node that sent it, as the message says; empty if it does not, as from Node.js servers
	// before 7. A process that may publish on the broker can write any id. With Options.Keys only a process with a key
	// can, unless Options.Unsigned has the kind, or UnsignedNodes is set.
	Origin string
	// Rooms, InAll and Except select members, like To, Target.InAll and Target.Except; all members if the three are
	// empty. If Member is set, the operation is on that member alone.
	Rooms, InAll, Except []string
	Member               string
	// Targets are the rooms of Joins and Leaves.
	Targets []string
	// Close of Disconnects: connections are closed too.
	Close bool
	// Reason of Disconnects; empty if there is none.
	Reason string
	// Payload of the other kinds.
	Payload []byte
}

// refusedBroadcast reports whether a broadcast is not to be delivered.
func (a *arrivals) refusedBroadcast(ch broker.Channel, b *wire.Broadcast) bool {
	ns := a.ns
	if ns.opts.Refuse&Broadcasts == 0 && ns.opts.OnOperation == nil {
		return false
	}
	op := Operation{Kind: Broadcasts, Namespace: ns.name, Origin: b.Origin, Rooms: b.Rooms, InAll: b.All, Except: b.Except, Payload: b.Payload}
	err := ns.admit(&op)
	if err == nil {
		return false
	}
	n := ns.node
	n.monitor.RefusedBroadcasts.Add(1)
	n.monitor.Report(&OpError{Op: "broadcast", Namespace: ns.name, Name: strings.Clone(b.Origin), Err: err})
	a.drop(ch, observe.DropRefused, nil)
	return true
}

// refusedRequest reports whether a request is not to be carried out. It has been answered then, if the requester
// waits, and its form has a place for an error.
func (a *arrivals) refusedRequest(r *wire.Request, size int) bool {
	ns, kind := a.ns, kindOf(r.Op)
	if kind == 0 {
		return false
	}
	member := ""
	if r.ByID || r.Op == wire.OpRoomsOf {
		member = r.Member
		if _, here := ns.rooms.Member(member); !here {
			return false // it is no operation on this node
		}
	}
	op := Operation{
		Kind: kind, Namespace: ns.name, Origin: r.Origin, Rooms: r.Rooms, InAll: r.All, Except: r.Except, Member: member,
		Targets: r.Targets, Close: r.Close, Payload: r.Payload,
	}
	if kind == Disconnects {
		op.Reason = wire.ReasonOf(r.Header)
	}
	err := ns.admit(&op)
	if err != nil {
		ns.desk.Refuse(ns.desk.Begin(r, size), err)
	} else if kind&(Joins|Leaves|Disconnects) != 0 {
		ns.log(&op)
	}
	return err != nil
}

// admit returns why an operation is refused; nil if it is not.
func (ns *Namespace) admit(op *Operation) (err error) {
	if ns.opts.Refuse&op.Kind != 0 {
		return ErrRefused
	}
	if ns.opts.OnOperation == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %w", ErrRefused, ns.node.monitor.Panicked("OnOperation", "", v))
		}
	}()
	if err := ns.opts.OnOperation(op); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// log logs an operation that changes members: disconnects at level info, others at level debug. Lines of one kind become
// few by the rule for errors.
func (ns *Namespace) log(op *Operation) {
	kind := op.Kind.String()
	note := &errorlog.Note{
		Level: slog.LevelDebug, Text: "another node changes members", Cause: kind + " " + ns.name,
		Attrs: []slog.Attr{
			slog.String("operation", kind), slog.String("namespace", errorlog.Printable(ns.name, 100)),
			slog.String("origin", errorlog.Printable(op.Origin, 128)),
		},
	}
	if op.Kind == Disconnects {
		note.Level = slog.LevelInfo
	}
	if op.Member != "" {
		note.Attrs = append(note.Attrs, slog.String("member", errorlog.Printable(op.Member, 100)))
	} else {
		note.Attrs = append(note.Attrs, slog.Int("rooms", len(op.Rooms)), slog.Int("inAll", len(op.InAll)), slog.Int("except", len(op.Except)), slog.Int("members", ns.rooms.Len()))
	}
	if op.Reason != "" {
		note.Attrs = append(note.Attrs, slog.String("reason", errorlog.Printable(op.Reason, 100)))
	}
	if ns.extra.Note != nil {
		ns.extra.Note(note)
	} else {
		ns.node.monitor.Report(note)
	}
}
