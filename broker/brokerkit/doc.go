// Package brokerkit has the parts that brokers are made of: an [Outbox] for what Publish
// accepts, with the goroutine that sends it, and [Subscriptions] for what arrives. The brokers
// for Redis and NATS and the memory broker use the outbox; examples/custombroker uses both. It
// is for authors of brokers; an application does not need it.
//
// It knows no system and no names of channels: a broker encodes its messages, opens its
// connections and reads from them.
//
// # An outbox
//
// The simplest broker makes a [NewOutbox] with a [Connector], calls [Outbox.Put] in
// Publish, and [Outbox.Close] in Close. Flush and OnLoss of the outbox are those of
// broker.Broker, so that a broker may embed it.
//
// The outbox calls the connector from a goroutine of its own, the sender:
//
//	Connect   when a message waits and there is no connection; again after a pause
//	Serve     with each connection, until that is lost
//
// Serve calls [Outbox.Send], which hands batches of messages to a [Writer]. When the system
// has acknowledged messages, the broker calls [Outbox.Settle], from any goroutine. Before
// Serve returns it calls [Outbox.Abandon]: what was written and not acknowledged is uncertain.
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
// # What it promises
//
// Messages are written in the order of Put, each at most once: a message that may have been
// written is not written again. Each is counted as sent, lost or uncertain, in Stats, in the
// result of one Flush or Close, and by the functions given to OnLoss. Those are called by the
// sender, one at a time, and must not block.
//
// Put copies a payload once, into a buffer that is written as it is. It waits only while the
// outbox is full. With OutboxOptions.Inline or NonBlocking it may also write, which ends with
// the Writer's own timeout. Batches, and the bytes in them, are the outbox's again when Write
// returns.
//
// While there is no connection messages wait, at most OutboxOptions.Age. When the system is
// back, [Outbox.AwaitReturn] keeps them a little longer, so that other nodes can resubscribe
// first.
//
// Close ends the sender, and waits for it. It takes as long as the system needs for what
// waits, or until its context ends.
//
// # Subscriptions
//
// The simplest broker makes [NewSubscriptions], calls [Subscriptions.Deliver] for every message
// that arrives, and [Subscriptions.Close] in Close, after that of the outbox. When messages may
// have been missed it calls Interrupt and Resume, in their place between the calls of Deliver.
//
// Each subscription has a queue of SubscriptionsOptions.Bytes and a goroutine that calls its
// receiver, in the order of Deliver. A Prefilter is asked first, and a TryReceiver
// gets messages from the goroutine that calls Deliver while its queue is empty. Deliver waits
// for a full queue as long as Patience says; then the receiver misses messages until half of
// the queue is free, and Interrupted and Resumed are called in their place.
package brokerkit
