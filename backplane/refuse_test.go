package backplane_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// timid is a codec that refuses everything while foreign peers are connected.
type timid struct{ wire.Codec }

var errTimid = errors.New("timid")

func (timid) Expect(_ string, _ *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if p.Total > 0 {
		return wire.Expected{}, errTimid
	}
	return wire.Expected{}, nil
}

// A request that the codec refuses because of the connected peers reaches no other node. Local
// members come first, so operations affect them, and the error says that only they were affected.
func TestRefusalByWhoIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, func(int) *nsOptions {
			return &nsOptions{Codec: timid{backplane.NativeCodec()}}
		})
		here, there := f.socket(0, "here"), f.socket(1, "there")
		f.wire("unannounced")
		partial := func(what string, err error) {
			t.Helper()
			p, ok := errors.AsType[*backplane.PartialError](err)
			if assert.True(t, ok, what) {
				assert.ErrorIs(t, err, errTimid, what)
				assert.Empty(t, p.Coverage.Answered, what)
			}
		}
		acks, err := f.ns[0].BroadcastAck(t.Context(), []byte("x"), backplane.All(), 0)
		partial("BroadcastAck", err)
		p, _ := errors.AsType[*backplane.PartialError](err)
		assert.Len(t, p.Coverage.Missing, 2)
		assert.Equal(t, []string{"here"}, values(acks), "values")
		for name, do := range map[string]func(backplane.Target) (*backplane.Count, error){
			"JoinAll": func(to backplane.Target) (*backplane.Count, error) { return f.ns[0].JoinAll(t.Context(), to, "red") },
			"LeaveAll": func(to backplane.Target) (*backplane.Count, error) {
				return f.ns[0].LeaveAll(t.Context(), to, "blue")
			},
			"DisconnectAll": func(to backplane.Target) (*backplane.Count, error) {
				return f.ns[0].DisconnectAll(t.Context(), to, true)
			},
		} {
			touched, err := do(backplane.All())
			partial(name, err)
			assert.Equal(t, 1, touched.Total, "%s: %+v", name, touched)
			_, err = do(backplane.All().Remote())
			assert.Equal(t, errTimid, err, "%s of others only", name)
		}
		_, err = f.ns[0].Members(t.Context(), backplane.All())
		assert.Equal(t, errTimid, err)
		f.broadcast(0, "end", backplane.All())
		settle()
		assert.Equal(t, []string{"x", "end"}, here.all(), "here")
		assert.Equal(t, []string{"end"}, there.all(), "there")
		require.Len(t, here.gone, 1, "disconnected")
		require.Empty(t, there.gone, "disconnected")
		assert.Len(t, f.ns[1].LocalRooms(), 1, "disconnected")
	})
}

// closer is a RequestObserver that closes the namespace at the first response.
type closer struct {
	observe.Nop
	ns  *backplane.Namespace
	err error
}

func (c *closer) RequestResponse(ctx context.Context, _ *observe.Request, _ string) {
	if c.ns != nil {
		c.err = c.ns.Close(ctx)
		c.ns = nil
	}
}

// No lock is held while an observer is called for a response.
func TestObserverMayClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var c closer
		f := newFleet(t, 3, backplane.Options{Observers: []observe.Observer{&c}}, nil)
		memorytest.Freeze(f.brokers[2])
		c.ns = f.ns[0]
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		assert.Nil(t, c.ns, "Close")
		assert.NoError(t, c.err)
		assert.ErrorIs(t, err, backplane.ErrClosed, "%+v", m)
		assert.Len(t, m.Answered, 1, "%+v", m)
		memorytest.Thaw(f.brokers[2])
	})
}

// inexactly counts all subscribers and says that there may be more.
type inexactly struct{ broker.Broker }

func (b inexactly) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	counts, err := b.Broker.Subscribers(ctx, channels...)
	return counts, errors.Join(err, errSight)
}

// The same if the broker could not count all of them.
func TestRefusalAfterAnInexactCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		for range 2 {
			wrap := func(b broker.Broker) broker.Broker { return inexactly{b} }
			f.addOn(f.bus.Broker(), wrap, &backplane.Options{}, &nsOptions{Codec: timid{backplane.NativeCodec()}})
		}
		f.meet()
		here, there := f.socket(0, "here"), f.socket(1, "there")
		f.wire("unannounced")
		acks, err := f.ns[0].BroadcastAck(t.Context(), []byte("x"), backplane.All(), 0)
		p, ok := errors.AsType[*backplane.PartialError](err)
		require.True(t, ok)
		assert.ErrorIs(t, err, errTimid)
		assert.Empty(t, p.Coverage.Answered)
		assert.Equal(t, []string{"here"}, values(acks), "values")
		f.broadcast(0, "end", backplane.All())
		settle()
		assert.Equal(t, []string{"x", "end"}, here.all(), "here")
		assert.Equal(t, []string{"end"}, there.all(), "there")
	})
}
