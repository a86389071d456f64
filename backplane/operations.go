package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/internal/wire"
)

// Every method in this file sends a request to the whole fleet. Section "Requests" of the package documentation
// describes their common contract.

// Result has the responses of the whole fleet to a query or a request.
type Result[T any] struct {
	List []T
	Coverage
}

// MemberInfo describes a member of some node.
type MemberInfo struct {
	ID string
	// Node that has the member; empty if the node did not send its id.
	Node string
	// Rooms of the member, including that of its own id, in no order. Nil unless requested.
	Rooms []string
	// Data is the result of the member's Describe. Nil unless requested, or if the member has none. Read-only.
	Data []byte
}

// Count is a number of members of the whole fleet: of those that are selected, or that an operation changed.
type Count struct {
	// Total is the number on all nodes that sent theirs. The peers in Coverage.Unconfirmed have sent none.
	Total int
	// ByNode has the number of each node by its id, this one included. That of "" is the number of all foreign peers
	// together. A node that is missing has none.
	ByNode map[string]int
	Coverage
}

func (c *Count) add(node string, n int) {
	if c.ByNode == nil {
		c.ByNode = make(map[string]int)
	}
	c.Total += n
	c.ByNode[node] += n
}

// Reply is one node's response to a request of the application.
type Reply struct {
	// Node is empty for a foreign peer.
	Node string
	// Payload is nil if the response has no value. It is a part of the message that the broker delivered: read-only.
	// It may be kept, which keeps the whole message in memory.
	Payload []byte
	// Err is the text of the other node's error: of OnRequest, of a panic of OnEvent, or of a refusal by Refuse or
	// OnOperation. It is empty if there is none.
	Err string
}

// query sends a request to all nodes, with the usual deadline.
func (ns *Namespace) query(ctx context.Context, req *wire.Request, take func(*wire.Response) bool) (Coverage, error) {
	ctx, cancel := ns.deadline(ctx, 0)
	defer cancel()
	return ns.requestAll(ctx, req, take)
}

// Members lists the ids of the members that t selects, with the node of each.
func (ns *Namespace) Members(ctx context.Context, t Target) (*Result[MemberInfo], error) {
	return ns.members(ctx, t, false)
}

// MembersDetail is Members with each member's rooms and data. It waits for the Describe methods of local members, within
// the limits of section "Callbacks" of the package documentation.
func (ns *Namespace) MembersDetail(ctx context.Context, t Target) (*Result[MemberInfo], error) {
	return ns.members(ctx, t, true)
}

func (ns *Namespace) members(ctx context.Context, target Target, detail bool) (*Result[MemberInfo], error) {
	t := &target.sel
	if err := ns.target(ctx, t); err != nil {
		return nil, err
	}
	var m Result[MemberInfo]
	if t.Nobody() {
		return &m, nil
	}
	if !t.RemoteOnly {
		m.List = appendInfo(m.List, ns.desk.Members(filterOf(t.Rooms, t.All, t.Except), detail))
	}
	if t.LocalOnly {
		return &m, nil
	}
	req := &wire.Request{Op: wire.OpMembers, Origin: ns.node.id, Rooms: t.Rooms, All: t.All, Except: t.Except, Detail: detail, Native: true, Header: t.Header}
	var err error
	m.Coverage, err = ns.query(ctx, req, func(r *wire.Response) bool {
		m.List = appendInfo(m.List, membersOf(r))
		return false
	})
	ns.duplicates(m.List)
	return &m, err
}

// membersOf returns the members in a response, as those of its node.
func membersOf(r *wire.Response) []wire.MemberInfo {
	for i := range r.Members {
		r.Members[i].Node = r.Node
	}
	return r.Members
}

