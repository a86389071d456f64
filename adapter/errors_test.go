package adapter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// The core's members are sockets in package adapter, also in the text of its errors, which begins with adapter.
func TestErrorsSpeakOfSockets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 2, adapter.Options{RequestsTimeout: time.Second})
		n, ctx := nodes[0], t.Context()
		n.add(t, "ada")
		n.addSocket(t, &bomb{newSocket("bomb")})
		release := make(chan struct{})
		n.addSocket(t, &blocked{newSocket("blocked"), release})
		ok(t, nodes[1].ns.Emit(ctx, "x"))
		time.Sleep(time.Minute)
		close(release)

		list := n.errors.all()
		require.Len(t, list, 2, "reported")
		_, err := n.ns.ClientRooms(ctx, "unknown")
		for _, err := range append(list, err,
			n.ns.Add(ctx, newSocket("ada")), n.ns.Add(ctx, newSocket("")), n.ns.Add(ctx, newSocket("\xff")), n.ns.Add(ctx, nil),
			n.ns.Join(ctx, "unknown", "red"), n.ns.Disconnect(ctx, "unknown", true), n.ns.Leave(ctx, "\xff", "red"),
		) {
			if assert.Error(t, err) {
				assert.NotContains(t, err.Error(), "member")
				assert.Regexp(t, "^adapter: ", err.Error())
			}
		}
		var me *backplane.OpError
		require.ErrorAs(t, err, &me)
		assert.Equal(t, "unknown", me.Name)
		assert.ErrorIs(t, err, backplane.ErrNoSuchMember)
	})
}

// blocked is a socket whose Send does not return.
type blocked struct {
	*socket
	release chan struct{}
}

func (b *blocked) Deliver(*adapter.Packet) { <-b.release }

// A LinkError without a wrapped error has a text, too.
func TestLinkErrorOfNothing(t *testing.T) {
	assert.Contains(t, (&adapter.LinkError{Prefix: "p"}).Error(), "link p")
}
