// Package memorytest does to one node on a memory broker what happens to real ones: a lost
// connection (Cut and Heal), a stopped process (Freeze and Thaw), a crash (Kill).
//
//	bus := memorybroker.NewBus(nil)
//	a, b := bus.Broker(), bus.Broker()
//	...
//	memorytest.Cut(b, errors.New("cable pulled"))
//	... // a publishes, b misses it, and b's receivers are notified
//	memorytest.Heal(b)
//
// It is for tests and demonstrations; package fleettest has the same faults for whole fleets.
// All functions may be called from any goroutine, also from a receiver's method, and have
// taken effect when they return. On a broker that is closed or killed they do nothing.
package memorytest

import (
	"errors"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/internal/control"
)

// ErrCut is the reason that receivers get if Cut is given none.
var ErrCut = errors.New("memory broker: link cut")

// Cut cuts the node's link, as a lost connection does. Its subscriptions miss what is
// published until Heal, and Interrupted reports that in its place. Subscribers of other nodes
// does not count them. What the node publishes waits in its outbox. Its calls of Subscribe,
// Add, Subscribers and Responders, and of Flush while the outbox has messages, wait for Heal
// or the end of their context.
//
// err is the reason that receivers get; nil means ErrCut. On a node whose link is cut already
// Cut does nothing.
func Cut(b *memorybroker.Broker, err error) {
	if err == nil {
		err = ErrCut
	}
	control.Of(b).Cut(err)
}

// Heal ends Cut: all subscriptions are live again when it returns, and then the outbox is
// handed over, in order. Without a Cut it does nothing.
func Heal(b *memorybroker.Broker) { control.Of(b).Heal() }

// Freeze stops the node as SIGSTOP stops a process: its receivers are not called (a running
// call ends in its own time) and what it publishes waits in its outbox, but other nodes still
// count its subscriptions, whose queues fill up. Calls that need the bus wait, as with Cut.
func Freeze(b *memorybroker.Broker) { control.Of(b).Freeze() }

// Thaw ends Freeze. Nothing was missed unless a queue overflowed.
func Thaw(b *memorybroker.Broker) { control.Of(b).Thaw() }

// Kill ends the node as SIGKILL ends a process: its subscriptions have ended when Kill
// returns, its outbox is lost without a call to the functions given to OnLoss, and all calls
// that wait return broker.ErrClosed, as do later ones. Kill does not wait for a call of a
// receiver that is running or just beginning; the broker's Close does.
func Kill(b *memorybroker.Broker) { control.Of(b).Kill() }