// duplicates reports an id that members of two nodes have.
func (ns *Namespace) duplicates(list []MemberInfo) {
	nodes := make(map[string]string, len(list))
	for _, m := range list {
		node, twice := nodes[m.ID]
		if !twice {
			nodes[m.ID] = m.Node
			continue
		}
		if node == m.Node {
			continue
		}
		now := time.Now()
		if last := ns.duplicated.Load(); last != nil && now.Sub(*last) < time.Second {
			return
		}
		ns.duplicated.Store(&now)
		ns.node.monitor.Report(&OpError{Op: wire.OpMembers.String(), Namespace: ns.name, Name: m.ID, Err: ErrDuplicateMember})
		return
	}
}

func appendInfo(list []MemberInfo, infos []wire.MemberInfo) []MemberInfo {
	list = slices.Grow(list, len(infos))
	for _, info := range infos {
		list = append(list, MemberInfo(info))
	}
	return list
}

// Count counts the members that t selects, without listing them: Crossroom nodes respond with a number. Foreign peers
// (Node.js servers) can only list theirs, and are counted by their lists. If nodes are missing, Total is a lower bound,
// and the error is a *[PartialError]: section "Requests" of the package documentation has the other errors. A member
// whose id is on two nodes counts twice.
func (ns *Namespace) Count(ctx context.Context, t Target) (*Count, error) {
	if err := ns.target(ctx, &t.sel); err != nil {
		return nil, err
	}
	var out Count
	s := &t.sel
	if s.Nobody() {
		return &out, nil
	}
	if !s.RemoteOnly {
		out.add(ns.node.id, ns.rooms.Count(filterOf(s.Rooms, s.All, s.Except)))
	}
	if s.LocalOnly {
		return &out, nil
	}
	req := &wire.Request{
		Op: wire.OpMembers, CountOnly: true, Origin: ns.node.id, Rooms: s.Rooms, All: s.All, Except: s.Except, Native: true, Header: s.Header,
	}
	var err error
	out.Coverage, err = ns.query(ctx, req, func(r *wire.Response) bool {
		out.add(r.Node, max(r.Count, 0)+len(r.Members))
		return false
	})
	return &out, err
}

// AllRooms lists all rooms that have members, including those named by members' ids: sorted, each once.
func (ns *Namespace) AllRooms(ctx context.Context) (*Result[string], error) {
	if err := ns.ready(ctx); err != nil {
		return nil, err
	}
	set := make(map[string]struct{})
	for _, name := range ns.rooms.Names() {
		set[name] = struct{}{}
	}
	var l Result[string]
	var err error
	l.Coverage, err = ns.query(ctx, &wire.Request{Op: wire.OpRooms, Origin: ns.node.id, Native: true}, func(r *wire.Response) bool {
		for _, name := range r.Rooms {
			set[name] = struct{}{}
		}
		return false
	})
	l.List = make([]string, 0, len(set))
	for name := range set {
		l.List = append(l.List, name)
	}
	slices.Sort(l.List)
	return &l, err
}

// RoomsOf returns the rooms of one member, on any node. It returns an *OpError with ErrNoSuchMember if every node has
// responded that it does not have the member, an *OpError with a *PartialError if a node that might have it did not
// respond, and a *NameError for an unusable id.
func (ns *Namespace) RoomsOf(ctx context.Context, id string) ([]string, error) {
	if err := ns.ready(ctx); err != nil {
		return nil, err
	}
	if rooms, ok := ns.rooms.RoomsOf(id); ok {
		return rooms, nil
	}
	var rooms []string
	err := ns.onMember(ctx, &wire.Request{Op: wire.OpRoomsOf, Member: id}, func(r *wire.Response) bool {
		// A wire without this request lists the members of the room of that name, which others may have joined.
		for _, m := range r.Members {
			if m.ID == id {
				rooms = m.Rooms
				return true
			}
		}
		rooms = slices.Clone(r.Rooms)
		return !r.NotFound && len(rooms) > 0
	})
	return rooms, err
}

