package backplane_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// The documentation of EventAck: what comes from a node without OnEvent, and from one that does not reply.
func TestEventAckWithoutReply(t *testing.T) {
	for name, onEvent := range map[string]func(context.Context, string, []byte, func([]byte)){
		"no OnEvent": nil, "no reply": func(context.Context, string, []byte, func([]byte)) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				here, there, _ := pair(t, &backplane.NamespaceOptions{OnEvent: onEvent})
				began := time.Now()
				got, err := here.EventAck(t.Context(), []byte("hello"))
				if onEvent == nil {
					require.NoError(t, err)
					assert.Equal(t, []backplane.Reply{{Node: there.Node().ID()}}, got.List)
					assert.Zero(t, time.Since(began))
					return
				}
				assert.ErrorAs(t, err, new(*backplane.PartialError))
				require.Len(t, got.Missing, 1)
				assert.ErrorIs(t, got.Missing[0].Reason, backplane.ErrNoResponse)
				assert.Equal(t, time.Second, time.Since(began))
			})
		})
	}
}

// The documentation of Member.ID: Leave takes a member out of the room of its id.
func TestLeaveOwnRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		here, there, _ := pair(t, nil)
		m := newSocket("m")
		require.NoError(t, here.Add(t.Context(), m))
		require.NoError(t, there.Leave(t.Context(), "m", "m"))
		for _, ns := range []*backplane.Namespace{here, there} {
			require.NoError(t, ns.Broadcast(t.Context(), []byte("to m"), backplane.To("m")))
			require.NoError(t, ns.Broadcast(t.Context(), []byte("to all"), backplane.All()))
		}
		settle()
		assert.Equal(t, []string{"to all", "to all"}, m.all())
		require.NoError(t, there.Join(t.Context(), "m", "m"))
		require.NoError(t, there.Broadcast(t.Context(), []byte("to m"), backplane.To("m")))
		settle()
		assert.Equal(t, []string{"to m"}, m.all())
	})
}

// The documentation of AckFuncs: a panic is the caller's. The namespace works as before.
func TestAckFuncPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		here, there, _ := pair(t, nil)
		require.NoError(t, there.Add(t.Context(), newSocket("m")))
		assert.PanicsWithValue(t, "oh", func() {
			_, _ = here.BroadcastAckFunc(t.Context(), nil, backplane.All(), 0, backplane.AckFuncs{Value: func(string, []byte) { panic("oh") }})
		})
		acks, err := here.BroadcastAck(t.Context(), nil, backplane.All(), -1) // as zero
		require.NoError(t, err)
		assert.Equal(t, [][]byte{[]byte("m")}, acks.Values)
	})
}

// Section "Subscriptions" of the documentation: in dynamic mode the calls do not wait during an interruption, and the
// room is subscribed to afterwards.
func TestJoinDuringInterruption(t *testing.T) {
	bubble(t, func(t *testing.T) {
		here, there, _ := pair(t, &backplane.NamespaceOptions{Subscription: backplane.DynamicSubscription})
		b := here.Node().Broker().(*memorybroker.Broker)
		memorytest.Cut(b, nil)
		settle()
		began := time.Now()
		m := newSocket("m")
		require.NoError(t, here.Add(t.Context(), m))
		require.NoError(t, here.Join(t.Context(), "m", "room"))
		assert.Zero(t, time.Since(began))
		memorytest.Heal(b)
		settle()
		require.NoError(t, there.Broadcast(t.Context(), []byte("hello"), backplane.To("room")))
		assert.Equal(t, "hello", m.next(t))
	})
}
