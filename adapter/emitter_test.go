package adapter_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

func TestEmitter(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		bus := memorybroker.NewBus(nil)
		a, b := newNode(t, bus, adapter.Options{Dialect: d}), newNode(t, bus, adapter.Options{Dialect: d})
		acquainted(t, a, b)
		const idB = "b234567890abcdefghij" // in the form of Socket.IO's ids
		sa, sb := a.add(t, "a", "red"), b.add(t, idB, "red", "blue")
		out := bus.Broker()
		defer out.Close(context.Background())
		e, err := adapter.NewEmitter(out, &adapter.EmitterOptions{Namespace: "chat", Dialect: d})
		ok(t, err)
		ctx := t.Context()
		ok(t, e.Emit(ctx, "all", 1))
		ok(t, e.To("blue").Emit(ctx, "blue"))
		ok(t, e.To("red").Except(idB).Emit(ctx, "red but b"))
		err = e.All().Except(idB, "red").Emit(ctx, "to no socket")
		if refused := unsupported(err, `Emit with Except("red")`); refused != (d == adapter.V5) || refused && !strings.Contains(err.Error(), "cannot ask") || !refused && err != nil {
			t.Errorf("except a room: %v", err)
		}
		ok(t, e.Of("/other").Emit(ctx, "elsewhere"))
		ok(t, e.All().Volatile().Compress(false).Emit(ctx, "end"))
		ok(t, e.Flush(ctx))
		p := sa.next(t)
		assert.Equal(t, "emitter", p.Origin(), "got %s %v of %s", p.Event(), p.Args(), p.Origin())
		assert.Equal(t, "all", p.Event(), "got %s %v of %s", p.Event(), p.Args(), p.Origin())
		assert.Equal(t, int64(1), p.Args()[0], "got %s %v of %s", p.Event(), p.Args(), p.Origin())
		require.Equal(t, []string{"all", "blue"}, sb.until(t, "end"), "b")
		assert.Equal(t, "red but b", sa.next(t).Event())
		if p := sa.next(t); p.Event() != "end" || !p.Volatile() || p.Compress() {
			t.Errorf("got %s, volatile %v, compress %v", p.Event(), p.Volatile(), p.Compress())
		}
		n, err := a.ns.ServerCount(ctx)
		assert.Equal(t, 2, n, "an emitter is no server")
		assert.NoError(t, err)
	})
}

func TestEmitterSelections(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	n := newNode(t, bus, adapter.Options{})
	a, b := n.add(t, "a", "red"), n.add(t, "b")
	events := make(chan *adapter.ServerEvent, 1)
	_, err := n.ns.OnServerSideEmit("hello", func(_ context.Context, e *adapter.ServerEvent) { events <- e })
	ok(t, err)
	e, err := adapter.NewEmitter(n.broker, &adapter.EmitterOptions{Namespace: chat})
	ok(t, err)
	ctx := t.Context()
	joined := func(id, room string) func() bool {
		return func() bool {
			for _, r := range roomsOf(n.ns, id) {
				if r == room {
					return true
				}
			}
			return false
		}
	}
	ok(t, e.To("red").SocketsJoin(ctx, "x"))
	eventually(t, "joined", joined("a", "x"))
	ok(t, e.All().SocketsJoin(ctx, "y"))
	eventually(t, "joined", joined("b", "y"))
	assert.False(t, joined("b", "x")(), "b joined as well")
	ok(t, e.All().Except("a").SocketsLeave(ctx, "y"))
	eventually(t, "left", func() bool { return !joined("b", "y")() })
	ok(t, e.To("red").DisconnectSockets(ctx, true))
	assert.True(t, <-a.ended, "not closed")
	ok(t, e.ServerSideEmit(ctx, "hello", "arg"))
	got := <-events
	assert.Equal(t, "emitter", got.From, "got %+v", got)
	require.False(t, got.WantsAck(), "got %+v", got)
	assert.Equal(t, "arg", got.Args[0], "got %+v", got)
	assert.Empty(t, b.ended, "b was disconnected")
}

