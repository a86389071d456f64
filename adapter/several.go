package adapter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// several is a fleet over several links. The first one reaches local sockets.
type several struct {
	uid, namespace string
	legs           []*leg
	dedup          *multilink.Dedup
	shared         *multilink.Set
}

var _ fleet = (*several)(nil)

// eachPart makes requests on several links at the same time.
func eachPart[T any](legs []*leg, f func(l *leg) multilink.Part[T]) []multilink.Part[T] {
	return multilink.Each(legs, func(l *leg) multilink.Part[T] {
		p := f(l)
		p.Link, p.Key, p.Err = l.index, l.key, l.named(p.Err)
		return p
	})
}

// check checks an event before any of the links sends it. op is zero for a broadcast.
func (s *several) check(op wire.Op, payload []byte, flags wire.Flags) error {
	for _, l := range s.legs {
		if op != 0 && l.dialect == V5 {
			continue // gets no request
		}
		if err := l.codec.CheckEvent(op, payload, flags); err != nil {
			return err
		}
	}
	return nil
}

// emit resolves the exceptions on all links before it sends anything.
func (s *several) emit(ctx context.Context, payload []byte, t wire.Selection, isID func(string) bool) error {
	if err := s.check(0, payload, t.Flags); err != nil {
		return err
	}
	except := make([][]string, len(s.legs))
	err := eachLeg(s.legs, func(i int, l *leg) (err error) {
		if len(t.Except) > 0 {
			except[i], err = l.except(ctx, t.Except, isID)
		}
		return err
	})
	if err != nil {
		return err
	}
	relay := s.dedup.Mark(s.uid)
	t.Lead = nil // every link has a message of its own
	return eachLeg(s.legs, func(i int, l *leg) error {
		t := t
		t.Except, t.Relay = except[i], relay
		if i > 0 { // the first link has reached the local sockets
			t.RemoteOnly, t.Selected = true, nil
		}
		return l.broadcast(ctx, payload, t)
	})
}