// Join puts a member into rooms, on any node. nil means done: the next messages to the rooms reach the member, except
// those during an interruption. Errors are those of RoomsOf, and a *NameError for an unusable room, or one that
// NamespaceOptions.IsID keeps for another member. For a member of this node Join does no I/O in static mode. In dynamic
// mode it waits until the broker has subscribed to the rooms; an *OpError with the broker's or the context's error
// means that nothing has changed. For a member of another node Join sends one request for each room, with one deadline
// for all: after an error the member may be in some of the rooms. Without rooms Join returns at once, without looking
// for the member.
func (ns *Namespace) Join(ctx context.Context, id string, rooms ...string) error {
	if err := ns.ready(ctx); err != nil {
		return err
	}
	if err := ns.failed(ns.enterable(id, rooms)); err != nil {
		return err
	}
	if len(rooms) == 0 {
		return nil
	}
	if _, here := ns.rooms.Member(id); here {
		err := ns.enter(ctx, "join", id, rooms, func() { here = ns.rooms.Join(id, rooms) })
		if err != nil || here {
			return err
		}
	}
	return ns.onTargets(ctx, &wire.Request{Op: wire.OpJoin, Member: id}, rooms)
}

// Leave takes a member out of rooms, on any node, like Join. For a member of this node it does no I/O.
func (ns *Namespace) Leave(ctx context.Context, id string, rooms ...string) error {
	if err := ns.ready(ctx); err != nil {
		return err
	}
	if err := ns.failed(checkNames("room", rooms)); err != nil {
		return err
	}
	if ns.rooms.Leave(id, rooms) || len(rooms) == 0 {
		return nil
	}
	return ns.onTargets(ctx, &wire.Request{Op: wire.OpLeave, Member: id}, rooms)
}

// Disconnect disconnects a member, on any node. nil means that its Disconnect or DisconnectFor method was called.
// Errors are those of RoomsOf.
func (ns *Namespace) Disconnect(ctx context.Context, id string, close bool) error {
	return ns.disconnect(ctx, id, close, "")
}

func (ns *Namespace) disconnect(ctx context.Context, id string, close bool, reason string) error {
	if err := ns.ready(ctx); err != nil {
		return err
	}
	var d delivery
	if d.FindID(ns.rooms, id) {
		d.Call, d.All = disconnectCall{close, reason}, true
		d.Run(&ns.inbound)
		return nil
	}
	return ns.onMember(ctx, &wire.Request{Op: wire.OpDisconnect, Member: id, Close: close, Header: wire.WithReason(nil, reason)}, found)
}

func found(r *wire.Response) bool { return !r.NotFound }

// onTargets sends one request for each room, because wires carry no more. They have one deadline.
func (ns *Namespace) onTargets(ctx context.Context, req *wire.Request, rooms []string) error {
	ctx, cancel := ns.deadline(ctx, 0)
	defer cancel()
	for _, room := range rooms {
		r := *req
		r.Targets = []string{room}
		if err := ns.onMember(ctx, &r, found); err != nil {
			return err
		}
	}
	return nil
}

// onMember carries out an operation on one member of another node. take reports whether a response is that of the
// member's node.
//
// Crossroom nodes without the member respond that they do not have it. Foreign peers do not respond in that case. If
// there are foreign peers, onMember first asks all peers for the member. So "no such member" does not take until the
// deadline, and no node gets a request that only the member's node understands.
func (ns *Namespace) onMember(ctx context.Context, req *wire.Request, take func(*wire.Response) bool) error {
	if err := ns.failed(checkName("id", req.Member)); err != nil {
		return err
	}
	ctx, cancel := ns.deadline(ctx, 0)
	defer cancel()
	req.ByID, req.Origin, req.Native = true, ns.node.id, true
	fail := func(err error) error {
		return ns.failed(&OpError{Op: req.Op.String(), Namespace: ns.name, Name: req.Member, Err: err})
	}
	snap, err := ns.requests.Snapshot(ctx, req.Op)
	if err != nil {
		_, err = ns.unreachable(snap, req.Op, err)
		return fail(err)
	}
	exp, err := ns.requests.Expect(req, snap)
	if err != nil {
		return fail(err)
	}
	unconfirmed := false
	if exp.FirstOnly && exp.Answers > 0 {
		owner, has, found, err := ns.locate(ctx, req.Member)
		if err != nil && !has {
			return fail(err)
		}
		if !has {
			return fail(nobodyHas(req.Op, found))
		}
		exp.Answers = 0
		if owner == "" {
			if unconfirmed = exp.Unconfirmed; !unconfirmed {
				exp.Answers = 1
			}
		} else {
			// The node may have announced itself during the request: its response is the one to wait for.
			snap.Add(owner)
		}
	}
	done := false
	fleet, err := ns.collect(ctx, req, snap, exp, func(r *wire.Response) bool {
		done = take(r)
		return done
	})
	switch {
	case done:
		return nil
	case err != nil && !isOutage(err):
		return fail(err)
	}
	if err = ns.partial(ctx, req.Op, fleet, err); err == nil {
		if unconfirmed {
			return nil
		}
		err = nobodyHas(req.Op, fleet)
	}
	return fail(err)
}

