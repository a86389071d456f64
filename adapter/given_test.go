package adapter_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/nilcontext"
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
			nilcontext.Call(t, v, func(method string, err error) { assert.Error(t, err, method) })
		}
		require.NoError(t, n.ns.Emit(t.Context(), "end"), "nothing was closed")
		assert.Empty(t, s.until(t, "end"))
		assert.Empty(t, s.ended)
	}
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
