// Package memorytest injects the faults of real nodes into one node on a memory broker: a lost connection (Cut and
// Heal), a stopped process (Freeze and Thaw), a crash (Kill).
//
//	bus := memorybroker.NewBus(nil)
//	a, b := bus.Broker(), bus.Broker()
//	...
//	memorytest.Cut(b, errors.New("cable pulled"))
//	... // a publishes, b misses it, and b's receivers are notified
//	memorytest.Heal(b)
//
// It is for tests and demonstrations; package fleettest has the same faults for whole fleets. All functions may be
// called from any goroutine, also from a receiver's method. They do not wait, and have taken effect when they return.
// On a broker that is closed or killed they do nothing.
package memorytest

import (
	"errors"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/internal/control"
)

// ErrCut is the reason that receivers get if the err of Cut is nil.
var ErrCut = errors.New("memory broker: link cut")

// Cut cuts the node's link, like a lost connection. Its subscriptions miss the messages that are published until Heal,
// and Interrupted reports that in their place. Subscribers of other nodes does not count them. Messages that the node
// publishes wait in its outbox. Its calls of Subscribe, Add, Subscribers and Responders, and of Flush while the outbox
// has messages, wait for Heal or for the end of their context.
//
// err is the reason that receivers get; nil means ErrCut. On a node whose link is already cut, Cut does nothing.
func Cut(b *memorybroker.Broker, err error) {
	if err == nil {
		err = ErrCut
	}
	control.Of(b).Cut(err)
}

// Heal undoes Cut. All subscriptions are live again when it returns. Then the outbox is sent, in order. Without a Cut
// it does nothing.
func Heal(b *memorybroker.Broker) { control.Of(b).Heal() }

// Freeze stops the node like SIGSTOP stops a process. Its receivers are not called, except that a running call
// continues, and its messages wait in its outbox. Other nodes still count its subscriptions, whose queues fill up.
// Calls that need the bus wait, as with Cut.
func Freeze(b *memorybroker.Broker) { control.Of(b).Freeze() }

// Thaw undoes Freeze. No message was missed unless a queue overflowed.
func Thaw(b *memorybroker.Broker) { control.Of(b).Thaw() }

// Kill terminates the node like SIGKILL terminates a process. Its subscriptions have ended when Kill returns, and its
// outbox is lost without a call to the functions given to OnLoss. All waiting calls return broker.ErrClosed, and so do
// later ones. Kill does not wait for a call of a receiver that is running or just beginning; the broker's Close does.
func Kill(b *memorybroker.Broker) { control.Of(b).Kill() }
