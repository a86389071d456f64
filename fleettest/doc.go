// Package fleettest runs a whole fleet inside one test of yours. The nodes share a bus in memory and a virtual clock
// (testing/synctest). The test kills, cuts off and freezes nodes at a chosen moment. The clock advances only while all
// goroutines wait, so a test of deadlines and heartbeats takes no real time, and each run takes exactly the same
// virtual time.
//
//	func TestEastCrashes(t *testing.T) {
//		fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
//			north, east := f.Server("north", nil), f.Server("east", nil)
//			chat, err := north.Of(t.Context(), "/chat")
//			...
//			f.Settle()                            // the servers know each other
//			east.Freeze()                         // does not receive the request
//			f.After(300*time.Millisecond, east.Kill)
//			sockets, err := chat.All().FetchSockets(t.Context())
//			// after 500 ms: the responses of the others, and a *PartialError that names east
//		})
//	}
//
// This package's example_test.go has the whole program. The package is for tests only, and runs no real broker: it
// says nothing about Redis or NATS themselves.
//
// # Nodes
//
// [Fleet.Server] makes a server of package adapter, and [Fleet.Node] a node of package backplane. Run closes both after
// the test. To test code that makes its own nodes, give it a [Fleet.Broker], which is an ordinary broker.Broker. Close
// such a node in a Cleanup, or before the test returns:
//
//	east := f.Broker("east")
//	app, err := myapp.New(east, config)
//	t.Cleanup(func() { app.Close() }) // runs before the Cleanup that closes east
//
// # Faults
//
//   - Kill: the node crashes without goodbye, as with SIGKILL. The bus does not count it any more.
//   - Cut and Heal: the node loses its connection, and regains it. It notices both. Messages that it
//     sends meanwhile wait; it misses messages that others send.
//   - Freeze and Thaw: the node's connection stalls, as if the process had received SIGSTOP. The bus still
//     counts the node, and messages to it wait. The node's own code keeps running, but receives nothing,
//     and nothing that it sends arrives.
//   - Close, of the server or node itself: the node leaves with a goodbye.
//
// Some brokers, such as NATS, cannot count the subscribers of a channel. That changes what a node knows about crashed
// peers. With Options.Uncounted the bus behaves like such a broker. In all other respects the bus keeps the order of
// messages and delivers each at most once, as package broker describes.
//
// # Rules of the bubble
//
// Inside Run every time.Now, Sleep, Timer and context deadline uses the fleet's clock, which starts at midnight UTC on
// 2000-01-01. A goroutine that waits for something outside the bubble, such as a network connection, stops that clock.
// All goroutines must have ended when the test's Cleanup functions have returned. Do not call T.Run, T.Parallel and
// T.Deadline inside.
package fleettest
