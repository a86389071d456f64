// Package outgoing provides a bounded queue in front of one network connection. Pushing
// a message never blocks, however slowly the client reads. One function, called by one
// goroutine at a time, writes what waits.
//
// Use one [Queue] for each WebSocket, SSE stream or other connection. With it, Deliver
// of a backplane.Member or an adapter.Socket returns at once. The queue knows no
// protocol and does no I/O itself. It is not meant for messages between servers, which
// wait in the broker's own queues.
//
//	queue := outgoing.New(conn.write, conn.disconnect, nil) // when a client connects
//	queue.Push(payload, len(payload), false)                // in Deliver
//	err := queue.Close(ctx)                                 // at the end
//
// # Writing
//
// The function write gets a batch of messages in the order of the calls of Push, so that
// one system call can carry them all. A batch has at most 64 messages and 64 KiB, or one
// larger message. The queue never splits a message: if it consists of several frames
// that must stay together, let T be a struct or a slice of them.
//
// Push starts a goroutine that calls write until nothing waits. An idle queue has no
// goroutine and no timer, and keeps memory for four messages. Calls of write never
// overlap. write may block, and may call Push and Stats.
//
// # Ownership
//
// The queue keeps the values that it is given, and never copies or changes what they
// point to. The same bytes can wait in many queues, so nothing may change them after
// Push. The batch belongs to the queue again when write returns; the values in it may be
// kept.
//
// # Full queues
//
// Two limits, [Options.MaxMessages] and [Options.MaxBytes], apply to what waits. The batch
// that is being written does not count. A message larger than MaxBytes is accepted if
// nothing else waits.
//
// Volatile messages are dropped first. One is dropped if it finds MaxVolatile messages or
// half of MaxBytes waiting, and those that wait are dropped when another message needs
// their room. If that is not enough, [Options.WhenFull] decides: the queue ends with
// [ErrFull], or it drops the oldest or the newest message. Stats counts what is dropped.
//
// Socket.IO drops a volatile packet if the connection is writing at that moment. Here it
// waits, because a write in progress does not mean that the client is slow. MaxVolatile: 1
// comes close to Socket.IO's rule.
//
// Messages have no priorities. Choose limits that let a client read what waits within
// the timeout of your pings.
//
// # The end
//
// A queue ends when Close has flushed it, or early, with an *[Error] that counts the
// unsent messages and wraps the cause:
//
//	cause                  the queue ends when
//	ErrFull                Push finds no room, and WhenFull is Disconnect
//	ErrTimeout             a call of write has taken WriteTimeout
//	the error of write     write returns one, panics or calls runtime.Goexit
//	context.Cause(ctx)     the context of Close ends before everything is written
//
// After an early end Push returns false, the messages that waited are dropped, and the
// queue calls disconnect with the *Error, once, on a goroutine of its own. The queue
// cannot interrupt a write. disconnect must close the connection, which makes the write
// return; until then its goroutine and its batch stay in memory and [Queue.Done] stays
// open. disconnect may block, and may call any method of the queue. A panic in it
// crashes the process.
//
// At the end of a connection call Close first, then close the connection.
package outgoing
