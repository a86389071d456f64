// Package outgoing provides a bounded queue in front of one network connection. Push never blocks, however slowly the
// client reads. One goroutine at a time calls the function that writes the waiting messages.
//
// Use one [Queue] for each WebSocket, SSE stream or other connection. With it, Deliver of a backplane.Member or an
// adapter.Socket returns at once. The queue knows no protocol and does no I/O itself. It is not meant for messages
// between servers: those wait in the broker's own queues.
//
//	queue := outgoing.New(conn.write, conn.disconnect, nil) // when a client connects
//	queue.Push(payload, len(payload), false)                // in Deliver
//	err := queue.Close(ctx)                                 // when the connection closes
//
// # Writing
//
// The queue calls write with a batch of messages in the order of the Push calls, so that one system call can carry
// them all. A batch has at most 64 messages and 64 KiB, or one larger message. The queue never splits a message. If a
// message consists of several frames that must stay together, let T be a struct or a slice of them.
//
// Push starts a goroutine that calls write until no message waits. An idle queue has no goroutine and no timer, and
// keeps memory for four messages. Calls of write never overlap. write may block, and may call Push and Stats.
//
// # Ownership
//
// The queue keeps the values passed to Push. It never copies or changes what they point to. The same bytes can wait in
// many queues, so nothing may change them after Push. The batch slice belongs to the queue again when write returns;
// write may keep the values in it.
//
// # Full queues
//
// Two limits, [Options.MaxMessages] and [Options.MaxBytes], apply to the waiting messages. The batch that is being
// written does not count. A message larger than MaxBytes is accepted if no other message waits.
//
// Volatile messages are dropped first. Push drops a volatile message if MaxVolatile messages or half of MaxBytes wait
// already. Waiting volatile messages are dropped when another message needs their room. If that is not enough,
// [Options.WhenFull] decides: the queue ends with [ErrFull], or it drops the oldest or the newest message. Stats
// counts all dropped messages.
//
// Socket.IO drops a volatile packet if the connection is writing at that moment. Here the packet waits, because a
// write in progress does not mean that the client is slow. MaxVolatile: 1 comes close to Socket.IO's rule.
//
// Messages have no priorities. Choose limits that let a client read the waiting messages within the timeout of your
// pings.
//
// # The end of a queue
//
// A queue ends when Close has flushed it, or early with an *[Error]. The *Error counts the unsent messages and wraps
// the cause:
//
//	cause                  the queue ends when
//	ErrFull                Push finds no room, and WhenFull is Disconnect
//	ErrTimeout             a call of write has taken WriteTimeout
//	the error of write     write returns an error, panics or calls runtime.Goexit
//	context.Cause(ctx)     the context of Close ends before everything is written
//
// After an early end Push returns false and the waiting messages are dropped. The queue calls disconnect with the
// *Error, once, on a goroutine of its own. The queue cannot interrupt a write: disconnect must close the connection,
// which makes the write return. Until then the write's goroutine and its batch stay in memory, and [Queue.Done] stays
// open. disconnect may block, and may call any method of the queue. A panic in disconnect crashes the process.
//
// When a connection ends, call Close first, then close the connection.
package outgoing