func TestEmitterErrors(t *testing.T) {
	b := memorybroker.New(nil)
	var option *backplane.OptionError
	if _, err := adapter.NewEmitter(nil, nil); !errors.As(err, &option) {
		t.Errorf("no broker: %v", err)
	}
	if _, err := adapter.NewEmitter(b, &adapter.EmitterOptions{Dialect: 9}); !errors.As(err, &option) {
		t.Errorf("dialect: %v", err)
	}
	if _, err := adapter.NewEmitter(b, &adapter.EmitterOptions{Observers: []observe.Observer{nil}}); !errors.As(err, &option) || option.Option != "Observers" {
		t.Errorf("observer: %v", err)
	}
	var name *backplane.NameError
	if _, err := adapter.NewEmitter(b, &adapter.EmitterOptions{Namespace: "/a,b"}); !errors.As(err, &name) {
		t.Errorf("namespace: %v", err)
	}
	old, err := adapter.NewEmitter(b, &adapter.EmitterOptions{Dialect: adapter.V5})
	ok(t, err)
	ctx := t.Context()
	for what, err := range map[string]error{
		"SocketsJoin": old.All().SocketsJoin(ctx, "x"), "SocketsLeave": old.All().SocketsLeave(ctx, "x"),
		"DisconnectSockets": old.All().DisconnectSockets(ctx, true), "ServerSideEmit": old.ServerSideEmit(ctx, "x"),
	} {
		assert.True(t, unsupported(err, what), "%s: %v", what, err)
	}
	e, err := adapter.NewEmitter(b, nil)
	ok(t, err)
	var reserved *backplane.NameError
	assert.ErrorAs(t, e.Emit(ctx, "connect"), &reserved)
	assert.ErrorAs(t, e.ServerSideEmit(ctx, "connection"), &reserved)
	var arg *adapter.ArgumentError
	assert.ErrorAs(t, e.Emit(ctx, "x", func() {}), &arg)
	assert.Error(t, (adapter.Operator{}).Emit(ctx, "x"))
	assert.Error(t, (adapter.Operator{}).SocketsJoin(ctx, "x"))
	_, ackErr := e.To("x").EmitWithAck(ctx, "x")
	_, listErr := e.To("x").FetchSockets(ctx)
	for what, err := range map[string]error{
		"EmitWithAck": ackErr, "FetchSockets": listErr, "Emit": e.All().Local().Emit(ctx, "x"), "SocketsJoin": e.All().Local().SocketsJoin(ctx, "x"),
	} {
		assert.ErrorIs(t, err, errors.ErrUnsupported, "%s of an emitter", what)
	}
	for what, err := range map[string]error{"room": e.To("\xff").Emit(ctx, "x"), "except": e.All().Except("\xff").Emit(ctx, "x"), "namespace": e.Of("\xff").Emit(ctx, "x"), "joined room": e.All().SocketsJoin(ctx, "\xff"), "comma": e.Of("/a,b").ServerSideEmit(ctx, "x")} {
		assert.ErrorAs(t, err, &name, what)
	}
	ok(t, b.Close(ctx))
	assert.ErrorIs(t, e.Emit(ctx, "x"), broker.ErrClosed, "closed broker")
}

func TestEmitterThatIsNone(t *testing.T) {
	var e adapter.Emitter
	ctx := t.Context()
	for what, err := range map[string]error{
		"Emit": e.Emit(ctx, "x"), "To": e.To("a").Emit(ctx, "x"), "ServerSideEmit": e.ServerSideEmit(ctx, "x"),
		"SocketsJoin": e.To("a").SocketsJoin(ctx, "b"), "Flush": e.Flush(ctx), "Of": e.Of("/a").Emit(ctx, "x"),
	} {
		assert.ErrorContains(t, err, "must come from NewEmitter", what)
	}
}
