// Package broker is the contract between Crossroom's nodes and a publish/subscribe system: bytes in, bytes out, on
// channels. It stores nothing: a message reaches the nodes that are subscribed at that moment.
//
// An application makes a broker with package broker/memory, broker/redis, broker/nats or broker/dial, passes it to
// package backplane or adapter, and closes it after its node. The sections on waits, outages and errors below are for
// applications too. Limits, their units and their defaults are in the documentation of each broker.
//
// The author of a broker implements [Broker] and passes the suite of package conformance, whose documentation has the
// numbers that the suite assumes. Package broker/brokerkit has parts for it. A broker never looks into a payload, and
// only it knows a channel's name on the system.
//
// A program that uses a broker directly calls Subscribe, Publish and Close:
//
//	b, err := redisbroker.Open("redis://localhost:6379", nil)
//	news := broker.Native.Room("/chat", "news")
//	_, err = b.Subscribe(ctx, receiver, broker.Exactly(news)) // receiver has Deliver, Interrupted and Resumed
//	err = b.Publish(ctx, news, []byte("hello"))
//	err = b.Close(ctx)
//
// # Words
//
//	system      the servers of Redis or NATS, or the Bus of package broker/memory
//	node        one participant of the fleet: a Broker with a Node of backplane or a Server of adapter on it, or a
//	            Node.js server
//	fleet       all nodes, Go and Node.js, of one prefix on one system
//	publisher   the Broker on which Publish is called
//	receiver    the Receiver of a subscription
//	sent        the system has the message. Redis and NATS have replied to it; memory has passed it to its queues.
//	live        subscribed on the system, as B1 says
//	gap         the time from Interrupted to Resumed, in which a receiver may miss messages
//
// # Waits
//
// Only methods with a context wait. Each of them returns soon after its context ends [B20]. The one exception is a
// Close while a function of OnLoss blocks.
//
//	Publish                      for room in the queue (in memory, for a slow receiver); not for the system
//	Flush                        until every message accepted before is sent or lost
//	Subscribe, Add               for the system, and for the end of an outage
//	Subscribers, Responders      for the responses of the system
//	Remove, Subscription.Close   for a running call of the receiver. Some brokers also wait for the system's
//	                             confirmation, but no broker for the end of an outage.
//	Close                        until all messages are sent or lost, and all calls of receivers have returned
//
// Close also ends the waits of other calls. Then Publish, Subscribe and Add return ErrClosed. Subscribers and
// Responders return an error. Flush returns nil or a *LossError.
//
// # Callbacks
//
//	Receiver      on a goroutine of the subscription, one call at a time. It may call Publish, but not Remove or Close.
//	OnLoss's f    on the broker's goroutine, one call at a time. It must not block: sending and Close wait for it.
//	Wants         on goroutines of the broker and of Publish's callers, several at once. It must not block or call the
//	              broker.
//	TryDeliver    on the broker's goroutine, perhaps with a lock held. It must not block or call the broker.
//
// A panic in a callback crashes the process. Closing a subscription or a broker calls neither Interrupted nor Resumed.
//
// # Outages
//
// Publish puts messages into a queue, also before the first connection, and the broker sends them in order when the
// system is back. A message that waits too long is lost and reported [B18]. Flush waits until the queued messages are
// sent or lost. Subscribe and Add wait for the end of the outage. But while no receiver is interrupted, such as before
// the first connection, they may return the failure of one attempt. Subscribers and Responders wait, or return the
// system's error, as each broker says. Receivers get Interrupted, and Resumed when the broker has restored their
// subscriptions [B14, B15].
//
// An outage may affect only publishing or only receiving, if the broker has a connection for each. Receivers learn only
// of the latter. Messages that wait show in Stats.QueuedMessages, and lost ones in OnLoss.
//
// Missed messages are not delivered later. After Resumed the application reads its state anew from its own store.
//
// # End
//
// Close the node first, and then its broker, with time left in its context. Subscriptions and OnLoss functions need no
// call of their own before. Close takes until the queue is sent and receivers have returned, and at most until its
// context ends. What is still queued then is lost and returned as a *LossError.
//
// # Clauses
//
// A broker that passes package conformance keeps each of these clauses. The suite has a case for every number, or
// lists a reason for having none.
//
//	B1   A nil error from Subscribe or Add means live: every message that any node publishes afterwards on a
//	     matching channel is delivered, unless a gap (B14) or a loss (B18) is reported for it.
//	B2   Messages of one publisher on one channel arrive in the order of their Publish calls. Calls that run at
//	     the same time have no order.
//	B3   A message is delivered at most once to a subscription, also when several of its filters match and also
//	     across an outage.
//	B4   Only published messages are delivered: payloads arrive byte for byte, on an equal Channel, and never on
//	     a channel that no filter matches. Namespaces, rooms and node ids are compared as whole names: "/a" and
//	     "/ab", or "/a" room "b" and "/a/b", never meet. Neither do two protocols.
//	B5   Any valid UTF-8 name up to MaxNameLen bytes works, whatever characters it has, or both Publish and
//	     Subscribe refuse it with a *NameError. Invalid UTF-8 and longer names are always refused.
//	B6   Publish refuses a payload larger than Capabilities.MaxPayload with a *PayloadError before anything is
//	     sent. Every size up to MaxPayload arrives, the empty one too.
//	B7   Publish does not keep the payload after it returns: the caller may overwrite it at once.
//	B8   A receiver may read a delivered payload for as long as it likes. No component writes to it again, and
//	     receivers may share it.
//	B9   The broker's goroutines call the receiver of a subscription one call at a time, in order. A slow receiver
//	     delays other subscriptions by no more than a time that the broker states (SlowReceiver of our brokers'
//	     Options). Then it misses messages (B14).
//	B10  A subscribed publisher receives its own messages, in their place in the order.
//	B11  When Subscription.Remove, Subscription.Close or Close has returned, no call of the receiver runs or
//	     begins for the removed filters, the closed subscription or the closed broker. Only after the context's
//	     error may a call of the receiver still run. A receiver's method must not call any of the three: it would
//	     wait for itself, or for a receiver that waits for it.
//	B12  Removing one filter, or closing one subscription, leaves the others live without a gap. To exchange
//	     filters for others that select the same channels, add the new ones first, and then remove the old ones:
//	     no message is lost, repeated or out of order.
//	B13  Adding an active filter and removing an unknown one are no errors and change nothing.
//	B14  When messages may have been missed, the broker notifies the receiver: Interrupted(err) comes after the
//	     last message from before the gap, and Resumed() before the first message from after it. The two
//	     alternate, starting with Interrupted. No message arrives between them. Only if err is a *GapError,
//	     perhaps wrapped, messages on the channels that are not affected arrive.
//	B15  After an outage the broker restores all subscriptions by itself. Resumed means live in the sense of B1.
//	B16  Publish puts a message into a bounded, ordered queue and returns. It waits only while that queue is
//	     full, and until its context ends.
//	B17  Flush returns nil once every message accepted before it has been sent. If one of them was lost or may
//	     have been, Flush returns a *LossError. Each loss is in the result of at least one Flush or Close.
//	B18  Every accepted message that was lost, or that may have been, is counted in Stats and reported to the
//	     functions given to OnLoss.
//	B19  If the context has ended before the call, every method with a context except Close and Subscription.Close
//	     returns its error, unwrapped, without effect. Subscribers and Responders may return errors.ErrUnsupported
//	     instead. If the context ends during the call and Publish, Subscribe or Add returns its error, the call
//	     had no effect; Remove takes effect all the same. A failed Subscribe leaves nothing behind.
//	B20  Every call that can wait ends when its context does.
//	B21  Close sends the accepted messages (until its context ends), stops every subscription, waits for its
//	     goroutines and is idempotent. Afterwards Publish, Flush, Subscribe and Add return ErrClosed. So do
//	     Subscribers and Responders, if the broker supports them. Remove and a subscription's Close return nil.
//	B22  Subscribers counts, for each channel, the brokers that hold an Exactly subscription to it, each once,
//	     the calling broker included. EveryRoom and Uncounted do not count. A broker that cannot count returns
//	     errors.ErrUnsupported, and its Capabilities say so.
//	B23  Responders lists the node ids for which some broker, the calling one included, holds Exactly of
//	     NodeResponses(ns, id), each id once. A broker that cannot list them returns errors.ErrUnsupported, and
//	     its Capabilities say so.
//	B24  All methods may be called at the same time from any goroutine.
//	B25  Capabilities never changes during a broker's life, and claims only what the broker does.
//	B26  If a receiver is a Prefilter, the broker may drop a message on a room's channel for which Wants returned
//	     false. While a message on a channel of another kind is queued or being delivered, it does not call Wants,
//	     and delivers all messages: that message may be a request to join a room.
//	B27  If a receiver is a TryReceiver, the broker may call TryDeliver in place of Deliver, under the same rules
//	     (B9, B11). A message for which TryDeliver returned false is passed to Deliver, before anything else.
//	B28  A subscription that the system withdraws after granting it is interrupted: Interrupted has the system's
//	     reason. The broker requests it again by itself, and calls Resumed when all filters are granted. A message
//	     that the system refuses is lost (B18), and Loss.Err has the reason.
//	B29  A server that still responds but does not carry the system's messages any more, such as a demoted
//	     primary, is an outage (B14, B15, B18), although no connection was closed. The broker finds the server
//	     that took its place. Afterwards counts (B22, B23) are right again.
//	B30  Subscribers and Responders see every subscriber, wherever in the system it is connected. If they did not
//	     look everywhere, or may not look at all, they return an *InexactError with the reason. The returned
//	     numbers are then lower bounds, or nil. The returned list may be incomplete, or is nil.
//	B31  Protocols are open. Every broker carries Native and SocketIO. It either carries another protocol in the
//	     sense of all other clauses, or Publish, Subscribe, Add, Subscribers and Responders refuse it with a
//	     *ProtocolError, without effect. A broker may refuse single kinds of channels and filters of a protocol
//	     with a *ProtocolError. If its Capabilities say OnlyExactly, it refuses every EveryRoom and Uncounted.
//
// # What is not promised
//
// Two publishers have no common order. Neither have two channels of one publisher, unless the Capabilities say
// OrderAcrossChannels. A message that is lost is reported, not sent again. Sent does not mean received: a system can
// lose a message by itself, such as between two servers of a NATS cluster. The documentation of each broker says where.
//
// # Errors
//
// Errors may be wrapped: use errors.Is and errors.As. Only the context's error is returned as it is, except by Close,
// which may join it with a *LossError.
//
//	*NameError              Publish, Subscribe, Add,    choose another name. "no such channel" is a defect of the
//	                        Subscribers, Responders     caller: the zero Channel, or a kind that its protocol lacks.
//	*ProtocolError          the same                    use a protocol or a filter that the broker carries. It wraps
//	                                                    errors.ErrUnsupported.
//	*PayloadError           Publish; in a Loss          send less, or raise the limit of the broker or its server
//	*LossError              Flush, Close                send again what must arrive, if a duplicate does no harm. The
//	                                                    error has numbers, so the application must know its messages.
//	*InexactError           Subscribers, Responders     use the result as a lower bound, if it is not nil
//	errors.ErrUnsupported   Subscribers, Responders     do not call: Capabilities say what is supported
//	the system's error,     Subscribe, Add,             correct the address or the permission, and call again.
//	  *TimeoutError         Subscribers, Responders     The documentation of each broker lists them.
//	ErrClosed               all but Remove and Close    make no more calls; of Add also after Subscription.Close
//	the context's error     every call with a context   call again with more time; B11 and B19 say what has happened.
//	                                                    Close of the broker has taken effect: do not call it again.
//
// Interrupted gets a reason. The broker removes the cause by itself, except where the table names an action:
//
//	ErrSlowReceiver, in a *LossError   the receiver did not keep up: make Deliver faster, or raise the buffer's limit in
//	                                   the broker's Options. Messages has the number of missed messages.
//	*GapError                          only its Filters are affected
//	another *LossError                 Messages has the number of missed messages, if it is known
//	the system's error                 correct a password or a permission; nothing for a lost connection
package broker
