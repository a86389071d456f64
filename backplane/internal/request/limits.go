package request

import "github.com/crossroom/crossroom/internal/wire"

// Limits of the responses to one request, in bytes of memory: MaxResponse for one node, MaxResponses for all. MaxParts
// limits the messages of one node.
const (
	MaxResponse  = 64 << 20
	MaxResponses = 256 << 20
	MaxParts     = 4096
)

// MaxPage limits the memory of a page of one node, in place of MaxResponse.
const MaxPage = 4 << 20

// moreNames is how many unknown nodes may respond, besides as many as were counted without a name: nodes that leave
// may respond when they are not counted any more.
const moreNames = 64

// admit reports whether a response can come from a node that got the request: one that was counted or is known, by its
// name, or one of those that may exist without a name. The caller holds mu.
func (p *Pending) admit(id string, ack bool) bool {
	n, here := p.nodes[id]
	switch {
	case id == "":
		return p.nameless
	case n.state == TooLarge || n.state == Answered && !ack:
		return false
	case here || id == p.t.o.Node || p.t.o.Members.Known(id):
		return true
	case p.admits == 0:
		return false
	}
	p.admits--
	return true
}

// within counts a response of that many bytes, and reports whether it is within the limits. The caller holds mu.
func (p *Pending) within(id string, bytes int) bool {
	if id == p.t.o.Node {
		return true // local members
	}
	p.got += bytes
	n := node{}
	if id != "" {
		n = p.nodes[id]
	}
	n.bytes += bytes
	n.parts++
	if id != "" {
		p.nodes[id] = n
	}
	limit := MaxResponse
	if p.req.Page > 0 && id != "" {
		limit = MaxPage
	}
	return n.bytes <= limit && n.parts <= MaxParts && p.got <= MaxResponses
}

// sizeOf estimates the memory of a response while it is kept.
func sizeOf(r *wire.Response) int {
	const name, member = 16, 96
	n := member + len(r.Payload) + len(r.Err)
	for _, room := range r.Rooms {
		n += name + len(room)
	}
	for i := range r.Members {
		m := &r.Members[i]
		n += member + len(m.ID) + len(m.Data)
		for _, room := range m.Rooms {
			n += name + len(room)
		}
	}
	return n
}
