package request

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Options of a Table. None has a default.
type Options struct {
	Name    string // of the namespace
	Node    string // this node's id
	Codec   wire.Codec
	Broker  broker.Broker
	Members *membership.Membership
	// Timeout is RequestsTimeout of backplane.Options.
	Timeout time.Duration
}

// Table holds the requests of one namespace. All methods are safe for concurrent use.
type Table struct {
	o        Options
	protocol broker.Protocol
	key      membership.Namespace
	caps     broker.Capabilities
	foreign  foreignPeers

	prefix string
	mu     sync.Mutex
	byID   map[string]*Pending
	err    error // set by Fail
}

// NewTable makes the Table of a namespace.
func NewTable(o Options) *Table {
	t := &Table{o: o, protocol: o.Codec.Protocol(), caps: o.Broker.Capabilities(), prefix: o.Node + ".", byID: make(map[string]*Pending)}
	t.key = membership.Namespace{Protocol: t.protocol, Name: o.Name}
	return t
}

// NewID returns an id by which the node recognises its own requests when it receives them, also late. The rest of it,
// 16 letters and digits, cannot be guessed: only a party that reads the request can respond to it.
func (t *Table) NewID() string { return t.prefix + rand.Text()[:16] }

// Own distinguishes this node's ids from others', also if one node's id is a prefix of another's.
func (t *Table) Own(id string) bool {
	n := len(t.prefix)
	return strings.HasPrefix(id, t.prefix) && !strings.Contains(id[n:], ".")
}

// Publish publishes a request.
func (t *Table) Publish(ctx context.Context, req *wire.Request) error {
	buf, err := t.o.Codec.AppendRequest(nil, t.o.Name, req)
	if err != nil {
		return err
	}
	ch := t.protocol.Requests(t.o.Name)
	if req.To != "" {
		to := &wire.Request{ID: req.ID, Op: req.Op, Origin: req.To, Native: true}
		ask := &wire.Response{Request: to, RequestID: req.ID, Node: t.o.Node, Ask: true, Payload: buf}
		ch = t.o.Codec.ResponseChannel(t.o.Name, ask)
		if buf, err = t.o.Codec.AppendResponse(nil, t.o.Name, ask); err != nil {
			return err
		}
	}
	return t.o.Broker.Publish(ctx, ch, buf)
}

// Sendable returns why a request cannot be sent, before it has any effect.
func (t *Table) Sendable(req *wire.Request) error {
	if req.ID == "" {
		req.ID = t.NewID() // counts in the size
	}
	buf, err := t.o.Codec.AppendRequest(nil, t.o.Name, req)
	if limit := t.caps.MaxPayload; err == nil && limit > 0 && len(buf) > limit {
		err = &broker.PayloadError{Size: len(buf), Max: limit}
	}
	return err
}

// Outcome is the result of handling a response.
type Outcome uint8

const (
	// Taken: a pending request has it.
	Taken Outcome = iota
	// Stray: no pending request waits for it.
	Stray
	// Lacking: it lacks the requested data.
	Lacking
)

// Take passes a response to the request that waits for it.
func (t *Table) Take(r *wire.Response) Outcome {
	t.mu.Lock()
	p := t.byID[r.RequestID]
	t.mu.Unlock()
	switch {
	case p != nil && r.Lacks(p.req.Op):
		return Lacking
	case p != nil && p.Take(r):
		return Taken
	case r.Node == "":
		t.foreign.forget() // one of them is alive
	}
	return Stray
}

// Lost ends the wait of the pending requests for a node that has left.
func (t *Table) Lost(id string) {
	for _, p := range t.all() {
		p.lost(id)
	}
}

// Fail ends all pending requests, and later ones, with err.
func (t *Table) Fail(err error) {
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
	for _, p := range t.all() {
		p.fail(err)
	}
}

func (t *Table) add(p *Pending) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	t.byID[p.req.ID] = p
	return nil
}

func (t *Table) remove(p *Pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, p.req.ID)
}

func (t *Table) all() []*Pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*Pending, 0, len(t.byID))
	for _, p := range t.byID {
		list = append(list, p)
	}
	return list
}
