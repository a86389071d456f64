package natsbroker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/internal/servers"
)

// rights returns the configuration of two users: node has the given permissions, and all
// may do everything. Both have the password pw.
func rights(permissions string) string {
	return `authorization { users: [
		{ user: all, password: pw }
		{ user: node, password: pw, permissions: { ` + permissions + ` } }
	] }`
}

// everything are the permissions of a user who may do everything.
const everything = `publish: ">", subscribe: ">"`

// guarded is a server with these two users, whose permissions can be changed while it runs.
type guarded struct {
	t *testing.T
	*servers.NATS
}

func startGuarded(t *testing.T) *guarded {
	return &guarded{t, servers.StartNATS(t, &servers.NATSOptions{Config: rights(everything)})}
}

// reload sets the permissions of node.
func (g *guarded) reload(permissions string) {
	g.t.Helper()
	g.configure(rights(permissions))
}

func (g *guarded) configure(config string) {
	g.t.Helper()
	require.NoError(g.t, g.Reload(within(g.t, patience), func(o *servers.NATSOptions) { o.Config = config }))
}

func (g *guarded) open(user string, opts *natsbroker.Options) *natsbroker.Broker {
	g.t.Helper()
	return open(g.t, "nats://"+user+":pw@"+g.Addr(), opts)
}

