// Package broker is the contract between Crossroom's core and a publish/subscribe system: bytes in, bytes out, on
// channels. It is for authors of brokers. An application only makes a broker of broker/memory, broker/redis or
// broker/nats, and passes it to package adapter or backplane.
//
// A [Broker] is one node's place on that system. The core never sees a channel's name on the system, and a broker
// never looks into a payload. To write a broker, implement [Broker] and pass the suite of package conformance; package
// broker/brokerkit has parts for it. The simplest program calls Subscribe, Publish and Close.
//
// Every method with a context may wait for the system, until the context ends [B20]. The other methods do not wait.
// During an outage Publish puts messages into a queue, and the broker sends them in order when the system is back. A
// message that waits too long is lost and reported [B18]. Flush waits until the queued messages are sent or lost.
// Subscribe and Add wait for the end of the outage. Subscribers and Responders wait, or return the system's error. Each
// receiver is notified of the gap [B14, B15].
//
// Close the node of package adapter or backplane first, and then its broker. Limits, their units and their defaults
// are in the documentation of each broker.
//
// # Clauses
//
// A broker that passes package conformance keeps each of these clauses. The suite has a case for every number, or
// lists a reason for having none.
//
//	B1   A nil error from Subscribe or Add means live: every message that any node publishes afterwards on a
//	     matching channel is delivered.
//	B2   Messages of one publisher on one channel arrive in the order of their Publish calls.
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
//	B9   The broker's goroutines call a receiver's methods one at a time, in order. A slow receiver delays the
//	     other subscriptions by no more than a stated time. Then it misses messages (B14).
//	B10  A subscribed publisher receives its own messages, in their place in the order.
//	B11  After Subscription.Remove, Subscription.Close or Close returns, no call of the receiver for what was
//	     removed is running or will begin. The exception is a call that returned its context's error: a call of
//	     the receiver may then still run. A receiver's method must not make these calls: they would wait for that
//	     method.
//	B12  Removing one filter, or closing one subscription, leaves the others live without a gap. So filters can be
//	     exchanged for others that select the same, without a message lost, repeated or out of order: the new ones
//	     are added first, and then the old ones removed.
//	B13  Adding an active filter and removing an unknown one are no errors and change nothing.
//	B14  When messages may have been missed, the broker notifies the receiver: Interrupted(err) comes after the
//	     last message from before the gap, and Resumed() before the first message from after it. The two
//	     alternate, starting with Interrupted. If err is a *GapError, messages arrive meanwhile on channels that
//	     are not affected, and on no other.
//	B15  After an outage the broker restores all subscriptions by itself. Resumed means live in the sense of B1.
//	B16  Publish puts a message into a bounded, ordered queue and returns. It waits only while that queue is
//	     full, and until its context ends.
//	B17  Flush returns nil once everything accepted before it has been handed to the system. If some of that was
//	     or may have been lost, it returns a *LossError. Each loss is in the result of at least one Flush or
//	     Close.
//	B18  Every accepted message that was not or may not have been handed over is counted in Stats and reported to
//	     the functions given to OnLoss. No loss is silent.
//	B19  An ended context makes Publish, Flush, Subscribe, Add, Remove and Subscribers return its error,
//	     unwrapped, without effect. A failed Subscribe leaves nothing behind.
//	B20  Every call that can wait ends when its context does.
//	B21  Close hands over the accepted messages (until its context ends), stops every subscription, waits for its
//	     goroutines and is idempotent. Afterwards Publish, Flush, Subscribe, Add, Subscribers and Responders
//	     return ErrClosed. Remove and a subscription's Close return nil.
//	B22  Subscribers counts, for each channel, the brokers that hold an Exactly subscription to it, each once,
//	     the calling broker included. EveryRoom and Uncounted do not count. A broker that cannot count returns
//	     errors.ErrUnsupported, and its Capabilities say so.
//	B23  Responders lists the node ids for which some broker holds Exactly of NodeResponses(ns, id), on the same
//	     terms.
//	B24  All methods may be called at the same time from any goroutine.
//	B25  Capabilities never changes during a broker's life and claims nothing that is not so.
//	B26  If a receiver is a Prefilter, a message on a room's channel for which Wants returned false may stay
//	     undelivered. Wants is called only when Deliver has returned for every earlier message on channels of
//	     other kinds, so a request to join a room takes effect on the messages after it. Any message for which
//	     Wants was not called, or returned true, is delivered.
//	B27  If a receiver is a TryReceiver, the broker may call TryDeliver in place of Deliver, under the same rules
//	     (B9, B11). A message for which TryDeliver returned false is passed to Deliver, before anything else.
//	B28  A subscription that the system withdraws after granting it is interrupted: Interrupted has the system's
//	     reason. The broker requests it again by itself, and calls Resumed when all filters are granted. Messages
//	     that the system refuses are lost (B18), for its reason.
//	B29  A server that still responds but does not carry the system's messages any more, such as a demoted
//	     primary, is an outage (B14, B15, B18), although no connection was closed. The broker finds the server
//	     that took its place. Afterwards counts (B22, B23) are right again.
//	B30  Subscribers and Responders see every subscriber, wherever in the system it is connected. If they did not
//	     look everywhere, or may not look at all, they return an *InexactError with the reason. The returned
//	     numbers are then lower bounds and the list may be incomplete, or both are nil.
//	B31  Protocols are open. Every broker carries Native and SocketIO. It either carries another protocol in the
//	     sense of all other clauses, or Publish, Subscribe, Add, Subscribers and Responders refuse it with a
//	     *ProtocolError, without effect. It may refuse single kinds of channels and filters of a protocol in the
//	     same way. If its Capabilities say OnlyExactly, it refuses EveryRoom and Uncounted of every protocol so.
//
// # What is not promised
//
// Two publishers have no common order, and neither have two channels of one publisher. Nodes that were not subscribed
// at the time do not receive a message later. A message that is lost in an outage is reported, not sent again.
//
// # Errors
//
// Brokers may wrap these errors: use errors.Is and errors.As.
//
//	*NameError            Publish, Subscribe, Add,     choose another name
//	                      Subscribers, Responders
//	*ProtocolError        the same                     use a protocol that the broker carries
//	*PayloadError         Publish, as Loss.Err         send less, or raise the limit of the broker or its server
//	*LossError            Flush, Close, Interrupted    publish again, but only if a duplicate does no harm (Uncertain)
//	*InexactError         Subscribers, Responders      use the numbers as lower bounds, if there are any
//	errors.ErrUnsupported Subscribers, Responders      read Capabilities first; a *ProtocolError wraps it too
//	*TimeoutError         as a system's error          wait: the broker reconnects; check the network if it recurs
//	a system's error      Subscribe, Add, Subscribers, correct the address or the permission, then call again
//	                      Responders, Interrupted,
//	                      as Loss.Err
//	ErrClosed             see B21                      make no more calls
//	the context's error   every call with a context    call again with more time; B19 and B11 say what has happened
//
// The broker repairs the cause of Interrupted by itself. A receiver that must not miss a message reads its state anew
// from its own store after Resumed.
package broker
