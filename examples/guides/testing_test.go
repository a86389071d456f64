package guides_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/fleettest"
)

// app stands for your application: it takes any broker.
type app struct {
	server *adapter.Server
	chat   *adapter.Namespace
	errs   chan error // what Options.OnError reported
}

func newApp(ctx context.Context, b broker.Broker, opts adapter.Options) (*app, error) {
	a := &app{errs: make(chan error, 16)}
	opts.OnError = func(err error) { a.errs <- err }
	var err error
	if a.server, err = adapter.New(b, &opts); err != nil {
		return nil, err
	}
	a.chat, err = a.server.Of(ctx, "/chat")
	return a, err
}

// inbox is a socket that keeps what it gets.
type inbox struct {
	id     string
	events chan string
}

func newInbox(id string) *inbox { return &inbox{id, make(chan string, 16)} }

func (i *inbox) ID() string                { return i.id }
func (i *inbox) Deliver(p *adapter.Packet) { i.events <- p.Event() }
func (i *inbox) Disconnect(bool)           {}

// Two nodes in one process: nothing has to run beside the test.
func TestHelloReachesTheOtherNode(t *testing.T) {
	ctx, bus := t.Context(), memorybroker.NewBus(nil)
	north, err := newApp(ctx, bus.Broker(), adapter.Options{})
	require.NoError(t, err)
	defer north.server.Close(ctx)
	south, err := newApp(ctx, bus.Broker(), adapter.Options{})
	require.NoError(t, err)
	defer south.server.Close(ctx)
	bob := newInbox("bob")
	require.NoError(t, south.chat.Add(ctx, bob))

	require.NoError(t, north.chat.To("bob").Emit(ctx, "hello"))
	assert.Equal(t, "hello", <-bob.events)
}

// A node loses its link to the broker, and gets it back.
func TestOutageIsReported(t *testing.T) {
	ctx, bus := t.Context(), memorybroker.NewBus(nil)
	b := bus.Broker()
	north, err := newApp(ctx, b, adapter.Options{})
	require.NoError(t, err)
	defer north.server.Close(ctx)
	south, err := newApp(ctx, bus.Broker(), adapter.Options{})
	require.NoError(t, err)
	defer south.server.Close(ctx)
	bob := newInbox("bob")
	require.NoError(t, south.chat.Add(ctx, bob))

	memorytest.Cut(b, errors.New("the cable is out"))
	var gap *backplane.InterruptedError
	require.ErrorAs(t, <-north.errs, &gap)
	require.NoError(t, north.chat.Emit(ctx, "queued")) // accepted: it waits
	memorytest.Heal(b)
	assert.Equal(t, "queued", <-bob.events)
}

// A node crashes during a query. The clock is the fleet's: the test takes no time.
func TestNodeCrashesDuringQuery(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		ctx := t.Context()
		north, err := newApp(ctx, f.Broker("north"), adapter.Options{Name: "north"})
		require.NoError(t, err)
		defer north.server.Close(ctx)
		eastBroker := f.Broker("east")
		east, err := newApp(ctx, eastBroker, adapter.Options{Name: "east"})
		require.NoError(t, err)
		defer east.server.Close(ctx)
		f.Settle() // the nodes know each other

		eastBroker.Freeze() // it gets the request and does not respond
		f.After(300*time.Millisecond, eastBroker.Kill)
		began := time.Now()
		_, err = north.chat.All().FetchSockets(ctx)
		var partial *backplane.PartialError
		require.ErrorAs(t, err, &partial)
		assert.Equal(t, "east", adapter.NodeName(partial.Coverage.Missing[0].Node))
		assert.ErrorIs(t, partial, backplane.ErrPeerLost)
		assert.Equal(t, 500*time.Millisecond, time.Since(began))
	})
}