func (s *several) broadcastAck(ctx context.Context, payload []byte, t wire.Selection, timeout time.Duration, on wire.AckFuncs) (*backplane.Acks, error) {
	asked := s.speaking(V6)
	switch {
	case len(asked) == 0:
		return nil, unsupported("EmitWithAck", V5, "")
	case len(asked) > 1:
		if err := s.check(wire.OpBroadcast, payload, t.Flags); err != nil {
			return nil, err
		}
		// This request has no place for a mark of its own.
		t.Header = wire.Header{relayHeader: s.dedup.Mark(s.uid)}
	}
	unasked := s.unasked(ctx, asked, timeout)
	merged := newMergedAcks(on, len(asked))
	parts := eachPart(asked, func(l *leg) (p multilink.Part[*backplane.Acks]) {
		t := t
		t.RemoteOnly = t.RemoteOnly || l != asked[0] // local sockets get the event once
		if p.Value, p.Err = l.acks(ctx, payload, t, timeout, merged.funcs()); p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
	merged.end()
	coverage, err, failed := multilink.Merge(wire.OpBroadcast, parts)
	if failed {
		return nil, err
	}
	sum := &backplane.Acks{Coverage: coverage}
	for _, p := range parts {
		if p.Value != nil {
			sum.Values = append(sum.Values, p.Value.Values...)
			sum.Expected += p.Value.Expected
		}
	}
	for _, l := range <-unasked {
		sum.Unconfirmed += l.Unconfirmed
		sum.Links = append(sum.Links, l)
	}
	return sum, err
}

// speaking lists the links with a dialect.
func (s *several) speaking(d Dialect) []*leg {
	var legs []*leg
	for _, l := range s.legs {
		if l.dialect == d {
			legs = append(legs, l)
		}
	}
	return legs
}

// unasked counts the servers on the links that are not in asked, as far as that is possible while the others are
// queried.
func (s *several) unasked(ctx context.Context, asked []*leg, timeout time.Duration) <-chan []backplane.LinkCoverage {
	sum := make(chan []backplane.LinkCoverage, 1)
	if len(asked) == len(s.legs) {
		close(sum)
		return sum
	}
	if timeout <= 0 {
		timeout = s.legs[0].timeout
	}
	go func() { // ends with its context
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		sum <- s.countUnasked(ctx, asked)
	}()
	return sum
}

func (s *several) countUnasked(ctx context.Context, asked []*leg) (links []backplane.LinkCoverage) {
	known := map[string]bool{}
	for _, l := range asked {
		for _, p := range l.node.KnownPeers() {
			known[p.ID] = known[p.ID] || slices.Contains(p.Namespaces, s.namespace)
		}
	}
	for _, l := range s.legs {
		if l.dialect == asked[0].dialect {
			continue
		}
		p, err := l.ns.Peers(ctx)
		part := backplane.LinkCoverage{Prefix: l.key, Err: l.named(err)}
		if err == nil {
			part.Unconfirmed = p.Foreign
			for _, peer := range p.List {
				if !known[peer.ID] {
					part.Unconfirmed++
				}
			}
		}
		links = append(links, part)
	}
	return links
}

func (s *several) members(ctx context.Context, t wire.Selection, detail bool) (*backplane.Result[backplane.MemberInfo], error) {
	parts := eachPart(s.legs, func(l *leg) (p multilink.Part[*backplane.Result[backplane.MemberInfo]]) {
		if p.Value, p.Err = l.members(ctx, t, detail); p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
	coverage, err, failed := multilink.Merge(wire.OpMembers, parts)
	if failed {
		return nil, err
	}
	out := &backplane.Result[backplane.MemberInfo]{Coverage: coverage}
	for _, p := range parts {
		if p.Value != nil {
			out.List = append(out.List, p.Value.List...)
		}
	}
	return out, err
}

// count has each Go node once, although it may respond on several links.
func (s *several) count(ctx context.Context, t wire.Selection) (*backplane.Count, error) {
	parts := eachPart(s.legs, func(l *leg) (p multilink.Part[*backplane.Count]) {
		if p.Value, p.Err = l.count(ctx, t); p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
	coverage, err, failed := multilink.Merge(wire.OpMembers, parts)
	if failed {
		return nil, err
	}
	out := &backplane.Count{ByNode: map[string]int{}, Coverage: coverage}
	for _, p := range parts {
		if p.Value == nil {
			continue
		}
		for node, n := range p.Value.ByNode {
			if node == "" {
				n += out.ByNode[node]
			}
			out.ByNode[node] = max(out.ByNode[node], n)
		}
	}
	for _, n := range out.ByNode {
		out.Total += n
	}
	return out, err
}

func (s *several) rooms(ctx context.Context) (*backplane.Result[string], error) {
	parts := eachPart(s.legs, func(l *leg) (p multilink.Part[*backplane.Result[string]]) {
		if p.Value, p.Err = l.rooms(ctx); p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
	coverage, err, failed := multilink.Merge(wire.OpRooms, parts)
	if failed {
		return nil, err
	}
	out := &backplane.Result[string]{Coverage: coverage}
	for _, p := range parts {
		if p.Value != nil {
			out.List = append(out.List, p.Value.List...)
		}
	}
	slices.Sort(out.List)
	out.List = slices.Compact(out.List)
	return out, err
}

// eachMember and eachRoom list a server on several links once, so they need the whole lists.
func (s *several) eachMember(ctx context.Context, t wire.Selection, yield func(wire.MemberInfo) bool) error {
	m, err := s.members(ctx, t, true)
	if m != nil {
		m.List = onceEach(m.List)
	}
	return eachOf(m, err, yield)
}

func (s *several) eachRoom(ctx context.Context, yield func(string) bool) error {
	list, err := s.rooms(ctx)
	if list != nil {
		for _, room := range list.List {
			if !yield(room) {
				break
			}
		}
	}
	return err
}

func (s *several) peers(ctx context.Context) (*observe.Peers, error) {
	parts := eachPart(s.legs, func(l *leg) (p multilink.Part[*observe.Peers]) {
		p.Value, p.Err = l.ns.Peers(ctx)
		return p
	})
	out := &observe.Peers{Counted: true}
	lists, errs := make([][]observe.Peer, len(parts)), make([]error, len(parts))
	for i, p := range parts {
		if errs[i] = p.Err; p.Value == nil {
			return nil, p.Err
		}
		lists[i] = p.Value.List
		out.Lost = append(out.Lost, p.Value.Lost...)
		out.Unresponsive = append(out.Unresponsive, p.Value.Unresponsive...)
		out.Foreign += p.Value.Foreign
		out.Counted = out.Counted && p.Value.Counted
	}
	out.List = mergePeers(lists)
	listed := func(id string) bool {
		return slices.ContainsFunc(out.List, func(p observe.Peer) bool { return p.ID == id })
	}
	out.Unresponsive = slices.DeleteFunc(union(out.Unresponsive, nil), listed)
	out.Lost = slices.DeleteFunc(union(out.Lost, nil), func(id string) bool {
		return listed(id) || slices.Contains(out.Unresponsive, id)
	})
	return out, multilink.First(errs...)
}

// onSocket sends the request on all links at the same time, until one has the socket.
func (s *several) onSocket(ctx context.Context, f func(context.Context, *leg) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var found atomic.Bool
	errs := multilink.Each(s.legs, func(l *leg) error {
		err := l.informed(ctx, f)
		if err == nil {
			found.Store(true)
			cancel()
		}
		return err
	})
	if found.Load() {
		return nil
	}
	for i, err := range errs {
		// "No such socket" is the result only if all links return it.
		if !errors.Is(err, backplane.ErrNoSuchMember) {
			return &LinkError{Prefix: s.legs[i].key, Err: err}
		}
	}
	return errs[0]
}

func (s *several) change(ctx context.Context, op wire.Op, t wire.Selection, all onSelection, one onSocket) error {
	if err := changeLocal(ctx, s.legs[0], t, all); err != nil {
		return err
	}
	// The two generations get the request one after the other, in one RequestsTimeout.
	ctx, cancel := context.WithTimeout(ctx, s.legs[0].timeout)
	defer cancel()
	newer := ctx
	if len(s.speaking(V5)) > 0 && len(s.speaking(V6)) > 0 {
		var stop context.CancelFunc
		newer, stop = half(ctx)
		defer stop()
	}
	var mu sync.Mutex
	done := map[string]bool{} // Go nodes that have done it in a newer dialect
	parts := make([]multilink.Part[*backplane.Count], len(s.legs))
	_ = eachLeg(s.legs, func(i int, l *leg) error {
		if l.dialect == V5 {
			return nil
		}
		t := t
		t.RemoteOnly = true
		p := &parts[i]
		p.Coverage, p.Err = l.onAll(newer, op, t, all, one)
		mu.Lock()
		defer mu.Unlock()
		for _, id := range p.Coverage.Answered {
			done[id] = true
		}
		return nil
	})
	_ = eachLeg(s.legs, func(i int, l *leg) error {
		if l.dialect == V5 {
			p := &parts[i]
			skip := func(m backplane.MemberInfo) bool { return m.Node != "" && done[m.Node] }
			p.Coverage, p.Err = l.onListed(ctx, op, t, skip, one)
		}
		return nil
	})
	for i := range parts {
		parts[i].Link, parts[i].Key = i, s.legs[i].key
		parts[i].Err = s.legs[i].named(parts[i].Err)
	}
	_, err, _ := multilink.Merge(op, parts)
	return err
}

func (s *several) joinable(rooms []string) error {
	for _, l := range s.legs {
		if err := l.joinable(rooms); err != nil {
			return err
		}
	}
	return nil
}

func (s *several) customAllowed(ctx context.Context) error {
	return multilink.First(multilink.Each(s.legs, func(l *leg) error { return l.customAllowed(ctx) })...)
}

func (s *several) custom(ctx context.Context, payload []byte) (*backplane.Result[backplane.Reply], error) {
	return s.replies(wire.OpCustom, s.legs, func(l *leg) (*backplane.Result[backplane.Reply], error) { return l.custom(ctx, payload) })
}

func (s *several) hasEvents(operation string) error {
	if len(s.speaking(V6)) == 0 {
		return unsupported(operation, V5, "")
	}
	return nil
}

func (s *several) checkServerEvent(payload []byte) error {
	for _, l := range s.speaking(V6) {
		if err := l.checkServerEvent(payload); err != nil {
			return err
		}
	}
	return nil
}

func (s *several) event(ctx context.Context, payload []byte) error {
	return multilink.First(multilink.Each(s.speaking(V6), func(l *leg) error { return l.named(l.event(ctx, payload)) })...)
}

func (s *several) eventAck(ctx context.Context, payload []byte) (*backplane.Result[backplane.Reply], error) {
	return s.replies(wire.OpEvent, s.speaking(V6), func(l *leg) (*backplane.Result[backplane.Reply], error) { return l.eventAck(ctx, payload) })
}

// replies merges the responses of several links, with one of each Go node.
func (s *several) replies(op wire.Op, legs []*leg, ask func(*leg) (*backplane.Result[backplane.Reply], error)) (*backplane.Result[backplane.Reply], error) {
	parts := eachPart(legs, func(l *leg) (p multilink.Part[*backplane.Result[backplane.Reply]]) {
		if p.Value, p.Err = ask(l); p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
	coverage, err, failed := multilink.Merge(op, parts)
	if failed {
		return nil, err
	}
	out := &backplane.Result[backplane.Reply]{Coverage: coverage}
	for _, p := range parts {
		if p.Value == nil {
			continue
		}
		for _, r := range p.Value.List {
			if r.Node == "" || !s.shared.ServedElsewhere(p.Link, r.Node, op) { // otherwise it responds on another link
				out.List = append(out.List, r)
			}
		}
	}
	return out, err
}

// mergePeers makes one sorted list of those of several links.
func mergePeers(lists [][]observe.Peer) []observe.Peer {
	all := lists[0]
	for _, list := range lists[1:] {
		for _, p := range list {
			i := slices.IndexFunc(all, func(o observe.Peer) bool { return o.ID == p.ID })
			if i < 0 {
				all = append(all, p)
				continue
			}
			all[i].Namespaces = union(all[i].Namespaces, p.Namespaces)
			all[i].Speaks = union(all[i].Speaks, p.Speaks)
			all[i].Protocol = min(all[i].Protocol, p.Protocol)
			all[i].Suspect = all[i].Suspect && p.Suspect
			all[i].Leaving = all[i].Leaving || p.Leaving
		}
	}
	slices.SortFunc(all, func(a, b observe.Peer) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// union merges sorted lists without duplicates.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
