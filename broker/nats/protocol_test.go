package natsbroker_test

import (
	"testing"

	"github.com/crossroom/crossroom/broker/internal/brokertest"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestThirdProtocol: a protocol needs no change of this package or of package broker.
func TestThirdProtocol(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	brokertest.ThirdProtocol(t, open(t, srv.URL(), nil), open(t, srv.URL(), nil))
}
