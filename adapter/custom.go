package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/errorlog"
	"github.com/crossroom/crossroom/internal/wire"
)

// Replies are the responses of servers to a request.
type Replies struct {
	// List has one reply for each server that responded, in the order of their arrival.
	List []Reply
	backplane.Coverage
}

// Reply is one server's response.
type Reply struct {
	// Node is the uid of the Go node that responded; empty for another server.
	Node string
	// Data is JSON; nil if the response has no value. It may be a part of a message: read-only. It may be kept.
	Data json.RawMessage
	// Err is the text of the error of that node's hook; empty if it succeeded.
	Err string
}

// Bind stores Data in the variable that dst points to, with the rules and errors of json.Unmarshal; nothing if the
// response has no value. If Err is set, it returns an error with that text.
func (r Reply) Bind(dst any) error {
	switch {
	case r.Err != "":
		return fmt.Errorf("adapter: node %.100q: %s", r.Node, errorlog.Printable(r.Err, 1000))
	case r.Data == nil:
		return nil
	}
	return json.Unmarshal(r.Data, dst)
}

// OnCustomRequest sets the hook for custom requests in this namespace, in place of Options.CustomHook. Nil restores
// that.
func (ns *Namespace) OnCustomRequest(hook CustomHook) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.hook = hook
}

// CustomRequest passes data, encoded as JSON, to the custom hook of every server and returns one reply of each. Like
// with socket.io-redis 5, this server's own hook is one of them: its reply comes first. If the hook takes longer than
// Options.RequestsTimeout, this server is one of the missing nodes in the *backplane.PartialError. Data that cannot be
// encoded is an *ArgumentError. Partial results are as with Clients.
//
// In dialect v6 only Go nodes have such hooks; Node.js servers do not get the request, and a Go node that opened the
// namespace at this moment may not be known yet. In dialect v5 Node.js servers respond too, but a newer one on the
// same prefix would crash on the request. So CustomRequest first sends a harmless v5 request. If a server does not
// respond to it like a v5 server, the custom request is not sent: the error is a *MixedFleetError. If the harmless
// request fails, as in an outage, the custom request is not sent either: the *backplane.PartialError comes without a
// value.
func (ns *Namespace) CustomRequest(ctx context.Context, data any) (*Replies, error) {
	if ctx == nil {
		return nil, backplane.ErrNilContext
	}
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
	go func() { // ends with the hook, for which the call waits as long as it may take
		r := Reply{Node: ns.server.uid}
		if data, err := ns.ownCustom(ctx, payload); err != nil {
			r.Err = err.Error()
		} else {
			r.Data = data
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
		out.Missing = append(out.Missing, observe.Missing{Node: ns.server.uid, Count: 1, Reason: backplane.ErrNoResponse})
		var partial *backplane.PartialError
		if errors.As(err, &partial) {
			partial.Coverage = out.Coverage
		} else {
			err = multilink.First(err, wire.FromAdapter(&backplane.PartialError{Op: wire.OpCustom.String(), Coverage: out.Coverage, Err: ctx.Err()}))
		}
	}
	return out, err
}

// receive waits for a value until ctx ends. It returns a value that is ready in any case.
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

// replies converts the responses that the core collected.
func replies(in *backplane.Result[backplane.Reply]) *Replies {
	if in == nil {
		return nil
	}
	out := &Replies{Coverage: in.Coverage}
	for _, r := range in.List {
		out.List = append(out.List, Reply{Node: r.Node, Data: r.Payload, Err: r.Err})
	}
	return out
}

// ownCustom calls this node's own hook.
func (ns *Namespace) ownCustom(ctx context.Context, payload []byte) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			ns.server.reportIn(ctx, wire.FromAdapter(&backplane.PanicError{What: "CustomHook", Value: v, Stack: debug.Stack()}))
			out, err = nil, errors.New("CustomHook panicked")
		}
	}()
	return ns.runCustom(ctx, payload)
}

// serveCustom serves another node's custom request.
func (ns *Namespace) serveCustom(ctx context.Context, link int, from string, payload []byte) ([]byte, error) {
	if from != "" && ns.shared.ServedElsewhere(link, from, wire.OpCustom) {
		return []byte("null"), nil // the request came over another link too, and is served there
	}
	return ns.runCustom(ctx, payload)
}

// runCustom calls the hook. It reports the hook's error, whichever node made the request.
func (ns *Namespace) runCustom(ctx context.Context, payload []byte) ([]byte, error) {
	out, err := ns.callCustom(ctx, payload)
	if err != nil {
		ns.server.reportIn(ctx, wire.FromAdapter(&backplane.OpError{Op: "custom hook", Namespace: ns.name, Err: err}))
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
		return nil, wire.FromAdapter(&backplane.OpError{Op: "encode the response of a custom hook", Namespace: ns.name, Err: err})
	}
	return out, nil
}
