// Package memorybroker is a [broker.Broker] inside one process: for unit tests,
// for applications of a single process, and for trying things out. Nothing has to
// be installed or running.
//
// A [Bus] is the system and each [Broker] made from it is one node's place on it:
//
//	bus := memorybroker.NewBus(nil)
//	a, b := bus.Broker(), bus.Broker()
//
// It keeps every clause of package broker, and works inside a testing/synctest
// bubble: it starts goroutines only in Subscribe, and in
// a fault of package memorytest, and all its waits are on channels, conditions and timers.
//
// # Buffers
//
// Publish puts the message straight into the queue of every matching
// subscription, one copy of the payload for all of them; a goroutine of each
// subscription calls its receiver. The queue is bounded in messages and bytes. If
// a receiver is so slow that its queue is full, Publish waits for room, but only
// for [Options].SlowReceiver; then that subscription misses messages until half of
// its queue is free again, and nobody waits for it any more. Its receiver is told
// in the place of the gap: Interrupted with a *broker.LossError that has the exact
// number, then Resumed. So one stuck receiver costs the others one short wait.
// (A receiver that publishes to itself while its queue is full waits the same time.)
//
// While a node's link is cut, what it publishes waits in its outbox, which
// is bounded in messages, bytes and age.
//
// # Faults
//
// Package broker/memory/memorytest does to one node what happens to real ones: a lost
// connection, a stopped process, a crash. Package fleettest does it to whole fleets, on a
// clock of their own.
package memorybroker
