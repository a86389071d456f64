package backplane_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// guest is a member that gets reasons.
type guest struct {
	*socket
	reasons chan string
}

func (g *guest) DisconnectFor(reason string, close bool) {
	g.reasons <- reason
	g.Disconnect(close)
}

func newGuest(id string) *guest { return &guest{newSocket(id), make(chan string, 8)} }

func TestReasonOfDisconnect(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	operations := make(chan backplane.Operation, 8)
	here := newNode(t, bus, "here")
	there := newNodeWith(t, bus, "there", &backplane.NamespaceOptions{OnOperation: func(op *backplane.Operation) error {
		operations <- *op
		return nil
	}})
	_, err := here.Node().AwaitPeers(t.Context(), 1)
	require.NoError(t, err)
	near, far, plain := newGuest("near"), newGuest("far"), newSocket("plain")
	require.NoError(t, here.Add(t.Context(), near))
	require.NoError(t, there.Add(t.Context(), far))
	require.NoError(t, there.Add(t.Context(), plain))
	e, err := backplane.NewEmitter(here.Node().Broker(), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	all := backplane.All().Header(map[string]string{"k": "v"})
	for _, c := range []struct{ given, want string }{
		{"banned", "banned"}, {"", ""}, {"a\xffb", "a\ufffdb"},
		{strings.Repeat("x", 5000), strings.Repeat("x", 1024)}, {strings.Repeat("\u20ac", 500), strings.Repeat("\u20ac", 341)},
	} {
		_, err := here.DisconnectAll(ctx, all.Reason(c.given), true)
		require.NoError(t, err)
		assert.Equal(t, c.want, <-near.reasons, "of this node")
		assert.Equal(t, c.want, <-far.reasons, "of another node")
		assert.True(t, <-plain.gone, "a member without DisconnectFor")
		assert.Equal(t, c.want, (<-operations).Reason, "OnOperation")
		require.NoError(t, e.DisconnectAll(ctx, chat, backplane.To("far").Reason(c.given), false))
		assert.Equal(t, c.want, <-far.reasons, "of an emitter")
		<-operations
	}
	require.NoError(t, here.Disconnect(ctx, "far", true))
	assert.Empty(t, <-far.reasons, "Disconnect has none")
}
