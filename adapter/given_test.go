package adapter_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// Every method with a context returns ErrNilContext for a nil one, and does nothing.
func TestNilContext(t *testing.T) {
	for _, d := range []adapter.Dialect{adapter.V6, adapter.V5} {
		n := newNode(t, memorybroker.NewBus(nil), adapter.Options{Dialect: d})
		s := n.add(t, "a", "x")
		e, err := adapter.NewEmitter(n.broker, &adapter.EmitterOptions{Dialect: d})
		require.NoError(t, err)
		listed, err := n.ns.All().FetchSockets(t.Context())
		require.NoError(t, err)
		for _, v := range []any{n.Server, n.ns, n.ns.To("x"), e, e.To("x"), listed.List[0]} {
			r := reflect.ValueOf(v)
			for i := range r.NumMethod() {
				m, name := r.Method(i), r.Type().String()+"."+r.Type().Method(i).Name
				if m.Type().NumIn() == 0 || m.Type().In(0) != reflect.TypeFor[context.Context]() {
					continue
				}
				var args []reflect.Value
				for k := range m.Type().NumIn() {
					if !m.Type().IsVariadic() || k < m.Type().NumIn()-1 {
						args = append(args, reflect.Zero(m.Type().In(k)))
					}
				}
				require.NotPanics(t, func() {
					out := m.Call(args)
					err := lastError(out[len(out)-1])
					assert.Error(t, err, name)
				}, name)
			}
		}
		require.NoError(t, n.ns.Emit(t.Context(), "end"), "nothing was closed")
		assert.Empty(t, s.until(t, "end"))
		assert.Empty(t, s.ended)
	}
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
	_, err := adapter.New(b, nil)
	assert.ErrorAs(t, err, &option)
	_, err = adapter.NewEmitter(b, nil)
	assert.ErrorAs(t, err, &option)
	_, err = adapter.New(memorybroker.NewBus(nil).Broker(), &adapter.Options{Links: []adapter.Link{{Broker: b}}})
	assert.ErrorAs(t, err, &option)
}

// Two servers do not share a broker.
func TestTwoServersOnOneBroker(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
	second, err := adapter.New(n.broker, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, second.Close(context.Background())) })
	_, err = second.Of(t.Context(), "/")
	var option *backplane.OptionError
	require.ErrorAs(t, err, &option)
	assert.Contains(t, option.Reason, n.UID())
	assert.ErrorContains(t, err, "adapter: ")
}
