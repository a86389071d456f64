package memorybroker_test

import (
	"testing"

	"github.com/crossroom/crossroom/broker/internal/brokertest"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// TestNothingKept: closed subscriptions leave nothing behind.
func TestNothingKept(t *testing.T) {
	t.Parallel()
	bus := memorybroker.NewBus(nil)
	brokertest.NothingKept(t, bus.Broker(), bus.Broker())
}
