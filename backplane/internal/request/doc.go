// Package request keeps the requests of one namespace to its fleet: who is expected to
// respond, who has, and how long to wait for each.
//
// A [Snapshot] says who listens: all known peers by name, and foreign peers by number. A
// [Pending] request begins with one and keeps a [State] for each node and one counter for
// foreign peers. It ends when nothing is waited for, or at the deadline of its context.
//
// The wait policy is one rule for each kind of peer:
//
//   - A known peer is waited for until the deadline. A peer that missed one is probed and
//     has RequestsTimeout since that request to give a sign of life. After that it is
//     unresponsive: it is asked, and not waited for until something is heard of it.
//   - Foreign peers that missed a deadline are waited for during ForeignWait by requests of
//     the same kind, until their number changes or the missing responses come.
//
// The package sees package membership, a broker and the codec's messages, and no member.
package request
