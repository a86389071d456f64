// Package interest decides which filters a namespace of a node subscribes to, and changes
// them while the namespace is in use.
//
// In static mode the namespace has one filter that selects every room. In dynamic mode it
// has one filter for each room that members of the node are in, the rooms of the members'
// own ids among them, one for the namespace's broadcast channel, and one for the empty
// room, because Socket.IO selects all sockets with it. These filters select exactly the
// messages that a node in static mode does not drop.
//
// [Set.Enter] changes memberships after the filters of the rooms are live. [Set.EnterFirst]
// changes them at once, for a caller that may not wait. A room that has lost its last
// member keeps its filter for [Options.Linger].
//
// One goroutine, the worker, makes all calls of the subscription one after another. It runs
// while there is work. Therefore a filter is never added and removed at the same time, and
// all requests that arrive during a call become one call. To change the mode, the worker
// adds the new filters first, and removes the old ones when all new ones are live. The
// broker delivers a message that both select once and in order (clause B3).
//
// While the subscription is interrupted, Enter does not wait. The filters become live after
// the interruption, and [Set.Resumed] reports the end of the interruption after that.
//
// The package knows a broker's subscription, and no member: rooms are names.
package interest
