// Package brokerkit has parts for authors of brokers: an [Outbox] for the messages that Publish accepts, with the
// goroutine that sends them, and [Subscriptions] for received messages. The brokers for Redis and NATS and the memory
// broker use the outbox; examples/custombroker uses both. An application does not need this package.
//
// The package knows no system and no names of channels. The broker encodes its messages, opens its connections and
// reads from them.
//
// # An outbox
//
// The simplest broker makes a [NewOutbox] with a [Connector], calls [Outbox.Put] in Publish, and [Outbox.Close] in
// Close. Flush and OnLoss of the outbox are those of broker.Broker, so a broker may embed the outbox.
//
// The outbox calls the connector on a goroutine of its own, the sender:
//
//	Connect   when a message waits and there is no connection; after a failure again, with pauses
//	Serve     with each connection, until the connection is lost
//
// Serve calls [Outbox.Send], which passes batches of messages to a [Writer]. When the system has acknowledged
// messages, the broker calls [Outbox.Settle], on any goroutine. Before Serve returns it calls [Outbox.Abandon]:
// messages that were written and not acknowledged are uncertain.
//
//	func (c *conn) Serve(ctx context.Context, _ time.Duration) error {
//		go c.readAnswers() // calls c.out.Settle, closes c.lost
//		c.out.Send(c, func() bool {
//			select {
//			case <-c.out.Work():
//				return true
//			case <-c.lost:
//			case <-ctx.Done():
//			}
//			return false
//		})
//		c.close()
//		c.out.Abandon(c.err)
//		return c.err
//	}
//
// # What the outbox promises
//
// Messages are written in the order of Put, each at most once: a message that may have been written is not written
// again. Each message is counted once as sent, lost or uncertain: in Stats, in the result of one Flush or Close, and
// by the functions given to OnLoss. The sender calls these functions one at a time; they must not block.
//
// Put copies a payload once, into the buffer that is written. It waits only while the outbox is full. With
// OutboxOptions.Inline or NonBlocking Put may also write, for as long as the Writer's own timeout allows. A batch and
// its bytes belong to the outbox again when Write returns.
//
// Without a connection messages wait, for OutboxOptions.Age at most. When the system is back, [Outbox.AwaitReturn]
// keeps them a little longer, so that other nodes can resubscribe first.
//
// Close waits until the system has all waiting messages, and for the sender, or until its context ends.
//
// # Subscriptions
//
// The simplest broker makes [NewSubscriptions], calls [Subscriptions.Deliver] for every received message, and
// [Subscriptions.Close] in Close, after closing the outbox. When messages may have been missed it calls Interrupt and
// Resume, in their place between the calls of Deliver.
//
// Each subscription has a queue of SubscriptionsOptions.Bytes, and a goroutine that calls its receiver in the order of
// Deliver. Deliver calls Wants of a Prefilter first. A TryReceiver with an empty queue gets messages on the goroutine
// that calls Deliver. Deliver waits for full queues, for all receivers together SubscriptionsOptions.Patience at once
// and a quarter of the time in the long run. After that the receiver misses messages until half of its queue is free,
// and Interrupted and Resumed are called in their place.
package brokerkit
