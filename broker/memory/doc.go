// Package memorybroker is a [broker.Broker] inside one process: for unit tests, for applications of a single process,
// and for first experiments. It needs no installation and no server. It does not connect processes, and it stores
// nothing. Several processes need broker/redis or broker/nats.
//
// A [Bus] carries the messages, and each [Broker] made from it connects one node to it. With one node, New makes both:
//
//	b := memorybroker.New(nil)         // for more nodes: bus := memorybroker.NewBus(nil), and bus.Broker() for each
//	node, err := backplane.New(b, nil) // or adapter.New
//	...
//	err = node.Close(ctx)
//	err = b.Close(ctx) // after its node; the bus needs no closing
//
// The broker keeps every clause of package broker, which say what is promised about order, duplicates, waits,
// callbacks, ownership and errors. In addition the messages of one publisher keep their order across channels. It
// carries every protocol and counts all subscribers.
//
// It works inside a testing/synctest bubble: it starts goroutines only in Subscribe, and in Publish during a fault of
// package memorytest. All its waits are on channels, conditions and timers.
//
// # Queues and slow receivers
//
// Publish puts the message straight into the queue of every matching subscription, with one copy of the payload for all
// of them. Each subscription has a goroutine that calls its receiver. It calls only the methods of broker.Receiver:
// Prefilter and TryReceiver have no effect. The queue is limited in messages and bytes. If the queues of slow receivers
// are full, Publish waits for room, for at most [Options].SlowReceiver for all of them together. The same holds for a
// receiver that publishes to itself. After that the subscription misses messages until half of its queue is free again,
// and no Publish waits for it in that time. Its receiver gets Interrupted, with a *broker.LossError that has the number
// of missed messages and wraps broker.ErrSlowReceiver, and then Resumed.
//
// If Publish's context ends while it waits for slow receivers, they miss the message, and Publish returns nil: other
// subscriptions may have the message already.
//
// # Faults
//
// A real process has no outage: only tests cause one. Package broker/memory/memorytest cuts the link between a node and
// the bus, freezes the node, or kills it. Package fleettest does the same to whole fleets, in virtual time. While a
// node is cut or frozen, the messages that it publishes wait in its outbox. The limits of the outbox are in [Options].
// A message that waits too long is lost, because of ErrTooOld, and never uncertain.
//
// While the link is cut, the node's receivers miss all messages, its own too: they get Interrupted, with the error that
// the test gave or memorytest.ErrCut. When the link is restored they get Resumed, and the outbox is sent in order, also
// to the node itself. The receivers of a frozen node are not called. They miss messages only if their queue is full. A
// killed node loses its outbox without a call to the functions of OnLoss, and its calls return broker.ErrClosed. The
// functions of OnLoss are called by a goroutine that the first message published in a fault starts. Without such
// a function, slog.Default() gets a line for each loss.
//
// # Calls that wait
//
// Each of them ends when its context does.
//
//	Publish                      for slow receivers, for at most SlowReceiver; in a fault while the outbox is full
//	Flush                        in a fault until the outbox is sent or too old; else it returns at once
//	Subscribe, Add, Subscribers, in a fault until it has ended; else they return at once
//	  Responders
//	Remove, Subscription.Close   for a running call of the receiver
//	Broker.Close                 in a fault until the outbox is sent or too old; and for running calls of receivers
//	all others                   no
//
// Without a fault, Close takes as long as the slowest running call of a receiver. It drops received messages that are
// not delivered yet. In a fault it waits for at most OutboxAge, 30 seconds; with an empty outbox it does not wait for
// the end of the fault. A negative OutboxAge and a context without an end can make it wait forever.
//
// # Errors
//
//	*broker.NameError     Publish, Subscribe, Add,       choose another name
//	                      Subscribers, Responders
//	*broker.PayloadError  Publish                        send less, or raise MaxPayload
//	*broker.LossError     Flush, Close                   only with a fault: send again what must arrive
//	*broker.LossError     Interrupted                    make the receiver faster, or raise QueueMessages or QueueBytes
//	memorytest.ErrCut, or Interrupted                    none: Resumed comes when the test restores the link
//	  the error of Cut
//	ErrTooOld             losses                         only in a fault: heal it earlier, or raise OutboxAge
//	broker.ErrClosed      all but Remove and Close,      make no more calls
//	                      after Close
//	the context's error   all with a context             call again with more time, except Broker.Close
//
// A nil receiver is an error of Subscribe without a type. The broker never returns a *broker.ProtocolError, a
// *broker.InexactError, a *broker.TimeoutError or errors.ErrUnsupported.
package memorybroker
