package fleettest

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// Faults are the faults of one node; see "Faults" in the package documentation. Each method has taken effect when it
// returns, does not wait, and may be called from any goroutine. A call does nothing if the node is already in that state
// or was killed.
type Faults struct {
	name   string
	broker *memorybroker.Broker
}

// Name returns the node's name, as it was passed to the fleet.
func (f *Faults) Name() string { return f.name }

// Kill removes the node from the bus without a farewell. A killed node cannot be revived: make a new one, with the same
// name if you like.
func (f *Faults) Kill() { memorytest.Kill(f.broker) }

// Cut breaks the node's connection. The node notices at once.
func (f *Faults) Cut() { memorytest.Cut(f.broker, nil) }

// Heal undoes Cut.
func (f *Faults) Heal() { memorytest.Heal(f.broker) }

// Freeze stalls the node's connection until Thaw: the node receives nothing, nothing that it sends arrives, and neither
// the node nor the bus reports that.
func (f *Faults) Freeze() { memorytest.Freeze(f.broker) }

// Thaw undoes Freeze. Messages that were sent to the node or by it meanwhile arrive now, unless a queue was full.
func (f *Faults) Thaw() { memorytest.Thaw(f.broker) }

// uncounted hides the broker's ability to count subscribers.
type uncounted struct{ broker.Broker }

func (u uncounted) Capabilities() broker.Capabilities {
	c := u.Broker.Capabilities()
	c.CountsSubscribers, c.ListsResponders = false, false
	return c
}

func (uncounted) Subscribers(context.Context, ...broker.Channel) ([]int, error) {
	return nil, errors.ErrUnsupported
}

func (uncounted) Responders(context.Context, broker.Protocol, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}
