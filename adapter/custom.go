package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// Replies are the answers of servers to a request.
type Replies struct {
	// List has one reply for each server that answered, in the order in which they
	// came.
	List []Reply
	backplane.Coverage
}

// Reply is one server's answer.
type Reply struct {
	// Node is the uid of the Go node that answered; empty for another server.
	Node string
	// Data is JSON; nil if the answer has no value.
	Data json.RawMessage
	// Err is what the other node's hook returned, a *RemoteError; nil if it went
	// well.
	Err error
}

// Bind stores Data in what dst points to, as encoding/json does; nothing if there is
// no value. It returns Err if that is set.
func (r Reply) Bind(dst any) error {
	if r.Err != nil || r.Data == nil {
		return r.Err
	}
	return json.Unmarshal(r.Data, dst)
}

// RemoteError is what another node's callback said.
type RemoteError struct {
	Node, Message string
}

func (e *RemoteError) Error() string { return "adapter: node " + e.Node + ": " + e.Message }

// OnCustomRequest sets the hook that answers custom requests in this namespace, in
// place of Options.CustomHook, which nil brings back.
func (ns *Namespace) OnCustomRequest(hook CustomHook) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.hook = hook
}

// CustomRequest hands data, encoded as JSON, to the custom hook of every server and
// returns one reply of each. As with socket.io-redis 5 this server's own hook is one
// of them (it comes first), and is missing in the *backplane.PartialError if it takes longer
// than Options.RequestsTimeout. Partial answers are as with Clients.
//
// In dialect v6 only Go nodes have such hooks; Node.js servers do not hear of it, and a
// Go node that opened the namespace this very moment may not be known yet. In
// dialect v5 Node.js servers answer too; but a newer one on the same prefix would
// die of the request. So the others are first asked a harmless question in v5, and
// if one of them does not answer it as a v5 server does, the custom request is not
// sent: the error is a *MixedFleetError.
func (ns *Namespace) CustomRequest(ctx context.Context, data any) (*Replies, error) {
	payload, err := encodeJSON(data)
	if err != nil {
		return nil, &ArgumentError{Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, ns.server.opts.RequestsTimeout)
	defer cancel()
	if err := ns.fleet.customAllowed(ctx); err != nil {
		return nil, err
	}
	own := make(chan Reply, 1)
	go func() { // ends with the hook, which is waited for as long as it may take
		var r Reply
		r.Node = ns.server.uid
		if r.Data, r.Err = ns.ownCustom(ctx, payload); r.Err != nil {
			r.Data, r.Err = nil, &RemoteError{Node: r.Node, Message: r.Err.Error()}
		}
		own <- r
	}()
	in, err := ns.fleet.custom(ctx, payload)
	out := replies(in)
	if out == nil {
		return nil, err
	}
	if reply, ok := receive(ctx, own); ok {
		out.List = append([]Reply{reply}, out.List...)
	} else {
		out.Missing = append(out.Missing, backplane.Missing{Node: ns.server.uid, Count: 1, Reason: backplane.ErrNoResponse})
		var partial *backplane.PartialError
		if errors.As(err, &partial) {
			partial.Coverage = out.Coverage
		} else {
			err = multilink.First(err, &backplane.PartialError{Op: wire.OpCustom.String(), Coverage: out.Coverage, Err: ctx.Err()})
		}
	}
	return out, err
}

// receive waits for a value until ctx ends. One that is there is taken in any case.
func receive[T any](ctx context.Context, from <-chan T) (v T, ok bool) {
	select {
	case v = <-from:
		return v, true
	case <-ctx.Done():
	}
	select {
	case v = <-from:
		return v, true
	default:
		return v, false
	}
}

// replies are the answers that the core collected.
func replies(in *backplane.Replies) *Replies {
	if in == nil {
		return nil
	}
	out := &Replies{Coverage: in.Coverage}
	for _, r := range in.List {
		reply := Reply{Node: r.Node, Data: r.Payload}
		if r.Err != "" {
			reply.Err = &RemoteError{Node: r.Node, Message: r.Err}
		}
		out.List = append(out.List, reply)
	}
	return out
}

// ownCustom asks this node's own hook.
func (ns *Namespace) ownCustom(ctx context.Context, payload []byte) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			ns.server.reportIn(ctx, &backplane.PanicError{What: "CustomHook", Value: v, Stack: debug.Stack()})
			out, err = nil, errors.New("CustomHook panicked")
		}
	}()
	return ns.runCustom(ctx, payload)
}

// serveCustom answers another node's custom request.
func (ns *Namespace) serveCustom(ctx context.Context, link int, from string, payload []byte) ([]byte, error) {
	if from != "" && ns.shared.Elsewhere(link, from, wire.OpCustom) {
		return []byte("null"), nil // asked on another link too, and answered there
	}
	return ns.runCustom(ctx, payload)
}

// runCustom calls the hook. Its error is reported, whoever asked.
func (ns *Namespace) runCustom(ctx context.Context, payload []byte) ([]byte, error) {
	out, err := ns.callCustom(ctx, payload)
	if err != nil {
		ns.server.reportIn(ctx, fmt.Errorf("adapter: custom hook: %w", err))
	}
	return out, err
}

func (ns *Namespace) callCustom(ctx context.Context, payload []byte) ([]byte, error) {
	ns.mu.RLock()
	hook := ns.hook
	ns.mu.RUnlock()
	if hook == nil {
		hook = ns.server.opts.CustomHook
	}
	if hook == nil {
		return []byte("null"), nil
	}
	if payload == nil {
		payload = []byte("null")
	}
	v, err := hook(ctx, ns, payload)
	if err != nil {
		return nil, err
	}
	out, err := encodeJSON(v)
	if err != nil {
		return nil, &backplane.OpError{Op: "encode the response of a custom hook", Namespace: ns.name, Err: err}
	}
	return out, nil
}
