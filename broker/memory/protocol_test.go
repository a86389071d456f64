package memorybroker_test

import (
	"testing"

	"github.com/crossroom/crossroom/broker/internal/brokertest"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// TestThirdProtocol: a protocol needs no change of this package or of package broker.
func TestThirdProtocol(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	brokertest.ThirdProtocol(t, a, b)
}
