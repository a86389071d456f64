package backplane_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// third is the native codec on channels of another protocol.
type third struct{ wire.Codec }

var thirdProtocol = broker.NewProtocol("third")

func (third) Protocol() broker.Protocol { return thirdProtocol }

func (third) ResponseChannel(ns string, r *wire.Response) broker.Channel {
	return thirdProtocol.NodeResponses(ns, r.Request.Origin)
}

func (third) BroadcastChannel(ns string, _ *wire.Broadcast) broker.Channel {
	return thirdProtocol.Broadcast(ns)
}

// A protocol that this package does not know requires no change here: nodes announce their
// namespaces in it, and respond there.
func TestThirdProtocol(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{}, func(int) *nsOptions {
			return &nsOptions{Codec: third{backplane.NativeCodec()}}
		})
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		if err != nil || len(m.Answered) != 2 || f.ns[0].Protocol() != thirdProtocol {
			t.Errorf("%+v, %v", m.Coverage, err)
		}
		_, err = f.nodes[0].Namespace(t.Context(), chat, nil)
		assert.NoError(t, err, "the same name in another protocol")
	})
}
