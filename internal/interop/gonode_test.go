package interop_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/interop"
)

// goNode is a Go node as a member of a fleet under test.
type goNode struct {
	name     string
	server   *adapter.Server
	sessions map[string]*goSocket // by client's name; touched by the test only
	inboxes  inboxes
	faults   faults
}

// startGo starts a Go node, and closes it at the end of the test.
func startGo(t *testing.T, name, url, prefix string, d adapter.Dialect, change ...func(*adapter.Options)) *goNode {
	t.Helper()
	n := &goNode{name: name, sessions: map[string]*goSocket{}}
	options := adapter.Options{
		Dialect: d, Name: name, RequestsTimeout: 5 * time.Second, OnError: n.faults.add,
		// Go nodes send heartbeats often, but a busy machine is no reason to give up a
		// node, or a socket that decodes large values.
		Heartbeat: 50 * time.Millisecond, PeerTimeout: deadline, StallTimeout: deadline,
	}
	for _, f := range change {
		f(&options)
	}
	var err error
	n.server, err = adapter.New(openBroker(t, url, prefix, d), &options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		assert.NoError(t, n.server.Close(ctx), "%s: close", name)
		for _, fault := range n.Faults() {
			t.Errorf("%s: %s", name, fault)
		}
	})
	return n
}

// openBroker opens a broker that is closed when the test ends.
func openBroker(t *testing.T, url, prefix string, d ...adapter.Dialect) broker.Broker {
	t.Helper()
	b, err := redisbroker.Open(url, &redisbroker.Options{Prefix: prefix, Sharded: len(d) > 0 && d[0] >= adapter.Sharded})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		assert.NoError(t, b.Close(ctx))
	})
	return b
}

func (n *goNode) Name() string                     { return n.name }
func (n *goNode) Inbox(name string) *interop.Inbox { return n.inboxes.get(name) }
func (n *goNode) Faults() []string                 { return n.faults.list() }

// Call implements node.
func (n *goNode) Call(ctx context.Context, op string, a args) (any, error) {
	ns, err := n.server.Of(ctx, a["nsp"].(string))
	if err != nil {
		return nil, err
	}
	perform, ok := goOperations[op]
	if !ok {
		return nil, fmt.Errorf("Go nodes have no operation %s", op)
	}
	v, err := perform(ctx, n, ns, a)
	if err != nil {
		var partial *backplane.PartialError
		if errors.As(err, &partial) {
			err = errors.Join(&interop.CallError{Op: op, Message: err.Error(), Value: v}, err)
		}
		return v, err
	}
	return interop.Parse([]byte(interop.Text(v)))
}

// to selects as Node.js does: all sockets without rooms.
func to(ns *adapter.Namespace, rooms []string) adapter.Operator {
	if len(rooms) == 0 {
		return ns.All()
	}
	return ns.To(rooms...)
}

// target makes the operator for to, except, from, flags and timeout.
func target(n *goNode, ns *adapter.Namespace, a args) adapter.Operator {
	op := to(ns, texts(a["to"])).Except(texts(a["except"])...)
	if from, ok := a["from"].(string); ok {
		op = op.Except(n.sessions[from].id)
	}
	for _, flag := range texts(a["flags"]) {
		switch flag {
		case "volatile":
			op = op.Volatile()
		case "nocompress":
			op = op.Compress(false)
		case "local":
			op = op.Local()
		}
	}
	if ms, ok := a["timeout"].(int); ok {
		op = op.Timeout(time.Duration(ms) * time.Millisecond)
	}
	return op
}

