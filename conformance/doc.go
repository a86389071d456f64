// Package conformance checks that a broker keeps the clauses of package broker, and
// that fleets of backplane nodes on it keep theirs. It needs nothing beyond the standard
// library and those two packages.
//
// # For the author of a broker
//
// Write one test that says how to get a fresh system and brokers on it:
//
//	func TestConformance(t *testing.T) {
//		h := conformance.Harness{
//			Open: func(tb testing.TB) conformance.System {
//				addr := startServer(tb) // stopped by tb.Cleanup
//				return conformance.System{
//					Node: func(ctx context.Context) (*conformance.Node, error) {
//						link, err := tcpproxy.Listen(addr)
//						if err != nil {
//							return nil, err
//						}
//						tb.Cleanup(link.Close)
//						b, err := mybroker.Open(link.Addr())
//						if err != nil {
//							return nil, err
//						}
//						return conformance.OverTCP(b, link), nil
//					},
//				}
//			},
//		}
//		conformance.Run(t, h)
//		conformance.RunFleet(t, h)
//	}
//
// and run it under the race detector. Each case is a subtest named after its main
// clause, such as B07_Overwritten, and each failure prints the number and the text
// of the clause. The last lines are a table of clauses and outcomes; [Run] returns
// the same as a [Report]. It is worth getting to the end in this order:
//
//   - B1 to B13 first, with nothing but Node{Broker: b}: names, payloads, order, filters
//     that come and go.
//   - Then the outages, B14 to B18, through a link: what waits, what is lost, and telling
//     both sides so.
//   - Then contexts and closing, B19 to B21, calls at the same time and capabilities,
//     B24 and B25.
//   - Counting, B22 and B23, if the system can; otherwise return errors.ErrUnsupported.
//   - B28 and B30, if the system has permissions: set Node.Deny and its like.
//   - B29, if a server can lose its place without closing connections: set
//     System.Supersede.
//   - B26 and B27, which a broker may make use of to be fast; one that always calls
//     Deliver keeps both.
//   - [RunFleet]. What fails only here is usually a clause that is kept almost always:
//     a filter that is live a little late, an answer that is lost now and then.
//   - [Soak], for what goes wrong once in a thousand times.
//
// examples/custombroker of this repository is a whole broker in 200 lines, with its
// test; the memory broker can do inside a node what it does there.
//
// The system need not be a new server for each case: a prefix or a database that no
// other case uses will do, as long as nothing of one case can be heard or counted in
// another. Restart, if given, may harm whoever shares the server.
//
// The powers of a harness are functions in [Node] and [System] that cut a node's link,
// kill a node, restart the server. For a broker that speaks TCP package tcpproxy, by way of
// [OverTCP], gives them all but the restart. What needs a power that is missing is
// skipped and listed, never passed; a broker is not done before the clauses about outages
// have been tried.
//
// # What the suite takes for granted
//
// Contexts are generous except where a case is about one that ends. The suite
// publishes to the limits that the contract has, but not beyond what any real system
// stands: in cases about other things it keeps at most 500 small messages between a
// publisher and a receiver. A receiver that is held up must not make a broker drop
// the next hundred small messages (B9), and a queue of Publish must be full before
// 256 MiB are in it (B16). A call whose context has ended has five seconds to return
// (B20), and an outage must be noticed and repaired within [Harness].Timeout.
//
// A correct broker is never blamed. "Nothing arrives" is not proved by waiting, but
// by a later message on a way that is known to be open. So on a system that does not
// keep the order across channels a violation may be missed in one run and seen in
// another; nothing is ever seen that was not there.
//
// What a broker claims in its Capabilities is tested; what it does not claim is
// skipped and listed, except that a call without support has to return
// errors.ErrUnsupported.
//
// # Clauses of a fleet
//
// [RunFleet] makes fleets of backplane nodes, each on a broker of its own, and checks
// what their users are promised:
//
//	F1   A namespace is live when Node.Namespace returns, also on a node that comes
//	     late: from then on it hears every broadcast, and every question of a node that
//	     knows it, or that can count, is asked of it too.
//	F2   A broadcast reaches each member that its target selects (everybody, one room,
//	     several rooms, one member; with exceptions; on this node only; on the others
//	     only), on every node, exactly once, and nobody else.
//	F3   What one node sends to one selection of rooms arrives everywhere in that
//	     order. With nothing wrong, nothing is reported to OnError.
//	F4   Every node answers a question about members and rooms: the answer is complete,
//	     says on which node each member is, and names the nodes that answered.
//	F5   An operation on members of any node, by id or by selection, is done when the
//	     call returns nil, to these members and no others, and takes effect on what the
//	     same node sends next.
//	F6   "No such member" is an answer, which comes as soon as every node has given it.
//	F7   A request of the application reaches each other node once and brings back what
//	     each said, errors too. A broadcast with acknowledgements brings back those of
//	     exactly the selected members.
//	F8   Peers lists all other nodes with what they serve, and Count counts all.
//	F9   A node that leaves is not waited for, and neither are two that leave at once;
//	     afterwards they are no longer asked, listed or counted.
//	F10  If a node is killed in the middle of a question, the answer has what the
//	     others said and names the missing node, by the deadline, and on a broker that
//	     counts before it. The next question does not wait for that node, and after
//	     PeerTimeout it is forgotten.
//	F11  The same if a node is frozen, by the deadline; the next question does not wait
//	     for it. When it runs on it answers again.
//	F12  The same if a node's link is cut. That node's own members go on hearing it,
//	     its questions end by their deadline, and OnError is told. When the link is
//	     back, all hear and answer each other again.
//	F13  No call takes longer than its deadline or its context, whatever other nodes
//	     do. A context's error comes as it is, or in a *PartialError with what is
//	     known.
//	F14  Two nodes with one id are told so, and nothing hangs; when one of them leaves,
//	     the fleet is whole again. A second namespace or member of one name on one node
//	     is refused.
//	F15  Every name that the broker carries works for namespaces, rooms and members.
//	     What is too large for the broker is a typed error: for a broadcast before
//	     anybody has got it, and for an answer the asker is told.
//	F16  All methods may be called at the same time from any goroutine, while nodes
//	     come and go.
//	F17  As soon as Node.Namespace has returned, a query in it by any node is answered
//	     by all nodes that have it, or says that it may not be. A node that nobody has
//	     heard of is not said to be gone, and neither is its member.
//	F18  What it takes to announce namespaces grows with their number, and a node that
//	     comes late learns of all.
//	F19  What it takes to start N nodes at once is at most 8 N² announcements that nodes
//	     get.
//	F20  A node that gets 500 requests at once answers all of them.
//
// # For those who work on the suite
//
// Every receiver of the suite is a recorder, which checks what holds for every
// delivery by itself, in every case: order, no duplicates, exact bytes, an allowed
// channel, one call at a time, no gap that was not told, nothing between Interrupted
// and Resumed, nothing after Remove, and that kept payloads do not change. A case
// makes the situation; see env.go for what it does that with.
//
// [Cases] are values that run without a *testing.T and return errors, so that the
// suite is tested with brokers that are broken on purpose: mutant_test.go lists them
// with the case that must catch each. [FleetCases] are the same for fleets: there every
// node is a crew's mate, every member a person; see fleet.go.
package conformance
