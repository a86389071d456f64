// Package presence knows which users are in which rooms, over a whole fleet of nodes of package backplane.
//
//	p, err := presence.New(ctx, node, nil)                        // node is a *backplane.Node
//	err = p.Join("lobby", presence.Member{ID: conn, User: "ana"}) // ana's connection enters
//	for _, u := range p.Room("lobby").Users() { … }               // all users, without I/O
//	for change := range p.Watch(ctx, "lobby") { … }               // a snapshot, then each change
//	p.Remove(conn)                                                // the connection was closed
//	err = p.Close(ctx)                                            // before its node
//
// A [Member] is one connection in one room. It has an ID, which is unique on its node, a User, and a small State.
// Several connections of one user are several members: [Room.Users] groups them, and Change.Connections shows which is
// the first and which the last of them. To know who is online at all, join each connection to a further room, such as
// "online".
//
// The package delivers nothing to clients and stores nothing on disk. Its rooms are not those of package backplane or
// hub: a server calls Join and Remove where it adds and removes its connections, such as in OnConnect and OnDisconnect
// of a hub. It does not see the connections of Node.js servers. It needs a backplane.Node. A process with an
// adapter.Server makes one in addition, on a second broker.
//
// # Calls
//
//	New         waits for the broker to subscribe
//	AwaitSync   waits for the broker, and until this node has the members of all others
//	Close       waits for a few round trips to the broker
//	Watch       the loop waits for changes, and ends when its context ends or Presence is closed
//	all others  do no I/O and do not wait
//
// Each of the first three ends when its context does. Join, Leave and Remove change the state of this node, and other
// nodes get the change a moment later. The other calls return what this node knows. Members and slices that are
// returned belong to the caller, except that State is shared and read-only. Member.State is copied by Join.
//
// The package has no callbacks. The body of a Watch loop runs on the goroutine of its caller and may call everything,
// also Close. If it blocks or panics, no other part is affected.
//
// # The end
//
// Close removes the members of this node on all others. Call it when no connection joins any more, such as after Close
// of a hub, and before Node.Close. If the node was closed first, by Close or Drain, this Presence exchanges nothing
// with other nodes and keeps their last known members: call Close then too, to end Watch loops. After Close, Join and
// AwaitSync return ErrClosed, and all other calls have no effect: they return false, zero or an empty room, and a Watch
// loop ends at once. Stats keeps its counters.
//
// # How it works
//
// Each node owns the members that were joined on it. It numbers its changes and broadcasts them; changes that come
// together share a message. Each node keeps all members in memory. A node that finds a gap in another node's numbers
// sends that node a request, and gets the missing changes. If there are more than the owner keeps (8,192 changes and 4
// MiB), or the node is new, the node gets a snapshot of the owner's members, in messages of at most 64 KiB.
//
// A message can be lost without a gap, if it was the last one. So all nodes form a ring, in the order of their ids.
// Once an Options.Interval each node sends the next one a digest of all numbers that it has, each with a sum of the
// changes up to it. If the digests differ, the next node responds with its numbers, and the node requests what it lacks
// from the owners. An owner that gets such a request sends its number to all, because other nodes may lack the change
// too. If a node has a number or sum that cannot be the owner's, it has received changes that the owner did not send.
// It then requests a snapshot.
//
//	event                       traffic
//	nothing                     one message of about 70 bytes from each node in an Interval, whatever the number of members
//	a change                    one message to each other node
//	a node starts               one snapshot from each node to it
//	a change is lost            one message to each node, and one request and response for each node that lacks it
//
// # When all nodes agree
//
//	event                               the others agree
//	a member joins, changes or leaves   when the message arrives
//	Close                               when its message arrives
//	a node starts                       0.2 s after the nodes know each other, and after one response of each
//	messages are lost, a link is cut,   at most 2.2 s after messages pass again and all nodes know each other
//	  a process is frozen
//	a process crashes                   at most 4.2 s after its last sign of life
//
// These are times for an Interval of 1 s. 4.2 s are PeerTimeout and half a Heartbeat of backplane.Options, after which
// a node expires, and a fifth of the Interval. 2.2 s are 2.2 Intervals: at most 1 until a digest is sent, 0.4 for
// changes that may be on their way, 0.5 until other nodes that lack the same are notified, 0.2 until they send their
// requests, and 0.1 for the messages. If a neighbour in the ring crashes meanwhile, the 2.2 s begin anew when it has
// expired.
//
// In an outage, also one that no broker notices, such as a frozen server:
//
//   - A node that receives nothing keeps the members of all other nodes.
//   - Nodes that still receive from each other remove the members of a node that has expired. Watch loops get Left.
//     When the node is back, they get Joined for its members.
//   - Join, Leave and Remove work. The messages wait in the broker's queue. If that loses them, the nodes find the
//     gap after the outage.
//
// Members that are kept may be out of date. Node.Health of package backplane says that messages may be missing.
// Room.Missing does not: it lists nodes whose members this node has never had, or not all of them because of a limit.
//
// # Errors
//
//	error                                returned by           what to do
//	*NameError                           Join                  refuse the connection: an empty ID, or a name that is not UTF-8
//	*LimitError                          Join                  shorten the name or state; or refuse the connection, if the node
//	                                                           has too many members
//	ErrClosed                            Join, AwaitSync       nothing: it is final
//	*OptionError                         New                   correct the program, or use a broker that takes messages of
//	                                                           64 KiB
//	errors that wrap those of            New, Close            as with Node.Namespace and Namespace.Close
//	  backplane
//	the context's error                  New                   call again with more time
//	                                     AwaitSync             call again, or continue: Room.Missing names missing nodes
//	                                     Close, wrapped        nothing: the others remove the members when the node expires
//
// An error of Join has changed nothing. A room may have the empty name.
//
// # Order
//
// Each node gets the changes that another node makes in the order of that node's calls, each once; the changes of two
// nodes have no order. A Watch loop also gets the changes of its own node. Join with the same User and State again is
// no change. Join with another State is Updated. With another User it is Left and then Joined, and Connections counts
// for each user.
//
// After an outage a node may get a snapshot instead of the changes. Then a Watch loop gets only the difference. For a
// member that left and came back meanwhile, that is nothing, or Updated if its State is another one.
//
// # Limits
//
// A member has at most [MaxName] bytes in each of room, ID and User, and [MaxState] in State. A node has at most
// [MaxMembers] members, and [MaxBytes] of names and states, where each member counts with 64 bytes more. Join returns a
// [*LimitError] beyond that. A node stores at most as much of each other node, or twice as much while it receives a
// snapshot, and at most Options.MaxRemoteBytes of all other nodes together. It counts members beyond that in
// Stats.Refused, and lists their node in Room.Missing. MaxRemoteBytes does not limit its own members. It stores members
// only of nodes that Node.KnownPeers of package backplane lists. Changes that arrive before an earlier one wait: at
// most 4,096 and 4 MiB of each node. A node sends each peer at most one snapshot in an Interval.
//
// A watch holds [MaxChanges] changes for a slow loop. Beyond that it drops them, counts them in Change.Missed, and
// continues with a new snapshot.
//
// A node that sends wrong data changes only the members that others have of that node. Changes that it sends in another
// node's name are undone after three Intervals at most. backplane.Options.Keys admits only processes with a key.
// docs/LIMITS.md has the rest.
//
// # Compared with Phoenix.Presence
//
//	                     Phoenix.Presence                              this package
//	state                a CRDT, merged from deltas or whole state     one owner for each member, numbered changes
//	changes are sent     once in 1.5 s (broadcast_period)              at once; changes that come together share a message
//	without changes      a heartbeat to all in 15 s                    a digest to one node in an Interval, 1 s
//	                     (broadcast_period × max_silent_periods)
//	missed changes       deltas of 100, 1,000 or 10,000, then all      up to 8,192 changes, then all
//	a crashed node       hidden after 30 s (down_period), discarded    removed after at most 4.2 s
//	                     after 20 min (permdown_period)
//	a node that returns  its members are shown again, if not discarded its members are sent again
//	shutdown             graceful_permdown tells the others            Close does
//	by user              metas grouped under a key                     members grouped by User
//	one user             get_by_key                                    Connections, or Room.Users
//	state of a member    any term, with a reference for each update    bytes; an update replaces them
//	the end of a member  when its process ends: it is monitored        Leave or Remove, which the server calls
//	notification         presence_diff and handle_diff: joins, leaves  Watch: Joined, Updated, Left, with the user's connections
//	further data         fetch adds it when presences are listed       none: add it where you read
//	in the browser       Presence.syncState and syncDiff of its client none: send what Watch yields
//	parallel work        pool_size processes                           one goroutine sends; reads share one lock
//	limits               none documented                               stated above
//
// All figures are defaults. Source: the documentation of Phoenix.Tracker (Phoenix.PubSub 2.2) and of Phoenix.Presence
// (Phoenix 1.8).
package presence