var goOperations = map[string]func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error){
	"namespace": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		ns.OnCustomRequest(func(_ context.Context, _ *adapter.Namespace, data json.RawMessage) (any, error) {
			return map[string]any{"node": n.name, "asked": data}, nil
		})
		return nil, nil
	},
	"connect": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		name := a["name"].(string)
		s := &goSocket{id: rand.Text()[:20], ns: ns, inbox: n.Inbox(name), data: a["data"]}
		s.answers, _ = a["answers"].(args)
		if err := ns.Add(ctx, s); err != nil {
			return nil, err
		}
		n.sessions[name] = s
		return s.id, ns.Join(ctx, s.id, texts(a["rooms"])...)
	},
	"close": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		name := a["name"].(string)
		ns.Remove(n.sessions[name].id)
		delete(n.sessions, name)
		return nil, nil
	},
	"rooms": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		rooms, _ := ns.LocalRoomsOf(n.sessions[a["client"].(string)].id)
		return rooms, nil
	},
	"hints": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		p := n.sessions[a["client"].(string)].last.Load()
		return args{"volatile": p.Volatile(), "compress": p.Compress()}, nil
	},
	"emit": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, target(n, ns, a).Emit(ctx, a["event"].(string), a["args"].([]any)...)
	},
	"emitWithAck": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		acks, err := target(n, ns, a).EmitWithAck(ctx, a["event"].(string), a["args"].([]any)...)
		if acks == nil {
			return nil, err
		}
		return acks.Values, err
	},
	"serverCount": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return ns.ServerCount(ctx)
	},
	"clients": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		clients, err := to(ns, texts(a["rooms"])).Clients(ctx)
		return clients.IDs, err
	},
	"allSockets": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		clients, err := to(ns, texts(a["to"])).Clients(ctx)
		return clients.IDs, err
	},
	"clientRooms": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return ns.ClientRooms(ctx, a["id"].(string))
	},
	"allRooms": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		rooms, err := ns.AllRooms(ctx)
		if err != nil {
			return nil, err
		}
		var each []string
		for room, err := range ns.EachRoom(ctx) {
			if err != nil {
				return nil, err
			}
			each = append(each, room)
		}
		if !slices.Equal(each, rooms.List) {
			return nil, fmt.Errorf("EachRoom has %q, and AllRooms %q", each, rooms.List)
		}
		return rooms.List, nil
	},
	"fetchSockets": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		sockets, err := target(n, ns, a).FetchSockets(ctx)
		if err != nil {
			return nil, err
		}
		each := map[string]string{}
		for s, err := range target(n, ns, a).EachSocket(ctx) {
			if err != nil {
				return nil, err
			}
			each[s.ID] = string(s.Data)
		}
		if len(each) != len(sockets.List) {
			return nil, fmt.Errorf("EachSocket has %d, and FetchSockets %d", len(each), len(sockets.List))
		}
		list := []any{}
		for _, s := range sockets.List {
			if each[s.ID] != string(s.Data) {
				return nil, fmt.Errorf("EachSocket has %s of %s, and FetchSockets %s", each[s.ID], s.ID, s.Data)
			}
			list = append(list, args{"id": s.ID, "rooms": s.Rooms, "data": raw(s.Data), "handshake": raw(s.Handshake)})
		}
		return list, nil
	},
	"remoteJoin": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, ns.Join(ctx, a["id"].(string), a["room"].(string))
	},
	"remoteLeave": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, ns.Leave(ctx, a["id"].(string), a["room"].(string))
	},
	"remoteDisconnect": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, ns.Disconnect(ctx, a["id"].(string), a["close"].(bool))
	},
	"socketsJoin": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, target(n, ns, a).SocketsJoin(ctx, texts(a["rooms"])...)
	},
	"socketsLeave": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, target(n, ns, a).SocketsLeave(ctx, texts(a["rooms"])...)
	},
	"disconnectSockets": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, target(n, ns, a).Reason("wartung \u2615").DisconnectSockets(ctx, a["close"].(bool))
	},
	"customRequest": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return replies(ns.CustomRequest(ctx, a["data"]))
	},
	"listen": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		inbox, answers := n.Inbox(a["inbox"].(string)), a["answers"].(bool)
		_, err := ns.OnServerSideEmit(a["event"].(string), func(_ context.Context, e *adapter.ServerEvent) {
			inbox.Put(interop.Message{Event: e.Event, Args: e.Args})
			if answers {
				if err := e.Ack(args{"node": n.name, "got": e.Args}); err != nil {
					n.faults.add(err)
				}
			}
		})
		return nil, err
	},
	"serverSideEmit": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return nil, ns.ServerSideEmit(ctx, a["event"].(string), a["args"].([]any)...)
	},
	"serverSideEmitWithAck": func(ctx context.Context, n *goNode, ns *adapter.Namespace, a args) (any, error) {
		return replies(ns.ServerSideEmitWithAck(ctx, a["event"].(string), a["args"].([]any)...))
	},
}