// nobodyHas returns the error if no responding node has a member. Peers that never respond to such a request may have
// it.
func nobodyHas(op wire.Op, f Coverage) error {
	if f.Unconfirmed > 0 {
		return &PartialError{Op: op.String(), Coverage: f, Err: errNeverAnswers}
	}
	return ErrNoSuchMember
}

var errNeverAnswers = fmt.Errorf("some nodes never respond to this request: %w", errors.ErrUnsupported)

// locate queries all nodes for a member. owner is empty if it is a foreign peer.
func (ns *Namespace) locate(ctx context.Context, id string) (owner string, has bool, f Coverage, err error) {
	req := &wire.Request{Op: wire.OpMembers, Origin: ns.node.id, Rooms: []string{id}, Native: true}
	f, err = ns.requestAll(ctx, req, func(r *wire.Response) bool {
		for _, m := range r.Members {
			if m.ID == id {
				owner, has = r.Node, true
			}
		}
		return has
	})
	return owner, has, f, err
}

// JoinAll puts the members that t selects into rooms. A room that NamespaceOptions.IsID keeps for another member is a
// *NameError. In dynamic mode JoinAll first waits until the broker has subscribed to the rooms, if it selects members of
// this node; an *OpError means that nothing has changed on any node.
func (ns *Namespace) JoinAll(ctx context.Context, t Target, rooms ...string) (*Count, error) {
	if err := ns.enterable("", rooms); err != nil {
		return nil, ns.failed(err)
	}
	return ns.onAll(ctx, t, &wire.Request{Op: wire.OpJoin, Targets: rooms}, func() (int, error) {
		f := filterOf(t.sel.Rooms, t.sel.All, t.sel.Except)
		if !ns.rooms.Selects(f) {
			return 0, nil
		}
		var d delivery
		if err := ns.enter(ctx, "join", "", rooms, func() { d.FindAndJoin(ns.rooms, f, rooms) }); err != nil {
			return 0, err
		}
		return ns.moved(&d, false, rooms), nil
	})
}

// LeaveAll takes the members that t selects out of rooms.
func (ns *Namespace) LeaveAll(ctx context.Context, t Target, rooms ...string) (*Count, error) {
	return ns.onAll(ctx, t, &wire.Request{Op: wire.OpLeave, Targets: rooms}, func() (int, error) {
		var d delivery
		d.FindAndLeave(ns.rooms, filterOf(t.sel.Rooms, t.sel.All, t.sel.Except), rooms)
		return ns.moved(&d, true, rooms), nil
	})
}

// DisconnectAll disconnects the members that t selects. The calling goroutine calls the Disconnect methods of local
// members. Target.Reason gives them a reason.
func (ns *Namespace) DisconnectAll(ctx context.Context, t Target, close bool) (*Count, error) {
	return ns.onAll(ctx, t, &wire.Request{Op: wire.OpDisconnect, Close: close}, func() (int, error) {
		var d delivery
		d.Find(ns.rooms, filterOf(t.sel.Rooms, t.sel.All, t.sel.Except))
		d.Call = disconnectCall{close, t.sel.Reason}
		ns.deliver(&d)
		return d.Delivered(), nil
	})
}

