package backplane_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/nilcontext"
)

// Every method with a context returns ErrNilContext for a nil one, and does nothing.
func TestNilContext(t *testing.T) {
	ns := newNode(t, memorybroker.NewBus(nil), "node")
	e, err := backplane.NewEmitter(ns.Node().Broker(), nil)
	require.NoError(t, err)
	for _, v := range []any{ns.Node(), ns, e} {
		nilcontext.Call(t, v, func(method string, err error) { assert.ErrorIs(t, err, backplane.ErrNilContext, method) })
	}
	require.NoError(t, ns.Broadcast(t.Context(), nil, backplane.All()), "nothing was closed")
}

// A broker belongs to one node, until that is closed.
func TestTwoNodesOnOneBroker(t *testing.T) {
	b := memorybroker.NewBus(nil).Broker()
	first, err := backplane.New(b, nil)
	require.NoError(t, err)
	second, err := backplane.New(b, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, first.Close(context.Background()))
		assert.NoError(t, second.Close(context.Background()))
		assert.NoError(t, b.Close(context.Background()))
	})
	_, err = first.Namespace(t.Context(), "/", nil)
	require.NoError(t, err)
	for range 2 {
		var option *backplane.OptionError
		_, err = second.Namespace(t.Context(), "/", nil)
		require.ErrorAs(t, err, &option)
		assert.Contains(t, option.Reason, first.ID())
	}
	_, err = first.Namespace(t.Context(), "/more", nil)
	require.NoError(t, err)
	require.NoError(t, first.Close(t.Context()))
	_, err = second.Namespace(t.Context(), "/", nil)
	require.NoError(t, err, "after Close of the first")
}

func TestTypedNilBroker(t *testing.T) {
	var b *memorybroker.Broker
	var option *backplane.OptionError
	_, err := backplane.New(b, nil)
	assert.ErrorAs(t, err, &option)
	_, err = backplane.NewEmitter(b, nil)
	assert.ErrorAs(t, err, &option)
}

// Two nodes with a member of one id: the first list of both reports it.
func TestDuplicateMember(t *testing.T) {
	bubble(t, func(t *testing.T) {
		here, there, reports := pair(t, nil)
		require.NoError(t, here.Add(t.Context(), newSocket("twin")))
		require.NoError(t, there.Add(t.Context(), newSocket("twin")))
		for range 3 {
			list, err := here.Members(t.Context(), backplane.All())
			require.NoError(t, err)
			assert.Len(t, list.List, 2)
		}
		settle()
		op := reported[*backplane.OpError](t, reports)
		assert.Equal(t, "twin", op.Name)
		assert.ErrorIs(t, op, backplane.ErrDuplicateMember)
	})
}
