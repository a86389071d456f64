package fleettest

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// Faults are what may happen to a node. Each takes effect before it returns, may be
// called from any goroutine and, if the node is already in that state or dead, does
// nothing.
type Faults struct {
	name   string
	broker *memorybroker.Broker
}

// Name returns the node's name, as it was given to the fleet.
func (f *Faults) Name() string { return f.name }

// Kill ends the node without goodbye. There is no way back: make a new one, with the
// same name if you like.
func (f *Faults) Kill() { memorytest.Kill(f.broker) }

// Cut cuts the node's connection, which it notices at once.
func (f *Faults) Cut() { memorytest.Cut(f.broker, nil) }

// Heal ends Cut.
func (f *Faults) Heal() { memorytest.Heal(f.broker) }

// Freeze stops the node: it hears nothing and is not heard, and nobody is told.
func (f *Faults) Freeze() { memorytest.Freeze(f.broker) }

// Thaw ends Freeze: the node takes in all that has been sent to it meanwhile.
func (f *Faults) Thaw() { memorytest.Thaw(f.broker) }

// uncounted is a broker that cannot say who listens.
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
