// Package outgoing holds back what one connection cannot take yet: a bounded queue
// between those who send to a client and the one function that writes to its network
// connection.
//
// Use one [Queue] for each WebSocket, SSE stream or other connection whose writes
// block. It makes the Deliver of a backplane.Member or an adapter.Socket return at
// once, however slowly the client reads. It knows no protocol and does no I/O itself.
// It is not for messages between servers: brokers have their own queues.
//
//	queue := outgoing.New(conn.write, conn.disconnect, nil) // when a client connects
//	queue.Push(payload, len(payload), false)                // in Deliver
//	err := queue.Close(ctx)                                 // at the end
//
// # Writing
//
// write gets a batch of messages in the order in which they were pushed, so that one
// system call can carry them all. A batch has at most 64 messages and 64 KiB, or one
// larger message. A message is never split: let T be a struct or a slice if it is made
// of several frames that must stay together.
//
// A goroutine that calls write starts with a Push and ends when nothing waits. An idle
// queue has no goroutine and no timer, and memory for at most four messages. Calls of
// write never overlap. write may block, and may call Push and Stats.
//
// # Ownership
//
// The queue keeps the values that it is given and never copies or changes what they
// point to. The same bytes can wait in many queues: nobody may change them after Push.
// The batch itself belongs to the queue again when write returns. The values in it may
// be kept.
//
// # Full queues
//
// Two limits, [Options.MaxMessages] and [Options.MaxBytes], count what waits; a batch that is
// being written does not count. A message larger than MaxBytes is accepted if nothing
// else waits. A message that finds no room is handled in this order:
//
//   - A volatile message is dropped. It is also dropped if MaxVolatile messages or half of
//     MaxBytes wait already, so volatile messages never use up the room of the others.
//   - For any other message the volatile ones that wait are dropped.
//   - If that is not enough, [Options.WhenFull] decides: the queue ends with [ErrFull], or
//     the oldest or the newest message is dropped.
//
// Socket.IO drops a volatile packet if the connection is writing anything at that moment.
// Here such a packet waits, because a write in progress says little about how fast
// the client is. MaxVolatile: 1 comes close to Socket.IO's rule.
//
// Messages have no priorities. Keep the limits so low that a client can read what waits
// within the timeout of your pings.
//
// # The end
//
// A queue ends when Close has flushed it, or with an *[Error] that counts the messages
// that were not written and wraps the cause:
//
//	cause                       when
//	ErrFull                     a Push found no room, with WhenFull: Disconnect
//	ErrTimeout                  a call of write took longer than WriteTimeout
//	the error of write          write returned one, panicked or called runtime.Goexit
//	context.Cause of the ctx    the context of Close ended before the last write did
//
// The messages that wait are then dropped and Push returns false. The queue calls
// disconnect with the *Error, once, on a goroutine of its own. A queue cannot interrupt
// a write: disconnect must close the connection, which makes the write return. Until it
// returns its goroutine and its batch stay, and [Queue.Done] is open. disconnect may block, and may call
// any method of the queue. A panic in it ends the process.
//
// Call Close before you close the connection yourself.
package outgoing
