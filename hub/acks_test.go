package hub

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/outgoing"
)

// TestLimitOfOwedAcks: a client that acknowledges nothing owes a limited number of acknowledgements, the last ones.
func TestLimitOfOwedAcks(t *testing.T) {
	c := &Conn{queue: outgoing.New(func([]*frame) error { return nil }, func(error) {}, nil)}
	defer c.queue.Close(t.Context())
	for i := range maxAcks + 1 {
		f := &frame{ack: fmt.Sprint(i)}
		(*socketMember)(c).DeliverAck(&backplane.Message{Value: f}, func([]byte) {})
	}
	assert.Len(t, c.acks, maxAcks)
	assert.False(t, c.Ack("0", nil), "forgotten")
	assert.True(t, c.Ack("1", nil))
}
