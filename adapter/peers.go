package adapter

import (
	"context"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
)

// KnownPeers returns the other Go nodes that have announced themselves, each once, sorted
// by id. It asks nobody. Node.js servers do not announce themselves: Namespace.Peers
// counts them too.
func (s *Server) KnownPeers() []backplane.Peer {
	lists := make([][]backplane.Peer, len(s.links))
	for i, l := range s.links {
		lists[i] = l.node.KnownPeers()
	}
	return mergePeers(lists)
}

// mergePeers makes one sorted list of those of several links.
func mergePeers(lists [][]backplane.Peer) []backplane.Peer {
	all := lists[0]
	for _, list := range lists[1:] {
		for _, p := range list {
			i := slices.IndexFunc(all, func(o backplane.Peer) bool { return o.ID == p.ID })
			if i < 0 {
				all = append(all, p)
				continue
			}
			all[i].Namespaces = union(all[i].Namespaces, p.Namespaces)
			all[i].Speaks = union(all[i].Speaks, p.Speaks)
			all[i].Protocol = min(all[i].Protocol, p.Protocol)
			all[i].Suspect = all[i].Suspect && p.Suspect
		}
	}
	slices.SortFunc(all, func(a, b backplane.Peer) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// union merges sorted lists without duplicates.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// Peers says which other servers hold the namespace, by asking the broker and none of
// them. A Go node on several links is there once; it is Gone, or a ghost, if it is so
// on every link that it was on.
//
// If a broker does not answer, what is known from before is returned beside the
// error: the context's as it is, or a *backplane.OpError, in a *LinkError if there are
// several links. backplane.ErrClosed comes without a value.
func (ns *Namespace) Peers(ctx context.Context) (*backplane.Peers, error) {
	parts := eachPart(ns, ns.legs, func(l leg) (p multilink.Part[*backplane.Peers]) {
		p.Value, p.Err = l.ns.Peers(ctx)
		return p
	})
	if len(parts) == 1 {
		return parts[0].Value, parts[0].Err
	}
	out := &backplane.Peers{Counted: true}
	lists, errs := make([][]backplane.Peer, len(parts)), make([]error, len(parts))
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
		return slices.ContainsFunc(out.List, func(p backplane.Peer) bool { return p.ID == id })
	}
	out.Unresponsive = slices.DeleteFunc(union(out.Unresponsive, nil), listed)
	out.Lost = slices.DeleteFunc(union(out.Lost, nil), func(id string) bool {
		return listed(id) || slices.Contains(out.Unresponsive, id)
	})
	return out, multilink.First(errs...)
}

// ServerCount returns how many servers hold the namespace, Node.js servers and this
// one included. It is what the brokers count, so a server that died without goodbye
// is among them until its connection ends; brokers that cannot count leave it at the
// Go nodes. Errors are those of Peers; beside them the number is what is known from
// before, a lower bound if the error wraps a *broker.InexactError, and zero with backplane.ErrClosed.
func (ns *Namespace) ServerCount(ctx context.Context) (int, error) {
	p, err := ns.Peers(ctx)
	if p == nil {
		return 0, err
	}
	return p.Total(), err
}
