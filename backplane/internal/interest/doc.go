// Package interest decides what a namespace of a node is subscribed to, and changes that
// while the namespace is in use.
//
// In static mode the namespace has one filter that selects every room. In dynamic mode it
// has one filter for each room that members of the node are in, the rooms of the members'
// own ids among them, one for the namespace's broadcast channel, and one for the empty
// room, which filters nothing in Socket.IO. So the filters select exactly what a node in
// static mode would not drop.
//
// [Set.Enter] changes memberships after the filters of the rooms are live. [Set.EnterFirst]
// changes them at once, for a caller that may not wait. A room that has lost its last
// member keeps its filter for [Options.Linger].
//
// One goroutine makes all calls of the subscription, one after another, for as long as there
// is work: so a filter is never added and removed at the same time, and what is asked for
// while a call is under way becomes one call. To change the mode, it adds the new filters
// first and removes the old ones when all of those are live. The broker delivers what both
// select once and in order (clause B3).
//
// While the subscription is interrupted, Enter does not wait. The filters become live after
// the interruption, and the end of the interruption is passed on after that
// ([Set.Resumed]).
//
// The package knows a broker's subscription, and no member: rooms are names.
package interest
