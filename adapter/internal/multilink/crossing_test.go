package multilink

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a sender sent before a message that the leader has forwarded will not be forwarded any more. The message itself
// and later ones may be.
func TestSkipped(t *testing.T) {
	c := &crossing{upTo: map[string]uint64{"a": 5}}
	for seq, skipped := range map[uint64]bool{4: true, 5: false, 6: false} {
		require.Equal(t, skipped, c.skipped(&waiting{bridged: &bridged{origin: "a"}, seq: seq}), "%d", seq)
	}
	require.False(t, c.skipped(&waiting{bridged: &bridged{origin: "b"}, seq: 1}), "another sender")
}
