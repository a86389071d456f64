package memorybroker_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

func TestMaxPayload(t *testing.T) {
	for given, want := range map[int]int{0: 16 << 20, -1: 0, 10: 10} {
		opts := &memorybroker.Options{MaxPayload: given}
		b := memorybroker.New(opts)
		opts.MaxPayload = 1 // New copies the options
		assert.Equal(t, want, b.Capabilities().MaxPayload, "MaxPayload %d", given)
		if want == 0 {
			require.NoError(t, b.Publish(t.Context(), lobby, make([]byte, 17<<20)))
		} else {
			var size *broker.PayloadError
			err := b.Publish(t.Context(), lobby, make([]byte, want+1))
			if assert.ErrorAs(t, err, &size) {
				assert.Equal(t, want, size.Max, "one byte too many")
			}
			require.NoError(t, b.Publish(t.Context(), lobby, make([]byte, want)))
		}
		closing(t, b)
	}
}

func TestOptionsBelowZeroAreDefaults(t *testing.T) {
	a, b, r, _, release := stuck(t, &memorybroker.Options{QueueMessages: -1, QueueBytes: -1, OutboxMessages: -1, OutboxBytes: -1, SlowReceiver: -1})
	defer closing(t, a, b)
	publish(t, a, lobby, numbers(0, 16384)...)
	release()
	r.expect(t, numbers(0, 16384)...)
	memorytest.Cut(a, nil)
	publish(t, a, lobby, numbers(0, 1000)...)
	memorytest.Heal(a)
	r.expect(t, numbers(0, 1000)...)
}
