// Package fleettest runs a whole fleet inside one test. The nodes share a bus in memory (memorybroker.Bus) and a
// virtual clock (testing/synctest). The test kills, cuts off and freezes nodes at a chosen moment. The
// clock advances only while all goroutines wait, so a test of deadlines and heartbeats takes no real time, and its
// times are exactly the same in each run. The order of events at one time may differ between runs.
//
//	func TestEastCrashes(t *testing.T) {
//		fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
//			north, east := f.Server("north", nil), f.Server("east", nil) // or f.Node("north", nil)
//			chat, err := north.Of(t.Context(), "/chat")                  // or north.Namespace
//			...
//			f.Settle()                                                   // the servers know each other
//			east.Freeze()                                                // does not receive the request
//			f.After(300*time.Millisecond, east.Kill)
//			sockets, err := chat.All().FetchSockets(t.Context())
//			// after 500 ms of the clock: the responses of the others, and a *PartialError that names east
//		})
//	}
//
// The request notices the crash at 500 ms, because it counts the subscribers after each quarter of its timeout of 1
// second. The source of this package has the whole program, in example_test.go. The package is for tests only. It runs
// no real broker, so a test with it shows nothing about Redis or NATS themselves.
//
// # Nodes
//
// [Fleet.Server] makes a server of package adapter, and [Fleet.Node] a node of package backplane. Run closes both after
// the test. To test code that makes its own nodes, give it a [Fleet.Broker], which is an ordinary broker.Broker. Close
// such a node before the test returns, or in a Cleanup that is registered after the call of Broker. Cleanup functions
// run in reverse order, so this Cleanup runs before that of the fleet, which closes the broker:
//
//	east := f.Broker("east")
//	app, err := myapp.New(east, config)
//	t.Cleanup(func() { app.Close(context.Background()) }) // t.Context() has ended by then
//
// # Faults
//
//   - Kill: the node disappears without a farewell, as a process does with SIGKILL. The bus does not count it any more.
//     Messages that it has published already are delivered, those in its outbox are lost. Calls on it that
//     need the bus return an error that wraps broker.ErrClosed. Its goroutines continue until its Close, which the
//     test or Run still calls, and which returns nil.
//   - Cut and Heal: the node loses its connection, and regains it. The node notices both: OnError gets a
//     *backplane.InterruptedError, and Health reports it. Messages that it sends meanwhile wait in its outbox and
//     are sent after Heal. It misses messages that others send. The bus does not count it until Heal. Calls such
//     as Of and Namespace wait for Heal or the end of their context.
//   - Freeze and Thaw: the node's connection stalls, as if the process had received SIGSTOP. No component notices that.
//     Messages that it sends wait in its outbox. Messages that are sent to it wait on the bus, which still counts it.
//     Both arrive after Thaw. Broadcasts of other nodes do not wait for it; queries do. Calls on it that need the bus
//     wait as with Cut.
//   - Close, of the server or node itself: the node leaves, and says so to the others.
//
// For an outage of the broker itself, cut every node. The queues on the bus and the outboxes have the limits of
// memorybroker.Options: 16,384 messages and 16 MiB each, and 30 seconds of the clock in an outbox. When the queue of a
// frozen node is full, the node misses further messages. It notices that after Thaw.
//
// Some brokers, such as NATS, cannot count the subscribers of a channel. That changes what a node knows about crashed
// peers. With Options.Uncounted the bus behaves like such a broker. Opening a namespace then takes up to 250 ms of the
// clock. Order and delivery are as package broker describes, counted or not.
//
// # Rules of the bubble
//
// Run calls the test in a bubble of testing/synctest. Inside it every time.Now, Sleep, Timer and context deadline uses
// the fleet's clock, which starts at midnight UTC on 2000-01-01.
//
//   - A goroutine that waits for something outside the bubble, such as a network connection, stops the clock: then
//     Settle and Run wait until that ends.
//   - If all goroutines wait for each other for ever, testing/synctest ends the program with a panic. It does the
//     same if goroutines are left when the test's Cleanup functions have returned.
//   - The test uses the *testing.T that it is called with, not that of the function around Run. T.Fatal is allowed
//     there. T.Run, T.Parallel and T.Deadline are not.
package fleettest