func (ns *Namespace) onAll(ctx context.Context, target Target, req *wire.Request, here func() (int, error)) (*Count, error) {
	t := &target.sel
	if err := ns.target(ctx, t); err != nil {
		return nil, err
	}
	if err := ns.failed(checkNames("room", req.Targets)); err != nil {
		return nil, err
	}
	var out Count
	if t.Nobody() {
		return &out, nil
	}
	req.Origin, req.Native = ns.node.id, true
	req.Rooms, req.All, req.Except, req.Header = t.Rooms, t.All, t.Except, t.Header
	if req.Op == wire.OpDisconnect {
		req.Header = wire.WithReason(t.Header, t.Reason)
	}
	if !t.LocalOnly {
		// Refused before any effect.
		if err := ns.requests.Sendable(req); err != nil {
			return nil, err
		}
	}
	var err error
	if !t.RemoteOnly {
		n, err := here()
		if err != nil {
			return nil, err
		}
		out.add(ns.node.id, n)
	}
	if t.LocalOnly {
		return &out, nil
	}
	out.Coverage, err = ns.query(ctx, req, func(r *wire.Response) bool {
		out.add(r.Node, max(r.Count, 0))
		return false
	})
	if _, partial := errors.AsType[*PartialError](err); err != nil && !partial && !t.RemoteOnly {
		err = ns.partial(ctx, req.Op, out.Coverage, err) // it was done on this node
	}
	return &out, err
}

// Request passes payload to the OnRequest of every other node, and collects their results. A node that has no
// OnRequest, whose OnRequest fails or panics, or that refuses the request, has an error in its Reply.
func (ns *Namespace) Request(ctx context.Context, payload []byte) (*Result[Reply], error) {
	return ns.replies(ctx, &wire.Request{Op: wire.OpCustom, Payload: payload})
}

// Event passes payload to the OnEvent of every other node, at most once and in no order, without a response. nil means
// accepted, not delivered. It waits only while the broker's queue is full. It returns ErrClosed, a *broker.PayloadError,
// the context's error or the broker's.
func (ns *Namespace) Event(ctx context.Context, payload []byte) error {
	if err := ns.ready(ctx); err != nil {
		return err
	}
	req := &wire.Request{Op: wire.OpEvent, Origin: ns.node.id, Native: true, NoReply: true, Payload: payload}
	return ns.publishRequest(ctx, req)
}

// EventAck passes payload to the OnEvent of every other node and collects their replies. A node without OnEvent replies
// at once, without a value. A node whose OnEvent does not reply is missing with ErrNoResponse.
func (ns *Namespace) EventAck(ctx context.Context, payload []byte) (*Result[Reply], error) {
	return ns.replies(ctx, &wire.Request{Op: wire.OpEvent, Payload: payload})
}

func (ns *Namespace) replies(ctx context.Context, req *wire.Request) (*Result[Reply], error) {
	if err := ns.ready(ctx); err != nil {
		return nil, err
	}
	req.Origin, req.Native = ns.node.id, true
	var out Result[Reply]
	var err error
	out.Coverage, err = ns.query(ctx, req, func(r *wire.Response) bool {
		out.List = append(out.List, Reply{Node: r.Node, Payload: r.Payload, Err: r.Err})
		return false
	})
	if _, partial := errors.AsType[*PartialError](err); err != nil && !partial {
		return nil, err // no other node got the request
	}
	return &out, err
}

// target checks a selection before anything is done with it.
func (ns *Namespace) target(ctx context.Context, t *wire.Selection) error {
	if err := ns.ready(ctx); err != nil {
		return err
	}
	for _, names := range [...][]string{t.Rooms, t.All, t.Except} {
		if err := checkNames("room", names); err != nil {
			return ns.failed(err)
		}
	}
	return nil
}
