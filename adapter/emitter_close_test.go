package adapter_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestEmitterClose: Close knows an emitter that nothing could hear, on brokers that count. NATS does not.
func TestEmitterClose(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	t.Run("memory", func(t *testing.T) { emitterClose(t, func() broker.Broker { return bus.Broker() }) })
	srv := servers.StartRedis(t, nil)
	t.Run("redis", func(t *testing.T) {
		emitterClose(t, func() broker.Broker {
			b, err := redisbroker.Open(srv.URL(), nil)
			require.NoError(t, err)
			return b
		})
	})
}

type closing interface{ Close(context.Context) error }

func emitterClose(t *testing.T, open func() broker.Broker) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	end := func(c closing) { t.Cleanup(func() { assert.NoError(t, c.Close(context.Background())) }) }
	var brokers []broker.Broker
	for range 3 {
		b := open()
		end(b)
		brokers = append(brokers, b)
	}
	server, err := adapter.New(brokers[0], nil)
	ok(t, err)
	end(server)
	_, err = server.Of(ctx, "/sockets")
	ok(t, err)
	node, err := backplane.New(brokers[1], nil)
	ok(t, err)
	end(node)
	_, err = node.Namespace(ctx, "/members", nil)
	ok(t, err)
	for _, c := range []struct {
		to     string
		native bool
		fits   bool
	}{{"/sockets", false, true}, {"/sockets", true, false}, {"/members", true, true}, {"/members", false, false}, {"/none", true, true}, {"/none", false, true}} {
		var e closing
		var send func() error
		if c.native {
			n, err := backplane.NewEmitter(brokers[2], nil)
			ok(t, err)
			e, send = n, func() error { return n.Broadcast(ctx, c.to, []byte("x"), backplane.All()) }
		} else {
			s, err := adapter.NewEmitter(brokers[2], &adapter.EmitterOptions{Namespace: c.to})
			ok(t, err)
			e, send = s, func() error { return s.Emit(ctx, "x") }
		}
		ok(t, send())
		err := e.Close(ctx)
		if c.fits {
			assert.NoError(t, err, "%+v", c)
		} else {
			var op *backplane.OpError
			require.ErrorAs(t, err, &op, "%+v", c)
			assert.ErrorIs(t, err, backplane.ErrOtherWire)
			assert.Equal(t, c.to, op.Namespace)
		}
		assert.ErrorIs(t, send(), backplane.ErrClosed)
	}
}
