// Package outgoing provides a bounded queue in front of one network connection. Push never blocks, however slowly the
// client reads. One goroutine at a time calls the function that writes the waiting messages.
//
// Use one [Queue] for each WebSocket, SSE stream or other connection. With it, Deliver of a backplane.Member or an
// adapter.Socket returns at once. The queue knows no protocol and does no I/O itself. It knows no broker: messages
// between servers wait in the broker's own queues, and an outage of the broker does not affect it.
//
//	queue := outgoing.New(conn.write, conn.disconnect, nil) // when a client connects
//	queue.Push(payload, len(payload), false)                // in Deliver
//	err := queue.Close(ctx)                                 // when the server ends the connection
//	conn.close()                                            // after that
//
// # Writing
//
// The queue calls write with a batch of messages in the order of the Push calls, so that one system call can carry them
// all. Calls of Push from several goroutines have the order in which they get the queue's lock. A batch has at most 64
// messages and 64 KiB, or one larger message. The queue never splits a message. If a message consists of several frames
// that must stay together, let T be a struct or a slice of them. Each message is written once: there is no retry. That
// Push returned true does not mean that the message was written; Stats and Error count those that were not.
//
// Push starts a goroutine that calls write until no message waits. An idle queue has no goroutine and no timer, and
// keeps memory for four messages. Calls of write never overlap. write may block, and may call Push and Stats, but must
// not wait for Close or Done: both wait for it. A panic in write ends the queue like an error. The process continues.
//
// # Ownership
//
// The queue keeps the values passed to Push. It never copies or changes the memory to which they point. The same bytes
// can wait in many queues, so nothing may change them after Push. If a message is in one queue only, its memory may be
// used again when the write that got it has returned, or when Push has returned false. The batch slice belongs to write
// until it returns; write may keep the values in it.
//
// # Full queues
//
// Two limits, [Options.MaxMessages] and [Options.MaxBytes], apply to the waiting messages. The batch that is being
// written does not count. A message larger than MaxBytes is accepted if no other message waits.
//
// A volatile message is not worth waiting for, such as the position of a pointer. The last argument of Push marks it.
// Volatile messages are dropped first. Push drops a volatile message if MaxVolatile messages of any kind or half of
// MaxBytes wait already, or if it finds the queue full. When a message that is not volatile finds the queue full, all
// waiting volatile messages are dropped. If that is not enough, [Options.WhenFull] decides: the queue ends with
// [ErrFull], or it drops the oldest or the newest message. Stats counts the dropped messages.
//
// Socket.IO drops a volatile packet if the connection is writing at that moment. This queue does not, because a write
// in progress does not mean that the client is slow. MaxVolatile: 1 comes close to Socket.IO's rule.
//
// Messages have no priorities. Choose limits that let a client read the waiting messages within the timeout of your
// pings.
//
// # The end of a queue
//
// A queue ends when Close has flushed it, or early with an *[Error]. The *Error counts the unsent messages, and wraps
// the cause, for errors.Is:
//
//	cause                  the queue ends when                               to do
//	ErrFull                a message finds the queue full, and WhenFull      the client is too slow: it reconnects and
//	                       is Disconnect                                     fetches what it missed; or raise the limits
//	ErrTimeout             a call of write has taken WriteTimeout            the same, or the link is dead
//	the error of write     write returns an error, panics or calls           nothing more: the connection is broken. The text
//	                       runtime.Goexit                                    of a panic has the stack
//	context.Cause(ctx)     the context of Close ends before everything       give Close more time if the messages matter
//	                       is written
//
// After an early end Push returns false, which needs no action, and the waiting messages are dropped. The queue calls
// disconnect with the *Error, once, on a goroutine of its own. The queue cannot interrupt a write: disconnect must
// close the connection, which makes the write return. Until then the write's goroutine and its batch stay in memory,
// and [Queue.Done] stays open. disconnect may block, and may call any method of the queue; before it calls Close or
// waits for Done it must close the connection. A panic in disconnect crashes the process.
//
// When the server ends a connection, it calls Close first and then closes the connection: if Close returned nil, the
// last write has returned. When the client has closed the connection, close it on this side too, and then call Close:
// nothing can be written, and the next write fails. Close is not needed after an early end, nor for an idle queue that
// is not used any more. Give Close a context with a deadline: without one, each batch that waits may take WriteTimeout.
package outgoing
