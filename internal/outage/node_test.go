//go:build linux

package outage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// This file runs in the processes of a fleet, and in the test's own process for the node that sends requests.

const space = "/outage"

// Options of all nodes.
const (
	requestTimeout = time.Second
	heartbeat      = 250 * time.Millisecond
	peerTimeout    = 3 * time.Second
)

// config is the configuration of a node.
type config struct {
	ID, System, URL string
}

// event is a line from a node's process.
type event struct {
	What string // "ready", "interrupted", "resumed", "ended", "report"
	At   time.Time
	// Of a report.
	Report *report `json:",omitempty"`
}

// run is a node's process: it writes a line for each event and responds to "report", until its input ends.
func (c config) run() error {
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		e.At = time.Now()
		_ = out.Encode(e)
	}
	sink := newSink(func(what string) { say(event{What: what}) })
	n, err := c.join(context.Background(), &backplane.Options{Observers: []observe.Observer{sink}}, sink)
	if err != nil {
		return err
	}
	say(event{What: "ready"})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		say(event{What: "report", Report: sink.report()})
	}
	return n.close()
}

// node is a running node.
type node struct {
	*backplane.Namespace
	close func() error
}

// join makes a node with two members: sink, and one that acknowledges.
func (c config) join(ctx context.Context, opts *backplane.Options, sink *sink) (*node, error) {
	b, err := open(c.System, c.URL)
	if err != nil {
		return nil, err
	}
	opts.ID, opts.RequestsTimeout, opts.Heartbeat, opts.PeerTimeout = c.ID, requestTimeout, heartbeat, peerTimeout
	n, err := backplane.New(b, opts)
	if err != nil {
		return nil, err
	}
	ns, err := n.Namespace(ctx, space, &backplane.NamespaceOptions{
		OnRequest: func(context.Context, string, []byte) ([]byte, error) { return []byte(c.ID), nil },
		OnEvent: func(_ context.Context, _ string, _ []byte, reply func([]byte)) {
			if reply != nil {
				reply([]byte(c.ID))
			}
		},
	})
	if err != nil {
		return nil, err
	}
	for _, m := range []backplane.Member{acker{sinkMember{"member of " + c.ID, nil}}, sinkMember{"sink of " + c.ID, sink}} {
		if err := ns.Add(ctx, m); err != nil {
			return nil, err
		}
	}
	if err := ns.Join(ctx, "member of "+c.ID, "everybody", "room of "+c.ID); err != nil {
		return nil, err
	}
	if err := ns.Join(ctx, "sink of "+c.ID, "load"); err != nil {
		return nil, err
	}
	return &node{ns, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			return err
		}
		return b.Close(ctx)
	}}, nil
}

// sinkMember is a member whose messages go to a sink, if there is one.
type sinkMember struct {
	id   string
	sink *sink
}

func (m sinkMember) ID() string      { return m.id }
func (m sinkMember) Disconnect(bool) {} // it stays, for the next case
func (m sinkMember) Deliver(msg *backplane.Message) {
	if m.sink != nil {
		m.sink.take(msg.Payload)
	}
}

// acker is a member that acknowledges with its id.
type acker struct{ sinkMember }

func (a acker) DeliverAck(m *backplane.Message, ack func([]byte)) { ack([]byte(a.id)) }
func (a acker) Describe() []byte                                  { return []byte("data") }
