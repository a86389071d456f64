// Package memorybroker is a [broker.Broker] inside one process: for unit tests, for applications of a single process,
// and for first experiments. It needs no installation and no server. It does not connect processes, and it stores
// nothing.
//
// A [Bus] is the system, and each [Broker] made from it is one node's place on it. [New] makes a broker on a bus of
// its own:
//
//	bus := memorybroker.NewBus(nil)
//	a, b := bus.Broker(), bus.Broker()
//	node, err := backplane.New(a, nil) // or adapter.New
//	...
//	err = node.Close(ctx)
//	err = a.Close(ctx) // after its node; the bus needs no closing
//
// It keeps every clause of package broker, about order, duplicates, waits, callbacks, ownership of payloads and errors.
// In addition the messages of one publisher keep their order across channels. Its calls return the errors that
// broker.Broker lists, but never a *broker.ProtocolError, a *broker.InexactError or errors.ErrUnsupported: it carries
// every protocol and counts all subscribers. A message that was lost for its age has an error without a type.
//
// It works inside a testing/synctest bubble: it starts goroutines only in Subscribe and in a fault of package
// memorytest, and all its waits are on channels, conditions and timers.
//
// # Buffers
//
// Publish puts the message straight into the queue of every matching subscription, with one copy of the payload for
// all of them. Each subscription has a goroutine that calls its receiver. The queue is limited in messages and bytes.
// If a slow receiver's queue is full, Publish waits for room for [Options].SlowReceiver. After that the subscription
// misses messages until half of its queue is free again, and no Publish waits for it. The broker notifies its receiver
// in the place of the gap: Interrupted with a *broker.LossError that has the exact number, then Resumed. So one
// blocked receiver costs the others one short wait. A receiver that publishes to itself while its queue is full waits
// the same time.
//
// # Faults
//
// Package broker/memory/memorytest injects faults into one node: a lost connection, a stopped process, a crash.
// Package fleettest does the same to whole fleets, on a clock of their own. While a node's link is cut, its published
// messages wait in its outbox, which is limited in messages, bytes and age. Its calls of Subscribe, Add, Subscribers
// and Responders wait for the link, or until their context ends. Flush and Close wait in the same way while the outbox
// has messages. The node's receivers get Interrupted, and miss what other nodes publish. When the link is restored the
// receivers get Resumed, and the outbox is sent in order.
//
// Without a fault, Flush returns at once, and Close waits only for running calls of the receivers.
package memorybroker
