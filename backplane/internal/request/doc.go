// Package request keeps the requests of one namespace to its fleet: which nodes should respond, which have responded,
// and how long to wait for each.
//
// A [Snapshot] has the subscribers: all known peers by name, and foreign peers by number. A [Pending] request begins
// with a snapshot and keeps a [State] for each node and one counter for foreign peers. It ends when it waits for no
// node, or at the deadline of its context.
//
// The wait policy is one rule for each kind of peer:
//
//   - A request waits for a known peer until the deadline. A peer that missed one is probed, and has RequestsTimeout since
//     that request to send a sign of life. After that it is unresponsive: it gets requests, but they do not wait for it
//     until it sends a sign of life.
//   - For foreign peers that missed a deadline, requests of the same kind wait during ForeignWait, until their number
//     changes or the missing responses come.
//
// The package uses package membership, a broker and the codec's messages. It knows no member.
package request
