package backplane_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// Every method with a context returns ErrNilContext for a nil one, and does nothing.
func TestNilContext(t *testing.T) {
	ns := newNode(t, memorybroker.NewBus(nil), "node")
	e, err := backplane.NewEmitter(ns.Node().Broker(), nil)
	require.NoError(t, err)
	for _, v := range []any{ns.Node(), ns, e} {
		nilContexts(t, v)
	}
	require.NoError(t, ns.Broadcast(t.Context(), nil, backplane.All()), "nothing was closed")
}

func nilContexts(t *testing.T, v any) {
	t.Helper()
	r := reflect.ValueOf(v)
	tested := 0
	for i := range r.NumMethod() {
		m, name := r.Method(i), r.Type().Method(i).Name
		if m.Type().NumIn() == 0 || m.Type().In(0) != reflect.TypeFor[context.Context]() {
			continue
		}
		args := make([]reflect.Value, 0, 4)
		for k := range m.Type().NumIn() {
			if !m.Type().IsVariadic() || k < m.Type().NumIn()-1 {
				args = append(args, reflect.Zero(m.Type().In(k)))
			}
		}
		require.NotPanics(t, func() {
			out := m.Call(args)
			err := lastError(out[len(out)-1])
			assert.ErrorIs(t, err, backplane.ErrNilContext, name)
		}, name)
		tested++
	}
	assert.Positive(t, tested)
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

// lastError returns the error of a call, or the last one of a loop.
func lastError(result reflect.Value) (err error) {
	if result.Kind() != reflect.Func {
		err, _ = result.Interface().(error)
		return err
	}
	for _, e := range result.Seq2() {
		err, _ = e.Interface().(error)
	}
	return err
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
