package observers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/observers"
)

// witness records its calls. It keeps a state of its own between Start and End, and panics in every method if bad.
type witness struct {
	name   string
	events observe.Events
	bad    bool
	calls  *[]string
}

type key string

func (w *witness) Events() observe.Events { return w.events }

func (w *witness) call(method string) {
	*w.calls = append(*w.calls, w.name+" "+method)
	if w.bad {
		panic(method)
	}
}

func (w *witness) start(ctx context.Context, method string, state *any) context.Context {
	if *state != nil {
		w.call(fmt.Sprint(method, " has the state ", *state))
	}
	*state = w.name
	w.call(method)
	return context.WithValue(ctx, key(w.name), true)
}

func (w *witness) end(ctx context.Context, method string, state *any) {
	if *state != w.name || ctx.Value(key("a")) != true {
		w.call(fmt.Sprint(method, " has the state ", *state))
	}
	w.call(method)
}

func (w *witness) NodeStart(observe.Node) { w.call("NodeStart") }
func (w *witness) NodeEnd(observe.Node)   { w.call("NodeEnd") }
func (w *witness) PublishStart(ctx context.Context, d *observe.Publish) context.Context {
	return w.start(ctx, "PublishStart", &d.State)
}
func (w *witness) PublishEnd(ctx context.Context, d *observe.Publish) {
	w.end(ctx, "PublishEnd", &d.State)
}
func (w *witness) DeliverStart(ctx context.Context, d *observe.Delivery) context.Context {
	return w.start(ctx, "DeliverStart", &d.State)
}
func (w *witness) DeliverEnd(ctx context.Context, d *observe.Delivery) {
	w.end(ctx, "DeliverEnd", &d.State)
}
func (w *witness) RequestStart(ctx context.Context, d *observe.Request) context.Context {
	return w.start(ctx, "RequestStart", &d.State)
}
func (w *witness) RequestResponse(ctx context.Context, d *observe.Request, node string) {
	was := d.State
	d.State = w.name + " responded"
	w.end(ctx, "RequestResponse "+node, &was)
}
func (w *witness) RequestEnd(ctx context.Context, d *observe.Request) {
	if d.State != w.name+" responded" {
		w.call(fmt.Sprint("RequestEnd has the state ", d.State))
	}
	d.State = w.name
	w.end(ctx, "RequestEnd", &d.State)
}
func (w *witness) ServeStart(ctx context.Context, d *observe.Serve) context.Context {
	return w.start(ctx, "ServeStart", &d.State)
}
func (w *witness) ServeEnd(ctx context.Context, d *observe.Serve) { w.end(ctx, "ServeEnd", &d.State) }
func (w *witness) Dropped(ns string, _ broker.Channel, reason observe.DropReason) {
	w.call(fmt.Sprint("Dropped ", ns, " ", reason))
}
func (w *witness) Interrupted(ns string, err error) { w.call(fmt.Sprint("Interrupted ", ns, " ", err)) }
func (w *witness) Resumed(ns string, d time.Duration) {
	w.call(fmt.Sprint("Resumed ", ns, " ", d))
}

func (w *witness) Changed(c observe.Change) { w.call("Changed " + c.Namespace) }

// everything calls each method of the set and returns their names.
func everything(s *observers.Set) (methods []string) {
	ctx := context.Background()
	did := func(method string) { methods = append(methods, method) }
	s.Node.NodeStart(nil)
	did("NodeStart")
	s.Node.NodeEnd(nil)
	did("NodeEnd")
	var p observe.Publish
	in := s.Publish.PublishStart(ctx, &p)
	did("PublishStart")
	s.Publish.PublishEnd(in, &p)
	did("PublishEnd")
	var d observe.Delivery
	in = s.Deliver.DeliverStart(ctx, &d)
	did("DeliverStart")
	s.Deliver.DeliverEnd(in, &d)
	did("DeliverEnd")
	var r observe.Request
	in = s.Request.RequestStart(ctx, &r)
	did("RequestStart")
	s.Request.RequestResponse(in, &r, "n")
	did("RequestResponse n")
	s.Request.RequestEnd(in, &r)
	did("RequestEnd")
	var v observe.Serve
	in = s.Serve.ServeStart(ctx, &v)
	did("ServeStart")
	s.Serve.ServeEnd(in, &v)
	did("ServeEnd")
	s.Drop.Dropped("/", broker.Channel{}, observe.DropEcho)
	did(fmt.Sprint("Dropped / ", observe.DropEcho))
	s.Link.Interrupted("/", errors.New("cut"))
	did("Interrupted / cut")
	s.Link.Resumed("/", time.Second)
	did("Resumed / 1s")
	s.Change.Changed(observe.Change{Namespace: "/"})
	did("Changed /")
	return methods
}

func TestEachObserverIsCalledInOrderWithItsState(t *testing.T) {
	var calls, panics []string
	list := []observe.Observer{
		&witness{name: "a", events: observe.All, calls: &calls},
		&witness{name: "b", events: observe.All, calls: &calls},
	}
	s, ok := observers.Of(list, func(what string, v any) { panics = append(panics, what) })
	require.True(t, ok)
	require.True(t, s.Unwanted)
	var want []string
	for _, method := range everything(&s) {
		want = append(want, "a "+method, "b "+method)
	}
	require.Equal(t, want, calls)
	require.Empty(t, panics)
}

func TestAPanicIsReportedAndStopsNoOther(t *testing.T) {
	var calls, panics []string
	list := []observe.Observer{
		&witness{name: "a", events: observe.All, calls: &calls},
		&witness{name: "bad", events: observe.All, bad: true, calls: new([]string)},
	}
	list[0], list[1] = list[1], list[0]
	s, ok := observers.Of(list, func(what string, v any) { panics = append(panics, what) })
	require.True(t, ok)
	methods := everything(&s)
	require.Len(t, panics, len(methods))
	require.Len(t, calls, len(methods), "those of the other one")
}

func TestOnlyThoseThatWantAnEvent(t *testing.T) {
	var calls []string
	a := &witness{name: "a", events: observe.Publishes, calls: &calls}
	b := &witness{name: "b", events: observe.Publishes | observe.Unwanted, calls: &calls}
	s, ok := observers.Of([]observe.Observer{a, observe.Nop{}, b}, nil)
	require.True(t, ok)
	require.True(t, s.Unwanted)
	require.Equal(t, observe.Nop{}, s.Deliver, "the only one that wants it, without an observer around it")
	require.Equal(t, observe.Nop{}, s.Node)

	s, ok = observers.Of([]observe.Observer{a}, nil)
	require.True(t, ok)
	require.Same(t, a, s.Publish)
	require.Equal(t, []any{nil, nil, nil, nil, nil, nil, nil, false}, []any{s.Deliver, s.Request, s.Serve, s.Drop, s.Link, s.Node, s.Change, s.Unwanted})

	_, ok = observers.Of([]observe.Observer{a, nil}, nil)
	require.False(t, ok)
	s, ok = observers.Of(nil, nil)
	require.True(t, ok)
	require.Equal(t, observers.Set{}, s)
}