// TestSubscribePermissionRevoked: a subscription that the server does not allow any more is interrupted
// with the reason, until the server allows it again. Other subscriptions continue.
func TestSubscribePermissionRevoked(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	from := g.open("all", quick())
	for _, c := range []struct {
		name, denied string
		filters      []broker.Filter
		on           broker.Channel // a denied channel
	}{
		{"everything", "crossroom.>", []broker.Filter{broker.Native.EveryRoom("/ns")}, broker.Native.Broadcast("/ns")},
		{"a namespace", "*.native.cast./ns.>", []broker.Filter{broker.Native.EveryRoom("/ns")}, broker.Native.Room("/ns", "r")},
		{"a part of a namespace", "crossroom.native.cast./ns.room.r", []broker.Filter{broker.Exactly(broker.Native.Room("/ns", "r"))}, broker.Native.Room("/ns", "r")},
		{"one filter of many", "crossroom.socketio.request.>", []broker.Filter{
			broker.SocketIO.EveryRoom("/ns"), broker.Exactly(broker.SocketIO.Requests("/ns")), broker.Exactly(broker.SocketIO.Responses("/ns")),
			broker.Exactly(broker.SocketIO.NodeResponses("/ns", "me")),
		}, broker.SocketIO.Requests("/ns")},
		{"all of many rooms", "crossroom.native.cast.>", rooms(200), broker.Native.Room("/rooms", "17")},
		{"the control channel", "crossroom.native.control", []broker.Filter{broker.Exactly(broker.Control())}, broker.Control()},
		{"a quoted name", "crossroom.native.request.*", []broker.Filter{broker.Exactly(broker.Native.Requests(`"é\`))}, broker.Native.Requests(`"é\`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := g.open("node", quick())
			r, bystander := record(t), record(t)
			other := broker.Native.NodeResponses("/other", "me")
			subscribe(t, b, r, c.filters...)
			subscribe(t, b, bystander, broker.Exactly(other))
			publish(t, from, c.on, "before")
			r.Want(c.on, "before")

			g.reload(`publish: ">", subscribe: { allow: ">", deny: ` + fmt.Sprintf("%q", c.denied) + ` }`)
			call := r.WantCall("interrupted")
			require.ErrorIs(t, call.Err, nats.ErrPermissionViolation)
			if c.denied == "crossroom.>" {
				call := bystander.WantCall("interrupted")
				require.ErrorIs(t, call.Err, nats.ErrPermissionViolation)
			} else {
				publish(t, from, other, "undisturbed")
				bystander.Want(other, "undisturbed")
			}
			publish(t, from, c.on, "missed")
			flush(t, from)
			_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(c.on))
			assert.ErrorIs(t, err, nats.ErrPermissionViolation, "Subscribe during the interruption")

			g.reload(everything)
			r.WantCall("resumed")
			publish(t, from, c.on, "after")
			r.Want(c.on, "after")
			if c.denied != "crossroom.>" {
				bystander.WantNothing()
			}
		})
	}
}

func rooms(n int) []broker.Filter {
	list := make([]broker.Filter, n)
	for i := range list {
		list[i] = broker.Exactly(broker.Native.Room("/rooms", fmt.Sprint(i)))
	}
	return list
}

// TestRefusedFilterRemoved: without the refused filter the subscription is live.
func TestRefusedFilterRemoved(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	b, from := g.open("node", quick()), g.open("all", quick())
	denied, allowed := broker.Native.Room("/", "denied"), broker.Native.Room("/", "allowed")
	r := record(t)
	sub := subscribe(t, b, r, broker.Exactly(denied), broker.Exactly(allowed))
	g.reload(`publish: ">", subscribe: { allow: ">", deny: "crossroom.native.cast./.room.denied" }`)
	r.WantCall("interrupted")
	for _, f := range []broker.Filter{broker.Exactly(denied), broker.Exactly(room)} {
		assert.ErrorIs(t, sub.Add(within(t, patience), f), nats.ErrPermissionViolation, "Add of %v to an interrupted subscription", f)
	}
	require.NoError(t, sub.Remove(within(t, patience), broker.Exactly(denied)))
	r.WantCall("resumed")
	require.NoError(t, sub.Add(within(t, patience), broker.Exactly(room)))
	publish(t, from, allowed, "live")
	publish(t, from, room, "too")
	r.Want(allowed, "live")
	r.Want(room, "too")
}

// TestRefusedAfterOutage: filters that the server refuses after an outage do not keep other filters
// interrupted.
func TestRefusedAfterOutage(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	b, from := g.open("node", quick()), g.open("all", quick())
	denied, allowed := broker.Native.Room("/", "denied"), broker.Native.Room("/", "allowed")
	r, fine := record(t), record(t)
	subscribe(t, b, r, broker.Exactly(denied), broker.Exactly(room))
	subscribe(t, b, fine, broker.Exactly(allowed))
	g.reload(`publish: ">", subscribe: { allow: ">", deny: "crossroom.native.cast./.room.denied" }`)
	r.WantCall("interrupted")
	g.Restart()
	fine.WantCall("interrupted")
	fine.WantCall("resumed")
	publish(t, b, room, "published nevertheless")
	flush(t, b)
	g.reload(everything)
	r.WantCall("resumed")
	publish(t, from, allowed, "a")
	publish(t, from, denied, "d")
	fine.Want(allowed, "a")
	r.Want(denied, "d")
}

// TestPublishPermissionRevoked: of a stream of messages exactly those are lost that the server
// has refused. Each is reported with the violation, and no subscription is interrupted.
func TestPublishPermissionRevoked(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	b, far := g.open("node", quick()), g.open("all", quick())
	losses := watchLosses(t, b)
	defer b.OnLoss(func(loss broker.Loss) {
		assert.ErrorIs(t, loss.Err, nats.ErrPermissionViolation, "a loss %+v", loss)
	})()
	open, shut := broker.Native.Room("/", "open"), broker.Native.Room("/", "shut")
	var came tally
	subscribe(t, far, &came, broker.Exactly(open), broker.Exactly(shut))
	here := &tally{}
	subscribe(t, b, here, broker.Exactly(shut))
	stop, stopped := make(chan struct{}), make(chan uint64)
	go func() {
		load := time.NewTicker(200 * time.Microsecond)
		defer load.Stop()
		for n := uint64(0); ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			case <-load.C:
			}
			ch := open
			if n%2 == 0 {
				ch = shut
			}
			assert.NoError(t, b.Publish(context.Background(), ch, []byte(ch.Name())))
		}
	}()
	for range 3 {
		before := b.Stats().Lost
		g.reload(`publish: { allow: ">", deny: "*.*.cast.*.room.shut" }, subscribe: ">"`)
		eventually(t, func() error {
			if b.Stats().Lost < before+10 {
				return errors.New("no message is lost")
			}
			return nil
		})
		g.reload(everything)
		heard := came.shut.Load()
		eventually(t, func() error {
			if came.shut.Load() < heard+10 {
				return errors.New("no message arrives")
			}
			return nil
		})
	}
	close(stop)
	n := <-stopped
	err := b.Flush(within(t, patience))
	if err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		t.Fatalf("Flush: %v", err)
	}
	s := balanced(t, b, losses)
	require.Equal(t, n, s.Accepted)
	require.Zero(t, s.Uncertain)
	require.Zero(t, s.Interruptions)
	require.GreaterOrEqual(t, s.Lost, uint64(30))
	eventually(t, func() error {
		if got := came.open.Load() + came.shut.Load(); got != s.Sent || came.open.Load() != n/2 {
			return fmt.Errorf("%d messages arrived, %d of those for %v; Stats %+v", got, came.open.Load(), open, s)
		}
		if came.shut.Load() != here.shut.Load() {
			return fmt.Errorf("%d messages arrived locally, and %d at the other broker", here.shut.Load(), came.shut.Load())
		}
		return nil
	})
}

// tally counts the messages for the rooms open and shut.
type tally struct{ open, shut atomic.Uint64 }

func (c *tally) Deliver(ch broker.Channel, _ []byte) {
	if ch.Name() == "open" {
		c.open.Add(1)
	} else {
		c.shut.Add(1)
	}
}

func (c *tally) Interrupted(error) {}
func (c *tally) Resumed()          {}