// replies returns the values of replies in the form of the packages.
func replies(r *adapter.Replies, err error) (any, error) {
	if r == nil {
		return nil, err
	}
	list := []any{}
	for _, reply := range r.List {
		if reply.Err != "" {
			return list, errors.New(reply.Err)
		}
		list = append(list, raw(reply.Data))
	}
	return list, err
}

func raw(text json.RawMessage) any {
	if text == nil {
		return interop.Undefined{}
	}
	v, err := interop.Parse(text)
	if err != nil {
		return err.Error()
	}
	return v
}

// texts returns room names; a room may be given as a number.
func texts(list any) []string {
	values, _ := list.([]any)
	out := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case string:
			out[i] = v
		case int:
			out[i] = strconv.Itoa(v)
		case float64:
			out[i] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return out
}

// goSocket is a client of a Go node.
type goSocket struct {
	id      string
	ns      *adapter.Namespace
	inbox   *interop.Inbox
	data    any
	answers args // by event
	last    atomic.Pointer[adapter.Packet]
}

func (s *goSocket) ID() string { return s.id }

func (s *goSocket) Deliver(p *adapter.Packet) {
	s.last.Store(p)
	if err := p.Err(); err != nil {
		s.inbox.Put(interop.Message{Event: "unreadable: " + err.Error()})
		return
	}
	s.inbox.Put(interop.Message{Event: p.Event(), Args: p.Args()})
}

func (s *goSocket) DeliverWithAck(p *adapter.Packet, ack func(...any)) {
	s.Deliver(p)
	if v, ok := s.answers[p.Event()]; ok {
		ack(v)
	}
}

func (s *goSocket) Disconnect(bool) {
	s.ns.Remove(s.id)
	s.inbox.Put(interop.Message{Disconnected: "by the server"})
}

func (s *goSocket) Describe() adapter.Description { return adapter.Description{Data: s.data} }

// goEmitter is a Go process without sockets.
type goEmitter struct {
	name string
	e    *adapter.Emitter
}

func startGoEmitter(t *testing.T, name, url, prefix string, d adapter.Dialect) *goEmitter {
	t.Helper()
	e, err := adapter.NewEmitter(openBroker(t, url, prefix, d), &adapter.EmitterOptions{Dialect: d})
	require.NoError(t, err)
	return &goEmitter{name, e}
}

func (n *goEmitter) Name() string                     { return n.name }
func (n *goEmitter) Inbox(name string) *interop.Inbox { return interop.NewInbox() }
func (n *goEmitter) Faults() []string                 { return nil }

// Call implements node.
func (n *goEmitter) Call(ctx context.Context, op string, a args) (any, error) {
	e := n.e.Of(a["nsp"].(string))
	o := e.All()
	if rooms := texts(a["to"]); len(rooms) > 0 {
		o = o.To(rooms...)
	}
	o = o.Except(texts(a["except"])...)
	for _, flag := range texts(a["flags"]) {
		switch flag {
		case "volatile":
			o = o.Volatile()
		case "nocompress":
			o = o.Compress(false)
		}
	}
	switch op {
	case "emit":
		return nil, o.Emit(ctx, a["event"].(string), a["args"].([]any)...)
	case "socketsJoin":
		return nil, o.SocketsJoin(ctx, texts(a["rooms"])...)
	case "socketsLeave":
		return nil, o.SocketsLeave(ctx, texts(a["rooms"])...)
	case "disconnectSockets":
		return nil, o.Reason("from an emitter").DisconnectSockets(ctx, a["close"].(bool))
	case "serverSideEmit":
		return nil, e.ServerSideEmit(ctx, a["event"].(string), a["args"].([]any)...)
	}
	return nil, fmt.Errorf("the Go emitter has no operation %s", op)
}

// inboxes by name.
type inboxes struct {
	mu sync.Mutex
	m  map[string]*interop.Inbox
}

func (i *inboxes) get(name string) *interop.Inbox {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.m == nil {
		i.m = map[string]*interop.Inbox{}
	}
	if i.m[name] == nil {
		i.m[name] = interop.NewInbox()
	}
	return i.m[name]
}

// faults are unexpected errors.
type faults struct {
	mu   sync.Mutex
	errs []string
}

func (f *faults) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err.Error())
}

func (f *faults) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.errs...)
}
