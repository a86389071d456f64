// Package fleettest runs a whole fleet inside one test of yours: as many nodes as you
// like on a bus in memory, with a clock of their own (testing/synctest), on which you
// kill, cut off and freeze nodes at a chosen moment. Time passes only when everybody
// waits, so a test of deadlines and heartbeats takes no real time, and takes exactly
// as long on its own clock every time.
//
//	func TestEastDies(t *testing.T) {
//		fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
//			north, east := f.Server("north", nil), f.Server("east", nil)
//			chat, err := north.Of(t.Context(), "/chat")
//			...
//			f.Settle()                            // they know each other
//			east.Freeze()                         // gets the question and says nothing
//			f.After(300*time.Millisecond, east.Kill)
//			sockets, err := chat.FetchSockets(t.Context())
//			// after 500 ms: what the others said, and a *PartialError that names east
//		})
//	}
//
// The whole of it is in this package's example_test.go.
//
// # Nodes
//
// [Fleet.Server] makes a server of package adapter and [Fleet.Node] a node of package
// backplane. To test code that makes its own, give it a [Fleet.Broker], which is a
// broker like any other:
//
//	east := f.Broker("east")
//	app, err := myapp.New(east, config)
//
// # What can happen to a node
//
//   - Kill: it vanishes without goodbye, as with SIGKILL. The bus does not count it any more.
//   - Cut and Heal: its connection is lost, and comes back. It knows that. What it sends
//     meanwhile waits; what others send it misses.
//   - Freeze and Thaw: it stands still, as with SIGSTOP. The bus still counts it; what is sent
//     to it waits. (The node's own code runs on, but hears nothing and is not heard.)
//   - Close, of the server or node itself: it leaves in good order.
//
// Brokers that cannot count who listens, as NATS cannot, make a difference to what is
// known of the dead: Options.Uncounted has the bus behave like one.
//
// # Rules of the bubble
//
// Inside Run every time.Now, Sleep, Timer and context deadline is of the fleet's clock,
// which starts at midnight UTC on 2000-01-01. Goroutines that wait for something outside,
// such as a network connection, stop that clock; all must have ended when the test does.
// T.Run, T.Parallel and T.Deadline cannot be called inside.
package fleettest
