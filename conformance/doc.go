// Package conformance checks that a broker keeps the clauses of package broker. It
// needs nothing beyond the standard library.
//
// # For the author of a broker
//
// Write one test that says how to get a fresh system and brokers on it:
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Harness{
//			Open: func(tb testing.TB) conformance.System {
//				url := startServer(tb) // stopped by tb.Cleanup
//				return conformance.System{
//					Node: func(ctx context.Context) (*conformance.Node, error) {
//						b, err := mybroker.Open(url)
//						if err != nil {
//							return nil, err
//						}
//						return &conformance.Node{Broker: b}, nil
//					},
//				}
//			},
//		})
//	}
//
// and run it under the race detector. Each case is a subtest named after its main
// clause, such as B07_Overwritten, and each failure prints the number and the text
// of the clause. The last lines are a table of clauses and outcomes; [Run] returns
// the same as a [Report].
//
// The system need not be a new server for each case: a prefix or a database that no
// other case uses will do, as long as nothing of one case can be heard or counted in
// another. Restart, if given, may harm whoever shares the server.
//
// Then give the harness its powers: functions in [Node] and [System] that cut a
// node's link, kill a node, restart the server. A TCP proxy for each node is the
// usual way. What needs a power that is missing is skipped and listed, never passed;
// a broker is not done before the clauses about outages have been tried.
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
// errors.ErrUnsupported. CheapRooms cannot be tested from outside.
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
// with the case that must catch each.
package conformance
