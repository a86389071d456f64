// Package conformance checks that a broker keeps the clauses of package broker, and that fleets of backplane nodes on
// the broker keep theirs. It is for the tests of brokers. For tests of applications there is package fleettest. It
// depends on the standard library and on packages of Crossroom only.
//
// A node is one process that uses a broker, a fleet all nodes on one system. A member is a client's connection that a
// node has registered; a late node is one that starts after the others.
//
// # For the author of a broker
//
// Write one test that makes a fresh system and brokers on it, and run it under the race detector:
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
// (tcpproxy is the package conformance/tcpproxy.) Each case is a subtest named after its main clause, such as
// B07_Overwritten. Each failure prints the number and the text of the clause. The last lines are a table of clauses and
// outcomes; [Run] returns the same as a [Report]. Nothing needs to be called at the end: the suite closes every broker
// that Node returned, also of killed nodes, and then calls the functions given to tb.Cleanup. Links may be cut then.
// Work in this order:
//
//   - B1 to B13 and B31 first, with nothing but &conformance.Node{Broker: b}: names, payloads, order, filters that are
//     added and removed, protocols.
//   - B14 to B18, the outages, through a link: which messages wait, which are lost, and how
//     publisher and receiver are notified.
//   - B19 to B21, contexts and closing; B24 and B25, concurrent calls and capabilities.
//   - B22 and B23, counting, if the system can count; otherwise return errors.ErrUnsupported.
//   - B28 and B30, if the system has permissions: set Node.Deny and the other functions of its group.
//   - B29, if a server can lose its role without closing connections: set System.Supersede.
//   - B26 and B27, which a broker may use to be fast. A broker that always calls Deliver keeps both.
//   - [RunFleet]. If a case fails only here, first look for a clause that the broker breaks in rare cases: a filter
//     that becomes live a little late, or a message that is lost now and then. If there is none, it is a defect
//     of package backplane or a gap in the suite: please report it.
//   - [Soak] with 100 to 1,000 repetitions, for defects that show once in a thousand runs.
//
// examples/custombroker of this repository is a whole broker in 200 lines, with its test.
//
// A case does not need a server of its own. A prefix or a database that no other case uses is enough, provided that no
// case can receive or count anything of another. [Run] and [RunFleet] run one case at a time, so Restart, if set, may
// disturb all users of the server. [Soak] runs 8 cases at a time, each on a system of its own: leave Restart and
// Supersede nil there if its cases share a server.
//
// Run and RunFleet have about 100 cases, which together take 15 seconds on the memory broker and a minute on a local
// server. A case takes at most Harness.Timeout, and about 16 seconds more if a broker hangs: 10 seconds for its call,
// and 6 to close its brokers. The goroutines of the call that hangs remain. "go test" ends a test binary after 10
// minutes, so give a longer -timeout for slow systems and for [Soak].
//
// If Node or another function of the harness returns an error, the case fails with the text "the harness failed", and
// its clauses get the outcome [Broken] in the table. Then repair the harness: this is no violation. The suite cannot
// distinguish other defects of the harness from those of the broker. If the server ends in the middle of a case, or a
// function of the harness hangs, a clause is reported as violated. A nil Open, System.Node or Node.Broker, and a nil
// *Node without an error, make the test panic.
//
// The powers of a harness are functions in [Node] and [System] that inject faults. For a broker that speaks TCP,
// [OverTCP] with links gives CanCut, CanHalfOpen, CanFreeze, CanSlowLink and CanKill. The others need functions of the
// author. A case that needs a missing power is skipped and listed, never passed. A broker is not finished before the
// clauses about outages have been tested.
//
// # What the suite assumes
//
// The contexts that the suite passes to a broker last as long as the case, except in cases about an ended context.
// Outside of the cases about overflow the suite keeps at most 500 messages of less than 1 KiB between a publisher and a
// receiver. It requires of a broker:
//
//	B9                   while a receiver blocks, its next 100 messages of less than 1 KiB are kept for it. If 24 MiB
//	                     more arrive, the other receivers continue, and the blocked one misses some of these
//	B16                  Publish waits before the queue holds 256 MiB
//	B20                  a call returns within 5 s after its context has ended
//	Harness.Timeout      an outage is noticed and repaired within this time
//
// A broker that keeps the clauses and these limits passes, also on a busy machine. To prove that a message does not
// arrive, the suite does not wait: it publishes another message afterwards, on a route that is known to work. On a
// system without order across channels one run may therefore miss a violation that another run reports.
//
// The suite tests what a broker claims in its Capabilities. Cases about a capability that the broker does not claim are
// skipped and listed. But Subscribers and Responders without support must return errors.ErrUnsupported.
//
// # Clauses of a fleet
//
// [RunFleet] makes fleets of backplane nodes, each on a broker of its own, and checks the promises to their users:
//
//	F1   A namespace is live when Node.Namespace returns, also on a late node. From then on it receives every
//	     broadcast, and every request of a node that knows it or that can count.
//	F2   Without a fault, a broadcast reaches each member that its target selects, on every node, exactly once, and no
//	     other member. A target selects all members, one room, several rooms, members in all of several rooms, one
//	     member, or an empty list of rooms; with exceptions; on all nodes, on this node only, or on the others only.
//	F3   The messages of one node to one selection of rooms arrive everywhere in their order. Without a fault, no
//	     error is reported to OnError.
//	F4   Every node responds to a query about members and rooms, and counts them. The result is complete, says on
//	     which node each member is, and names the nodes that responded.
//	F5   An operation on members of any node, by id or by selection, is done when the call returns nil, for these
//	     members and no others, and affects the next messages of the same node.
//	F6   "No such member" is a result. It comes as soon as every node has responded.
//	F7   A request of the application reaches each other node once, and its result has the response or the error
//	     of each. A broadcast with acknowledgements has those of exactly the selected members.
//	F8   Peers lists all other nodes with their namespaces, and its Total counts all nodes.
//	F9   Calls do not wait for a node that leaves, nor for two that leave at once. Afterwards these nodes get no
//	     requests and are neither listed nor counted.
//	F10  If a node is killed during a query, the result has the responses of the others and names the missing
//	     node. It comes by the deadline, and earlier on a broker that counts. The next query does not wait for
//	     that node, and after PeerTimeout the node is forgotten.
//	F11  If a node is frozen during a query, the result has the responses of the others and names the missing
//	     node, by the deadline. The next query does not wait for the node. When it runs again it responds again.
//	F12  If a node's link is cut during a query, the result is as in F10. That node's own members still receive its
//	     broadcasts, its queries end by their deadline, and OnError reports the outage. When the link is back, all
//	     nodes receive messages from and respond to each other again.
//	F13  No call takes longer than its deadline or its context, whatever other nodes do. A context's error is
//	     returned unwrapped, or in a *PartialError with the known part of the result.
//	F14  Two nodes with one id both report it, and no call hangs. When one of them leaves, the other nodes and the
//	     remaining one reach each other again. A second namespace or member of one name on one node is refused.
//	F15  Every name that the broker carries works for namespaces, rooms and members. A message that is too large
//	     for the broker is a typed error. A broadcast returns it before any member has received the message. For
//	     a response the requester gets it.
//	F16  All methods may be called at the same time from any goroutine, while nodes come and go.
//	F17  As soon as Node.Namespace has returned, a query in it by any node has the responses of all nodes with
//	     that namespace, or reports that it may be incomplete. Neither a node that is still unknown nor
//	     its members are reported as lost.
//	F18  The traffic for announcing namespaces grows with their number, and a late node learns the names of all.
//	F19  Starting N nodes at once takes at most 8 N² deliveries of announcements.
//	F20  A node that receives 500 requests at once responds to all of them.
//	F21  A message to a room reaches members that have joined it as soon as Join has returned, in every subscription
//	     mode. A node with dynamic subscription receives no messages for rooms without members on it, once these have
//	     been unsubscribed. While the mode changes, no message is lost, repeated or out of order.
//	F22  A node with keys accepts a message only from a process that has signed it with one of the keys for that
//	     channel, and accepts it once. Messages without such a signature, and copies of signed ones, have no effect:
//	     each node counts them and reports the reason.
//	F23  Node.Ready returns when the node receives and publishes. While its link is cut or its server frozen,
//	     Node.Health reports every direction as down, after PeerTimeout at the latest. When the link is back, Ready
//	     returns again.
//
// # For maintainers of the suite
//
// Every receiver of the suite is a recorder. In every case it checks each delivery by itself: order, no duplicates,
// exact bytes, an allowed channel, one call at a time, no gap without Interrupted, no message between Interrupted and
// Resumed, no message after Remove, and unchanged payloads. A case only creates the situation, with the methods of
// env.go.
//
// [Cases] are values that run without a *testing.T and return errors, so that the suite itself can be tested with
// broken brokers: mutant_test.go lists them, each with the case that must detect it. [FleetCases] are the same for
// fleets, whose nodes are of type fleetNode and whose members of type fleetMember; see fleet.go.
package conformance
