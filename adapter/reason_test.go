package adapter_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
)

// parting is a socket that gets reasons.
type parting struct {
	*socket
	reasons chan string
}

func (g *parting) DisconnectFor(reason string, _ bool) { g.reasons <- reason }

func TestReasonOfDisconnect(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		near, far, plain := &parting{newSocket("near"), make(chan string, 8)}, &parting{newSocket("far"), make(chan string, 8)}, newSocket("plain")
		ok(t, nodes[0].ns.Add(t.Context(), near))
		ok(t, nodes[1].ns.Add(t.Context(), far))
		ok(t, nodes[1].ns.Add(t.Context(), plain))
		for _, reason := range []string{"banned", ""} {
			ok(t, nodes[0].ns.All().Reason(reason).DisconnectSockets(t.Context(), true))
			assert.Equal(t, reason, <-near.reasons, "of this server")
			assert.Equal(t, reason, <-far.reasons, "of another one")
			assert.True(t, <-plain.ended)
		}
		ok(t, nodes[0].ns.To("far").Reason("one").DisconnectSockets(t.Context(), true))
		assert.Equal(t, "one", <-far.reasons)
		ok(t, nodes[0].ns.RemoteDisconnect(t.Context(), "far", true))
		assert.Empty(t, <-far.reasons)
	})
}
