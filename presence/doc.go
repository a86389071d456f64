// Package presence knows which users are in which rooms, over a whole fleet of nodes of package backplane.
//
//	p, err := presence.New(ctx, node, nil)                        // node is a *backplane.Node
//	err = p.Join("lobby", presence.Member{ID: conn, User: "ana"}) // ana's connection enters
//	for _, u := range p.Room("lobby").Users() { … }               // all users, without I/O
//	for change := range p.Watch(ctx, "lobby") { … }               // a snapshot, then each change
//	p.Remove(conn)                                                // the connection was closed
//	err = p.Close(ctx)                                            // before its node
//
// A [Member] is one connection in one room. It has an ID, which is unique on its node, a User, and a small State. Several
// connections of one user are several members: [Room.Users] groups them, and Change.Connections shows which is the first and
// which the last of them. To know who is online at all, join each connection to one room more, such as "online".
//
// The package delivers nothing to clients, stores nothing on disk, and has no rooms in common with package backplane: a server
// calls Join and Remove where it adds and removes its connections. Servers that are not Crossroom nodes, such as Node.js
// servers, have no part in it. A process with an adapter.Server makes a backplane.Node for it, on a broker of its own.
//
// # Calls
//
// New, AwaitSync and Close wait for the broker, until their context ends. A Watch loop waits for changes. All other calls do no
// I/O and do not wait: Join, Leave and Remove change the state of this node, and other nodes get the change a moment later.
// Reading returns what this node knows. Members and slices that are returned belong to the caller, except that State is shared
// and read-only. Member.State is copied by Join.
//
// The package has no callbacks. The body of a Watch loop runs on the goroutine of its caller and may call everything,
// also Close. If it blocks or panics, no other part is affected.
//
// # How it works
//
// Each node owns the members that were joined on it. It numbers its changes and broadcasts them; changes that come together
// share a message. Each node keeps all members in memory. A node that finds a gap in another node's numbers sends that
// node a request, and gets the missing changes. If there are more than the owner keeps (8,192 changes and 4 MiB), or the node is new, it gets a
// snapshot in messages of at most 64 KiB.
//
// A message can be lost without a gap, if it was the last one. So all nodes form a ring, in the order of their ids. Once an
// Options.Interval each node sends the next one a digest of all numbers that it has, each with a sum of the changes up to it. If
// the digests differ, the next node responds with its numbers, and the node requests what it lacks from the owners. An owner that
// gets such a request sends its number to all, because other nodes may lack the change too. A node whose number or sum cannot be
// the owner's has received changes that the owner did not send, and requests a snapshot.
//
//	what happens                traffic
//	nothing                     one message of about 70 bytes from each node in an Interval, whatever the number of members
//	a change                    one message to each other node
//	a node starts               one snapshot from each node to it
//	a change is lost            one message to each node, and one request and response for each node that lacks it
//
// # When all nodes agree
//
//	what happens                        the others agree
//	a member joins, changes or leaves   when the message arrives
//	Close                               when its message arrives
//	a node starts                       one fifth of an Interval after the nodes know each other, and one response of each
//	messages are lost, a link is cut,   at most two Intervals after messages pass again, and all nodes know each other. Members of
//	a process is frozen                 a node that expired are removed meanwhile, and join again
//	a process crashes                   at most one fifth of an Interval after the node has expired: after Options.PeerTimeout
//	                                    and half a Heartbeat of the node, 4 s by default
//
// With an Interval of 1 s: 0.2 s and 2 s. If a neighbour in the ring crashes at the same time, the two Intervals begin when it has
// expired. While a broker is down, its node keeps the members of the other nodes, as backplane keeps its peers. Changes wait
// in the broker's queue, within its limits. Room.Missing lists the nodes whose members are not all known.
//
// # Errors
//
//	error                                returned by           what to do
//	*NameError, *LimitError              Join                  refuse the connection, or shorten its state; nothing was changed
//	ErrClosed                            Join, AwaitSync       nothing: it is final
//	*OptionError                         New                   correct the program
//	errors that wrap those of backplane  New, Close            as with Node.Namespace and Namespace.Close
//	the context's error                  New, AwaitSync        call again, or go on: Room.Missing names the nodes that are missing
//
// # Order
//
// The changes of members of one node come in the order of its calls, each once; between nodes there is no order. After an
// outage a node may get a snapshot instead of the changes. Then a Watch loop gets the difference, and not each step: a member
// that left and came back meanwhile was not missing, and its latest State is reported.
//
// # Limits
//
// A member has at most [MaxName] bytes in each of room, ID and User, and [MaxState] in State. A node has at most [MaxMembers]
// members, and [MaxBytes] of names and states, where each member counts with 64 bytes more. Join returns a [*LimitError] beyond
// that. Other nodes store no more of a node either, or twice as much while they receive a snapshot of it, and
// Options.MaxRemoteBytes of all other nodes together. They count what they refuse in Stats.Refused, and the node is in
// Room.Missing. Own members are always stored. Only nodes that introduced themselves are stored (Node.KnownPeers of package
// backplane), and at most 4,096 changes and 4 MiB of each that arrive before their turn. A node sends each peer at most one
// snapshot in an Interval.
//
// A watch holds [MaxChanges] changes for a slow loop. Beyond that it drops them, counts them in Change.Missed, and continues with
// a new snapshot.
//
// A node that lies changes only what is known of itself. Changes that it sends in another node's name are undone after three
// Intervals at most. backplane.Options.Keys admits only processes with a key. docs/LIMITS.md has the rest.
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
//	sharding             pool_size trackers                            one goroutine sends; reads take one lock
//	limits               none documented                               stated above
//
// All figures are defaults. Source: the documentation of Phoenix.Tracker (Phoenix.PubSub 2.2) and of Phoenix.Presence (Phoenix 1.8).
package presence
