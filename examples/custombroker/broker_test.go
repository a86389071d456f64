package custombroker

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance"
)

// harness gives each case a directory of its own. There is no link to cut, but a node can be killed, and stopped for a
// while like in a debugger.
func harness() conformance.Harness {
	return conformance.Harness{Open: func(tb testing.TB) conformance.System {
		dir, err := os.MkdirTemp("", "cb") // not tb.TempDir: its names are long
		require.NoError(tb, err)
		tb.Cleanup(func() { os.RemoveAll(dir) })
		return conformance.System{Node: func(context.Context) (*conformance.Node, error) {
			b, err := New(dir)
			if err != nil {
				return nil, err
			}
			s := &stoppable{Broker: b}
			return &conformance.Node{
				Broker: s,
				Kill:   func(context.Context) error { return b.conn.Close() }, // and leaves its socket behind
				Freeze: func(context.Context) error { s.running.Lock(); b.Pause(true); return nil },
				Thaw:   func(context.Context) error { b.Pause(false); s.running.Unlock(); return nil },
			}, nil
		}}
	}}
}

// stoppable is a broker that publishes nothing while it is frozen.
type stoppable struct {
	*Broker
	running sync.RWMutex
}

func (s *stoppable) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	s.running.RLock()
	defer s.running.RUnlock()
	return s.Broker.Publish(ctx, ch, payload)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, harness())
	conformance.RunFleet(t, harness())
}

func TestLength(t *testing.T) {
	const most = 200
	text, err := os.ReadFile("broker.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(text), "\n"), most, "broker.go")
}
