package backplane_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
)

// The payload belongs to the caller again when Broadcast returns. Members of this node and of
// others have their own copy.
func TestPayloadIsTheCallers(t *testing.T) {
	for _, size := range []int{0, 1, 160, 161, 100_000} {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 2, backplane.Options{}, nil)
			here, there := f.socket(0, "here"), f.socket(1, "there")
			want := bytes.Repeat([]byte("x"), size)
			payload := bytes.Clone(want)
			require.NoError(t, f.ns[0].Broadcast(t.Context(), payload, backplane.All()))
			clear(payload)
			copy(payload, want)
			_, err := f.ns[0].BroadcastAck(t.Context(), payload, backplane.All(), time.Second)
			require.NoError(t, err)
			clear(payload)
			settle()
			for _, s := range []*socket{here, there} {
				for range 2 {
					m := <-s.got
					assert.Equal(t, want, m.Payload, "%s got %d bytes, or others", s.id, len(m.Payload))
				}
			}
		})
	}
}
