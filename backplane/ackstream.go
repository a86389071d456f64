package backplane

import (
	"sync"

	"github.com/crossroom/crossroom/internal/wire"
)

// ackStream passes the parts of an answer on to AckFuncs: what take adds, on whatever
// goroutine, pass hands over on the caller's. A nil ackStream does nothing.
type ackStream struct {
	on AckFuncs

	mu    sync.Mutex
	ready []ackPart
	held  map[string][]ackPart // by node: acknowledgements whose number has not come
	known map[string]bool      // nodes whose number has come
}

// ackPart is a node's number, or an acknowledgement of one of its members.
type ackPart struct {
	node  string
	ack   bool
	count int
	value []byte
}

// newAckStream returns nil if there is nothing to call.
func newAckStream(on AckFuncs) *ackStream {
	if on.Sent == nil && on.Expected == nil && on.Value == nil {
		return nil
	}
	return &ackStream{on: on, held: map[string][]ackPart{}, known: map[string]bool{}}
}

func (s *ackStream) take(r *wire.Response) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	part := ackPart{node: r.Node, ack: r.Ack, count: max(r.Count, 0), value: r.Payload}
	switch {
	case !r.Ack:
		s.ready = append(append(s.ready, part), s.held[r.Node]...)
		s.known[r.Node] = true
		delete(s.held, r.Node)
	case r.Node == "" || s.known[r.Node]:
		s.ready = append(s.ready, part)
	default:
		s.held[r.Node] = append(s.held[r.Node], part)
	}
}

// pass calls the functions with what is ready, without a lock.
func (s *ackStream) pass() {
	s.mu.Lock()
	list := s.ready
	s.ready = nil
	s.mu.Unlock()
	for _, p := range list {
		switch {
		case p.ack && s.on.Value != nil:
			s.on.Value(p.node, p.value)
		case !p.ack && s.on.Expected != nil:
			s.on.Expected(p.node, p.count)
		}
	}
}

// sent passes on what local members gave before the message was published.
func (s *ackStream) sent() {
	s.pass()
	if s.on.Sent != nil {
		s.on.Sent()
	}
}

// end passes on what is left: also acknowledgements of nodes whose number never came.
func (s *ackStream) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	for node, parts := range s.held {
		s.ready = append(s.ready, parts...)
		delete(s.held, node)
	}
	s.mu.Unlock()
	s.pass()
}
