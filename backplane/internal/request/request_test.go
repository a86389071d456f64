package request_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/wire"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

const space = "/chat"

// codec encodes nothing: the tests pass responses to the table directly.
type codec struct {
	wire.Codec
	protocol broker.Protocol
}

func (c codec) Protocol() broker.Protocol { return c.protocol }

func (codec) AppendRequest(dst []byte, _ string, _ *wire.Request) ([]byte, error) {
	return append(dst, 'q'), nil
}

func (codec) Expect(_ string, _ *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	return wire.Expected{Answers: p.Total}, nil
}

type events struct{}

func (events) Left(string, []membership.Namespace) {}
func (events) Interrupted(error)                   {}
func (events) Resumed(time.Duration)               {}
func (events) Unreadable(broker.Channel, error)    {}
func (events) Foreign()                            {}
func (events) Duplicate(time.Time)                 {}
func (events) Overflowed()                         {}
func (events) Incomplete(int, int)                 {}
func (events) Unsent(error)                        {}
func (events) Counted(error)                       {}
func (events) Proven()                             {}

// peer is a node in these tests: a membership and a subscription.
type peer struct {
	t        *testing.T
	id       string
	protocol broker.Protocol
	b        *memorybroker.Broker
	members  *membership.Membership
	sub      broker.Subscription
}

type deaf struct{}

func (deaf) Deliver(broker.Channel, []byte) {}
func (deaf) Interrupted(error)              {}
func (deaf) Resumed()                       {}

func newPeer(t *testing.T, bus *memorybroker.Bus, p broker.Protocol, id string) *peer {
	life, die := context.WithCancel(context.Background())
	b := bus.Broker()
	m := membership.New(membership.Options{
		Broker: b, ID: id, Since: time.Now(), Life: life, Heartbeat: time.Hour, PeerTimeout: 3 * time.Hour, RequestsTimeout: time.Second, Events: events{},
	})
	var workers sync.WaitGroup
	require.NoError(t, m.Start(t.Context(), &workers))
	t.Cleanup(func() {
		die()
		_ = m.Close(context.Background())
		workers.Wait()
		_ = b.Close(context.Background())
	})
	return &peer{t: t, id: id, protocol: p, b: b, members: m}
}

func (p *peer) key() membership.Namespace {
	return membership.Namespace{Protocol: p.protocol, Name: space}
}

// subscribe subscribes the node in the namespace, without an announcement.
func (p *peer) subscribe() {
	p.t.Helper()
	sub, err := p.b.Subscribe(p.t.Context(), deaf{}, broker.Exactly(p.protocol.Requests(space)), broker.Exactly(p.protocol.NodeResponses(space, p.id)))
	require.NoError(p.t, err)
	p.sub = sub
}

// open subscribes the node and announces it.
func (p *peer) open() {
	p.subscribe()
	p.members.Open(p.key(), "test")
	synctest.Wait()
}

func (p *peer) close() {
	assert.NoError(p.t, p.sub.Close(p.t.Context()))
	p.members.Withdraw(p.key(), true)
	synctest.Wait()
}

func (p *peer) table() *request.Table {
	return request.NewTable(request.Options{Name: space, Node: p.id, Codec: codec{protocol: p.protocol}, Broker: p.b, Members: p.members, Timeout: time.Second})
}

// inquiry is a request with a snapshot of the peers that has not run yet.
type inquiry struct {
	t    *testing.T
	tab  *request.Table
	req  *wire.Request
	p    *request.Pending
	snap *request.Snapshot
	exp  wire.Expected
	done chan struct{}
	r    request.Result
	err  error
}

func inquire(t *testing.T, p *peer) *inquiry { return inquireOp(t, p, wire.OpMembers) }

func inquireOp(t *testing.T, p *peer, op wire.Op) *inquiry {
	t.Helper()
	q := &inquiry{t: t, tab: p.table(), req: &wire.Request{Op: op}, done: make(chan struct{})}
	q.p = q.tab.New(q.req, func(*wire.Response) bool { return false })
	var err error
	q.snap, err = q.tab.Snapshot(t.Context(), q.req.Op)
	require.NoError(t, err)
	q.exp, err = q.tab.Expect(q.req, q.snap)
	require.NoError(t, err)
	return q
}

func (q *inquiry) run() {
	ctx, cancel := context.WithTimeout(q.t.Context(), time.Second)
	go func() {
		defer close(q.done)
		defer cancel()
		q.r, q.err = q.p.Run(ctx, q.snap, q.exp, true)
	}()
	synctest.Wait()
}

func (q *inquiry) respond(ids ...string) {
	q.t.Helper()
	for _, id := range ids {
		assert.Zero(q.t, q.tab.Take(&wire.Response{RequestID: q.req.ID, Node: id, Members: []wire.MemberInfo{}}), "the response of %q: outcome", id)
	}
	synctest.Wait()
}

func (q *inquiry) running() bool {
	select {
	case <-q.done:
		return false
	default:
		return true
	}
}

var protocols = []broker.Protocol{broker.Native, broker.SocketIO}

// A known node that opens a namespace after a count does not replace one that was counted and has
// not introduced itself.
func TestReopenedNamespace(t *testing.T) {
	for _, protocol := range protocols {
		synctest.Test(t, func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			me := newPeer(t, bus, protocol, "me")
			back := newPeer(t, bus, protocol, "back")
			late := newPeer(t, bus, protocol, "late")
			me.open()
			back.open()
			back.close()
			time.Sleep(4 * time.Hour) // me forgets that the node was subscribed here
			late.subscribe()
			q := inquire(t, me)
			back.open()
			q.run()
			q.respond("back")
			require.True(t, q.running(), "%v: the request ended without a response of late: %+v", protocol, q.r)
			late.members.Open(late.key(), "test")
			synctest.Wait()
			q.respond("late")
			if protocol == broker.SocketIO {
				return // the result is marked as incomplete already
			}
			require.NoError(t, q.err, "%v", protocol)
			require.False(t, q.running(), "%v", protocol)
			require.Empty(t, q.r.Missing, "%v", protocol)
			assert.Equal(t, []string{"back", "late"}, q.r.Answered, "%v", protocol)
		})
	}
}

// The same for a node that was unknown when the others were counted: all nodes that have become
// known by name since are waited for.
func TestUnknownNodeIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		me := newPeer(t, bus, broker.Native, "me")
		late := newPeer(t, bus, broker.Native, "late")
		me.open()
		late.subscribe()
		q := inquire(t, me)
		fresh := newPeer(t, bus, broker.Native, "fresh")
		fresh.open()
		q.run()
		q.respond("fresh")
		require.True(t, q.running(), "the request ended without a response of late: %+v", q.r)
		late.members.Open(late.key(), "test")
		synctest.Wait()
		q.respond("late")
		require.False(t, q.running(), "%+v", q.r)
		require.NoError(t, q.err, "%+v", q.r)
		assert.Empty(t, q.r.Missing, "%+v", q.r)
	})
}

// Where foreign peers are possible, no response with a name counts as that of a foreign peer.
func TestNamedResponseIsNotForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		me := newPeer(t, bus, broker.SocketIO, "me")
		me.open()
		foreign := bus.Broker()
		defer foreign.Close(context.Background())
		_, err := foreign.Subscribe(t.Context(), deaf{}, broker.Exactly(broker.SocketIO.Requests(space)))
		require.NoError(t, err)
		q := inquire(t, me)
		require.False(t, q.snap.Unsettled, "%+v, %+v", q.snap, q.exp)
		require.Equal(t, 1, q.exp.Answers, "%+v, %+v", q.snap, q.exp)
		newPeer(t, bus, broker.SocketIO, "fresh").open()
		q.run()
		q.respond("fresh")
		require.True(t, q.running(), "the request ended without the response of the foreign peer: %+v", q.r)
		q.respond("")
		require.NoError(t, q.err)
		require.False(t, q.running())
		assert.Equal(t, 1, q.r.Foreign)
		assert.Empty(t, q.r.Missing)
	})
}

// Nodes that were counted without a name and have responded are not reported as lost when they
// leave.
func TestResponsesBeforeARecount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		me := newPeer(t, bus, broker.Native, "me")
		me.open()
		var list []*peer
		for _, id := range []string{"a", "b", "c"} {
			p := newPeer(t, bus, broker.Native, id)
			p.subscribe()
			list = append(list, p)
		}
		q := inquire(t, me)
		for _, p := range list {
			require.NoError(t, p.sub.Close(t.Context()))
		}
		q.run()
		q.respond("a")
		require.False(t, q.running(), "the new count has not shown that b and c left")
		if q.err != nil || len(q.r.Missing) != 1 || q.r.Missing[0] != (request.Missing{Count: 2, State: request.Lost}) {
			t.Errorf("%+v, %v", q.r, q.err)
		}
	})
}

// A closed table ends the pending requests with its error.
func TestFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		me, other := newPeer(t, bus, broker.Native, "me"), newPeer(t, bus, broker.Native, "other")
		me.open()
		other.open()
		q := inquire(t, me)
		q.run()
		closed := errors.New("closed")
		q.tab.Fail(closed)
		<-q.done
		assert.Same(t, closed, q.err)
		again := q.tab.New(&wire.Request{Op: wire.OpRooms}, func(*wire.Response) bool { return false })
		_, err := again.Run(t.Context(), q.snap, q.exp, true)
		assert.Same(t, closed, err)
	})
}
